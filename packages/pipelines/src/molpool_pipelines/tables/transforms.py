"""Named conversions of target values, so that units and scales stand in the configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import FloatArray, InputError, listed

from molpool_pipelines.tables.config import Step, StepName

if TYPE_CHECKING:
    from polars import Series

def _micromolar(values: FloatArray, molar_mass: FloatArray) -> FloatArray:
    return values / molar_mass * 1000.0


_STEPS: dict[StepName, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "log10": lambda values, _: np.log10(values),
    "log10p1": lambda values, _: np.log10(values + 1.0),
    "exp10": lambda values, _: np.power(10.0, values),
    "ug_per_mL_to_uM": _micromolar,
}


def reverses_order(steps: Sequence[Step]) -> bool:
    """Return whether larger values become smaller ones, so that ``<`` becomes ``>``."""
    return sum(isinstance(step, dict) and step["multiply"] < 0 for step in steps) % 2 == 1


def transform(
    values: FloatArray,
    steps: Sequence[Step],
    *,
    molar_mass: FloatArray,
    name: str,
    where: str,
    rows: Sequence[int] | Series | None = None,
) -> FloatArray:
    """Apply conversions in order.

    Parameters
    ----------
    values : ndarray [N]
        Values as the table has them; NaN stays NaN.
    steps : sequence of Step
        ``log10``, ``log10p1`` (log10(x + 1)), ``exp10`` (10^x), ``ug_per_mL_to_uM`` (by molar
        mass), ``{multiply: factor}``.
    molar_mass : ndarray [N]
        g/mol, average isotopic composition.
    name, where : str
        Column and table, for messages.
    rows : sequence of int, optional
        Row numbers for messages, where `values` are not those of the whole table; by default
        1, 2, ...

    Returns
    -------
    ndarray [N]

    Raises
    ------
    InputError
        If a conversion is undefined for a value (log10 of a negative number), naming the rows.
    """
    result = values.astype(np.float64, copy=True)
    for step in steps:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if isinstance(step, dict):
                converted = result * step["multiply"]
            else:
                converted = _STEPS[step](result, molar_mass)
        bad = np.flatnonzero(np.isfinite(values) & ~np.isfinite(converted)).tolist()
        if bad:
            numbers = range(1, len(values) + 1) if rows is None else rows
            raise InputError(
                f"column {name!r}",
                expected=f"values for which {step} is defined",
                found=f"{values[bad[0]]:g} in row {numbers[bad[0]]}",
                where=where,
                hint=f"Rows: {listed([numbers[i] for i in bad])}." if len(bad) > 1 else None,
            )
        result = converted
    return result
