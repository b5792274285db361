"""Clusters of tasks: average linkage, spectral; the number of groups by silhouette."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import cast

import numpy as np
from molpool_common import FloatArray, IntArray
from scipy.cluster.hierarchy import linkage, optimal_leaf_ordering
from scipy.spatial.distance import squareform


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


def cut(merges: FloatArray, n_groups: int) -> IntArray:
    """Return the cluster [T] of each task after all merges but the last ``n_groups - 1``.

    SciPy's `fcluster` makes fewer clusters than asked for where merges tie.
    """
    n_tasks = len(merges) + 1
    labels = np.arange(n_tasks)
    for step, (left, right) in enumerate(merges[: n_tasks - n_groups, :2].astype(int)):
        # A merge names its two parts by the number of the task, or of the merge that made them.
        labels[(labels == left) | (labels == right)] = n_tasks + step
    return labels


def agglomerative(affinity: FloatArray, n_groups: int) -> IntArray:
    """Return the cluster [T] of each task; see `tree` and `cut`."""
    if len(affinity) == 1:
        return np.zeros(1, dtype=np.intp)
    return cut(tree(affinity), n_groups)


def spectral(affinity: FloatArray, n_groups: int, seed: int) -> IntArray:
    """Return the cluster [T] of each task.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Symmetric, between -1 and 1.
    n_groups : int
        Number of clusters, 1 to T; every one gets a task.
    seed : int
        Seed of k-means in the space of eigenvectors.
    """
    n_tasks = len(affinity)
    if n_groups in (1, n_tasks):
        return np.arange(n_tasks) if n_groups > 1 else np.zeros(n_tasks, dtype=np.intp)
    from sklearn.cluster import SpectralClustering

    weights = np.clip(((affinity + affinity.T) / 2 + 1) / 2, 0.0, 1.0)
    clustering = SpectralClustering(n_groups, affinity="precomputed", random_state=seed)
    with warnings.catch_warnings():
        # Tasks that are all alike, or in parts without a tie, are the caller's data, not a fault.
        warnings.simplefilter("ignore")
        labels = clustering.fit_predict(weights)
    return _filled(np.asarray(labels, dtype=np.intp), n_groups)


def _filled(labels: IntArray, n_groups: int) -> IntArray:
    """Split the largest clusters until there are `n_groups`: k-means merges equal points."""
    labels = labels.copy()
    for label in range(n_groups):
        if not (labels == label).any():
            largest = np.bincount(labels, minlength=n_groups).argmax()
            labels[np.flatnonzero(labels == largest)[-1]] = label
    return labels


TASKS_PER_GROUP = 2.5


def silhouette(affinity: FloatArray, labels: IntArray) -> float:
    """Return the mean silhouette of tasks on the distance 1 - affinity.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Finite; an asymmetric one counts as the mean of its two directions.
    labels : ndarray of int [T]
        The cluster of each task.

    Returns
    -------
    float
        From -1 to 1; NaN unless there are 2 to T - 1 clusters.

    References
    ----------
    Rousseeuw (1987), J. Comput. Appl. Math. 20, 53-65.
    """
    if not 2 <= len(np.unique(labels)) < len(labels):
        return math.nan
    from sklearn.metrics import silhouette_score

    return float(silhouette_score(distances(affinity), labels, metric="precomputed"))


def choose_n_groups(n_tasks: int, score: Callable[[int], float]) -> tuple[int, dict[int, float]]:
    """Choose a number of groups near ``ceil(T / 2.5)``.

    Tries that number, one more and one less, and its halves down to 2, since many tasks may fall
    into few families; then goes on by one from the best until both of its neighbours are worse.

    Parameters
    ----------
    n_tasks : int
        Number of tasks T.
    score : callable
        Gives the score of a number of groups from 2 to T - 1, more being better.

    Returns
    -------
    tuple of (int, dict of int to float)
        The choice, the smallest of equals, and the scores of all that were tried. With fewer than
        three tasks there is nothing to compare, and the choice is ``ceil(T / 2.5)``.
    """
    first = math.ceil(n_tasks / TASKS_PER_GROUP)
    low, high = 2, n_tasks - 1
    if low > high:
        return first, {}
    best = min(max(first, low), high)
    scores = {n: score(n) for n in _halves(best, low)}
    while True:
        best = max(sorted(scores), key=lambda n: -math.inf if math.isnan(scores[n]) else scores[n])
        around = {best - 1, best + 1, first - 1, first + 1}
        new = [n for n in sorted(around) if low <= n <= high and n not in scores]
        if not new:
            return best, dict(sorted(scores.items()))
        scores |= {n: score(n) for n in new}


def _halves(n: int, low: int) -> list[int]:
    """Return n, n // 2, n // 4 and so on, as far as `low`."""
    halves = [n]
    while halves[-1] // 2 >= low:
        halves.append(halves[-1] // 2)
    return halves
