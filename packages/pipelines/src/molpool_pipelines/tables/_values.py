"""Measured values: conversions to the target's unit, and signs that make a label a bound.

A label's censoring is -1 where the true value is below it (``<``), +1 where it is above (``>``),
and 0 where it is the value itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    SignArray,
    listed,
)

from molpool_pipelines.tables._table_config import Step, StepName, TaskType

if TYPE_CHECKING:
    from polars import Series


def _micromolar(values: FloatArray, molar_mass: FloatArray) -> FloatArray:
    # µg/mL over g/mol is mmol/L.
    return values / molar_mass * 1000.0


_STEPS: dict[StepName, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "log10": lambda values, _: np.log10(values),
    "log10p1": lambda values, _: np.log10(values + 1.0),
    "exp10": lambda values, _: np.power(10.0, values),
    "ug_per_mL_to_uM": _micromolar,
    "asinh": lambda values, _: np.arcsinh(values),
    "logit": lambda values, _: np.log(values) - np.log1p(-values),
}


def reverses_order(steps: Sequence[Step]) -> bool:
    """Return whether larger values become smaller ones, so that ``<`` becomes ``>``."""
    return sum(isinstance(step, dict) and step["multiply"] < 0 for step in steps) % 2 == 1


def converted_unit(unit: str, steps: Sequence[Step]) -> str | None:
    """Return the unit of values after conversions; None where no word for it is known."""
    found: str | None = unit
    for step in steps:
        if isinstance(step, dict):
            found = None
        elif step == "exp10":
            found = unit if found == f"log10 {unit}" else None
        elif step == "ug_per_mL_to_uM":
            found = "µM"
        elif found is not None:
            found = f"log10 {found}" if step == "log10" else f"log10 ({found} + 1)"
    return found


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
        mass), ``asinh``, ``logit`` (log of x / (1 - x)), ``{multiply: factor}``.
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
        # Values outside the domain are reported below with their rows, not as a warning of numpy.
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if isinstance(step, dict):
                converted = result * step["multiply"]
            else:
                converted = _STEPS[step](result, molar_mass)
        # Against the input, so that missing labels stay missing and are no fault.
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


SIGNS = {"=": 0, "<": -1, "<=": -1, ">": 1, ">=": 1}
"""Censoring by sign; an empty cell is ``=``."""


def read_signs(
    frame: pl.DataFrame, column: str, *, where: str, rows: Sequence[int] | pl.Series
) -> SignArray:
    """Return the censoring that a column of signs says.

    Parameters
    ----------
    frame : DataFrame
        The table, N rows.
    column : str
        A column of it.
    where : str
        Name of the table, for messages.
    rows : sequence of int
        Row numbers, for messages.

    Returns
    -------
    ndarray of int8 [N]

    Raises
    ------
    InputError
        At an unknown sign, naming column, row and sign.
    """
    signs = frame[column].cast(pl.String).fill_null("").str.strip_chars()
    unknown = [i for i, sign in enumerate(signs) if sign and sign not in SIGNS]
    if unknown:
        raise InputError(
            f"column {column!r}",
            expected=f"one of {listed(list(SIGNS))} or nothing",
            found=f"{signs[unknown[0]]!r} in row {rows[unknown[0]]}",
            where=where,
            hint=f"Rows: {listed([rows[i] for i in unknown])}." if len(unknown) > 1 else None,
        )
    return np.array([SIGNS.get(sign, 0) for sign in signs], dtype=np.int8)


def exact_labels(targets: FloatArray, censoring: SignArray | None) -> FloatArray:
    """Return the targets [N, T] with NaN for those that are bounds."""
    return targets if censoring is None else np.where(censoring == 0, targets, np.nan)


_ROUNDING = 1e-14
"""Spread of equal labels over their size: means of repeats differ by a few units of 2.2e-16."""


def constant_notes(
    targets: FloatArray,
    task_names: Sequence[str],
    kinds: Sequence[TaskType],
    censoring: SignArray | None = None,
) -> list[str]:
    """Return a warning for each task whose training labels [N, T] are all one, or all bounds."""
    notes = []
    exact = exact_labels(targets, censoring)
    for t, name in enumerate(task_names):
        labels, values = (column[np.isfinite(column[:, t]), t] for column in (targets, exact))
        if len(labels) < 2:
            continue
        what = "class" if kinds[t] == "classification" else "value"
        if not len(values):
            found = f"all {len(labels):,} training labels are bounds"
        elif np.ptp(values) <= _ROUNDING * np.abs(values).max() and len(values) == len(labels):
            found = f"all {len(labels):,} training labels are the {what} {values[0]:g}"
        else:
            continue
        notes.append(
            f"{name}: {found}, from which no model learns what makes a difference. Add rows of "
            "another one, or leave the task out of --target-columns."
        )
    return notes


def describe_signs(targets: FloatArray, censoring: SignArray, task_names: Sequence[str]) -> str:
    """Return how many labels of each task are bounds, as ``LogD 16 >; KSOL 107 <, 4 >``."""
    parts = []
    labelled = np.isfinite(targets)
    for t, name in enumerate(task_names):
        counts = {
            sign: int((labelled[:, t] & (censoring[:, t] == code)).sum())
            for sign, code in (("<", -1), (">", 1))
        }
        if any(counts.values()):
            parts.append(f"{name} " + ", ".join(f"{n:,} {s}" for s, n in counts.items() if n))
    return "; ".join(parts)


def merge_bounds(
    targets: FloatArray,
    censoring: SignArray,
    molecule: IntArray,
    merged: FloatArray,
) -> tuple[FloatArray, SignArray]:
    """Add to merged exact labels the bounds of molecules that have nothing else.

    Parameters
    ----------
    targets, censoring : ndarray [N, T]
        Labels before merging.
    molecule : ndarray of int64 [N]
        Number of each row's molecule, 0 to M - 1.
    merged : ndarray [M, T]
        Merged exact labels, NaN where a molecule has none.

    Returns
    -------
    targets : ndarray [M, T]
        An exact label outweighs bounds. Of bounds in one direction the tightest is left; of bounds
        in both directions none, as a label cannot hold two.
    censoring : ndarray of int8 [M, T]
    """
    above, below = np.full(merged.shape, -np.inf), np.full(merged.shape, np.inf)
    np.maximum.at(above, molecule, np.where((censoring > 0) & ~np.isnan(targets), targets, -np.inf))
    np.minimum.at(below, molecule, np.where((censoring < 0) & ~np.isnan(targets), targets, np.inf))
    # An exact label beats any bound of the same molecule.
    free = np.isnan(merged)
    # Bounds on both sides are an interval, which no loss here takes: neither becomes a label.
    only_above = free & np.isfinite(above) & np.isinf(below)
    only_below = free & np.isfinite(below) & np.isinf(above)
    labels = np.where(only_above, above, np.where(only_below, below, merged))
    return labels, only_above.astype(np.int8) - only_below.astype(np.int8)
