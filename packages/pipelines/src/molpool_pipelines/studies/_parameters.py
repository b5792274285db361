"""One parameter of a search space as YAML declares it: a range, choices, or a fixed value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from molpool_common import InputError, did_you_mean, listed, parse_yaml

# YAML 1.1 reads 1e-4 as text, since it wants a point in a float.
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def plain(value: Any) -> Any:
    """Return a value with texts that are numbers, truth values or YAML lists read as such."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if not isinstance(value, str):
        return value
    if _EXPONENT.fullmatch(value):
        return float(value)
    try:
        read = parse_yaml(value, "")
    except InputError:
        return value
    if isinstance(read, str) and _EXPONENT.fullmatch(read):
        return float(read)
    return plain(read) if isinstance(read, list | dict) else read


When = Mapping[str, tuple[Any, ...]]
"""Condition: each named parameter has one of the values."""

_RANGE_KEYS = ("low", "high", "log", "step", "type", "when")


class Trial(Protocol):
    """What is asked of `optuna.Trial`."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number between two bounds."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Return a whole number between two bounds."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Return one of the choices."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included, fractions or whole ones."""

    low: float
    high: float
    type: Literal["float", "int"]
    log: bool = False
    step: float | None = None
    when: When = field(default_factory=dict)

    def suggest(self, trial: Trial, name: str) -> float | int:
        """Draw a number."""
        if self.type == "int":
            low, high, step = int(self.low), int(self.high), int(self.step or 1)
            return trial.suggest_int(name, low, high, step=step, log=self.log)
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def holds(self, value: Any) -> bool:
        """Return whether a value can be sampled."""
        return _is_number(value) and self.clip(value) == value

    def clip(self, value: Any) -> float | int:
        """Return the nearest number that can be sampled; the lowest for what is no number."""
        if not _is_number(value):
            value = self.low
        inside = min(max(value, self.low), self.high)
        if self.step is not None:
            steps = math.floor((self.high - self.low) / self.step + 1e-9)
            # Counted from low, as Optuna does; 1e-9 keeps 0.3/0.1 from losing its last step to
            # rounding.
            inside = self.low + min(round((inside - self.low) / self.step), steps) * self.step
        return round(inside) if self.type == "int" else float(inside)

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that a check of the parameter has to try: both ends."""
        return self.clip(self.low), self.clip(self.high)

    def describe(self) -> dict[str, Any]:
        """Return the declaration as YAML or JSON holds it."""
        number = int if self.type == "int" else float
        declared: dict[str, Any] = {
            "low": number(self.low),
            "high": number(self.high),
            "type": self.type,
        }
        if self.log:
            declared["log"] = True
        if self.step is not None:
            declared["step"] = number(self.step)
        return declared | _describe_when(self.when)


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    choices: tuple[Any, ...]
    when: When = field(default_factory=dict)

    @property
    def labels(self) -> list[Any]:
        """The choices as Optuna stores them."""
        return [label(c) for c in self.choices]

    def suggest(self, trial: Trial, name: str) -> Any:
        """Draw a value."""
        found = trial.suggest_categorical(name, self.labels)
        # Back from the label, which for a list is JSON.
        return next(
            c for c, known in zip(self.choices, self.labels, strict=True) if _same(known, found)
        )

    def holds(self, value: Any) -> bool:
        """Return whether a value can be sampled."""
        return any(_same(c, value) for c in self.choices)

    def clip(self, value: Any) -> Any:
        """Return the value itself, the nearest number, or the first choice."""
        if self.holds(value):
            return value
        numbers = [c for c in self.choices if _is_number(c)]
        if _is_number(value) and numbers:
            return min(numbers, key=lambda c: abs(c - value))
        return self.choices[0]

    def extremes(self) -> tuple[Any, ...]:
        """Return the values that a check of the parameter has to try: all of them."""
        return self.choices

    def describe(self) -> dict[str, Any]:
        """Return the declaration as YAML or JSON holds it."""
        return {"choices": list(self.choices)} | _describe_when(self.when)


@dataclass(frozen=True)
class Fixed:
    """The same value in every trial."""

    value: Any
    when: When = field(default_factory=dict)

    def suggest(self, _trial: Trial, _name: str) -> Any:
        """Return the value."""
        return self.value

    def holds(self, value: Any) -> bool:
        """Return whether it is this value."""
        return _same(self.value, value)

    def clip(self, _value: Any) -> Any:
        """Return the value."""
        return self.value

    def extremes(self) -> tuple[Any, ...]:
        """Return the value."""
        return (self.value,)

    def describe(self) -> Any:
        """Return the declaration as YAML or JSON holds it."""
        return self.value


Parameter = Range | Choice | Fixed


def read_parameter(
    name: str, declared: Any, replaced: Parameter | None, is_float: bool | None
) -> Parameter:
    """Read one declaration.

    Parameters
    ----------
    name : str
        For messages.
    declared : Any
        A mapping with ``low`` and ``high`` or with ``choices``, or a value.
    replaced : Parameter or None
        The one of the default space: gives kind of number and condition where none is declared.
    is_float : bool or None
        Whether the configuration's key takes fractions, where known.

    Raises
    ------
    InputError
        At an unknown key, or bounds that do not fit together.
    """
    declared = plain(declared)
    where = f"space.{name}"
    if not isinstance(declared, dict):
        return Fixed(declared, replaced.when if replaced else {})
    when = _read_when(where, declared["when"]) if "when" in declared else None
    if when is None:
        when = replaced.when if replaced else {}
    if "choices" in declared:
        _known_keys(where, declared, ("choices", "when"))
        return Choice(_read_choices(where, declared["choices"]), when)
    if "low" not in declared and "high" not in declared:
        raise InputError(
            where,
            expected="a value, {low: …, high: …} or {choices: […]}",
            found=f"a mapping of {listed(list(declared)) or 'nothing'}",
        )
    return _read_range(where, declared, replaced, is_float, when)


def _read_range(
    where: str,
    declared: dict[str, Any],
    replaced: Parameter | None,
    is_float: bool | None,
    when: When,
) -> Range:
    _known_keys(where, declared, _RANGE_KEYS)
    for key in ("low", "high"):
        if not _is_number(declared.get(key)) or not math.isfinite(declared[key]):
            raise InputError(f"{where}.{key}", expected="a number", found=repr(declared.get(key)))
    low, high, step = declared["low"], declared["high"], declared.get("step")
    kind: Any = declared.get("type")
    if kind is None and isinstance(replaced, Range):
        kind = replaced.type
    if kind is None and is_float is not None:
        kind = "float" if is_float else "int"
    if kind is None:
        # Only where neither the space nor the configuration says: `low: 1, high: 10` means whole
        # numbers.
        whole = all(isinstance(v, int) for v in (low, high, step) if v is not None)
        kind = "int" if whole else "float"
    log = declared.get("log", False)
    _check_range(where, low, high, kind, log, step)
    return Range(low, high, kind, log, step, when)


def _check_range(where: str, low: Any, high: Any, kind: Any, log: Any, step: Any) -> None:
    wrong: tuple[str, str, str] | None = None
    if kind not in ("float", "int"):
        wrong = "type", "float or int", repr(kind)
    elif not isinstance(log, bool):
        wrong = "log", "true or false", repr(log)
    elif low > high:
        wrong = "low", f"at most high, {high}", str(low)
    elif log and low <= 0:
        wrong = "low", "more than 0 on a log scale", str(low)
    elif step is not None and (not _is_number(step) or step <= 0):
        wrong = "step", "a number above 0", repr(step)
    elif step is not None and log:
        wrong = "step", "none on a log scale", repr(step)
    elif kind == "int" and any(v != int(v) for v in (low, high, step) if v is not None):
        wrong = "type", "whole low, high and step for int", f"{low}, {high}, {step}"
    if wrong:
        raise InputError(f"{where}.{wrong[0]}", expected=wrong[1], found=wrong[2])


def _read_choices(where: str, choices: Any) -> tuple[Any, ...]:
    if not isinstance(choices, list) or not choices:
        raise InputError(
            f"{where}.choices", expected="a list of at least one value", found=repr(choices)
        )
    labels = [json.dumps(c) for c in choices]
    twice = [c for c in labels if labels.count(c) > 1]
    if twice:
        raise InputError(f"{where}.choices", expected="each value once", found=f"{twice[0]} twice")
    return tuple(choices)


def _read_when(where: str, when: Any) -> When:
    if not isinstance(when, dict):
        raise InputError(
            f"{where}.when", expected="a mapping of parameters to values", found=repr(when)
        )
    return {name: tuple(v) if isinstance(v, list) else (v,) for name, v in when.items()}


def _known_keys(where: str, declared: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = [key for key in declared if key not in known]
    if unknown:
        raise InputError(
            where,
            expected=f"keys of {listed(known)}",
            found=repr(unknown[0]),
            hint=did_you_mean(str(unknown[0]), known),
        )


def _describe_when(when: When) -> dict[str, Any]:
    values = {name: v[0] if len(v) == 1 else list(v) for name, v in when.items()}
    return {"when": values} if values else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(a: Any, b: Any) -> bool:
    """Compare so that true is not 1."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def label(value: Any) -> Any:
    """Return a choice as Optuna stores it: scalars alone, so that a list goes there as JSON."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)
