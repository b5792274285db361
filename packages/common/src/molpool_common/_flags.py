"""How tyro sees the configuration models: raw values for flags, checked once and as a whole.

tyro would build each section by itself and report pydantic's text; collecting plain values instead
lets `molpool_common._config` word every error with the full dotted key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from types import UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import tyro
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from molpool_common._config import is_model
from molpool_common._errors import InputError
from molpool_common._paths import PATH

WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
"""What can be said of a flag that is on or off."""


class Section(dict[str, Any]):
    """Values of one section as they came from flags; a mapping-valued key is a plain dict."""


def flag_registry() -> ConstructorRegistry:
    """Return the rules for values and configuration sections, as a context manager for tyro."""
    registry = ConstructorRegistry()
    registry.primitive_rule(_boolean)
    registry.primitive_rule(_number)
    registry.primitive_rule(_choice)
    registry.struct_rule(_section)
    return registry


def short_flag(flag: str) -> Any:
    """Return the mark of a key that has another flag than its dotted name, such as ``--n-trials``.

    Parameters
    ----------
    flag : str
        With its dashes. Stands in ``Annotated[int, short_flag("--n-trials")]``.
    """
    return tyro.conf.arg(aliases=[flag])


@dataclass(frozen=True)
class Alone:
    """Marks a choice whose flag may stand without a value, and what it says then."""

    value: str


def with_values(argv: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Return arguments in which a flag that stands alone, and may, has its value."""
    alone = {
        name: (value, flag.choices)
        for key, value in _alone(model)
        for flag in flags_of(model)
        if key in flag.names
        for name in flag.names
    }
    found: list[str] = []
    for place, word in enumerate(argv):
        found.append(word)
        value, choices = alone.get(word.replace("_", "-"), ("", ()))
        following = argv[place + 1 : place + 2]
        if value and not {*choices, *WORDS} & {text.casefold() for text in following}:
            found.append(value)
    return found


def _alone(model: type[BaseModel], prefix: str = "--") -> Iterator[tuple[str, str]]:
    for key, field in model.model_fields.items():
        if is_model(field.annotation):
            section = cast("type[BaseModel]", field.annotation)
            yield from _alone(section, f"{_flag(prefix, key)}.")
        for mark in field.metadata:
            if isinstance(mark, Alone) and _may_be_flag(field):
                yield _flag(prefix, key), mark.value


def _boolean(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type is not bool:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",  # so that `--resume` alone means true
        metavar="[{true,false}]",
        instance_from_str=_read_boolean,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
    )


def _read_boolean(arguments: list[str]) -> bool | str:
    text = " ".join(arguments)
    return WORDS.get(text.casefold(), text) if arguments else True


def _number(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if info.type not in (int, float):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT" if info.type is int else "FLOAT",
        instance_from_str=lambda arguments: arguments[0],  # pydantic reads it, or says why not
        is_instance=lambda value: isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


def _choice(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    choices = get_args(info.type)
    if get_origin(info.type) is not Literal or not all(isinstance(c, str) for c in choices):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="{" + ",".join(choices) + "}",
        instance_from_str=lambda arguments: arguments[0],
        is_instance=lambda value: value in choices,
        str_from_instance=lambda value: [value],
    )


def _section(info: StructTypeInfo) -> StructConstructorSpec | None:
    if not (isinstance(info.type, type) and issubclass(info.type, BaseModel)):
        return None
    fields = [
        StructFieldSpec(
            name=name,
            type=_with_markers(field.annotation, field.metadata),
            default=getattr(info.default, name),
            helptext=field.description,
        )
        for name, field in info.type.model_fields.items()
        if _may_be_flag(field)
    ]
    # tyro heads a group of flags with the docstring of what it instantiates.
    described = type(info.type.__name__, (Section,), {"__doc__": info.type.__doc__})
    return StructConstructorSpec(instantiate=described, fields=tuple(fields))


def _with_markers(annotation: Any, metadata: list[Any]) -> Any:
    markers = metadata
    if _is_mapping(annotation):
        markers = [*metadata, _PAIRS]
    elif _names_a_file(annotation):
        markers = [*metadata, _FILE]
    return Annotated[(annotation, *markers)] if markers else annotation


def _is_mapping(annotation: Any) -> bool:
    members = (annotation, *get_args(annotation))
    origins = [get_origin(m) for m in members]
    return any(isinstance(o, type) and issubclass(o, Mapping) for o in origins)


def _read_pairs(arguments: list[str]) -> dict[str, str] | str | None:
    if arguments == ["None"]:
        return None
    # NAME=VALUE says what NAME VALUE says, and every argument has to be of one kind.
    if arguments and all("=" in argument[1:] for argument in arguments):
        pairs = [argument.rpartition("=") for argument in arguments]
        return {name: value for name, _, value in pairs}
    if len(arguments) % 2:
        return " ".join(arguments)
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


def _write_pairs(value: Mapping[str, Any] | None) -> list[str]:
    return ["None"] if value is None else [str(x) for pair in value.items() for x in pair]


# tyro would make flags of the keys that a mapping has in the file, and accept no others.
_PAIRS: PrimitiveConstructorSpec[Any] = PrimitiveConstructorSpec(
    nargs="*",
    metavar="[KEY VALUE ...]",
    instance_from_str=_read_pairs,
    is_instance=lambda value: value is None or isinstance(value, Mapping),
    str_from_instance=_write_pairs,
)


# What the YAML file may say in full is a file's name as a flag.
_FILE: PrimitiveConstructorSpec[Any] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="FILE",
    instance_from_str=lambda arguments: None if arguments == ["None"] else arguments[0],
    is_instance=lambda _: True,
    str_from_instance=lambda value: [str(value)],
)


