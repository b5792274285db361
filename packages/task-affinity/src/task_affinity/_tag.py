"""TAG's groups, which may overlap: exact for few tasks, by beam search for many.

The objective is the mean over tasks of the affinity that each receives in its best group (Fifty et
al. 2021). From top to bottom: the objective; a local search that moves one task at a time; a beam
search that chooses a few of many groups; the beam search over complete groupings, whose polished
groups form the pool that the next round chooses from; and the proof.

Proven is a choice by branch and bound: with a price for serving each task, no choice of k groups is
worth more than the prices together and the k largest surpluses of a group over them (Lagrangian
relaxation of "each task is served once"). Good prices make that bound so tight that it mostly
proves the choice at hand, and leave few groups that could be in a better one; a mixed-integer
program settles the rest.
"""

from __future__ import annotations

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from task_affinity._clustering import agglomerative

ALONE = -1e6
"""What a task receives in a group of one, so that it is given company wherever it can be."""
GAIN_TOLERANCE = 1e-12
"""Gains below this, relative to the score, are rounding."""
UNSERVED = 10 * ALONE
"""Stands in for a task that no chosen group holds yet, so that halves of a choice compare."""
PROOF_TOLERANCE = 1e-10
"""Two choices that differ by less, relative to their worth, count as equally good."""
STEPS = 400
SPREAD = 1e3
"""Width to which values are scaled for the solver, whose own tolerance is 1e-6."""
TIME_LIMIT = 120.0
"""Seconds after which the solver gives its best without a proof."""
OPTIMAL, INFEASIBLE = 0, 2
WORK = 2_000
"""Starts times tasks: many tasks take fewer starts."""
ENTRIES = 4_000_000
"""Additions in one step of the beam search: many tasks take a smaller pool."""
ROUNDS = 20
PATIENCE = 4
EXACT_UP_TO = 12
"""Tasks up to which all 2^T - 1 groups are considered."""


def received(affinity: FloatArray, members: BoolArray) -> FloatArray:
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
    # With a diagonal of zeros one matmul sums over j in S, j != i (models.md, section 2).
    mean = members @ others.T / np.maximum(size - 1, 1)
    return np.where(members, np.where(size == 1, ALONE, mean), -np.inf)


def without_diagonal(affinity: FloatArray) -> FloatArray:
    """Return a copy with zeros on the diagonal."""
    others: FloatArray = affinity.copy()
    np.fill_diagonal(others, 0.0)
    return others


def tag_score(affinity: FloatArray, members: BoolArray) -> float:
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


def polished(affinity: FloatArray, groups: BoolArray) -> BoolArray:
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
    # Coordinate ascent: a local optimum is proven by one full round in which no group changed.
    idle, k = 0, 0
    while idle < len(groups):
        idle = 0 if _settled(others, groups, values, k) else idle + 1
        k = (k + 1) % len(groups)
    return groups


def _settled(others: FloatArray, groups: BoolArray, values: FloatArray, k: int) -> bool:
    """Bring group `k` to its best, given the other groups, in place; say whether it changed."""
    rest = np.delete(values, k, axis=0).max(axis=0, initial=-np.inf)
    changed = False
    while True:
        gains = move_gains(others, rest, groups[k])
        task = gains.argmax()
        now = np.maximum(rest, values[k]).sum()
        if gains[task] <= GAIN_TOLERANCE * (1 + abs(now)):
            return changed
        groups[k, task] ^= True
        values[k] = received(others, groups[k])
        changed = True


def move_gains(others: FloatArray, rest: FloatArray, members: BoolArray) -> FloatArray:
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

    # The size grows by one, so members' means divide by |S|. All moves are scored from the row sums
    # at once, O(T^2), where scoring each changed group anew would be O(T^3).
    entering = (sums[:, None] + others[np.ix_(inside, outside)]) / max(len(inside), 1)
    own = others[np.ix_(outside, inside)].sum(axis=1) / len(inside) if len(inside) else ALONE
    joined = np.maximum(floor[:, None], entering).sum(axis=0)
    gains[outside] = joined - now + np.maximum(own - rest[outside], 0.0)

    if len(inside) > 2:
        left = (sums[:, None] - others[np.ix_(inside, inside)]) / (len(inside) - 2)
    else:
        left = np.full((len(inside), len(inside)), ALONE)
    # A task does not receive from a group that it has left.
    np.fill_diagonal(left, -np.inf)
    gains[inside] = np.maximum(floor[:, None], left).sum(axis=0) - now
    return gains


