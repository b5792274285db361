"""Rows that are left out together, and their sums: runs, and pairs that others then speak for.

Blocks are of acquisition order, since drift makes neighbours alike, and of the ends of the
covariates' range, where a slope that says too much shows. Where every run is of one group, as an
injection is of one sample, blocks are of the order within each group: whole groups are left out by
none, since new runs are mostly of groups that were seen. What is said of pairs never seen is held
against whole groups left out, and against pairs of groups and compounds that the other pairs know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge.statistics._sufficient import SufficientStatistics
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import find

FoldKind = Literal["runs", "groups", "pairs"]
"""What a fold leaves out whole."""

N_BLOCKS = 5
"""Blocks of acquisition order."""

END = 0.1
"""Share of the runs that is left out at either end of the covariates' range."""

FEWEST_RUNS = 4
"""Fewest runs of which some are left out."""

FEWEST_AT_ENDS = 10
"""Fewest runs of which the ends are left out: fewer have none that are not ends."""


@dataclass(frozen=True)
class RunFold:
    """Rows that are left out together: of some runs, or of some pairs.

    Parameters
    ----------
    name : str
        For the reader: "block 1 of 5", "low end", "groups 2 of 4".
    members : ndarray of bool, [R]
        Which runs.
    low, high : ndarray, [P]
        Ends of the covariates over the other rows.
    pairs : ndarray of int64 or None
        Keys of the pairs, ascending; None: all.
    kind : {"runs", "groups", "pairs"}
        What is left out whole.
    """

    name: str
    members: BoolArray
    low: FloatArray
    high: FloatArray
    pairs: IntArray | None = None
    kind: FoldKind = "runs"

    def rows(self, run: IntArray, keys: IntArray) -> BoolArray:
        """Return which rows are left out, [N], by the number of each one's run and its pair."""
        out = self.members[run]
        return out if self.pairs is None else out & (find(self.pairs, keys) >= 0)

    def regressors(self, X: FloatArray, features: FeatureMap) -> FloatArray:
        """Return regressors, and what of them lies beyond the other runs, [N, 2 (D - 1)]."""
        z = features.transform(X)
        inside = features.transform(np.clip(X, self.low, self.high))
        return np.concatenate([z, z - inside], axis=1)


def plan_folds(
    mean: FloatArray,
    low: FloatArray,
    high: FloatArray,
    *,
    ordered: bool = True,
    groups: IntArray | None = None,
) -> list[RunFold]:
    """Return which runs are left out together; none where there are too few.

    Parameters
    ----------
    mean, low, high : ndarray, [R, P]
        Covariates of each run, in acquisition order: over its rows.
    ordered : bool
        Whether the order is known. If not, runs are dealt out along the covariates' main
        direction, so that blocks are alike.
    groups : ndarray of int64, [R], or None
        What each run is a run of; None: runs are of all groups.
    """
    n_runs, n_covariates = mean.shape
    if n_runs < FEWEST_RUNS:
        return []
    n_blocks = min(N_BLOCKS, n_runs)
    order = np.arange(n_runs) if ordered else np.argsort(principal_scores(mean), kind="stable")
    of_run = _blocks(order, n_blocks, groups, dealt=not ordered)
    blocks = [np.flatnonzero(of_run == i) for i in range(n_blocks)]
    chosen = [(f"block {i + 1} of {n_blocks}", b) for i, b in enumerate(blocks) if len(b)]
    if n_covariates and n_runs >= FEWEST_AT_ENDS:
        order = np.argsort(principal_scores(mean), kind="stable")
        size = max(1, round(END * n_runs))
        chosen += [("low end", order[:size]), ("high end", order[-size:])]
    folds = []
    for name, runs in chosen:
        members = np.zeros(n_runs, dtype=np.bool_)
        members[runs] = True
        folds.append(RunFold(name, members, low[~members].min(0), high[~members].max(0)))
    return folds


def _blocks(order: IntArray, n_blocks: int, groups: IntArray | None, *, dealt: bool) -> IntArray:
    """Return the block of each run, [R]: neighbours within each group, or dealt out in turn."""
    groups = np.zeros_like(order) if groups is None else groups
    block, turn = np.empty_like(order), 0
    # By their first run: what groups are called does not matter.
    for group in dict.fromkeys(groups[order].tolist()):
        runs = order[groups[order] == group]
        if dealt or len(runs) < n_blocks:
            # On from where the last group ended, so that blocks are of about a size.
            block[runs] = (turn + np.arange(len(runs))) % n_blocks
            turn += len(runs)
            continue
        for i, part in enumerate(np.array_split(runs, n_blocks)):
            block[part] = i
    return block


def runs_of_one(low: IntArray, high: IntArray) -> IntArray | None:
    """Return the group of each run, None where a run is of several or all are of one.

    Parameters
    ----------
    low, high : ndarray of int64, [R]
        Least and greatest group of the rows of each run.
    """
    one = (low == high).all() and len(np.unique(low)) > 1
    return low if one else None


