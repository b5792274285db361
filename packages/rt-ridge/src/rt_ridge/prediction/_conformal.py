"""How far errors reach, so that intervals hold on runs that were not among those measured.

Intervals that hold on runs never seen, whatever the noise looks like.

A normal interval from one σ is too wide for quiet pairs, and too narrow where the rows of a run
err together or a run lies beyond those trained on. How far errors reach is measured instead, on
whole runs held out (split conformal prediction, Lei et al. 2018, doi:10.1080/01621459.2017.1307116,
with runs for the unit that is exchanged), separately by training rows of the pair. Of readings that
lie beyond those of the training nothing was measured: there an interval is at least the normal one.

How far errors reach, from rows that come in chunks, in memory that does not grow with them.

Sizes of errors are counted in cells whose edges grow by a constant factor, so that every quantile
is known to that factor (Masson et al. 2019, doi:10.14778/3352063.3352135). Counts add: neither the
order of the rows nor the chunks matter, and nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge._errors import RTRidgeError

GRID = np.array([*np.arange(5, 100, 5), 97.5, 99.0]) / 100
"""Coverages at which the reach of errors is kept; it is interpolated between them."""

LEAST_ROWS = 200
"""Fewest held-out rows that a bin of support is calibrated by alone: ten beyond its 95 %."""

MARGIN = 0.1
"""Part of the range of training readings by which a reading may lie outside of it."""

MOST_PARTS = 32
"""Most parts that runs are dealt into to be held against each other."""

_CANDIDATES = np.concatenate([np.arange(0.01, 0.9, 0.005), np.arange(0.9, 1.0, 0.0005), [1.0]])
"""Levels that are tried."""


def reach_of(values: FloatArray, counts: IntArray) -> FloatArray:
    """Return the sizes of error that cover a next row with the chances of `GRID`, [Q].

    Parameters
    ----------
    values : ndarray, [V]
        Sizes, ascending.
    counts : ndarray of int, [F, V]
        Held-out rows of each size, by part of the runs: by run, or by some runs together where
        there are more than `MOST_PARTS`.

    Notes
    -----
    Rows of a part err together, so that quantiles of the rows at hand are too narrow for a part
    that is not among them. Each part is covered by quantiles of the others instead, and the level
    is raised until the parts' rows are covered as often as they should be: the leave-one-out
    calibration of Barber et al. 2021, doi:10.1214/20-AOS1965, with parts for points.
    """
    by_part = np.cumsum(counts, axis=1)
    every = by_part.sum(axis=0)
    n = int(every[-1])
    level = np.minimum(GRID * (1 + 1 / n), 1.0)
    filled = by_part[by_part[:, -1] > 0]
    if len(filled) > 1:
        covered = sum(_covered(part, every - part) for part in filled) / n
        enough = np.maximum.accumulate(covered)
        place = np.searchsorted(enough, GRID - 1e-12)
        level = np.maximum(level, np.append(_CANDIDATES, 1.0)[place])
    return np.asarray(values[_places(every, level)])


def _covered(part: IntArray, others: IntArray) -> FloatArray:
    """Return how many rows of a part the quantiles of the others cover, at each candidate."""
    return np.asarray(part[_places(others, _CANDIDATES)], dtype=np.float64)


def _places(cumulative: IntArray, level: FloatArray) -> IntArray:
    """Return the places of the quantiles of a cumulative count: the higher of two neighbours."""
    rank = np.ceil((cumulative[-1] - 1) * level)
    place = np.searchsorted(cumulative, rank, side="right")
    return np.asarray(np.minimum(place, len(cumulative) - 1))


def normal_reach(coverages: FloatArray) -> FloatArray:
    """Return half the width of a standard normal's central intervals."""
    from scipy.special import ndtri

    return np.asarray(ndtri((1 + coverages) / 2))


@dataclass(frozen=True)
class Extrapolation:
    """What is known of rows whose readings lie beyond those of the training.

    Parameters
    ----------
    low, high : ndarray, [P]
        Ends of the training readings of each covariate.
    reach : ndarray, [Q]
        Least half-width of their intervals over the standard deviation, at `GRID`: that of a
        normal distribution, or of such rows where runs held out had enough of them.

    Raises
    ------
    RTRidgeError
        If shapes disagree, ends are no range, or half-widths do not ascend.
    """

    low: FloatArray
    high: FloatArray
    reach: FloatArray

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1:
            found = f"{list(self.low.shape)} and {list(self.high.shape)}"
            raise RTRidgeError(f"calibration: expected ends of each covariate; found {found}")
        if not (np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high)).all():
            raise RTRidgeError("calibration: expected finite ends of readings, low <= high")
        if not np.isfinite(self.reach).all() or (np.diff(self.reach) < 0).any():
            raise RTRidgeError("calibration: expected a finite reach that ascends with coverage")

    @classmethod
    def fit(
        cls, low: FloatArray, high: FloatArray, values: FloatArray, counts: IntArray
    ) -> Extrapolation:
        """Measure how far errors of such rows reach; see `reach_of`."""
        reach = normal_reach(GRID)
        if counts.sum() >= LEAST_ROWS:
            reach = np.maximum(reach, reach_of(values, counts))
        return cls(low, high, reach)

    def rows(self, covariates: Any) -> BoolArray:
        """Return which rows [N, P] lie beyond."""
        return beyond(np.asarray(covariates, dtype=np.float64), self.low, self.high)


