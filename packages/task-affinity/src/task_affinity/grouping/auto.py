"""The number of groups, by silhouette."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from molpool_common import FloatArray

from task_affinity.grouping.agglomerative import Labels, distances

TASKS_PER_GROUP = 2.5


def silhouette(affinity: FloatArray, labels: Labels) -> float:
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