def principal_scores(mean: FloatArray) -> FloatArray:
    """Return how far each run lies along the main direction of the covariates, [R].

    Covariates are over their standard deviations, so that their units do not matter.
    """
    off = mean - mean.mean(axis=0)
    sd = np.sqrt((off**2).mean(axis=0))
    z = off / np.where(sd > 0, sd, 1.0)
    axis = np.linalg.eigh(z.T @ z)[1][:, -1]
    # An axis has no sign of its own.
    return np.asarray(z @ (axis * np.sign(axis[np.abs(axis).argmax()])))


@dataclass(frozen=True)
class GroupRanges:
    """Ends of the covariates of each group.

    Parameters
    ----------
    ids : ndarray of int64, [M]
        Groups, ascending.
    low, high : ndarray, [M, P]
        Over their rows.
    """

    ids: IntArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of_rows(cls, groups: IntArray, X: FloatArray) -> GroupRanges:
        """Return the ranges of rows in memory: the group of each [N], and covariates [N, P]."""
        ids, place = np.unique(groups, return_inverse=True)
        low = np.full((len(ids), X.shape[1]), np.inf)
        high = -low
        np.minimum.at(low, place, X)
        np.maximum.at(high, place, X)
        return cls(ids, low, high)


def plan_unseen(stats: SufficientStatistics, ranges: GroupRanges, n_runs: int) -> list[RunFold]:
    """Return pairs that are left out together; none where no other pair knows their compound.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the pairs that a choice is made on.
    ranges : GroupRanges
        Of their groups.
    n_runs : int
        Number of runs.

    Notes
    -----
    Groups and compounds are dealt out by their rows and mean times: what they are called, and the
    order of the rows, does not matter.
    """
    ids = (stats.group_ids, stats.compound_ids)
    group, compound = (np.unique(i, return_inverse=True)[1] for i in ids)
    n_groups = int(group.max(initial=0)) + 1
    if n_groups < 2 or np.bincount(compound).max() < 2:
        return []
    place = _dealt(group, stats)
    every, folds = np.ones(n_runs, dtype=np.bool_), []
    n_folds = min(N_BLOCKS, n_groups)
    for i in range(n_folds):
        out = place % n_folds == i
        others = np.isin(ranges.ids, stats.group_ids[~out])
        ends = (ranges.low[others].min(axis=0), ranges.high[others].max(axis=0))
        name = f"groups {i + 1} of {n_folds}"
        folds.append(RunFold(name, every, *ends, pairs=stats.keys[out], kind="groups"))
    if n_groups == stats.G:
        # Of one pair each, to leave out groups is to leave out pairs.
        return folds
    nowhere = np.full(ranges.low.shape[1], np.inf)
    of_pair = (place + _dealt(compound, stats)) % N_BLOCKS
    for i in np.unique(of_pair).tolist():
        name, pairs = f"pairs {i + 1} of {N_BLOCKS}", stats.keys[of_pair == i]
        folds.append(RunFold(name, every, -nowhere, nowhere, pairs=pairs, kind="pairs"))
    return folds


def _dealt(node: IntArray, stats: SufficientStatistics) -> IntArray:
    """Return the rank of each pair's node by rows, then mean time, [G]."""
    n = np.bincount(node, stats.n)
    order = np.lexsort((np.bincount(node, stats.n * stats.mean_y) / n, n))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.asarray(rank[node])


@dataclass(frozen=True)
class HeldOut:
    """Rows that are left out together, summed up.

    Parameters
    ----------
    name : str
        Of the fold.
    stats : SufficientStatistics
        Of the regressors and, after them, of what lies beyond the other rows: 2 P covariates.
    weighted : SufficientStatistics or None
        The same of rows as they are weighted where they are fitted; None: alike.
    kind : {"runs", "groups", "pairs"}
        What is left out whole.
    """

    name: str
    stats: SufficientStatistics
    weighted: SufficientStatistics | None = None
    kind: FoldKind = "runs"

    def of(self, keys: IntArray) -> HeldOut:
        """Return the rows of some pairs."""
        weighted = self.weighted
        if weighted is not None:
            weighted = weighted.subset(np.isin(weighted.keys, keys))
        part = self.stats.subset(np.isin(self.stats.keys, keys))
        return HeldOut(self.name, part, weighted, self.kind)

    @property
    def n_regressors(self) -> int:
        """P."""
        return self.stats.P // 2


def natural_order(runs: Sequence[object]) -> npt.NDArray[np.int64]:
    """Return the places of runs in the order of their names, numbers within them as numbers.

    The nearest to acquisition order that names give: of ``QC_2`` and ``QC_10`` the first is
    earlier.
    """
    return np.array(sorted(range(len(runs)), key=lambda i: _natural(str(runs[i]))), dtype=np.int64)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    import re

    parts = re.split(r"(\d+)", name)
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts if p)
