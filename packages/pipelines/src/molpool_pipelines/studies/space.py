"""The search space: what is declared in YAML over what a model brings along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from molpool_common import InputError, did_you_mean
from pydantic import BaseModel, BeforeValidator

from molpool_pipelines.studies.entries import (
    Choice,
    Entry,
    Fixed,
    Range,
    Trial,
    label_of,
    read_entry,
)
from molpool_pipelines.studies.paths import annotation_at, is_float
from molpool_pipelines.studies.values import plain

__all__ = ["Choice", "Entry", "Fixed", "Range", "Space", "SpaceConfig", "Trial", "read_space"]


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
    entries : mapping of str to Entry
        By name.

    Raises
    ------
    InputError
        If conditions name each other in a circle.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = _conditions_first(entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def drawn(self) -> list[str]:
        """Names of the parameters that are not fixed."""
        return [name for name, entry in self.entries.items() if not isinstance(entry, Fixed)]

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
        for name, entry in self.entries.items():
            if self._holds(entry, values, base or {}):
                values[name] = entry.suggest(trial, name)
        return values

    def clip(
        self, values: Mapping[str, Any], base: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the point of the space nearest to given values, active parameters only."""
        clipped: dict[str, Any] = {}
        for name, entry in self.entries.items():
            if name in values and self._holds(entry, clipped, base or {}):
                clipped[name] = entry.clip(values[name])
        return clipped

    def to_optuna(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the drawn ones among given values as Optuna stores them."""
        drawn = self.drawn
        return {n: label_of(self.entries[n], v) for n, v in values.items() if n in drawn}

    def check(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return given values of some parameters, or say which is unknown or out of range.

        Raises
        ------
        InputError
            Naming parameter, what the space allows, and the value.
        """
        read = {name: plain(value) for name, value in values.items()}
        for name, value in read.items():
            if name not in self.entries:
                raise InputError(
                    where,
                    expected="parameters of the space",
                    found=repr(name),
                    hint=did_you_mean(name, list(self.entries)),
                )
            entry = self.entries[name]
            if not entry.holds(value):
                raise InputError(
                    f"{where}: {name}", expected=f"{entry.describe()}", found=repr(value)
                )
        return read

    def describe(self) -> dict[str, Any]:
        """Return the whole space as ``space:`` declares it."""
        return {name: entry.describe() for name, entry in sorted(self.entries.items())}

    def _holds(self, entry: Entry, values: Mapping[str, Any], base: Mapping[str, Any]) -> bool:
        for name, wanted in entry.when.items():
            if name in self.entries:
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
    """Read a space: the declared entries over the default ones.

    Parameters
    ----------
    declared : mapping of str to Any
        The ``space`` section. An entry replaces the default's of its name; kind of number and
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
    entries: dict[str, Entry] = {}
    for source in (default or {}, declared):
        for name, value in source.items():
            fractions = None
            if model is not None:
                fractions = is_float(annotation_at(model, name, parameter=f"space.{name}"))
            entries[name] = read_entry(name, value, entries.get(name), fractions)
    for name, entry in entries.items():
        for other in entry.when:
            if other not in entries and model is not None:
                annotation_at(model, other, parameter=f"space.{name}.when")
    return Space(entries)


def _conditions_first(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """Order parameters so that each comes after those that its condition names."""
    ordered: dict[str, Entry] = {}

    def add(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise InputError(
                f"space.{name}.when",
                expected="conditions that end",
                found=" -> ".join((*path[path.index(name) :], name)),
            )
        if name in ordered or name not in entries:
            return
        for other in entries[name].when:
            add(other, (*path, name))
        ordered[name] = entries[name]

    for name in entries:
        add(name, ())
    return ordered
