"""The search space: what is declared in YAML over what a model brings along.

Names are dotted paths into a configuration, which `annotation_at`, `value_at` and `with_values`
follow.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from molpool_common import InputError, did_you_mean
from pydantic import BaseModel, BeforeValidator

from molpool_pipelines.studies._parameters import (
    Choice,
    Fixed,
    Parameter,
    Trial,
    label,
    plain,
    read_parameter,
)


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
        If there is no such key, or it is a section, naming the nearest key.
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
            found=repr(path) + (", a section" if here is not None else ""),
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
    # Keys of a mapping, such as task names, can be tuned though no field declares them.
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
    # Trials of one worker share `values`; changing them in place would leak one trial into the
    # next.
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


def _declared(values: Any) -> Any:
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise ValueError(f"expected a mapping of parameters to ranges, found {values!r}")
    return {str(name): plain(value) for name, value in values.items()}


SpaceConfig = Annotated[dict[str, Any], BeforeValidator(_declared)]
"""Type of the ``space`` section; `read_space` turns it into a `Space`."""


class Space:
    """Parameters with ranges, choices, fixed values and conditions.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        By name.

    Raises
    ------
    InputError
        If conditions name each other in a circle.
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self.parameters = _conditions_first(parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def sampled(self) -> list[str]:
        """Names of the parameters that are not fixed."""
        return [
            name for name, parameter in self.parameters.items() if not isinstance(parameter, Fixed)
        ]

    def suggest(self, trial: Trial, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Draw one value of each parameter whose condition holds.

        Parameters
        ----------
        trial : optuna.Trial
            Draws.
        base : mapping of str to Any, optional
            Values that conditions may name and that are no parameters here.

        Returns
        -------
        dict
            Active parameters by name, fixed ones too.
        """
        values: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if self._holds(parameter, values, base or {}):
                values[name] = parameter.suggest(trial, name)
        return values

    def clip(
        self, values: Mapping[str, Any], base: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the point of the space nearest to given values, active parameters only."""
        clipped: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            # In the order of conditions: whether one holds depends on values clipped before.
            if name in values and self._holds(parameter, clipped, base or {}):
                clipped[name] = parameter.clip(values[name])
        return clipped

    def to_optuna(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sampled ones among given values as Optuna stores them."""
        labels: dict[str, Any] = {}
        for name, value in values.items():
            if name in self.sampled:
                parameter = self.parameters[name]
                labels[name] = label(value) if isinstance(parameter, Choice) else value
        return labels

    def check(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return given values of some parameters, or say which is unknown or out of range.

        Raises
        ------
        InputError
            Naming parameter, what the space allows, and the value.
        """
        read = {name: plain(value) for name, value in values.items()}
        for name, value in read.items():
            if name not in self.parameters:
                raise InputError(
                    where,
                    expected="parameters of the space",
                    found=repr(name),
                    hint=did_you_mean(name, list(self.parameters)),
                )
            parameter = self.parameters[name]
            if not parameter.holds(value):
                raise InputError(
                    f"{where}: {name}", expected=f"{parameter.describe()}", found=repr(value)
                )
        return read

    def describe(self) -> dict[str, Any]:
        """Return the space as ``space:`` declares it."""
        return {name: parameter.describe() for name, parameter in sorted(self.parameters.items())}

    def _holds(
        self, parameter: Parameter, values: Mapping[str, Any], base: Mapping[str, Any]
    ) -> bool:
        for name, wanted in parameter.when.items():
            if name in self.parameters:
                if name not in values:  # inactive itself
                    return False
                value = values[name]
            else:
                value = base.get(name)
            if not Choice(wanted).holds(value):
                return False
        return True


def read_space(
    declared: Mapping[str, Any],
    default: Mapping[str, Any] | None = None,
    model: type[BaseModel] | None = None,
) -> Space:
    """Read a space: the declared parameters over the default ones.

    Parameters
    ----------
    declared : mapping of str to Any
        The ``space`` section. An parameter replaces the default's of its name; kind of number and
        condition stay unless it gives its own.
    default : mapping of str to Any, optional
        The model's own space, in the same form.
    model : type of BaseModel, optional
        Configuration whose dotted keys the names are: an unknown one is refused, and its type says
        whether a range is of whole numbers. Without it, a range of two whole numbers is.

    Returns
    -------
    Space

    Raises
    ------
    InputError
        Naming parameter and key, for anything that is wrong.
    """
    parameters: dict[str, Parameter] = {}
    for source in (default or {}, declared):
        for name, value in source.items():
            fractions = None
            if model is not None:
                # The type of the key decides between float and int: `low: 0, high: 1` of a dropout
                # is a range of fractions.
                fractions = is_float(annotation_at(model, name, parameter=f"space.{name}"))
            parameters[name] = read_parameter(name, value, parameters.get(name), fractions)
    for name, parameter in parameters.items():
        for other in parameter.when:
            if other not in parameters and model is not None:
                annotation_at(model, other, parameter=f"space.{name}.when")
    return Space(parameters)


def _conditions_first(parameters: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Order parameters so that each comes after those that its condition names."""
    ordered: dict[str, Parameter] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise InputError(
                f"space.{name}.when",
                expected="conditions that end",
                found=" -> ".join((*path[path.index(name) :], name)),
            )
        if name in ordered or name not in parameters:
            return
        for other in parameters[name].when:
            add(other, (*path, name))
        ordered[name] = parameters[name]

    for name in parameters:
        add(name, ())
    return ordered