def _names_a_file(annotation: Any) -> bool:
    members = get_args(annotation)
    return str in members and not all(has_flag(member) for member in members)


def has_flag(annotation: Any) -> bool:
    """Return whether a field can be written as one flag; others are for the YAML file alone."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType) and _names_a_file(annotation):
        return True
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        # Words to choose from are one flag as text is; lists within lists are not.
        return all(_is_one_word(a) for a in arguments)
    # A section of its own has flags for its keys; one that may be absent has none.
    return all(has_flag(a) and not is_model(a) for a in arguments)


def _is_one_word(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return get_origin(annotation) in (None, Literal) and not is_model(annotation)


def _may_be_flag(field: FieldInfo) -> bool:
    """Return whether a key is one flag; `tyro.conf.Fixed` leaves one to the file alone."""
    return has_flag(field.annotation) and tyro.conf.Fixed not in field.metadata


def todays_flags(model: type[BaseModel], prefix: str = "--") -> dict[str, str]:
    """Return the flags of `ConfigModel.earlier_keys`, with those of today."""
    flags = {
        _flag(prefix, old): _flag(prefix, new)
        for old, new in getattr(model, "earlier_keys", {}).items()
    }
    for key, field in model.model_fields.items():
        if is_model(field.annotation):
            section = cast("type[BaseModel]", field.annotation)
            flags |= todays_flags(section, f"{_flag(prefix, key)}.")
    for old, new in getattr(model, "earlier_keys", {}).items():
        if is_model(model.model_fields[new].annotation):
            section = cast("type[BaseModel]", model.model_fields[new].annotation)
            flags |= {
                f"{_flag(prefix, old)}.{name}": f"{_flag(prefix, new)}.{name}"
                for name in (f.removeprefix("--") for f in flag_names(section))
            }
    return flags


def _flag(prefix: str, key: str) -> str:
    return prefix + key.replace("_", "-")


def list_flags(model: type[BaseModel], prefix: str = "--") -> dict[str, str]:
    """Return the flags that take several values, by each spelling, with their full name."""
    found: dict[str, str] = {}
    for key, field in model.model_fields.items():
        name = _flag(prefix, key)
        if is_model(field.annotation):
            found |= list_flags(cast("type[BaseModel]", field.annotation), f"{name}.")
        elif _may_be_flag(field) and _takes_several(field.annotation):
            aliases = (a for m in field.metadata for a in getattr(m, "aliases", None) or ())
            found |= dict.fromkeys((name, *aliases), name)
    return found


def _takes_several(annotation: Any) -> bool:
    members = (annotation, *get_args(annotation))
    return _is_mapping(annotation) or any(get_origin(m) is list for m in members)


def section_flags(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield each key of a section with its flag and the flag's other spellings."""
    for key, field in model.model_fields.items():
        aliases = (alias for m in field.metadata for alias in getattr(m, "aliases", None) or ())
        yield key, _flag(prefix, key), list(aliases)


def flag_names(model: type[BaseModel], prefix: str = "--") -> list[str]:
    """Return every flag of a configuration model, in the order of its keys."""
    names: list[str] = []
    for key, field in model.model_fields.items():
        name = _flag(prefix, key)
        if is_model(field.annotation):
            names += flag_names(cast("type[BaseModel]", field.annotation), f"{name}.")
        elif _may_be_flag(field):
            names.append(name)
            names += [alias for m in field.metadata for alias in getattr(m, "aliases", None) or ()]
    return names


@dataclass(frozen=True)
class Flag:
    """A flag as help and completion show it.

    Parameters
    ----------
    names : tuple of str
        Its spellings, the shortest first.
    section, about : str
        Dotted name of its section, empty at the top, and what the section is.
    metavar : str
        What stands behind it.
    text, default : str
        What it means, and its default, empty where that is nothing.
    choices : tuple of str
        What may stand behind it, if only some words may.
    n_values : int or None
        How many values stand behind it; None: any number.
    """

    names: tuple[str, ...]
    section: str
    about: str
    metavar: str
    text: str
    default: str
    choices: tuple[str, ...]
    n_values: int | None


