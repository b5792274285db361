"""The best choice of a few of many groups, proven by branch and bound.

With a price for serving each task, no choice of k groups is worth more than the prices together
and the k largest surpluses of a group over them (Lagrangian relaxation of "each task is served
once"). Good prices make that bound so tight that it mostly proves the choice at hand, and leave
few groups that could be in a better one; a mixed-integer program settles the rest.
"""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

TOLERANCE = 1e-10
"""Two choices that differ by less, relative to their worth, count as equally good."""
STEPS = 400
SPREAD = 1e3
"""Width to which values are scaled for the solver, whose own tolerance is 1e-6."""

TIME_LIMIT = 120.0
"""Seconds after which the solver gives its best without a proof."""
OPTIMAL, INFEASIBLE = 0, 2

Indices = NDArray[np.intp]


def best_choice(values: FloatArray, n_choose: int, start: Indices) -> tuple[Indices, bool]:
    """Choose at most `n_choose` groups worth the most.

    Parameters
    ----------
    values : ndarray [G, T]
        What each of two tasks or more receives in each group, minus infinity where it is no member.
    n_choose : int
        The most groups to choose.
    start : ndarray of int
        A good choice to begin with; the better it is, the less is left to search.

    Returns
    -------
    tuple of (ndarray of int, bool)
        The choice of the largest sum over tasks of the best in its rows, and whether that is
        proven to within rounding.
    """
    worth = _worth(values, start)
    bar = worth + TOLERANCE * (1 + abs(worth))
    # A task alone is never served better than in company.
    shared = np.flatnonzero(np.isfinite(values).sum(axis=1) > 1)
    rest = shared[undominated(values[shared])]
    bound, surplus = lowest_bound(values[rest], n_choose, values[start].max(axis=0), bar)
    if bound <= bar:
        return start, True
    # A group with less surplus than the k-th lowers the bound by the difference once chosen.
    least = np.sort(surplus)[-n_choose:].min()
    rest = rest[bound - np.maximum(least - surplus, 0.0) > bar]
    found, proven = solved(values[rest], n_choose)
    better = len(found) > 0 and _worth(values, rest[found]) > worth
    return (rest[found] if better else start), proven


def _worth(values: FloatArray, chosen: Indices) -> float:
    return float(values[chosen].max(axis=0).sum())


def undominated(values: FloatArray) -> Indices:
    """Return the groups such that no other gives each of their tasks as much; of equals, one."""
    larger_first = np.argsort(-np.isfinite(values).sum(axis=1), kind="stable")
    values = values[larger_first]
    alive = np.ones(len(values), dtype=bool)
    for k in range(len(values)):
        if alive[k]:
            # A group is dominated only by one with all of its tasks, which comes earlier.
            rest = k + 1 + np.flatnonzero(alive[k + 1 :])
            alive[rest[(values[rest] <= values[k]).all(axis=1)]] = False
    return larger_first[alive]


def lowest_bound(
    values: FloatArray, n_choose: int, prices: FloatArray, bar: float
) -> tuple[float, FloatArray]:
    """Lower the bound on the worth of a choice by moving the prices along subgradients.

    Parameters
    ----------
    values : ndarray [G, T]
        What each task receives in each group.
    n_choose : int
        The most groups to choose.
    prices : ndarray [T]
        Prices to begin with.
    bar : float
        A bound at or below it is low enough.

    Returns
    -------
    tuple of (float, ndarray [G])
        The bound, and the surplus of each group over the prices at which it stands.
    """
    lowest, at, surplus_there = np.inf, prices, np.empty(0)
    pace, waited = 1.0, 0
    for _ in range(STEPS):
        excess = np.maximum(values - prices, 0.0)
        surplus = excess.sum(axis=1)
        top = np.argsort(-surplus, kind="stable")[:n_choose]
        bound = float(prices.sum() + surplus[top].sum())
        waited += 1
        if bound < lowest:
            lowest, at, surplus_there, waited = bound, prices, surplus, 0
        slope = 1.0 - (excess[top] > 0).sum(axis=0)
        if lowest <= bar or not slope.any():
            break
        if waited == 5:
            pace, waited, prices = pace / 2, 0, at
            continue
        # Polyak's step, with the worth to be beaten for the unknown lowest bound.
        prices = prices - pace * (bound - bar) / (slope @ slope) * slope
    return lowest, surplus_there


def solved(values: FloatArray, n_choose: int) -> tuple[Indices, bool]:
    """Solve the choice as a mixed-integer program, by HiGHS's branch and bound.

    A group is chosen or not; a task is served once, by a chosen group that holds it.

    Returns
    -------
    tuple of (ndarray of int, bool)
        The chosen rows of `values`, and whether the solver ended with a proof.
    """
    n_groups = len(values)
    if n_groups == 0:
        return np.empty(0, dtype=np.intp), True
    group, task = np.nonzero(np.isfinite(values))
    worth = values[group, task]
    scaled = worth * (SPREAD / max(float(np.ptp(worth)), 1e-300))
    serve = np.arange(len(worth))
    once = sparse.csr_array((np.ones(len(worth)), (task, n_groups + serve)))
    by_chosen = sparse.csr_array(
        (np.repeat([1.0, -1.0], len(worth)), (np.tile(serve, 2), np.r_[n_groups + serve, group]))
    )
    count = np.r_[np.ones(n_groups), np.zeros(len(worth))]
    answer = milp(
        np.r_[np.zeros(n_groups), -scaled],
        integrality=count,
        bounds=Bounds(0, 1),
        constraints=[
            LinearConstraint(once, 1, 1),
            LinearConstraint(by_chosen, -np.inf, 0),
            LinearConstraint(count[None], 0, n_choose),
        ],
        options={"mip_rel_gap": 0.0, "time_limit": TIME_LIMIT},
    )
    if answer.x is None:
        return np.empty(0, dtype=np.intp), answer.status == INFEASIBLE
    return np.flatnonzero(answer.x[:n_groups] > 0.5), answer.status == OPTIMAL
