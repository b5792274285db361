"""Groups of tasks from affinities: how sure they are, which pairs stand out, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray
from task_affinity import (
    AffinityResult,
    Grouping,
    GroupingStability,
    grouping_stability,
    select_groups,
)

from molpool_pipelines.runs import AFFINITY, GROUPS

CLEAR = 2.0
"""Standard errors beyond which two affinities, or one and zero, count as different."""
MOST_TAG = 12
"""Tasks up to which `tag` groups resamples in a training run; beyond, each search takes seconds."""


@dataclass(frozen=True)
class Pair:
    """What one task receives from another; of a symmetric affinity, what they share.

    Parameters
    ----------
    rank : int
        From 1, the highest affinity first.
    receiver, giver : str
        The tasks.
    affinity, error : float
        Affinity and its standard error over batches, NaN where a single batch had the pair.
    batches : int
        Measured batches that had labels of both.
    together : float or None
        Share of the resamples that put both into one group; None without resamples.
    """

    rank: int
    receiver: str
    giver: str
    affinity: float
    error: float
    batches: int
    together: float | None = None

    @property
    def reading(self) -> str:
        """Whether it is clear of zero: agree, conflict, or unclear."""
        # Negated rather than `<=`: a NaN error (a single batch) is unclear too.
        if not abs(self.affinity) > CLEAR * self.error:
            return "unclear"
        return "agree" if self.affinity > 0 else "conflict"


@dataclass(frozen=True)
class Partner:
    """The two tasks of highest affinity to one.

    Parameters
    ----------
    task, best : str
        The task, and the one it receives most from.
    affinity, error : float
        What it receives, and its standard error.
    second : str or None
        The next one; None of two tasks.
    lead : float or None
        How much less the task receives from it.
    reading : str or None
        ``clear`` where the lead is more than `CLEAR` standard errors of the difference, the two
        taken as independent; ``unclear`` otherwise; None without a second.
    """

    task: str
    best: str
    affinity: float
    error: float
    second: str | None = None
    lead: float | None = None
    reading: str | None = None


@dataclass(frozen=True)
class Affinity:
    """What was measured, and the groups that it makes.

    Parameters
    ----------
    result : AffinityResult
        Affinities with standard errors.
    grouping : Grouping
        Groups by all batches, and the group that serves each task.
    stability : GroupingStability or None
        By resamples of the batches; None where there were fewer than two or none were asked for.
    """

    result: AffinityResult
    grouping: Grouping
    stability: GroupingStability | None = None

    @property
    def is_tree(self) -> bool:
        """Whether the groups are branches of the dendrogram."""
        return self.grouping.method == "agglomerative"

    @property
    def is_symmetric(self) -> bool:
        """Whether both directions of a pair have one affinity."""
        return is_symmetric(self.result)

    def cohesion(self) -> list[float]:
        """Return for each group the mean share of resamples that put two of its tasks together.

        NaN for a group of one task, or without resamples.
        """
        if self.stability is None:
            return [float("nan")] * self.grouping.n_groups
        place = {name: i for i, name in enumerate(self.stability.task_names)}
        shares = []
        for tasks in self.grouping.groups:
            at = [place[task] for task in tasks]
            within = self.stability.co_assignment[np.ix_(at, at)][np.triu_indices(len(at), 1)]
            shares.append(float(within.mean()) if within.size else float("nan"))
        return shares

    def pairs(self, limit: int | None = None) -> list[Pair]:
        """Return the pairs that have an affinity, the highest first, or so many from each end."""
        together = None if self.stability is None else self.stability.co_assignment
        result = self.result
        return ranked_pairs(
            result.task_names,
            result.matrix,
            result.standard_errors,
            result.counts,
            symmetric=self.is_symmetric,
            limit=limit,
            together=together,
        )


def is_symmetric(result: AffinityResult) -> bool:
    """Return whether both directions of a pair have one affinity."""
    return result.config.affinity_type != "lookahead"


def ranked_pairs(
    names: Sequence[str],
    matrix: FloatArray,
    errors: FloatArray,
    counts: IntArray,
    *,
    symmetric: bool,
    limit: int | None = None,
    together: FloatArray | None = None,
) -> list[Pair]:
    """Return the pairs of tasks that have an affinity, the highest first.

    Parameters
    ----------
    names : sequence of str
        The T tasks.
    matrix, errors, counts : ndarray [T, T]
        Affinities, their standard errors and batches; row i receives from column j.
    symmetric : bool
        Whether both directions are one pair.
    limit : int, optional
        Return only this many from each end.
    together : ndarray [T, T], optional
        Shares of resamples in which two tasks are in one group.
    """
    rows, columns = np.nonzero(_off_diagonal(len(matrix), symmetric) & np.isfinite(matrix))
    order = np.argsort(-matrix[rows, columns], kind="stable")
    places = np.arange(len(order))
    if limit is not None and len(order) > 2 * limit:
        # Only where the ends do not meet: otherwise pairs would be listed twice.
        places = np.concatenate([places[:limit], places[len(order) - limit :]])
    return [
        Pair(
            place + 1,
            names[i],
            names[j],
            float(matrix[i, j]),
            float(errors[i, j]),
            int(counts[i, j]),
            None if together is None else float(together[i, j]),
        )
        for place, i, j in zip(
            places.tolist(),
            rows[order[places]].tolist(),
            columns[order[places]].tolist(),
            strict=True,
        )
    ]


def n_pairs(result: AffinityResult) -> int:
    """Return how many pairs the tasks have, measured or not."""
    return int(_off_diagonal(len(result.task_names), is_symmetric(result)).sum())


def _off_diagonal(n_tasks: int, symmetric: bool) -> BoolArray:
    both: BoolArray = np.triu(np.ones((n_tasks, n_tasks), dtype=bool), 1)
    return both if symmetric else both | both.T


def best_partners(result: AffinityResult) -> list[Partner]:
    """Return the best partner of each task that has one."""
    names, errors = result.task_names, result.standard_errors
    known = np.where(np.eye(len(names), dtype=bool), np.nan, result.matrix)
    partners = []
    for t, name in enumerate(names):
        order = [int(j) for j in np.argsort(-known[t]) if np.isfinite(known[t, j])]
        if not order:
            continue
        best = order[0]
        partner = Partner(name, names[best], float(known[t, best]), float(errors[t, best]))
        if len(order) > 1:
            lead = float(known[t, best] - known[t, order[1]])
            # As if independent: both estimates share batches, whose positive correlation makes this
            # conservative.
            clear = lead > CLEAR * np.hypot(errors[t, best], errors[t, order[1]])
            reading = "clear" if clear else "unclear"
            of = (partner.task, partner.best, partner.affinity, partner.error)
            partner = Partner(*of, names[order[1]], lead, reading)
        partners.append(partner)
    return partners


def group_tasks(
    result: AffinityResult, *, grouping: Grouping | None = None, most_tag: int | None = None
) -> Affinity:
    """Group the tasks, and again by resamples of the batches.

    Parameters
    ----------
    result : AffinityResult
        Its configuration says how to group.
    grouping : Grouping, optional
        Groups that were made of it before.
    most_tag : int, optional
        Tasks beyond which `tag` does not group resamples.

    Raises
    ------
    TaskAffinityError
        If a pair of tasks has no affinity, or the method cannot take the matrix.
    """
    config, names = result.config, result.task_names
    if grouping is None:
        grouping = select_groups(result.matrix, names, config)
    slow = config.clustering_method == "tag" and most_tag is not None and len(names) > most_tag
    # With one block or one task resamples are all alike and would show perfect stability.
    if config.n_bootstrap == 0 or len(result.block_sums) < 2 or len(names) < 2 or slow:
        return Affinity(result, grouping)
    stability = grouping_stability(
        result.block_sums,
        result.block_counts,
        names,
        config,
        # Unit gradients need no division at the end; lookahead and cosine have their scale.
        normalize=config.affinity_type == "dot_product" and not config.normalize_gradients,
    )
    return Affinity(result, grouping, stability)


def read_affinity(folder: Path) -> Affinity | None:
    """Return what was measured in a run, from its folder; None where nothing was.

    Raises
    ------
    TaskAffinityError
        If a file is damaged.
    """
    # Both: a run interrupted between the two writes measures again.
    if not all((folder / name).is_file() for name in (AFFINITY, GROUPS)):
        return None
    result = AffinityResult.load(folder / AFFINITY)
    return group_tasks(result, grouping=Grouping.load(folder / GROUPS), most_tag=MOST_TAG)
