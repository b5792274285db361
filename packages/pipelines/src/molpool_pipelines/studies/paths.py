"""Dotted paths into a configuration: what stands there, and another value put there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from molpool_common import InputError, did_you_mean
from pydantic import BaseModel


def annotation_at(model: type[BaseModel], path: str, *, parameter: str | None = None) -> Any:
    """Return the type of the configuration key that a dotted path leads to.

    Parameters
    ----------
    model : type of BaseModel
        The root of the configuration.
    path : str
        ``training.max_lr``; below a mapping any key is good.
    parameter : str, optional
        Name for the message; by default the path.

    Raises
    ------
    InputError
        If there is no such key, or it is a whole section, naming the nearest key.
    """
    here: Any = model
    for key in path.split("."):
        here = _below(here, key)
        if here is None:
            break
    if here is None or _section(here) is not None:
        raise InputError(
            parameter or path,
            expected="a key of the configuration",
            found=repr(path) + (", a whole section" if here is not None else ""),
            hint=did_you_mean(path, leaf_paths(model)),
        )
    return here


def leaf_paths(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Return the dotted path of every key that is no section."""
    paths: list[str] = []
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        paths += leaf_paths(section, f"{prefix}{name}.") if section else [prefix + name]
    return paths


def _below(annotation: Any, key: str) -> Any:
    section = _section(annotation)
    if section is not None:
        field = section.model_fields.get(key)
        return None if field is None else field.annotation
    for member in _members(annotation):
        origin = get_origin(member)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return get_args(member)[1]
    return None


def _section(annotation: Any) -> type[BaseModel] | None:
    for member in _members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def _members(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [m for part in get_args(annotation) for m in _members(part)]
    return [annotation]


def is_float(annotation: Any) -> bool:
    """Return whether a key takes fractions."""
    return float in _members(annotation)


def value_at(values: Mapping[str, Any], path: str) -> Any:
    """Return what stands at a dotted path of nested mappings.

    Raises
    ------
    KeyError
        If there is nothing.
    """
    here: Any = values
    for key in path.split("."):
        if not isinstance(here, Mapping) or key not in here:
            raise KeyError(path)
        here = here[key]
    return here


def with_values(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of nested mappings with other values at dotted paths."""
    changed = copy.deepcopy(dict(values))
    for path, value in changes.items():
        *sections, last = path.split(".")
        here = changed
        for key in sections:
            if not isinstance(here.get(key), dict):
                here[key] = {}
            here = here[key]
        here[last] = copy.deepcopy(value)
    return changed
