"""Scales on which models work, and the way back to the units of the table.

All of them rise: intervals keep their order, and an upper bound stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common.tables._settings import ScaleName

_LN10 = float(np.log(10.0))

_FORWARD: dict[ScaleName, Callable[[FloatArray], FloatArray]] = {
    "none": lambda x: x,
    "log10": np.log10,
    "log10p1": lambda x: np.log1p(x) / _LN10,
    "asinh": np.arcsinh,
    "logit": lambda x: np.log(x) - np.log1p(-x),
}

_BACK: dict[ScaleName, Callable[[FloatArray], FloatArray]] = {
    "none": lambda z: z,
    "log10": lambda z: np.power(10.0, z),
    "log10p1": lambda z: np.expm1(z * _LN10),
    "asinh": np.sinh,
    "logit": lambda z: 1 / (1 + np.exp(-z)),
}

_SLOPE: dict[ScaleName, Callable[[FloatArray], FloatArray]] = {
    "none": np.ones_like,
    "log10": lambda z: np.power(10.0, z) * _LN10,
    "log10p1": lambda z: np.power(10.0, z) * _LN10,
    "asinh": np.cosh,
    "logit": lambda z: 0.25 / np.cosh(z / 2) ** 2,
}
"""Derivative of the way back, at a value on the scale."""

SCALE_WORDS: dict[ScaleName, str] = {
    "log10": "log10 x",
    "log10p1": "log10(x + 1)",
    "asinh": "asinh x",
    "logit": "log(x / (1 - x))",
}
"""What the scales are, in a formula."""


def to_scale(values: FloatArray, names: Sequence[ScaleName]) -> FloatArray:
    """Return values [N, T] on the scale of each task; NaN where it is undefined."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = _by_task(_FORWARD, values, names)
    return np.where(np.isfinite(found), found, np.nan)


def from_scale(values: FloatArray, names: Sequence[ScaleName]) -> FloatArray:
    """Return values [N, T] in the units of the table.

    An infinite end of an interval stays infinite: nothing is known beyond it on any scale.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return np.where(np.isfinite(values), _by_task(_BACK, values, names), values)


def spread_from_scale(sd: FloatArray, values: FloatArray, names: Sequence[ScaleName]) -> FloatArray:
    """Return standard deviations [N, T] in the units of the table, to first order.

    Parameters
    ----------
    sd, values : ndarray [N, T]
        Standard deviations, and the values that they are of, on the scale.
    names : sequence of str, length T
        The scales.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return sd * _by_task(_SLOPE, values, names)


def _by_task(
    functions: dict[ScaleName, Callable[[FloatArray], FloatArray]],
    values: FloatArray,
    names: Sequence[ScaleName],
) -> FloatArray:
    columns = [functions[name](values[:, t]) for t, name in enumerate(names)]
    return np.stack(columns, axis=1) if columns else values
