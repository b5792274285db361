"""TAG's groups, which may overlap: exact for few tasks, by beam search for many."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from task_affinity.grouping.agglomerative import Labels, agglomerative
from task_affinity.grouping.beam import beam_search
from task_affinity.grouping.exact import best_choice
from task_affinity.grouping.objective import Members, received

EXACT_UP_TO = 12
"""Tasks up to which all 2^T - 1 groups are considered."""


def tag(affinity: FloatArray, n_groups: int, seed: int) -> tuple[Members, bool]:
    """Return at most `n_groups` groups of the best TAG score.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Row i receives from column j. The diagonal is not read.
    n_groups : int
        The most groups to make.
    seed : int
        Seed of the search's starts; the exact score does not depend on it.

    Returns
    -------
    tuple of (ndarray of bool [K, T], bool)
        Groups, each of which serves a task best, and whether no others can score more.

    References
    ----------
    Fifty et al. (2021), Efficiently Identifying Task Groupings for Multi-Task Learning, section 3.
    """
    n_tasks = len(affinity)
    if n_tasks == 1:
        return np.ones((1, 1), dtype=bool), True
    labels = agglomerative(affinity, n_groups)
    start = labels == np.unique(labels)[:, None]
    if n_tasks > EXACT_UP_TO:
        return _that_serve(affinity, beam_search(affinity, n_groups, seed, start)), False
    good = beam_search(affinity, n_groups, seed, start, patience=1)
    numbers = np.arange(1, 2**n_tasks)
    every = ((numbers[:, None] >> np.arange(n_tasks)) & 1).astype(bool)
    at = good[good.any(axis=1)] @ (1 << np.arange(n_tasks)) - 1
    chosen, proven = best_choice(received(affinity, every), n_groups, at)
    return _that_serve(affinity, every[chosen]), proven


def serving(affinity: FloatArray, members: Members) -> Labels:
    """Return the group [T] in which each task receives most, the first of equals."""
    best: Labels = received(affinity, members).argmax(axis=0)
    return best


def _that_serve(affinity: FloatArray, members: Members) -> Members:
    """Drop groups in which no task receives most."""
    return members[np.unique(serving(affinity, members))]