def flags_of(model: type[BaseModel]) -> Iterator[Flag]:
    """Yield every flag of a configuration model, its own before those of sections."""
    yield from _flags_in(model, model(), "")


def _flags_in(model: type[BaseModel], values: BaseModel, section: str) -> Iterator[Flag]:
    inner = []
    for key, name, aliases in section_flags(model, f"--{section}." if section else "--"):
        field, value = model.model_fields[key], getattr(values, key)
        if is_model(field.annotation):
            inner.append((field.annotation, value, name.removeprefix("--")))
        elif _may_be_flag(field):
            kinds = _kinds(field.annotation)
            yield Flag(
                names=tuple(sorted((name, *aliases), key=len)),
                section=section,
                about=" ".join((model.__doc__ or "").partition("\n\n")[0].split()),
                metavar=_metavar(field, kinds),
                text=field.description or "",
                default=_shown(value),
                choices=_choices(kinds),
                n_values=_n_values(kinds),
            )
    for annotation, value, name in inner:
        yield from _flags_in(cast("type[BaseModel]", annotation), value, name)


def _kinds(annotation: Any) -> list[Any]:
    """Return what a value may be, besides absent."""
    if get_origin(annotation) in (Union, UnionType):
        return [kind for member in get_args(annotation) for kind in _kinds(member)]
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return [] if kind is type(None) else [kind]


_NAMES = {int: "INT", float: "FLOAT", bool: "[{true,false}]"}


def _metavar(field: FieldInfo, kinds: Sequence[Any]) -> str:
    own = [m.metavar for m in field.metadata if getattr(m, "metavar", None)]
    if own:
        return str(own[-1])
    if _names_a_file(field.annotation):
        return "FILE"
    text = "PATH" if PATH in field.metadata else "TEXT"
    return "|".join(dict.fromkeys(_metavar_of(kind, text) for kind in kinds))


def _metavar_of(kind: Any, text: str) -> str:
    origin, members = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "{" + ",".join(map(str, members)) + "}"
    if origin is tuple and Ellipsis not in members:
        return " ".join(_metavar_of(member, text) for member in members)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "[KEY VALUE ...]"
    if origin in (list, tuple):
        inner = "|".join(_metavar_of(k, text) for k in _kinds(members[0]))
        return f"[{inner} ...]"
    return _NAMES.get(kind, text)


def _choices(kinds: Sequence[Any]) -> tuple[str, ...]:
    if kinds == [bool]:
        return ("true", "false")
    inner = [k for kind in kinds for k in (get_args(kind) if get_origin(kind) is list else [kind])]
    if any(get_origin(kind) is not Literal for kind in inner):
        return ()
    return tuple(str(choice) for kind in inner for choice in get_args(kind))


def _n_values(kinds: Sequence[Any]) -> int | None:
    origins = {get_origin(kind) for kind in kinds}
    if kinds == [bool] or list in origins or any(_is_mapping(kind) for kind in kinds):
        return None
    return max((len(get_args(k)) for k in kinds if get_origin(k) is tuple), default=1)


def _shown(value: Any) -> str:
    if value is None or value in ("", [], (), {}):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return " ".join(f"{key} {inner}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)


def check_values(argv: Sequence[str], model: type[BaseModel]) -> None:
    """Raise `InputError` for a flag without its value, or with too few of them.

    Parameters
    ----------
    argv : sequence of str
        Arguments.
    model : type of BaseModel
        Whose flags they are.
    """
    wanted = {name: one.n_values for one in flags_of(model) for name in one.names if one.n_values}
    for place, word in enumerate(argv):
        n = wanted.get(word.replace("_", "-"), 0)
        there = list(takewhile(lambda value: not value.startswith("--"), argv[place + 1 :][:n]))
        if len(there) < n:
            expected = "a value after it" if n == 1 else f"{n} values after it"
            raise InputError(word, expected=expected, found=" ".join(there) or "nothing")


def with_subject(argv: Sequence[str], subject: str, model: type[BaseModel]) -> list[str]:
    """Return arguments in which values that stand without a flag have that of the subject.

    Parameters
    ----------
    argv : sequence of str
        Arguments.
    subject : str
        The flag that they leave out.
    model : type of BaseModel
        Whose flags say which values are theirs.
    """
    flags = {name: flag for flag in flags_of(model) for name in flag.names}
    todays = todays_flags(model)
    bare: list[str] = []
    rest: list[str] = []
    flag, room = None, 0
    for word in argv:
        name, equals, _ = word.partition("=")
        if word.startswith("--") and len(word) > 2:
            name = name.replace("_", "-")
            flag = flags.get(todays.get(name, name))
            n = None if flag is None else flag.n_values
            room = 0 if equals else len(argv) if n is None else n
            rest.append(word)
        elif room == 0 or (
            flag and flag.choices == ("true", "false") and word.casefold() not in WORDS
        ):
            bare.append(word)
        else:
            rest.append(word)
            room -= 1
    return [subject, *bare, *rest] if bare else rest
