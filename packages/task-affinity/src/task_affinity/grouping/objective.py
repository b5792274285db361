"""TAG's objective: the mean over tasks of the affinity that each receives in its best group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from molpool_common import FloatArray
from numpy.typing import NDArray

Members = NDArray[np.bool_]

ALONE = -1e6
"""What a task receives in a group of one, so that it is given company wherever it can be."""


def received(affinity: FloatArray, members: Members) -> FloatArray:
    """Return what each task receives in each group.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Row i receives from column j. The diagonal is not read.
    members : ndarray of bool [..., T]
        Which tasks stand in each group.

    Returns
    -------
    ndarray [..., T]
        The mean of row i over the other members of the group, `ALONE` in a group of one, and
        minus infinity for tasks that are not in the group.
    """
    others = without_diagonal(affinity)
    size = members.sum(axis=-1, keepdims=True)
    mean = members @ others.T / np.maximum(size - 1, 1)
    return np.where(members, np.where(size == 1, ALONE, mean), -np.inf)


def without_diagonal(affinity: FloatArray) -> FloatArray:
    """Return a copy with zeros on the diagonal."""
    others: FloatArray = affinity.copy()
    np.fill_diagonal(others, 0.0)
    return others


def member_matrix(groups: Sequence[Sequence[int]], n_tasks: int) -> Members:
    """Return groups of task indices as a boolean matrix [K, T]."""
    members = np.zeros((len(groups), n_tasks), dtype=bool)
    for row, group in zip(members, groups, strict=True):
        row[list(group)] = True
    return members


def tag_score(affinity: FloatArray, members: Members) -> float:
    """Return the mean over tasks of the most that each receives in one of its groups.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Row i receives from column j.
    members : ndarray of bool [K, T]
        The groups, which may overlap.

    Returns
    -------
    float
        Minus infinity if a task is in no group.

    References
    ----------
    Fifty et al. (2021), Efficiently Identifying Task Groupings for Multi-Task Learning, section 3.
    """
    return float(received(affinity, members).max(axis=0).mean())
