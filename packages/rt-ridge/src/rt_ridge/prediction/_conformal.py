"""Conformal intervals: they hold on runs never seen, whatever the noise looks like.

A normal interval from one σ is too wide for quiet pairs, and too narrow where the rows of a run
err together or a run lies outside the range of those trained on. The quantiles of the errors are
measured instead, on held-out runs (split conformal prediction, Lei et al. 2018,
doi:10.1080/01621459.2017.1307116, with runs for the unit that is exchanged), separately by training
rows of the pair. For readings outside the range of the training nothing was measured: there an
interval is at least the normal one.

Scores are absolute errors over the predictive standard deviation, so that a conformal quantile is
the half-width of an interval in standard deviations.
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
"""Coverages at which conformal quantiles are stored; they are interpolated between them."""

MIN_ROWS = 200
"""Fewest held-out rows that a bin of support is calibrated by alone: ten above its 95 %."""

MARGIN = 0.1
"""Part of the range of training readings by which a reading may lie outside of it."""

MAX_RUN_BLOCKS = 32
"""Most blocks that runs are divided into for the leave-one-block-out correction."""

SUPPORT_EDGES = (1, 2, 5, 10, 20, 50, 100)
"""Least number of training rows of each bin; below the first lie the pairs never seen."""

_LEVELS = np.concatenate([np.arange(0.01, 0.9, 0.005), np.arange(0.9, 1.0, 0.0005), [1.0]])
"""Levels that are tried."""

ACCURACY = 1e-3
"""Relative width of a sketch's cell: its quantiles are too wide by at most as much, never too \
narrow."""

_LEAST, _MOST = 1e-4, 1e8
"""Ends of the cells, in standard deviations: below lies one cell, above the largest score."""

_CELLS = np.exp(np.arange(np.log(_LEAST), np.log(_MOST) + ACCURACY, np.log1p(ACCURACY)))


def conformal_quantiles(scores: FloatArray, counts: IntArray) -> FloatArray:
    """Return the scores that cover a next row with the probabilities of `GRID`, [Q].

    Parameters
    ----------
    scores : ndarray, [V]
        Distinct scores, ascending.
    counts : ndarray of int, [F, V]
        Held-out rows of each score, by block of runs: by run, or by some runs together where
        there are more than `MAX_RUN_BLOCKS`.

    Notes
    -----
    Rows of a block err together, so that quantiles of the rows at hand are too narrow for a block
    that is not among them. Each block is covered by quantiles of the others instead, and the level
    is raised until the blocks' rows are covered as often as they should be: the leave-one-out
    calibration of Barber et al. 2021, doi:10.1214/20-AOS1965, with blocks for points.
    """
    by_block = np.cumsum(counts, axis=1)
    every = by_block.sum(axis=0)
    n = int(every[-1])
    # The next row is one of n + 1 that are exchangeable.
    level = np.minimum(GRID * (1 + 1 / n), 1.0)
    filled = by_block[by_block[:, -1] > 0]
    if len(filled) > 1:
        covered = sum(_covered(block, every - block) for block in filled) / n
        enough = np.maximum.accumulate(covered)
        # Rounding of the shares must not ask for one level more.
        place = np.searchsorted(enough, GRID - 1e-12)
        level = np.maximum(level, np.append(_LEVELS, 1.0)[place])
    return np.asarray(scores[_places(every, level)])


def _covered(block: IntArray, others: IntArray) -> FloatArray:
    """Return how many rows of a block the quantiles of the others cover, at each level."""
    return np.asarray(block[_places(others, _LEVELS)], dtype=np.float64)


def _places(cumulative: IntArray, level: FloatArray) -> IntArray:
    """Return the places of the quantiles of a cumulative count: the higher of two neighbours."""
    rank = np.ceil((cumulative[-1] - 1) * level)
    place = np.searchsorted(cumulative, rank, side="right")
    return np.asarray(np.minimum(place, len(cumulative) - 1))


def normal_quantiles(coverages: FloatArray) -> FloatArray:
    """Return half the width of a standard normal's central intervals."""
    from scipy.special import ndtri

    return np.asarray(ndtri((1 + coverages) / 2))


def count_scores(scores: FloatArray, block: IntArray) -> tuple[FloatArray, IntArray]:
    """Return distinct scores, ascending, [V], and the rows of each by block, [F, V]."""
    values, place = np.unique(scores, return_inverse=True)
    V, F = len(values), int(block.max(initial=0)) + 1
    return values, np.bincount(block * V + place, minlength=F * V).reshape(F, V)


