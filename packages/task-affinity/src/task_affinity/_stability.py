"""How sure a grouping is: the same grouping on bootstrap resamples of the measured batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import BoolArray, FloatArray

from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import TaskAffinityError
from task_affinity._grouping import Grouping, select_groups
from task_affinity._result import inverse_lengths


@dataclass(frozen=True, eq=False)
class GroupingStability:
    """A grouping, and how often resamples of the batches group the tasks alike.

    Parameters
    ----------
    task_names : tuple of str
        The tasks, in the order of rows and columns.
    co_assignment : ndarray [T, T]
        Share of the resamples in which two tasks stand in one group.
    grouping : Grouping
        The grouping by all batches.
    agreement : float
        Mean adjusted Rand index of the resamples' groupings to it, by the group that serves each
        task: 1 if all are the same, about 0 if they are random.
    n_bootstrap : int
        Number of resamples.
    """

    task_names: tuple[str, ...]
    co_assignment: FloatArray
    grouping: Grouping
    agreement: float
    n_bootstrap: int


def grouping_stability(
    sums: Any,
    counts: Any,
    task_names: Sequence[str],
    config: TaskAffinityConfig | None = None,
    *,
    normalize: bool = False,
) -> GroupingStability:
    """Group tasks again and again, with the batches drawn with replacement.

    Parameters
    ----------
    sums : array_like [S, T, T]
        Sum of affinities in each batch, or in each block of batches (`AffinityResult.block_sums`).
        Blocks that are short against the number of batches give the resamples their right spread.
    counts : array_like of int [S, T, T]
        How many batches of the block had the pair (`AffinityResult.block_counts`).
    task_names : sequence of str
        The tasks, in the order of rows and columns.
    config : TaskAffinityConfig or None
        Its `n_groups`, `clustering_method`, `n_bootstrap` and `seed` are read.
    normalize : bool
        Divide the means of i and j by the root of those of (i, i) and (j, j), as `dot_product`
        does at the end.

    Returns
    -------
    GroupingStability
        Of `n_bootstrap` resamples. A pair that no batch of a resample had counts with its mean
        over all batches.

    Raises
    ------
    TaskAffinityError
        If the shapes differ, there are fewer than two blocks, no resample is asked for, or the
        tasks cannot be grouped (see `TaskGrouper.cluster`).
    """
    from sklearn.metrics import adjusted_rand_score

    config = config or TaskAffinityConfig()
    names = tuple(task_names)
    sums, counts = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    _check(sums, counts, len(names), config.n_bootstrap)
    grouping = select_groups(_mean(sums.sum(0), counts.sum(0), None, normalize), names, config)
    together = np.zeros((len(names), len(names)))
    agreement = []
    for matrix in resampled(sums, counts, config.n_bootstrap, config.seed, normalize=normalize):
        again = select_groups(matrix, names, config)
        together += _share_a_group(again, names)
        # Rand index adjusted for chance (Hubert and Arabie 1985): of two random groupings it is 0.
        agreement.append(adjusted_rand_score(_served(grouping, names), _served(again, names)))
    return GroupingStability(
        task_names=names,
        co_assignment=together / config.n_bootstrap,
        grouping=grouping,
        agreement=float(np.mean(agreement)),
        n_bootstrap=config.n_bootstrap,
    )


def resampled(
    sums: FloatArray, counts: FloatArray, n_resamples: int, seed: int, *, normalize: bool = False
) -> Iterator[FloatArray]:
    """Yield affinities [T, T] of batches drawn with replacement; see `grouping_stability`."""
    generator = np.random.default_rng(seed)
    n_blocks, square = len(sums), sums.shape[1:]
    flat_sums, flat_counts = sums.reshape(n_blocks, -1), counts.reshape(n_blocks, -1)
    total = _mean(sums.sum(axis=0), counts.sum(axis=0), None, normalize=False)
    for _ in range(n_resamples):
        # How often each block is resampled is multinomial, so that a resample is one weighted sum
        # and no block is copied.
        times = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks)).astype(float)
        resampled_sums, resampled_counts = times @ flat_sums, times @ flat_counts
        yield _mean(
            resampled_sums.reshape(square), resampled_counts.reshape(square), total, normalize
        )


def _mean(
    sums: FloatArray, counts: FloatArray, otherwise: FloatArray | None, normalize: bool
) -> FloatArray:
    missing = np.full(sums.shape, np.nan) if otherwise is None else otherwise.copy()
    mean: FloatArray = np.divide(sums, counts, out=missing, where=counts > 0)
    if not normalize:
        return mean
    # After averaging, as models.md (section 2) has it: dividing per batch would be the mean cosine.
    inverse = inverse_lengths(mean)
    return mean * inverse * inverse[:, None]


def _share_a_group(grouping: Grouping, names: tuple[str, ...]) -> BoolArray:
    members = np.array([[name in group for name in names] for group in map(set, grouping.groups)])
    shared: BoolArray = members.T @ members
    return shared


def _served(grouping: Grouping, names: tuple[str, ...]) -> list[int]:
    return [grouping.assignment[name] for name in names]


def _check(sums: FloatArray, counts: FloatArray, n_tasks: int, n_bootstrap: int) -> None:
    if sums.ndim != 3 or sums.shape[1:] != (n_tasks, n_tasks) or counts.shape != sums.shape:
        raise TaskAffinityError(
            f"sums, counts: expected two arrays of shape (S, {n_tasks}, {n_tasks}), one row and"
            f" column per task; found {sums.shape} and {counts.shape}"
        )
    if len(sums) < 2:
        raise TaskAffinityError(
            f"sums: expected two batches or more to draw from; found {len(sums)}"
        )
    if n_bootstrap < 1:
        raise TaskAffinityError(f"n_bootstrap: expected 1 or more; found {n_bootstrap}")
