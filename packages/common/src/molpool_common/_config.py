"""YAML files to pydantic models and back, with errors that name the key, the line and the cure.

A document remembers the line of every key. What pydantic finds wrong becomes one message for the
author of the file: the first finding, with the dotted key, and the keys of the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from molpool_common._errors import InputError, did_you_mean, nearest
from molpool_common._secrets import without_secrets
from molpool_common._yaml import GIVEN, Key, YamlDocument, read_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


ModelT = TypeVar("ModelT", bound=BaseModel)

RESOLVED, BEST = "config.resolved.yaml", "best.yaml"
"""Files of a run and of a study with all keys, of which defaults count as not given."""

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""A seed that every library takes."""


class ConfigModel(BaseModel):
    """Base of every configuration section: unknown keys are errors, assignments are checked.

    Attributes
    ----------
    earlier_keys : mapping of str to str
        Names that keys had in earlier versions, with today's. Files and flags may use them; help
        and written files do not.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)
    earlier_keys: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _with_todays_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or cls.earlier_keys.keys().isdisjoint(values):
            return values
        # One that stands beside today's name keeps its own, and is then an unknown key.
        return {
            new if (new := cls.earlier_keys.get(key, key)) not in values else key: value
            for key, value in values.items()
        }

    def is_given(self, key: str) -> bool:
        """Return whether a key was given, be it its default: what was given adapts to no table."""
        return key in self.model_fields_set


def load_config(model: type[ModelT], path: str | Path, *, all_keys: bool = False) -> ModelT:
    """Read a YAML file into a configuration model.

    Parameters
    ----------
    model : type of BaseModel
        The section to fill.
    path : str or Path
        The YAML file.
    all_keys : bool
        Whether it was written with all keys, of which defaults then count as not given; so were
        those called `RESOLVED` and `BEST`.

    Returns
    -------
    BaseModel
        An instance of `model`.

    Raises
    ------
    InputError
        Naming the key, its line, what was expected and found, and for an unknown key the nearest
        valid one.
    """
    return validate_config(model, read_yaml(path), all_keys=all_keys)


def validate_config(
    model: type[ModelT], document: YamlDocument, *, all_keys: bool = False
) -> ModelT:
    """Validate an already parsed document; see `load_config`."""
    try:
        found = model.model_validate(document.data)
    except ValidationError as error:
        raise input_error(error, model, document) from None
    if all_keys or document.source in (RESOLVED, BEST):
        _count_as_given(found)
        for key in document.given:
            _give(found, key.split("."))
    return found


def _give(config: object, path: Sequence[str]) -> None:
    """Count a key as given, if there is one; files of other versions may name others."""
    for n, key in enumerate(path, 1):
        if not isinstance(config, BaseModel) or key not in type(config).model_fields:
            return
        config.__pydantic_fields_set__.add(key) if n == len(path) else None
        config = getattr(config, key)


def _given_defaults(config: BaseModel, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that were given and are at their defaults."""
    for key, field in type(config).model_fields.items():
        value = getattr(config, key)
        if isinstance(value, BaseModel):
            yield from _given_defaults(value, f"{prefix}{key}.")
        elif key in config.model_fields_set and value == field.get_default(
            call_default_factory=True
        ):
            yield prefix + key


def _count_as_given(config: BaseModel) -> None:
    """Count as given what is not at its default, in all sections."""
    for value in config.__dict__.values():
        held = value.values() if isinstance(value, dict) else value
        for section in held if isinstance(held, list | type({}.values())) else [held]:
            if isinstance(section, BaseModel):
                _count_as_given(section)
    config.__pydantic_fields_set__ = {
        key
        for key, field in type(config).model_fields.items()
        if getattr(config, key) != field.get_default(call_default_factory=True)
    }


