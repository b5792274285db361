"""Local search on a grouping: one task into or out of one group at a time."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from task_affinity.grouping.objective import ALONE, Members, received, without_diagonal

TOLERANCE = 1e-12
"""Gains below this, relative to the score, are rounding."""


def polished(affinity: FloatArray, groups: Members) -> Members:
    """Improve a grouping until no move of one task in any of its groups raises the TAG score.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Row i receives from column j.
    groups : ndarray of bool [K, T]
        Groups such that each task is in one at least; a group may be empty.

    Returns
    -------
    ndarray of bool [K, T]
        A local optimum.
    """
    others = without_diagonal(affinity)
    groups = groups.copy()
    values = received(affinity, groups)
    idle, k = 0, 0
    while idle < len(groups):
        idle = 0 if _settled(others, groups, values, k) else idle + 1
        k = (k + 1) % len(groups)
    return groups


def _settled(others: FloatArray, groups: Members, values: FloatArray, k: int) -> bool:
    """Bring group `k` to its best, given the other groups, in place; say whether it changed."""
    rest = np.delete(values, k, axis=0).max(axis=0, initial=-np.inf)
    changed = False
    while True:
        gains = move_gains(others, rest, groups[k])
        task = gains.argmax()
        now = np.maximum(rest, values[k]).sum()
        if gains[task] <= TOLERANCE * (1 + abs(now)):
            return changed
        groups[k, task] ^= True
        values[k] = received(others, groups[k])
        changed = True


def move_gains(others: FloatArray, rest: FloatArray, members: Members) -> FloatArray:
    """Return by how much the score's sum rises if a task enters the group, or leaves it.

    Parameters
    ----------
    others : ndarray [T, T]
        Affinity with a diagonal of zeros.
    rest : ndarray [T]
        What each task receives in the best of the other groups, minus infinity if in none.
    members : ndarray of bool [T]
        The group.

    Returns
    -------
    ndarray [T]
        Minus infinity where a task would be left without a group.
    """
    gains = np.empty(len(members))
    inside, outside = np.flatnonzero(members), np.flatnonzero(~members)
    sums = others[np.ix_(inside, inside)].sum(axis=1)
    floor = rest[inside]
    now = np.maximum(floor, sums / (len(inside) - 1) if len(inside) > 1 else ALONE).sum()

    entering = (sums[:, None] + others[np.ix_(inside, outside)]) / max(len(inside), 1)
    own = others[np.ix_(outside, inside)].sum(axis=1) / len(inside) if len(inside) else ALONE
    kept = np.maximum(floor[:, None], entering).sum(axis=0)
    gains[outside] = kept - now + np.maximum(own - rest[outside], 0.0)

    if len(inside) > 2:
        left = (sums[:, None] - others[np.ix_(inside, inside)]) / (len(inside) - 2)
    else:
        left = np.full((len(inside), len(inside)), ALONE)
    np.fill_diagonal(left, -np.inf)
    gains[inside] = np.maximum(floor[:, None], left).sum(axis=0) - now
    return gains
