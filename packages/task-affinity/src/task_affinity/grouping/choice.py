"""Choose a few of many groups: a beam search, quick and without a proof.

A group is here the row of what each task receives in it, minus infinity where it is no member;
a choice is worth the sum over tasks of the best in its rows.
"""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray
from numpy.typing import NDArray

from task_affinity.grouping.objective import ALONE

UNSERVED = 10 * ALONE
"""Stands in for a task that no chosen group holds yet, so that halves of a choice compare."""


def beam_choice(values: FloatArray, n_choose: int, width: int) -> NDArray[np.intp]:
    """Choose groups one at a time, keeping the `width` best choices after each.

    Parameters
    ----------
    values : ndarray [G, T]
        What each task receives in each group.
    n_choose : int
        How many to choose.
    width : int
        Choices kept.

    Returns
    -------
    ndarray of int [B, n_choose]
        The last choices, best first. A group may stand in one twice where a further one
        would not help.
    """
    best = np.full((1, values.shape[1]), UNSERVED)
    chosen = np.empty((1, 0), dtype=np.intp)
    for _ in range(n_choose):
        worth = _worth(best, values)
        # Several orders reach one choice; a few more than `width` leave enough distinct ones.
        ranked = np.argsort(-worth, axis=None, kind="stable")[: 4 * width]
        state, group = np.unravel_index(ranked, worth.shape)
        candidates = np.sort(np.column_stack([chosen[state], group]), axis=1)
        _, first = np.unique(candidates, axis=0, return_index=True)
        first = np.sort(first)[:width]
        chosen = candidates[first]
        best = np.maximum(best[state[first]], values[group[first]])
    return chosen


def _worth(best: FloatArray, values: FloatArray) -> FloatArray:
    """Return the worth [B, G] of each state with each group added, in little memory."""
    worth = np.zeros((len(best), len(values)))
    for task in range(values.shape[1]):
        worth += np.maximum(best[:, task, None], values[None, :, task])
    return worth