def beam_choice(values: FloatArray, n_choose: int, width: int) -> IntArray:
    """Choose groups one at a time, going on with the `width` best choices after each.

    Parameters
    ----------
    values : ndarray [G, T]
        What each task receives in each group.
    n_choose : int
        How many to choose.
    width : int
        Choices that go on to the next step.

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
        # Several orders give one choice; a few more than `width` leave enough distinct ones.
        ranked = np.argsort(-worth, axis=None, kind="stable")[: 4 * width]
        state, group = np.unravel_index(ranked, worth.shape)
        # Sorted, the orders of one choice are equal rows.
        candidates = np.sort(np.column_stack([chosen[state], group]), axis=1)
        _, first = np.unique(candidates, axis=0, return_index=True)
        first = np.sort(first)[:width]
        chosen = candidates[first]
        best = np.maximum(best[state[first]], values[group[first]])
    return chosen


def _worth(best: FloatArray, values: FloatArray) -> FloatArray:
    """Return the worth [B, G] of each state with each group added, in little memory."""
    # One task per step: the broadcast over all tasks would hold B x G x T numbers at once.
    worth = np.zeros((len(best), len(values)))
    for task in range(values.shape[1]):
        worth += np.maximum(best[:, task, None], values[None, :, task])
    return worth


def beam_search(
    affinity: FloatArray,
    n_groups: int,
    seed: int,
    start: BoolArray | None = None,
    patience: int = PATIENCE,
) -> BoolArray:
    """Return at most `n_groups` groups with a high TAG score.

    Parameters
    ----------
    affinity : ndarray [T, T]
        Row i receives from column j.
    n_groups : int
        The most groups to make.
    seed : int
        Seed of the random starts.
    start : ndarray of bool [K, T] or None
        A grouping to start from beside the random ones.
    patience : int
        Rounds without a better grouping after which to stop.

    Returns
    -------
    ndarray of bool [K, T]
        Groups that may overlap; each task is in one at least.
    """
    n_tasks = len(affinity)
    width = int(np.clip(WORK // n_tasks, 4, 64))
    generator = np.random.default_rng(seed)
    states = random_states(n_tasks, n_groups, width, generator)
    if start is not None:
        states[0] = 0
        states[0, : len(start)] = start
    pool: BoolArray = np.empty((0, n_tasks), dtype=bool)
    best: BoolArray
    best, best_score, waited = states[0], -np.inf, 0
    for _ in range(ROUNDS):
        states = np.array([polished(affinity, state) for state in states])
        scores = np.array([tag_score(affinity, state) for state in states])
        waited = (
            0 if scores.max() > best_score + GAIN_TOLERANCE * (1 + abs(best_score)) else waited + 1
        )
        if scores.max() > best_score:
            best, best_score = states[scores.argmax()], scores.max()
        if waited == patience:
            break
        pool = _pooled(pool, states, affinity, limit=ENTRIES // (n_tasks * width))
        chosen = pool[beam_choice(received(affinity, pool), n_groups, width)[: width // 2]]
        # Half of the states intensify (recombine known groups), half diversify (iterated local
        # search).
        kicks = kicked(best, width - len(chosen), generator)
        states = _covered(np.concatenate([chosen, kicks]), generator)
    return best


def random_states(
    n_tasks: int, n_groups: int, n_states: int, generator: np.random.Generator
) -> BoolArray:
    """Return random groupings [S, K, T]; in every second one, tasks stand in further groups too."""
    states = np.zeros((n_states, n_groups, n_tasks), dtype=bool)
    home = generator.integers(n_groups, size=(n_states, n_tasks))
    np.put_along_axis(states, home[:, None, :], True, axis=1)
    # With this probability a task joins about one further group on average, whatever their number.
    states[::2] |= generator.random(states[::2].shape) < 1 / n_groups
    return states


def kicked(state: BoolArray, n_states: int, generator: np.random.Generator) -> BoolArray:
    """Return copies of a grouping [S, K, T] with one group of each redrawn."""
    states = np.repeat(state[None], n_states, axis=0)
    for copy in states:
        k = generator.integers(len(copy))
        size = generator.integers(2, max(3, 2 * int(copy.sum(axis=1).mean()) + 1))
        copy[k] = False
        copy[k, generator.permutation(copy.shape[1])[:size]] = True
    return states


def _covered(states: BoolArray, generator: np.random.Generator) -> BoolArray:
    """Put tasks that a grouping leaves out into a random group of it."""
    state, task = np.nonzero(~states.any(axis=1))
    states[state, generator.integers(states.shape[1], size=len(task)), task] = True
    return states


def _pooled(pool: BoolArray, states: BoolArray, affinity: FloatArray, limit: int) -> BoolArray:
    """Return the distinct groups of pool and states that hold a task, at most `limit` of them."""
    every = np.concatenate([states.reshape(-1, states.shape[2]), pool])
    every = every[every.any(axis=1)]
    # Packed, eight tasks are one byte: sorting the rows for uniqueness is the cost here.
    _, first = np.unique(np.packbits(every, axis=1), axis=0, return_index=True)
    every = every[np.sort(first)]
    if len(every) <= limit:
        return every
    worth = np.where(every, received(affinity, every), 0.0).sum(axis=1)
    return every[np.argsort(-worth, kind="stable")[:limit]]


def best_choice(values: FloatArray, n_choose: int, start: IntArray) -> tuple[IntArray, bool]:
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
    worth = _worth_of(values, start)
    bar = worth + PROOF_TOLERANCE * (1 + abs(worth))
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
    better = len(found) > 0 and _worth_of(values, rest[found]) > worth
    return (rest[found] if better else start), proven


def _worth_of(values: FloatArray, chosen: IntArray) -> float:
    return float(values[chosen].max(axis=0).sum())


def undominated(values: FloatArray) -> IntArray:
    """Return the groups such that no other gives each of their tasks as much; of equals, one."""
    larger_first = np.argsort(-np.isfinite(values).sum(axis=1), kind="stable")
    values = values[larger_first]
    alive = np.ones(len(values), dtype=bool)
    for k in range(len(values)):
        if alive[k]:
            # A group is dominated only by one with all of its tasks, which precedes it.
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
        # The Lagrangian dual: sum of prices + the k largest surpluses, an upper bound at any
        # prices.
        bound = float(prices.sum() + surplus[top].sum())
        waited += 1
        if bound < lowest:
            lowest, at, surplus_there, waited = bound, prices, surplus, 0
        slope = 1.0 - (excess[top] > 0).sum(axis=0)
        if lowest <= bar or not slope.any():
            break
        # Subgradient steps need not ascend; without progress halve them and go back to the best
        # prices (Held, Wolfe and Crowder, 1974).
        if waited == 5:
            pace, waited, prices = pace / 2, 0, at
            continue
        # Polyak's step, with the worth to be beaten for the unknown lowest bound.
        prices = prices - pace * (bound - bar) / (slope @ slope) * slope
    return lowest, surplus_there


def solved(values: FloatArray, n_choose: int) -> tuple[IntArray, bool]:
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
    # Gains of 1e-6 are common for cosines and would vanish in the solver's absolute tolerances.
    scaled = worth * (SPREAD / max(float(np.ptp(worth)), 1e-300))
    serve = np.arange(len(worth))
    once = sparse.csr_array((np.ones(len(worth)), (task, n_groups + serve)))
    by_chosen = sparse.csr_array(
        (np.repeat([1.0, -1.0], len(worth)), (np.tile(serve, 2), np.r_[n_groups + serve, group]))
    )
    count = np.r_[np.ones(n_groups), np.zeros(len(worth))]
    answer = milp(
        np.r_[np.zeros(n_groups), -scaled],
        # Only groups need to be integral: given those, the best assignment of tasks is a vertex.
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


def tag(affinity: FloatArray, n_groups: int, seed: int) -> tuple[BoolArray, bool]:
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
    # A group's bit mask less one is its row in `every`, since masks start at 1.
    at = good[good.any(axis=1)] @ (1 << np.arange(n_tasks)) - 1
    chosen, proven = best_choice(received(affinity, every), n_groups, at)
    return _that_serve(affinity, every[chosen]), proven


def serving(affinity: FloatArray, members: BoolArray) -> IntArray:
    """Return the group [T] in which each task receives most, the first of equals."""
    best: IntArray = received(affinity, members).argmax(axis=0)
    return best


def _that_serve(affinity: FloatArray, members: BoolArray) -> BoolArray:
    """Drop groups in which no task receives most."""
    return members[np.unique(serving(affinity, members))]
