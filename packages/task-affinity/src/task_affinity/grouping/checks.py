"""Refuse what cannot be grouped, naming parameter, expected and found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from molpool_common import FloatArray

from task_affinity.config import ClusteringMethod
from task_affinity.errors import TaskAffinityError, did_you_mean, listed

METHODS: tuple[str, ...] = get_args(ClusteringMethod)
SYMMETRIC = 1e-5
"""Largest difference across the diagonal that single-precision sums leave in cosines."""


def checked_method(method: str) -> str:
    """Return `method` if there is one of that name."""
    if method not in METHODS:
        raise TaskAffinityError(f"method: unknown {method!r}. {did_you_mean(str(method), METHODS)}")
    return method


def checked_affinity(affinity: Any, names: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Return matrix and names if they can be grouped.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j. The diagonal is not read.
    names : sequence of str
        The tasks, in the order of rows and columns.

    Returns
    -------
    tuple of (ndarray [T, T], list of str)
        The matrix as double precision, with ones on its diagonal.

    Raises
    ------
    TaskAffinityError
        If the matrix is not square or not finite off its diagonal, or the names do not fit it.
    """
    matrix = np.array(affinity, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise TaskAffinityError(
            f"affinity: expected a square matrix, a row a task; found shape {matrix.shape}"
        )
    names = [str(name) for name in names]
    if len(names) != len(matrix):
        raise TaskAffinityError(
            f"names: expected one a row of the matrix, {len(matrix)}; found {len(names)}"
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise TaskAffinityError(f"names: expected each task once; found twice: {listed(twice)}")
    np.fill_diagonal(matrix, 1.0)
    _check_finite(matrix, names)
    return matrix, names


def _check_finite(matrix: FloatArray, names: list[str]) -> None:
    bad = ~np.isfinite(matrix)
    if not bad.any():
        return
    i, j = np.nonzero(np.triu(bad | bad.T))
    pairs = [f"{names[a]} and {names[b]}" for a, b in zip(i, j, strict=True)]
    raise TaskAffinityError(
        f"affinity: expected finite numbers; found NaN or infinity between {listed(pairs)}."
        " No batch had labels of both, or a loss was not finite: measure longer or in larger"
        " batches, or leave tasks out"
    )


def checked_n_groups(n_groups: Any, n_tasks: int) -> int:
    """Return `n_groups` if that many groups can be made of the tasks."""
    whole = isinstance(n_groups, int | np.integer) and not isinstance(n_groups, bool)
    if not whole or not 1 <= n_groups <= n_tasks:
        raise TaskAffinityError(
            f"n_groups: expected 1 to {n_tasks}, the number of tasks, or 'auto'; found {n_groups!r}"
        )
    return int(n_groups)


def check_symmetric(matrix: FloatArray, names: list[str]) -> None:
    """Raise unless the matrix is symmetric, naming the pair that differs most."""
    difference = np.abs(matrix - matrix.T)
    i, j = np.unravel_index(difference.argmax(), matrix.shape)
    if difference[i, j] > SYMMETRIC * max(1.0, np.abs(matrix).max()):
        raise TaskAffinityError(
            f"affinity: expected a symmetric matrix for method 'spectral'; found"
            f" {matrix[i, j]:.4g} from {names[j]} to {names[i]} and {matrix[j, i]:.4g} back."
            " Use 'agglomerative' or 'tag'"
        )


def check_range(matrix: FloatArray, names: list[str]) -> None:
    """Raise unless affinities lie between -1 and 1, as those of cosines do."""
    i, j = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
    if np.abs(matrix[i, j]) > 1 + SYMMETRIC:
        raise TaskAffinityError(
            f"affinity: expected values from -1 to 1 for method 'spectral'; found"
            f" {matrix[i, j]:.4g} between {names[i]} and {names[j]}"
        )
