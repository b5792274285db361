"""SMILES and targets of a table, of pandas or polars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from task_affinity.errors import NoGradientStepsError, TaskAffinityError, did_you_mean, listed


def column(df: Any, name: str, parameter: str) -> NDArray[Any]:
    """Return a column of a table; `parameter` is what named it."""
    columns = [str(c) for c in df.columns]
    if name not in columns:
        raise TaskAffinityError(
            f"{parameter}: expected a column of the table; found {name!r}. "
            f"{did_you_mean(name, columns)}"
        )
    return np.asarray(df[name])


def target_table(df: Any, names: Sequence[str]) -> tuple[NDArray[np.float64], list[bool]]:
    """Return scaled targets, and which tasks have classes.

    Parameters
    ----------
    df : DataFrame
        Of pandas or polars.
    names : sequence of str
        Columns of the T tasks.

    Returns
    -------
    targets : ndarray [N, T]
        Values with mean 0 and variance 1 in each task; classes as they are; NaN without a label.
    is_class : list of bool
        Tasks that hold only 0 and 1.

    Raises
    ------
    TaskAffinityError
        If a column is missing, given twice or no number, or there is none.
    NoGradientStepsError
        If a task has no label.
    """
    if not names:
        raise TaskAffinityError("target_cols: expected at least one column; found none")
    twice = sorted({n for n in names if list(names).count(n) > 1})
    if twice:
        raise TaskAffinityError(
            f"target_cols: expected distinct names; found twice {listed(twice)}"
        )
    targets = np.column_stack([_numbers(column(df, n, "target_cols"), n) for n in names])
    empty = [n for n, y in zip(names, targets.T, strict=True) if not np.isfinite(y).any()]
    if empty:
        raise NoGradientStepsError(
            f"No gradient steps were performed for {listed(empty)}: expected values of "
            f"each task; found only missing ones"
        )
    is_class = [bool(np.isin(y[np.isfinite(y)], (0, 1)).all()) for y in targets.T]
    return _scaled(targets, is_class), is_class


def _numbers(column: NDArray[Any], name: str) -> NDArray[np.float64]:
    try:
        numbers = column.astype(np.float64)
    except (TypeError, ValueError):
        row, value = next((i, v) for i, v in enumerate(column) if not _is_number(v))
        raise TaskAffinityError(
            f"target_cols: expected numbers in {name!r}; found {value!r} in row {row}"
        ) from None
    if np.isinf(numbers).any():
        row = int(np.flatnonzero(np.isinf(numbers))[0])
        raise TaskAffinityError(
            f"target_cols: expected finite numbers or NaN in {name!r}; found {numbers[row]} in "
            f"row {row}"
        )
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(np.float64(value))
    except (TypeError, ValueError):
        return False
    return True


def _scaled(targets: NDArray[np.float64], is_class: Sequence[bool]) -> NDArray[np.float64]:
    mean = np.where(is_class, 0.0, np.nanmean(targets, axis=0))
    scale = np.where(is_class, 1.0, np.nanstd(targets, axis=0))
    return (targets - mean) / np.where(scale > 0, scale, 1.0)
