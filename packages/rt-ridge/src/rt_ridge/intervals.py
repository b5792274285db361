"""Intervals that hold on runs never seen, whatever the noise looks like.

A normal interval from one σ is too wide for quiet pairs, and too narrow where the rows of a run
err together or a run lies beyond those trained on. How far errors reach is measured instead, on
whole runs held out (split conformal prediction, Lei et al. 2018, doi:10.1080/01621459.2017.1307116,
with runs for the unit that is exchanged), separately by training rows of the pair. Of readings that
lie beyond those of the training nothing was measured: there an interval is at least the normal one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge.errors import RTRidgeError
from rt_ridge.reach import (
    GRID,
    LEAST_ROWS,
    MOST_PARTS,
    Extrapolation,
    beyond,
    normal_reach,
    reach_of,
)

if TYPE_CHECKING:
    from rt_ridge.estimators import PartialPoolingRidge, SupercategoryRidge


SUPPORT_EDGES = (1, 2, 5, 10, 20, 50, 100)
"""Least number of training rows of each bin; below the first lie the pairs never seen."""


@dataclass(frozen=True)
class IntervalCalibration:
    """Half-widths of central intervals, over the predictive standard deviation.

    Parameters
    ----------
    coverages : ndarray, [Q]
        Nominal coverages, ascending within (0, 1).
    reach : ndarray, [B, Q]
        Half-width of the interval of each coverage over the standard deviation, by bin of support:
        pairs never seen, then from each edge on.
    edges : ndarray of int64, [B - 1]
        Least support of each bin, ascending from 1.
    extrapolation : Extrapolation or None
        What holds for rows whose readings lie beyond those of the training.

    Raises
    ------
    RTRidgeError
        If shapes disagree, or coverages, edges or half-widths do not ascend.
    """

    coverages: FloatArray
    reach: FloatArray
    edges: IntArray
    extrapolation: Extrapolation | None = None

    def __post_init__(self) -> None:
        shape = (len(self.edges) + 1, len(self.coverages))
        if self.reach.shape != shape or not shape[1]:
            raise RTRidgeError(
                f"calibration: expected reach [{shape[0]}, {shape[1]}] of edges and coverages;"
                f" found {list(self.reach.shape)}"
            )
        inside = ((self.coverages > 0) & (self.coverages < 1)).all()
        if not (inside and _ascends(self.coverages) and self.edges[:1].tolist() == [1]):
            raise RTRidgeError("calibration: expected coverages in (0, 1) and edges from 1 on")
        if not _ascends(self.edges) or not (np.isfinite(self.reach) & (self.reach >= 0)).all():
            raise RTRidgeError("calibration: expected ascending edges and finite reach >= 0")
        if (np.diff(self.reach, axis=1) < 0).any():
            raise RTRidgeError("calibration: expected a reach that ascends with coverage")
        if self.extrapolation is not None and self.extrapolation.reach.shape != shape[1:]:
            found = list(self.extrapolation.reach.shape)
            raise RTRidgeError(
                f"calibration: expected reach [{shape[1]}] of rows beyond; found {found}"
            )

    @classmethod
    def fit(
        cls,
        z: FloatArray,
        support: IntArray,
        parts: IntArray | None = None,
        *,
        edges: Sequence[int] = SUPPORT_EDGES,
    ) -> IntervalCalibration:
        """Measure how far errors reach.

        Parameters
        ----------
        z : ndarray, [N]
            Errors of held-out rows over their predictive standard deviations; NaN is left out.
        support : ndarray of int, [N]
            Rows of the pair that the prediction was trained on.
        parts : ndarray of int, [N], or None
            Part of the runs that each row is of, from 0 on; see `rt_ridge.reach.reach_of`.
        edges : sequence of int
            See above. Bins of fewer than `LEAST_ROWS` rows take the reach of all seen pairs; where
            no thinner bin of seen pairs has as many, at least that of pairs never seen, and these,
            if they are as few, the reach of all rows, where that is wider than normal intervals.

        Raises
        ------
        RTRidgeError
            If fewer than `LEAST_ROWS` rows have a prediction.
        """
        there = ~np.isnan(z)
        size, support = np.abs(z[there]), support[there]
        part = np.zeros(len(size), dtype=np.int64) if parts is None else parts[there]
        bins = np.searchsorted(edges, support, side="right")
        counts = np.bincount(bins, minlength=len(edges) + 1)

        def reach(chosen: BoolArray) -> FloatArray:
            rows = chosen[bins]
            return reach_of(*by_size(size[rows], part[rows]))

        return cls.of_bins(counts, reach, edges)

    @classmethod
    def of_bins(
        cls, counts: IntArray, reach: Callable[[BoolArray], FloatArray], edges: Sequence[int]
    ) -> IntervalCalibration:
        """Put together what each bin of support says, or others for bins of few rows.

        Parameters
        ----------
        counts : ndarray of int, [B]
            Held-out rows of each bin.
        reach : callable
            From a choice of bins, bool [B], to the reach of their rows at `GRID`, [Q].
        edges : sequence of int, [B - 1]
            See `fit`.

        Raises
        ------
        RTRidgeError
            As `fit`.
        """
        if counts.sum() < LEAST_ROWS:
            raise RTRidgeError(
                f"calibration: expected at least {LEAST_ROWS} held-out rows with a prediction; "
                f"found {counts.sum()}"
            )
        own = np.eye(len(counts), dtype=np.bool_)
        enough = counts >= LEAST_ROWS
        whole = reach(np.ones(len(counts), dtype=np.bool_))
        seen = reach(~own[0]) if counts[1:].sum() >= LEAST_ROWS else whole
        normal = normal_reach(GRID)
        table = [reach(own[0]) if enough[0] else np.maximum(whole, normal)]
        # Thinner than all that was measured: between pairs seen and pairs never seen.
        thin = np.maximum(seen, table[0])
        for b in range(1, len(counts)):
            measured = seen if enough[1:b].any() else thin
            table.append(reach(own[b]) if enough[b] else measured)
        return cls(GRID, np.stack(table), np.array(edges, dtype=np.int64))

    def half_width(
        self,
        std: FloatArray,
        support: IntArray,
        coverage: float,
        far: BoolArray | None = None,
    ) -> FloatArray:
        """Return the half-width of each row's central interval.

        Parameters
        ----------
        std : ndarray, [N]
            Predictive standard deviation.
        support : ndarray of int, [N]
            Training rows of the row's pair.
        coverage : float
            Nominal coverage. Beyond those measured, the reach is stretched as a normal one is.
        far : ndarray of bool, [N], or None
            Rows whose readings lie beyond those of the training.
        """
        reach = np.array([self._at(row, coverage) for row in self.reach])
        reach = reach[np.searchsorted(self.edges, support, side="right")]
        if far is not None and self.extrapolation is not None:
            least = self._at(self.extrapolation.reach, coverage)
            reach = np.where(far, np.maximum(reach, least), reach)
        return np.asarray(reach * std)

    def _at(self, reach: FloatArray, coverage: float) -> float:
        """Return the reach [Q] at any coverage."""
        last = self.coverages[-1]
        ends = np.concatenate([[0.0], self.coverages])
        at = float(np.interp(min(coverage, last), ends, [0.0, *reach]))
        if coverage > last:
            at *= float(normal_reach(np.array([coverage]))[0] / normal_reach(np.array([last]))[0])
        return at

    def far(self, covariates: FloatArray) -> BoolArray | None:
        """Return which rows [N, P] have readings beyond those of the training, if that is known."""
        return None if self.extrapolation is None else self.extrapolation.rows(covariates)


def by_size(size: FloatArray, part: IntArray) -> tuple[FloatArray, IntArray]:
    """Return distinct sizes, ascending, [V], and the rows of each by part, [F, V]."""
    values, place = np.unique(size, return_inverse=True)
    V, F = len(values), int(part.max(initial=0)) + 1
    return values, np.bincount(part * V + place, minlength=F * V).reshape(F, V)


def calibrate_intervals(
    estimator: PartialPoolingRidge | SupercategoryRidge,
    X: Any,
    y: Any,
    groups: Any,
    runs: Any,
    *,
    n_folds: int = 10,
    seed: int = 0,
    **known: Any,
) -> IntervalCalibration:
    """Fit to all but some runs, again and again, and measure the errors on those.

    Parameters
    ----------
    estimator : PartialPoolingRidge or SupercategoryRidge
        Not changed; clones of it are fitted.
    X, y, groups : array_like, [N, P], [N], [N, 2] or [N, 3]
        As for `fit`.
    runs : array_like, [N]
        Run of each row: rows that share what is measured of the run, and so err together.
    n_folds : int
        Parts that the runs are held out in.
    seed : int
        Of the parts.
    **known
        What `fit` takes besides rows: descriptors, classes.

    Returns
    -------
    IntervalCalibration
        For ``dataclasses.replace(estimator.summaries_, calibration=...)`` of a fit to all rows.

    Raises
    ------
    RTRidgeError
        If there are fewer runs than folds, or too few rows.
    """
    from sklearn.base import clone

    X, y, ids, runs = (np.asarray(values) for values in (X, y, groups, runs))
    unique = np.unique(runs)
    if not 2 <= n_folds <= len(unique) or len(runs) != len(y):
        raise RTRidgeError(
            f"n_folds: expected 2 to the number of runs, {len(unique)}, and a run for each of "
            f"{len(y)} rows; found {n_folds} and {len(runs)}"
        )
    z, support = np.empty(len(y)), np.empty(len(y), dtype=np.int64)
    far = np.zeros(len(y), dtype=np.bool_)
    order = np.random.default_rng(seed).permutation(len(unique))
    parts = np.argsort(order)[np.searchsorted(unique, runs)] % MOST_PARTS
    for part in np.array_split(unique[order], n_folds):
        out = np.isin(runs, part)
        model = clone(estimator).fit(X[~out], y[~out], ids[~out], **known)
        found = model.predict_levels(X[out], ids[out])
        z[out] = (y[out] - found.mean) / found.std
        support[out] = model.summaries_.support(ids[out, 0], ids[out, 1])
        far[out] = beyond(X[out], X[~out].min(axis=0), X[~out].max(axis=0))
    far &= ~np.isnan(z)
    if (~far & ~np.isnan(z)).sum() < LEAST_ROWS:
        far[:] = False
    inside = IntervalCalibration.fit(z[~far], support[~far], parts[~far])
    outside = by_size(np.abs(z[far]), parts[far])
    ends = (X.min(axis=0), X.max(axis=0))
    return replace(inside, extrapolation=Extrapolation.fit(*ends, *outside))


def _ascends(values: npt.NDArray[Any]) -> bool:
    return bool((np.diff(values) > 0).all())
