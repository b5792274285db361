"""Examples of a batch put together by the tasks that they have labels of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OVERHEAD = 2.0
"""What a backward pass costs however small, in examples of mean size."""


def label_blocks(
    labelled: NDArray[np.bool_], sizes: NDArray[np.float64], overhead: float = OVERHEAD
) -> list[NDArray[np.int64]]:
    """Divide examples so that going back once a task and block costs little in all.

    A block costs its size and the overhead for each task that any of its examples has, and once
    more for its forward pass. Examples of one label pattern stay together; starting from the
    patterns, the two blocks whose union saves most are joined until none saves.

    Parameters
    ----------
    labelled : ndarray of bool [B, T]
        Which labels there are.
    sizes : ndarray [B]
        Sizes of the examples, of mean 1.
    overhead : float
        Cost of a pass beside that of the examples in it.

    Returns
    -------
    list of ndarray of int
        Rows of each block, ascending; all B rows of a table with labels, each once.
    """
    patterns, inverse = np.unique(labelled, axis=0, return_inverse=True)
    tasks = patterns.astype(np.float64)
    size = np.bincount(inverse.ravel(), sizes, len(patterns)).astype(np.float64)
    members = [np.flatnonzero(inverse.ravel() == k) for k in range(len(patterns))]
    while len(members) > 1:
        first, second = _best_union(tasks, size, overhead)
        if first == second:
            break
        tasks[first] = np.maximum(tasks[first], tasks[second])
        size[first] += size[second]
        members[first] = np.sort(np.concatenate([members[first], members[second]]))
        tasks, size = np.delete(tasks, second, axis=0), np.delete(size, second)
        del members[second]
    return members


def _best_union(
    tasks: NDArray[np.float64], size: NDArray[np.float64], overhead: float
) -> tuple[int, int]:
    """Return the two blocks whose union saves most, or one block twice where none saves."""
    n = tasks.sum(axis=1)
    together = n[:, None] + n - tasks @ tasks.T
    apart = _cost(n, size, overhead)
    change = _cost(together, size[:, None] + size, overhead) - apart[:, None] - apart
    np.fill_diagonal(change, 0.0)
    first, second = np.unravel_index(np.argmin(change), change.shape)
    return int(first), int(second)


def _cost(
    n_tasks: NDArray[np.float64], size: NDArray[np.float64], overhead: float
) -> NDArray[np.float64]:
    cost: NDArray[np.float64] = (n_tasks + 1) * (size + overhead)
    return cost
