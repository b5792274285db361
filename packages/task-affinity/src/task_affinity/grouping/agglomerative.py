"""Average-linkage clustering of tasks on the distance 1 - affinity."""

from __future__ import annotations

from typing import cast

import numpy as np
from molpool_common import FloatArray
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform

Labels = NDArray[np.intp]


def distances(affinity: FloatArray) -> FloatArray:
    """Return 1 - affinity between tasks, the mean of both directions, zero on the diagonal.

    Where an affinity exceeds 1 all distances are shifted by the same amount to stay positive,
    which leaves the tree as it is.
    """
    mutual = (affinity + affinity.T) / 2
    off = mutual[~np.eye(len(mutual), dtype=bool)]
    result: FloatArray = max(1.0, float(off.max(initial=1.0))) - mutual
    np.fill_diagonal(result, 0.0)
    return result


def tree(affinity: FloatArray, *, ordered: bool = False) -> FloatArray:
    """Return SciPy's linkage matrix [T - 1, 4]; T of at least 2.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Finite; an asymmetric one counts as the mean of its two directions.
    ordered : bool
        Turn the branches so that leaves side by side are alike.
    """
    condensed = squareform(distances(affinity), checks=False)
    merges = linkage(condensed, method="average")
    return cast(FloatArray, optimal_leaf_ordering(merges, condensed) if ordered else merges)


def cut(merges: FloatArray, n_groups: int) -> Labels:
    """Return the cluster [T] of each task after all merges but the last ``n_groups - 1``.

    SciPy's `fcluster` makes fewer clusters than asked for where merges tie.
    """
    n_tasks = len(merges) + 1
    labels = np.arange(n_tasks)
    for step, (left, right) in enumerate(merges[: n_tasks - n_groups, :2].astype(int)):
        # A merge names its two parts by the number of the task, or of the merge that made them.
        labels[(labels == left) | (labels == right)] = n_tasks + step
    return labels


def agglomerative(affinity: FloatArray, n_groups: int) -> Labels:
    """Return the cluster [T] of each task; see `tree` and `cut`."""
    if len(affinity) == 1:
        return np.zeros(1, dtype=np.intp)
    return cut(tree(affinity), n_groups)