def outside_range(covariates: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    """Return which rows [N, P] have a reading outside a range by more than `MARGIN` of it, [N]."""
    slack = MARGIN * (high - low)
    return np.asarray(((covariates < low - slack) | (covariates > high + slack)).any(axis=1))


@dataclass(frozen=True)
class Extrapolation:
    """What is known of rows whose readings lie outside the range of the training.

    Parameters
    ----------
    low, high : ndarray, [P]
        Ends of the training readings of each covariate.
    quantiles : ndarray, [Q]
        Least half-width of their intervals over the standard deviation, at `GRID`: that of a
        normal distribution, or of such rows where runs held out had enough of them.

    Raises
    ------
    RTRidgeError
        If shapes disagree, ends are no range, or half-widths do not ascend.
    """

    low: FloatArray
    high: FloatArray
    quantiles: FloatArray

    def __post_init__(self) -> None:
        if self.low.shape != self.high.shape or self.low.ndim != 1:
            found = f"{list(self.low.shape)} and {list(self.high.shape)}"
            raise RTRidgeError(f"calibration: expected ends of each covariate; found {found}")
        if not (np.isfinite(self.low) & np.isfinite(self.high) & (self.low <= self.high)).all():
            raise RTRidgeError("calibration: expected finite ends of readings, low <= high")
        if not np.isfinite(self.quantiles).all() or (np.diff(self.quantiles) < 0).any():
            raise RTRidgeError("calibration: expected finite quantiles that ascend with coverage")

    @classmethod
    def fit(
        cls, low: FloatArray, high: FloatArray, scores: FloatArray, counts: IntArray
    ) -> Extrapolation:
        """Measure the quantiles of such rows; see `conformal_quantiles`."""
        quantiles = normal_quantiles(GRID)
        if counts.sum() >= MIN_ROWS:
            quantiles = np.maximum(quantiles, conformal_quantiles(scores, counts))
        return cls(low, high, quantiles)

    def rows(self, covariates: Any) -> BoolArray:
        """Return which rows [N, P] lie outside the range."""
        return outside_range(np.asarray(covariates, dtype=np.float64), self.low, self.high)


@dataclass(frozen=True)
class IntervalCalibration:
    """Half-widths of central intervals, over the predictive standard deviation.

    Parameters
    ----------
    coverages : ndarray, [Q]
        Nominal coverages, ascending within (0, 1).
    quantiles : ndarray, [B, Q]
        Conformal quantiles: half-width of the interval of each coverage over the standard
        deviation, by bin of support: pairs never seen, then from each edge on.
    edges : ndarray of int64, [B - 1]
        Least support of each bin, ascending from 1.
    extrapolation : Extrapolation or None
        What holds for rows whose readings lie outside the range of the training.

    Raises
    ------
    RTRidgeError
        If shapes disagree, or coverages, edges or half-widths do not ascend.
    """

    coverages: FloatArray
    quantiles: FloatArray
    edges: IntArray
    extrapolation: Extrapolation | None = None

    def __post_init__(self) -> None:
        shape = (len(self.edges) + 1, len(self.coverages))
        if self.quantiles.shape != shape or not shape[1]:
            raise RTRidgeError(
                f"calibration: expected quantiles [{shape[0]}, {shape[1]}] of edges and coverages;"
                f" found {list(self.quantiles.shape)}"
            )
        inside = ((self.coverages > 0) & (self.coverages < 1)).all()
        if not (inside and _ascends(self.coverages) and self.edges[:1].tolist() == [1]):
            raise RTRidgeError("calibration: expected coverages in (0, 1) and edges from 1 on")
        finite = (np.isfinite(self.quantiles) & (self.quantiles >= 0)).all()
        if not _ascends(self.edges) or not finite:
            raise RTRidgeError("calibration: expected ascending edges and finite quantiles >= 0")
        if (np.diff(self.quantiles, axis=1) < 0).any():
            raise RTRidgeError("calibration: expected quantiles that ascend with coverage")
        if self.extrapolation is not None and self.extrapolation.quantiles.shape != shape[1:]:
            found = list(self.extrapolation.quantiles.shape)
            raise RTRidgeError(
                f"calibration: expected quantiles [{shape[1]}] outside the range; found {found}"
            )

    @classmethod
    def fit(
        cls,
        z: FloatArray,
        support: IntArray,
        blocks: IntArray | None = None,
        *,
        edges: Sequence[int] = SUPPORT_EDGES,
    ) -> IntervalCalibration:
        """Measure the conformal quantiles of held-out rows.

        Parameters
        ----------
        z : ndarray, [N]
            Errors of held-out rows over their predictive standard deviations; NaN is left out.
        support : ndarray of int, [N]
            Rows of the pair that the prediction was trained on.
        blocks : ndarray of int, [N], or None
            Block of runs that each row belongs to, from 0 on; see `conformal_quantiles`.
        edges : sequence of int
            See above. Bins of fewer than `MIN_ROWS` rows take the quantiles of all seen pairs;
            where no bin of less support has as many, at least those of pairs never seen, and
            these, if they are as few, the quantiles of all rows, where these are wider than normal.

        Raises
        ------
        RTRidgeError
            If fewer than `MIN_ROWS` rows have a prediction.
        """
        there = ~np.isnan(z)
        scores, support = np.abs(z[there]), support[there]
        block = np.zeros(len(scores), dtype=np.int64) if blocks is None else blocks[there]
        bins = np.searchsorted(edges, support, side="right")
        counts = np.bincount(bins, minlength=len(edges) + 1)

        def quantiles(chosen: BoolArray) -> FloatArray:
            rows = chosen[bins]
            return conformal_quantiles(*count_scores(scores[rows], block[rows]))

        return cls.of_bins(counts, quantiles, edges)

    @classmethod
    def of_bins(
        cls, counts: IntArray, quantiles: Callable[[BoolArray], FloatArray], edges: Sequence[int]
    ) -> IntervalCalibration:
        """Put together the quantiles of each bin of support, of others for bins of few rows.

        Parameters
        ----------
        counts : ndarray of int, [B]
            Held-out rows of each bin.
        quantiles : callable
            From a choice of bins, bool [B], to the quantiles of their rows at `GRID`, [Q].
        edges : sequence of int, [B - 1]
            See `fit`.

        Raises
        ------
        RTRidgeError
            As `fit`.
        """
        if counts.sum() < MIN_ROWS:
            raise RTRidgeError(
                f"calibration: expected at least {MIN_ROWS} held-out rows with a prediction; "
                f"found {counts.sum()}"
            )
        own = np.eye(len(counts), dtype=np.bool_)
        enough = counts >= MIN_ROWS
        # Bin 0 is the pairs never seen: their errors are those of back-offs, another distribution,
        # so they are pooled with seen pairs only where nothing else is left.
        of_all = quantiles(np.ones(len(counts), dtype=np.bool_))
        seen = quantiles(~own[0]) if counts[1:].sum() >= MIN_ROWS else of_all
        normal = normal_quantiles(GRID)
        table = [quantiles(own[0]) if enough[0] else np.maximum(of_all, normal)]
        # Less support than all that was measured: between pairs seen and pairs never seen.
        thin = np.maximum(seen, table[0])
        for b in range(1, len(counts)):
            measured = seen if enough[1:b].any() else thin
            table.append(quantiles(own[b]) if enough[b] else measured)
        return cls(GRID, np.stack(table), np.array(edges, dtype=np.int64))

    def half_width(
        self,
        std: FloatArray,
        support: IntArray,
        coverage: float,
        extrapolated: BoolArray | None = None,
    ) -> FloatArray:
        """Return the half-width of each row's central interval.

        Parameters
        ----------
        std : ndarray, [N]
            Predictive standard deviation.
        support : ndarray of int, [N]
            Training rows of the row's pair.
        coverage : float
            Nominal coverage. Above those measured, quantiles are stretched as normal ones are.
        extrapolated : ndarray of bool, [N], or None
            Rows whose readings lie outside the range of the training.
        """
        quantile = np.array([self._at(row, coverage) for row in self.quantiles])
        quantile = quantile[np.searchsorted(self.edges, support, side="right")]
        if extrapolated is not None and self.extrapolation is not None:
            least = self._at(self.extrapolation.quantiles, coverage)
            # Outside the range of the training an interval may grow but not shrink.
            quantile = np.where(extrapolated, np.maximum(quantile, least), quantile)
        return np.asarray(quantile * std)

    def _at(self, quantiles: FloatArray, coverage: float) -> float:
        """Return the quantile at any coverage, from those [Q] at the coverages measured."""
        last = self.coverages[-1]
        # An interval of coverage 0 has no width.
        ends = np.concatenate([[0.0], self.coverages])
        at = float(np.interp(min(coverage, last), ends, [0.0, *quantiles]))
        if coverage > last:
            wider, widest = (normal_quantiles(np.array([c]))[0] for c in (coverage, last))
            # Held-out rows say nothing of coverages beyond the last: only the shape of the tail is
            # assumed.
            at *= float(wider / widest)
        return at

    def extrapolated(self, covariates: FloatArray) -> BoolArray | None:
        """Return which rows [N, P] have readings outside the training's range, if it is known."""
        return None if self.extrapolation is None else self.extrapolation.rows(covariates)


class ConformalSketch:
    """Conformal quantiles from rows that come in chunks, in memory that does not grow with them.

    Held-out rows are counted by training rows of their pair and by score, in cells whose edges
    grow by a constant factor, so that every quantile is known to that factor (Masson et al. 2019,
    doi:10.14778/3352063.3352135). Counts add: neither the order of the rows nor the chunks matter,
    and nothing is drawn at random.

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
    >>> from rt_ridge import ConformalSketch
    >>> sketch = ConformalSketch()
    >>> for chunk in np.random.default_rng(0).normal(size=(10, 1_000)):
    ...     sketch.update(chunk, np.full(1_000, 30))
    >>> half = sketch.calibration().half_width(np.ones(1), np.array([30]), 0.95)
    >>> bool(abs(half[0] - 1.96) < 0.05)
    True
    """

    def __init__(self, edges: Sequence[int] = SUPPORT_EDGES) -> None:
        self.edges = check_edges(edges)
        # Of each block: a row per bin of support, and one of rows outside the training's range.
        self._counts: dict[int, IntArray] = {}
        self._largest = _MOST

    @property
    def n_rows(self) -> int:
        """Rows counted, those with a prediction."""
        return int(sum(counts.sum() for counts in self._counts.values()))

    def update(
        self,
        z: FloatArray,
        support: IntArray,
        blocks: IntArray | None = None,
        extrapolated: BoolArray | None = None,
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        z, support, blocks : ndarray, [N]
            As in `IntervalCalibration.fit`.
        extrapolated : ndarray of bool, [N], or None
            Rows whose readings lie outside the range of the training.
        """
        there = ~np.isnan(z)
        scores = np.abs(z[there])
        shape = (len(self.edges) + 2, len(_CELLS) + 1)
        bins = np.searchsorted(self.edges, support[there], side="right")
        if extrapolated is not None:
            bins = np.where(extrapolated[there], shape[0] - 1, bins)
        place = bins * shape[1] + np.searchsorted(_CELLS, scores)
        block = np.zeros(len(scores), dtype=np.int64) if blocks is None else blocks[there]
        for number in np.unique(block).tolist():
            counts = self._counts.setdefault(number, np.zeros(shape, dtype=np.int64))
            found = np.bincount(place[block == number], minlength=counts.size)
            counts += found.reshape(shape)
        self._largest = max(self._largest, float(scores.max(initial=0.0)))

    def calibration(self, ends: tuple[FloatArray, FloatArray] | None = None) -> IntervalCalibration:
        """Return the calibration of all rows so far; see `IntervalCalibration.fit`.

        Parameters
        ----------
        ends : tuple of ndarray, [P] each, or None
            Lowest and highest training reading of each covariate; None: nothing is said of rows
            outside them, which then count as others.

        Raises
        ------
        RTRidgeError
            If too few rows have a prediction.
        """
        none = np.zeros((1, len(self.edges) + 2, len(_CELLS) + 1), dtype=np.int64)
        counts = np.stack(list(self._counts.values())) if self._counts else none
        scores = np.append(_CELLS, self._largest)
        inside, outside = counts[:, :-1], counts[:, -1]
        if ends is None or inside.sum() < MIN_ROWS:
            # Too few to distinguish: all are then taken as pairs with rows.
            inside = inside.copy()
            inside[:, -1] += outside
            outside = np.zeros_like(outside)

        def quantiles(chosen: BoolArray) -> FloatArray:
            return conformal_quantiles(scores, inside[:, chosen].sum(axis=1))

        found = IntervalCalibration.of_bins(inside.sum(axis=(0, 2)), quantiles, self.edges)
        if ends is None:
            return found
        return replace(found, extrapolation=Extrapolation.fit(*ends, scores, outside))


def check_edges(edges: Sequence[int]) -> tuple[int, ...]:
    """Return edges of bins of support, or raise `RTRidgeError` unless they ascend from 1."""
    if not edges or edges[0] != 1 or any(np.diff(edges) <= 0):
        raise RTRidgeError(f"edges: expected ascending from 1; found {list(edges)}")
    return tuple(int(edge) for edge in edges)


def _ascends(values: npt.NDArray[Any]) -> bool:
    return bool((np.diff(values) > 0).all())
