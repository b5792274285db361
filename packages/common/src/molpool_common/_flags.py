"""How tyro sees the configuration models: raw values for flags, checked once and as a whole.

tyro would build each section by itself and report pydantic's text; collecting plain values instead
lets `molpool_common._config` word every error with the full dotted key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, cast, get_args, get_origin

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

_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


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
    return _WORDS.get(text.casefold(), text) if arguments else True


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
    markers = [*metadata, _PAIRS] if _is_mapping(annotation) else metadata
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


def has_flag(annotation: Any) -> bool:
    """Return whether a field can be written as one flag; others are for the YAML file alone."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return all(get_origin(a) in (None, Literal) and not is_model(a) for a in arguments)
    if origin in (list, tuple):
        # Words to choose from are one flag as text is; lists within lists are not.
        return all(get_origin(a) in (None, Literal) and not is_model(a) for a in arguments)
    # A section of its own has flags for its keys; one that may be absent has none.
    return all(has_flag(a) and not is_model(a) for a in arguments)


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