def beyond(covariates: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    """Return which rows [N, P] have a reading outside a range by more than `MARGIN` of it, [N]."""
    slack = MARGIN * (high - low)
    return np.asarray(((covariates < low - slack) | (covariates > high + slack)).any(axis=1))


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
            Part of the runs that each row is of, from 0 on; see `rt_ridge.prediction._conformal.reach_of`.
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


def _ascends(values: npt.NDArray[Any]) -> bool:
    return bool((np.diff(values) > 0).all())


ACCURACY = 1e-3
"""Relative width of a cell: quantiles are too wide by at most as much, and never too narrow."""

LEAST, MOST = 1e-4, 1e8
"""Ends of the cells, in standard deviations: below lies one cell, above the largest error."""

_CELLS = np.exp(np.arange(np.log(LEAST), np.log(MOST) + ACCURACY, np.log1p(ACCURACY)))


class ReachSketch:
    """Counts of held-out rows by training rows of their pair and by size of their error.

    Parameters
    ----------
    edges : sequence of int
        Least support of each bin, ascending from 1; pairs never seen have a bin of their own.

    Raises
    ------
    RTRidgeError
        If the edges do not ascend from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from rt_ridge import ReachSketch
    >>> sketch = ReachSketch()
    >>> for chunk in np.random.default_rng(0).normal(size=(10, 1_000)):
    ...     sketch.update(chunk, np.full(1_000, 30))
    >>> half = sketch.calibration().half_width(np.ones(1), np.array([30]), 0.95)
    >>> bool(abs(half[0] - 1.96) < 0.05)
    True
    """

    def __init__(self, edges: Sequence[int] = SUPPORT_EDGES) -> None:
        if not edges or edges[0] != 1 or any(np.diff(edges) <= 0):
            raise RTRidgeError(f"edges: expected ascending from 1; found {list(edges)}")
        self.edges = tuple(int(edge) for edge in edges)
        # Of each part: a row a bin of support, and one of rows whose readings lie beyond.
        self._counts: dict[int, IntArray] = {}
        self._largest = MOST

    @property
    def n_rows(self) -> int:
        """Rows counted, those with a prediction."""
        return int(sum(counts.sum() for counts in self._counts.values()))

    def update(
        self,
        z: FloatArray,
        support: IntArray,
        parts: IntArray | None = None,
        far: BoolArray | None = None,
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        z : ndarray, [N]
            Errors over their predictive standard deviations; NaN is left out.
        support : ndarray of int, [N]
            Rows of the pair that the prediction was trained on.
        parts : ndarray of int, [N], or None
            Part of the runs that each row is of, from 0 on; see `rt_ridge.prediction._conformal.reach_of`.
        far : ndarray of bool, [N], or None
            Rows whose readings lie beyond those of the training.
        """
        there = ~np.isnan(z)
        size = np.abs(z[there])
        shape = (len(self.edges) + 2, len(_CELLS) + 1)
        bins = np.searchsorted(self.edges, support[there], side="right")
        if far is not None:
            bins = np.where(far[there], shape[0] - 1, bins)
        place = bins * shape[1] + np.searchsorted(_CELLS, size)
        part = np.zeros(len(size), dtype=np.int64) if parts is None else parts[there]
        for number in np.unique(part).tolist():
            counts = self._counts.setdefault(number, np.zeros(shape, dtype=np.int64))
            found = np.bincount(place[part == number], minlength=counts.size)
            counts += found.reshape(shape)
        self._largest = max(self._largest, float(size.max(initial=0.0)))

    def calibration(self, ends: tuple[FloatArray, FloatArray] | None = None) -> IntervalCalibration:
        """Return the calibration of all rows so far; see `IntervalCalibration.fit`.

        Parameters
        ----------
        ends : tuple of ndarray, [P] each, or None
            Lowest and highest training reading of each covariate; None: nothing is said of rows
            beyond them, which then count as others.

        Raises
        ------
        RTRidgeError
            If too few rows have a prediction.
        """
        none = np.zeros((1, len(self.edges) + 2, len(_CELLS) + 1), dtype=np.int64)
        counts = np.stack(list(self._counts.values())) if self._counts else none
        values = np.append(_CELLS, self._largest)
        inside, outside = counts[:, :-1], counts[:, -1]
        if ends is None or inside.sum() < LEAST_ROWS:
            # Too few to tell apart: all are then taken as pairs with rows.
            inside = inside.copy()
            inside[:, -1] += outside
            outside = np.zeros_like(outside)

        def reach(chosen: BoolArray) -> FloatArray:
            return reach_of(values, inside[:, chosen].sum(axis=1))

        found = IntervalCalibration.of_bins(inside.sum(axis=(0, 2)), reach, self.edges)
        if ends is None:
            return found
        return replace(found, extrapolation=Extrapolation.fit(*ends, values, outside))
