"""How tyro sees the configuration models: raw values for flags, checked once and as a whole.

tyro would build each section by itself and report pydantic's text; collecting plain values instead
lets `molpool_common.config` word every error with the full dotted key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class Section(dict[str, Any]):
    """Values of one section as they came from flags; a mapping-valued key is a plain dict."""


def flag_registry() -> ConstructorRegistry:
    """Return the rules for booleans and configuration sections, as a context manager for tyro."""
    registry = ConstructorRegistry()
    registry.primitive_rule(_boolean)
    registry.struct_rule(_section)
    return registry


def _boolean(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[bool] | None:
    if info.type is not bool:
        return None
    return PrimitiveConstructorSpec(
        nargs="*",  # so that `--resume` alone means true
        metavar="[{true,false}]",
        instance_from_str=_read_boolean,
        is_instance=lambda value: isinstance(value, bool),
        str_from_instance=lambda value: [str(value).lower()],
    )


def _read_boolean(arguments: list[str]) -> bool:
    if not arguments:
        return True
    value = _WORDS.get(arguments[0].casefold()) if len(arguments) == 1 else None
    if value is None:
        raise ValueError(f"expected true or false, found {' '.join(arguments)!r}")
    return value


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
        if has_flag(field.annotation)
    ]
    return StructConstructorSpec(instantiate=Section, fields=tuple(fields))


def _with_markers(annotation: Any, metadata: list[Any]) -> Any:
    return Annotated[(annotation, *metadata)] if metadata else annotation


def has_flag(annotation: Any) -> bool:
    """Return whether a field can be written as one flag; others are for the YAML file alone."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return all(get_origin(a) is None and not _is_model(a) for a in arguments)
    if origin in (list, tuple):
        return not any(_is_model(a) or get_origin(a) is not None for a in arguments)
    return all(has_flag(a) for a in arguments)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
