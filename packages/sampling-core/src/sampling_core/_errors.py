"""The package's exception, and the checks of numbers that samplers and configuration share."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TypeGuard

from molpool_common import listed


class SamplingError(ValueError):
    """What the caller gave cannot be sampled from; the message says what, where and what would do.

    `exit_code` is what a command that stops on it returns: 2, the input is wrong.
    """

    exit_code = 2


def is_finite_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite real number; True and False are none."""
    # numpy's scalars register as Real, and so does bool.
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    return math.isfinite(value)


def check_alpha(alpha: object, name: str = "alpha") -> float:
    """Return α as a float; warn where it lies outside [0, 1].

    Raises
    ------
    SamplingError
        If it is no finite number.
    """
    if not is_finite_number(alpha):
        raise SamplingError(f"{name}: expected a finite number, found {alpha!r}")
    value = float(alpha)
    if not 0.0 <= value <= 1.0:
        warnings.warn(
            f"{name} = {value:g} lies outside [0, 1], from uniform over tasks (0) to inverse"
            " label count (1); it is used as given",
            UserWarning,
            stacklevel=3,
        )
    return value


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return an integer, or raise with what is wrong about it."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < least:
        raise SamplingError(f"{name}: expected a whole number >= {least}, found {value!r}")
    return number


def require_keys(state: Mapping[str, object], keys: Sequence[str], what: str) -> None:
    """Refuse the state of a checkpoint that lacks a key."""
    missing = [repr(key) for key in keys if key not in state]
    if missing:
        raise SamplingError(f"{what}: no {listed(missing)}")
