"""Small steps from what is given to arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mil_attn.errors import MILError


def positions(rows: ArrayLike, n: int) -> NDArray[np.int64]:
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


def take_rows(values: Any, rows: NDArray[np.int64]) -> Any:
    """Return some rows; None of None."""
    return None if values is None else values[rows]


def tensor_or_none(values: NDArray[Any] | None) -> torch.Tensor | None:
    """Return `tensor` of an array; None of None."""
    return None if values is None else tensor(values)


def tensor(values: NDArray[Any]) -> torch.Tensor:
    """Return an array as a tensor of single precision."""
    return torch.from_numpy(values.astype(np.float32, copy=False))
