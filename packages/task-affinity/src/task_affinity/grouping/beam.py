"""Groups of many tasks: local searches give a pool of good groups, a beam search chooses of them.

Found groupings are polished, their groups join the pool, and so on until a round brings nothing.
"""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from task_affinity.grouping.choice import beam_choice
from task_affinity.grouping.local import TOLERANCE, polished
from task_affinity.grouping.objective import Members, received, tag_score

WORK = 2_000
"""Starts times tasks: many tasks take fewer starts."""
ENTRIES = 4_000_000
"""Additions in one step of the beam search: many tasks take a smaller pool."""
ROUNDS = 20
PATIENCE = 4


def beam_search(
    affinity: FloatArray,
    n_groups: int,
    seed: int,
    start: Members | None = None,
    patience: int = PATIENCE,
) -> Members:
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
    pool: Members = np.empty((0, n_tasks), dtype=bool)
    best: Members
    best, best_score, waited = states[0], -np.inf, 0
    for _ in range(ROUNDS):
        states = np.array([polished(affinity, state) for state in states])
        scores = np.array([tag_score(affinity, state) for state in states])
        waited = 0 if scores.max() > best_score + TOLERANCE * (1 + abs(best_score)) else waited + 1
        if scores.max() > best_score:
            best, best_score = states[scores.argmax()], scores.max()
        if waited == patience:
            break
        pool = _pooled(pool, states, affinity, limit=ENTRIES // (n_tasks * width))
        chosen = pool[beam_choice(received(affinity, pool), n_groups, width)[: width // 2]]
        kicks = kicked(best, width - len(chosen), generator)
        states = _covered(np.concatenate([chosen, kicks]), generator)
    return best


def random_states(
    n_tasks: int, n_groups: int, n_states: int, generator: np.random.Generator
) -> Members:
    """Return random groupings [S, K, T]; in every second one, tasks stand in further groups too."""
    states = np.zeros((n_states, n_groups, n_tasks), dtype=bool)
    home = generator.integers(n_groups, size=(n_states, n_tasks))
    np.put_along_axis(states, home[:, None, :], True, axis=1)
    states[::2] |= generator.random(states[::2].shape) < 1 / n_groups
    return states


def kicked(state: Members, n_states: int, generator: np.random.Generator) -> Members:
    """Return copies of a grouping [S, K, T] with one group of each redrawn."""
    states = np.repeat(state[None], n_states, axis=0)
    for copy in states:
        k = generator.integers(len(copy))
        size = generator.integers(2, max(3, 2 * int(copy.sum(axis=1).mean()) + 1))
        copy[k] = False
        copy[k, generator.permutation(copy.shape[1])[:size]] = True
    return states


def _covered(states: Members, generator: np.random.Generator) -> Members:
    """Put tasks that a grouping leaves out into a random group of it."""
    state, task = np.nonzero(~states.any(axis=1))
    states[state, generator.integers(states.shape[1], size=len(task)), task] = True
    return states


def _pooled(pool: Members, states: Members, affinity: FloatArray, limit: int) -> Members:
    """Return the distinct groups of pool and states that hold a task, at most `limit` of them."""
    every = np.concatenate([states.reshape(-1, states.shape[2]), pool])
    every = every[every.any(axis=1)]
    _, first = np.unique(np.packbits(every, axis=1), axis=0, return_index=True)
    every = every[np.sort(first)]
    if len(every) <= limit:
        return every
    worth = np.where(every, received(affinity, every), 0.0).sum(axis=1)
    return every[np.argsort(-worth, kind="stable")[:limit]]
