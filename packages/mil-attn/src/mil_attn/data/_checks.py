"""Checks of what data hold (shapes, features, labels), and steps to arrays and tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from molpool_common import Float32Array, FloatArray, IntArray, listed
from numpy.typing import ArrayLike, NDArray

from mil_attn._errors import MILError

_BLOCK = 1 << 16
"""Rows looked at together, so that a check needs little memory beside the data."""


def check_shape(name: str, array: NDArray[np.generic], rows: int, columns: int) -> None:
    """Raise MILError unless an array is [rows, columns]."""
    if array.shape != (rows, columns):
        raise MILError(f"{name}: expected shape [{rows}, {columns}]; found {list(array.shape)}.")


def check_distinct(name: str, values: Sequence[str]) -> None:
    """Raise MILError if a value comes twice; names it."""
    if len(set(values)) == len(values):
        return
    seen: set[str] = set()
    twice = [v for v in values if v in seen or seen.add(v)]  # type: ignore[func-returns-value]
    raise MILError(
        f"{name}: expected distinct values; found twice {listed([repr(v) for v in twice])}."
    )


def check_features(
    name: str,
    values: Float32Array,
    columns: Sequence[str],
    row_name: Callable[[int], str],
    *,
    undefined_ok: bool = False,
) -> None:
    """Raise MILError at a feature that is not finite.

    Parameters
    ----------
    name : str
        What is checked, for the message.
    values : ndarray [R, F]
        Features.
    columns : sequence of str
        Names of the columns.
    row_name : callable
        What a row is called in the message.
    undefined_ok : bool
        Whether NaN passes, as a value that is not defined.

    Raises
    ------
    MILError
        Naming the first row and column, and how many there are.
    """
    first, count = None, 0
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        bad = np.isinf(block) if undefined_ok else ~np.isfinite(block)
        if bad.any():
            found = np.argwhere(bad)
            count += len(found)
            if first is None:
                first = (start + int(found[0, 0]), int(found[0, 1]))
    if first is not None:
        r, c = first
        others = f" ({count} such values)" if count > 1 else ""
        raise MILError(
            f"{name}: expected finite numbers; found {values[r, c]} in {row_name(r)}, "
            f"column {columns[c]!r}{others}."
        )


def check_classes(labels: FloatArray, task_names: Sequence[str], ids: Sequence[str]) -> None:
    """Raise MILError at a label that is not 0, 1 or NaN; names bag and task."""
    bad = np.argwhere(~(np.isnan(labels) | np.isin(labels, (0.0, 1.0))))
    if len(bad):
        row, task = bad[0].tolist()
        raise MILError(
            f"labels of task {task_names[task]!r}: expected 0, 1 or NaN (missing); "
            f"found {labels[row, task]:g} in bag {ids[row]!r}, row {row + 1}"
            + (f" ({len(bad)} such labels)." if len(bad) > 1 else ".")
        )


def check_targets(
    name: str, values: FloatArray, columns: Sequence[str], ids: Sequence[str]
) -> None:
    """Raise MILError at an infinite target; names bag and column."""
    bad = np.argwhere(np.isinf(values))
    if len(bad):
        row, column = bad[0].tolist()
        raise MILError(
            f"{name} {columns[column]!r}: expected finite values or NaN (missing); "
            f"found infinity in bag {ids[row]!r}, row {row + 1}."
        )


def check_weights(name: str, weights: FloatArray, ids: Sequence[str]) -> None:
    """Raise MILError at a weight that is negative or not finite; names the bag."""
    bad = np.argwhere(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        row, column = bad[0].tolist()
        raise MILError(
            f"{name}: expected finite numbers that are not negative; "
            f"found {weights[row, column]:g} in bag {ids[row]!r}, column {column + 1}."
        )


def positions(rows: ArrayLike, n: int) -> IntArray:
    """Return positions among n bags, given so or as a mask.

    Raises
    ------
    MILError
        If they are something else or out of range.
    """
    given = np.asarray(rows)
    if given.dtype == np.bool_:
        if given.shape != (n,):
            raise MILError(f"rows: expected a mask of shape [{n}]; found {list(given.shape)}.")
        given = np.flatnonzero(given)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise MILError(f"rows: expected positions [R]; found {given.dtype}, {list(given.shape)}.")
    picked = given.astype(np.int64)
    if picked.size and not (picked.min() >= 0 and picked.max() < n):
        raise MILError(
            f"rows: expected positions from 0 to {n - 1}; found {picked.min()} to {picked.max()}."
        )
    return picked


def as_array(name: str, value: Any, dtype: type, dim: int) -> Any:
    """Return an array of a type, with its number of dimensions checked; None stays None."""
    if value is None:
        return None
    array: NDArray[Any] = np.asarray(value, dtype=dtype)
    if array.ndim != dim:
        raise MILError(f"{name}: expected {dim} dimensions; found shape {list(array.shape)}.")
    return array


def numbered(values: NDArray[Any] | None, prefix: str) -> tuple[str, ...]:
    """Return names of columns by their number, from 1."""
    return () if values is None else tuple(f"{prefix}{i + 1}" for i in range(values.shape[1]))


def take_rows(values: Any, rows: IntArray) -> Any:
    """Return some rows; None of None."""
    return None if values is None else values[rows]


def tensor_or_none(values: NDArray[Any] | None) -> torch.Tensor | None:
    """Return `tensor` of an array; None of None."""
    return None if values is None else tensor(values)


def tensor(values: NDArray[Any]) -> torch.Tensor:
    """Return an array as a tensor of single precision."""
    return torch.from_numpy(values.astype(np.float32, copy=False))