def validate_values(model: type[ModelT], values: Mapping[str, Any]) -> ModelT:
    """Validate values that came from flags; see `load_config`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise input_error(error, model, YamlDocument(dict(values), "")) from None


def dump_config(config: BaseModel) -> str:
    """Return the YAML text that `load_config` reads back to an equal model, less its secrets.

    Its first line names the keys that were given although they are at their defaults, since these
    adapt to no table.
    """
    values = without_secrets(config.model_dump(mode="json"))
    given = " ".join(_given_defaults(config))
    head = f"{GIVEN}{given}\n" if given else ""
    return head + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


_EXPECTED_FOUND = re.compile(
    r"(?:(?P<name>[^\s:]+): )?expected (?P<expected>.*?)(?:[,;] found (?P<found>.*))?", re.DOTALL
)
"""How our validators word an error; `name` is of something below the key they stand at."""


def input_error(
    error: ValidationError,
    model: type[BaseModel],
    document: YamlDocument,
) -> InputError:
    """Turn pydantic's findings into one message about the first, counting the others.

    Parameters
    ----------
    error : ValidationError
        What pydantic raised.
    model : type of BaseModel
        The root model, for the valid names beside an unknown one.
    document : YamlDocument
        Where the values came from, for line numbers.
    """
    findings = error.errors(include_url=False)
    # An unknown key often causes a second finding (the right key missing): name it first.
    # Stable: other findings stay in the order of the model.
    findings.sort(key=lambda f: f["type"] != "extra_forbidden")
    first = findings[0]
    path = _config_path(first["loc"], document.data)
    name = ".".join(map(str, path)) or model.__name__
    hint = None
    if first["type"] == "extra_forbidden":
        expected, found = "a known key", f"{str(path[-1])!r}"
        hint = did_you_mean(str(path[-1]), valid_keys(model, path[:-1]))
    elif first["type"] == "value_error":
        below, expected, found = _own_words(first)
        name = ".".join([*map(str, path), below]) if below else name
    else:
        expected, found = _pydantic_words(first)
        hint = _nearest_choice(first)
    others = [".".join(map(str, _config_path(f["loc"], document.data))) for f in findings[1:]]
    rest = f"Also wrong: {', '.join(dict.fromkeys(others))}." if others else None
    return InputError(
        name,
        expected=expected,
        found=_cut(found),
        where=document.where(path) or None,
        hint=" ".join(filter(None, (hint, rest))) or None,
    )


def _own_words(finding: ErrorDetails) -> tuple[str, str, str]:
    """Return name below the key, expected and found of an error that a validator of ours raised."""
    message = str(finding.get("ctx", {}).get("error", finding["msg"]))
    match = _EXPECTED_FOUND.fullmatch(message)
    if match:
        # Of keys that do not go together the input is the whole section.
        whole = isinstance(finding["input"], Mapping | BaseModel)
        found = match["found"] or ("others" if whole else repr(finding["input"]))
        return match["name"] or "", match["expected"], found
    return "", "settings that fit together", message


def _pydantic_words(finding: ErrorDetails) -> tuple[str, str]:
    if finding["type"] == "missing":
        return "a value", "nothing"
    text = finding["msg"].removeprefix("Input should be ")
    # pydantic appends what it got in some messages and not in others; `found` has it already.
    text = re.split(", (?:unable to|got) ", text)[0]
    if text.startswith("a valid "):
        noun = text.removeprefix("a valid ")
        text = f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
    elif text.startswith(("greater than", "less than")):
        text = f"a number {text}"
    return text, repr(finding["input"])


def _nearest_choice(finding: ErrorDetails) -> str | None:
    if finding["type"] != "literal_error":
        return None
    choices = re.findall("'([^']*)'", finding["ctx"]["expected"])
    close = nearest(str(finding["input"]), choices)
    return f"Did you mean {close!r}?" if close else None


def _cut(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


def _config_path(loc: Sequence[Key], values: Any) -> tuple[Key, ...]:
    """Return the keys of a pydantic location without the union branches it names on the way."""
    path: list[Key] = []
    for key in loc[:-1]:
        try:
            # A location names union branches and validators beside keys: what does not lead into
            # the document is none.
            values = values[key]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(key)
    # The last one may be a key that is missing, or a branch below a scalar.
    if loc and (isinstance(values, dict | list | tuple) or not path):
        path.append(loc[-1])
    return tuple(path)


def valid_keys(model: type[BaseModel], path: Sequence[Key]) -> list[str]:
    """Return the keys a model accepts at a path below it; none where any key will do."""
    annotation: Any = model
    for key in path:
        annotation = next((a for a in _alternatives(annotation) if _accepts(a, key)), None)
        annotation = _value_type(annotation, key)
    for alternative in _alternatives(annotation):
        if is_model(alternative):
            return list(alternative.model_fields)
    return []


def _alternatives(annotation: Any) -> list[Any]:
    """Return the members of a union, or the annotation alone."""
    if get_origin(annotation) in (Union, UnionType):
        return [a for member in get_args(annotation) for a in _alternatives(member)]
    return [annotation]


def _accepts(annotation: Any, key: Key) -> bool:
    return key in annotation.model_fields if is_model(annotation) else bool(get_args(annotation))


def _value_type(annotation: Any, key: Key) -> Any:
    """Return the type below a key of a model, or of the values of a mapping or list."""
    if is_model(annotation):
        return annotation.model_fields[key].annotation
    arguments = get_args(annotation)
    return arguments[-1] if arguments else None


def is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
