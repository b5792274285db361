"""The exponent α of task oversampling: one check for samplers and configuration."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import TypeGuard

from sampling_core.errors import SamplingError


def is_finite_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a finite real number; True and False are none."""
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
