"""Conformal intervals: they hold on runs never seen, whatever the noise looks like.

A normal interval from one σ is too wide for quiet pairs, and too narrow where the rows of a run
err together or a run lies outside the range of those trained on. The errors on held-out runs are
taken instead (split conformal prediction, Lei et al. 2018, doi:10.1080/01621459.2017.1307116),
separately by training rows of the pair, as of runs that are not among them: the quantiles are those
of `molpool_common.IntervalCalibration`, of `molpool_common.scores_of_new_groups`. For readings
outside the range of the training an interval is at least the normal one.

Scores are absolute errors over the predictive standard deviation, so that a conformal quantile is
the half-width of an interval in standard deviations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from molpool_common import (
    BoolArray,
    FloatArray,
    InputError,
    IntArray,
    IntervalCalibration,
    StrArray,
    scores_of_new_groups,
)

from rt_ridge._errors import RTRidgeError

MIN_ROWS = 200
"""Fewest held-out rows that a class of pairs is calibrated by alone: ten above its 95 %."""

MARGIN = 0.1
"""Part of the range of training readings by which a reading may lie outside of it."""

SUPPORT_EDGES = (1, 2, 5, 10, 20, 50, 100)
"""Least number of training rows of each bin; below the first lie the pairs never seen."""

_MOST_KEPT = 10_000
"""Scores of a class that an artefact keeps: every k-th of more, of which quantiles are too wide by
1 / 10 000 of the rows at most, and never too narrow."""

_MOST_COUNTED = 400_000
"""Held-out rows of a bin that are held in memory: of more, a share drawn at random."""

_OUTSIDE, _UNSEEN = "outside", "0"
"""Classes of rows outside the range of the training, and of pairs never seen."""


def normal_quantile(level: Any) -> Any:
    """Return half the width of a standard normal's central interval, of one level or of many."""
    from scipy.special import ndtri

    return ndtri((1 + level) / 2)


def outside_range(covariates: FloatArray, low: FloatArray, high: FloatArray) -> BoolArray:
    """Return which rows [N, P] have a reading outside a range by more than `MARGIN` of it, [N]."""
    slack = MARGIN * (high - low)
    return np.asarray(((covariates < low - slack) | (covariates > high + slack)).any(axis=1))


@dataclass(frozen=True)
class RunCalibration:
    """Intervals from errors on held-out runs, by training rows of the pair.

    Make one with `HeldOutErrors.calibration`.

    Parameters
    ----------
    intervals : IntervalCalibration
        One task, whose scores are in predictive standard deviations; a stratum is a class of pairs.
    edges : ndarray of int64, [B - 1]
        Least support of each bin, ascending from 1.
    classes : ndarray of int64, [B]
        Class of each bin: pairs never seen, then from each edge on.
    thin : ndarray of bool, [B]
        Bins of less support than what was measured: intervals are at least those of pairs never
        seen, or the model's own where these were not measured either.
    low, high : ndarray, [P], or None
        Ends of the training readings of each covariate.
    n_rows, n_runs : int
        Held-out rows with a prediction, and runs that they are of.

    Raises
    ------
    RTRidgeError
        If shapes disagree, edges do not ascend, or ends are no range.
    """

    intervals: IntervalCalibration
    edges: IntArray
    classes: IntArray
    thin: BoolArray
    low: FloatArray | None
    high: FloatArray | None
    n_rows: int
    n_runs: int

    def __post_init__(self) -> None:
        check_edges(self.edges.tolist())
        n_bins = len(self.edges) + 1
        if self.classes.shape != (n_bins,) or self.thin.shape != (n_bins,):
            raise RTRidgeError(
                f"calibration: expected a class of each of {n_bins} bins of support; found"
                f" {list(self.classes.shape)} and {list(self.thin.shape)}"
            )
        if len(self.intervals.scores) != 1 or self.intervals.strata is None:
            raise RTRidgeError("calibration: expected scores of one task, by class; found others")
        if (self.low is None) != (self.high is None):
            raise RTRidgeError("calibration: expected both ends of readings or none; found one")
        if self.low is not None and self.high is not None:
            _check_range(self.low, self.high)

    def quantiles(self, level: float) -> tuple[FloatArray, float]:
        """Return half-widths in standard deviations: of each bin, [B], and least ones outside.

        Infinite where too few rows calibrate for the level.
        """
        names = [*self.classes.astype(str), _UNSEEN, _OUTSIDE]
        found = self.intervals.half_widths((len(names), 1), level, strata=names)[:, 0]
        known, normal = np.isin(names, self._strata), float(normal_quantile(level))
        bins, (unseen, outside) = found[:-2], np.where(known[-2:], found[-2:], normal)
        return np.where(self.thin, np.maximum(bins, unseen), bins), max(float(outside), normal)

    def half_width(
        self,
        std: FloatArray,
        support: IntArray,
        level: float,
        extrapolated: BoolArray | None = None,
    ) -> FloatArray:
        """Return the half-width of each row's central interval.

        Parameters
        ----------
        std : ndarray, [N]
            Predictive standard deviation.
        support : ndarray of int, [N]
            Training rows of the row's pair.
        level : float
            Nominal coverage.
        extrapolated : ndarray of bool, [N], or None
            Rows whose readings lie outside the range of the training.
        """
        bins, outside = self.quantiles(level)
        quantile = bins[np.searchsorted(self.edges, support, side="right")]
        if extrapolated is not None:
            # Outside the range of the training an interval may grow but not shrink.
            quantile = np.where(extrapolated, np.maximum(quantile, outside), quantile)
        return np.asarray(quantile * std)

    @property
    def highest_level(self) -> float:
        """Highest level at which all bins have intervals."""
        least = min(int((self._strata == str(name)).sum()) for name in np.unique(self.classes))
        return least / (least + 1)

    @property
    def _strata(self) -> StrArray:
        assert self.intervals.strata is not None
        return self.intervals.strata[0]

    def extrapolated(self, covariates: FloatArray) -> BoolArray | None:
        """Return which rows [N, P] have readings outside the training's range, if it is known."""
        if self.low is None or self.high is None:
            return None
        return outside_range(np.asarray(covariates, dtype=np.float64), self.low, self.high)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all of it as arrays."""
        ends = {} if self.low is None else {"low": self.low, "high": self.high}
        counts = np.array([self.n_rows, self.n_runs], dtype=np.int64)
        own = {"edges": self.edges, "classes": self.classes, "thin": self.thin, "counts": counts}
        return {**own, **ends, **self.intervals.to_arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Return what `to_arrays` stored.

        Raises
        ------
        RTRidgeError
            If an array is missing or wrong.
        """
        try:
            intervals = IntervalCalibration.from_arrays(arrays)
            edges, classes, thin, counts = (
                arrays[name] for name in ("edges", "classes", "thin", "counts")
            )
            n_rows, n_runs = (int(count) for count in counts)
        except KeyError as error:
            raise RTRidgeError(f"calibration: expected an array {error}; found none") from None
        except (InputError, TypeError, ValueError) as error:
            raise RTRidgeError(f"calibration: {error}") from None
        ends = (arrays.get("low"), arrays.get("high"))
        return cls(intervals, edges, classes, thin.astype(np.bool_), *ends, n_rows, n_runs)

    @classmethod
    def of_quantiles(
        cls,
        coverages: FloatArray,
        quantiles: FloatArray,
        edges: IntArray,
        outside: tuple[FloatArray, FloatArray, FloatArray] | None = None,
    ) -> Self:
        """Return the calibration that artefacts of version 2 and before hold as quantiles.

        Parameters
        ----------
        coverages : ndarray, [Q]
            Ascending within (0, 1), multiples of 0.005.
        quantiles : ndarray, [B, Q]
            Half-width over the standard deviation, by bin of support.
        edges : ndarray of int64, [B - 1]
            See `RunCalibration`.
        outside : tuple of ndarray or None
            low, high [P], and the quantiles [Q] outside that range.
        """
        # Scores whose k-th is the quantile of k / 2000, as it is where intervals are made of them.
        at = np.arange(1, 2_000) / 2_000
        tables = [*quantiles, *(() if outside is None else [outside[2]])]
        # Of coverages beyond the last, only the shape of the tail was assumed.
        stretch = normal_quantile(at) / normal_quantile(coverages[-1])
        scores = np.array(
            [
                np.where(
                    at > coverages[-1],
                    table[-1] * stretch,
                    np.interp(at, [0.0, *coverages], [0.0, *table]),
                )
                for table in tables
            ]
        )
        n_bins = len(edges) + 1
        names = [*map(str, range(n_bins)), *(() if outside is None else [_OUTSIDE])]
        strata = np.repeat(np.array(names), len(at))
        ends_of = (None, None) if outside is None else outside[:2]
        thin = np.zeros(n_bins, dtype=np.bool_)
        return cls(
            IntervalCalibration((scores.ravel(),), (strata,)),
            *(edges, np.arange(n_bins), thin, *ends_of, 0, 0),
        )


def _check_range(low: FloatArray, high: FloatArray) -> None:
    if low.shape != high.shape or low.ndim != 1:
        found = f"{list(low.shape)} and {list(high.shape)}"
        raise RTRidgeError(f"calibration: expected ends of each covariate; found {found}")
    if not (np.isfinite(low) & np.isfinite(high) & (low <= high)).all():
        raise RTRidgeError("calibration: expected finite ends of readings, low <= high")


@dataclass
class HeldOutErrors:
    """Errors on held-out runs, in chunks, in memory that does not grow with them.

    Parameters
    ----------
    edges : sequence of int
        Least support of each bin, ascending from 1; pairs never seen have a bin of their own.
    most : int
        Rows of a bin that are held; of more, each is kept with the same probability.
    seed : int
        Of that draw.

    Raises
    ------
    RTRidgeError
        If the edges do not ascend from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from rt_ridge import HeldOutErrors
    >>> errors = HeldOutErrors()
    >>> for run, z in enumerate(np.random.default_rng(0).normal(size=(100, 100))):
    ...     errors.add(z, np.full(100, 30), np.full(100, run))
    >>> half = errors.calibration().half_width(np.ones(1), np.array([30]), 0.95)
    >>> bool(abs(half[0] - 1.96) < 0.1)
    True
    """

    edges: Sequence[int] = SUPPORT_EDGES
    most: int = _MOST_COUNTED
    seed: int = 0
    n_rows: int = field(default=0, init=False)
    _parts: dict[int, list[FloatArray]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.edges = check_edges(self.edges)
        self._random = np.random.default_rng(self.seed)
        self._counts = np.zeros(len(self.edges) + 2, dtype=np.int64)
        self._runs: set[int] = set()

    def add(
        self,
        z: FloatArray,
        support: IntArray,
        runs: IntArray,
        extrapolated: BoolArray | None = None,
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        z : ndarray, [N]
            Errors of held-out rows over their predictive standard deviations; NaN is left out.
        support : ndarray of int, [N]
            Rows of the pair that the prediction was trained on.
        runs : ndarray of int, [N]
            Run of each row.
        extrapolated : ndarray of bool, [N], or None
            Rows whose readings lie outside the range of the training.
        """
        there = ~np.isnan(z)
        bins = np.searchsorted(self.edges, support, side="right")
        if extrapolated is not None:
            bins = np.where(extrapolated, len(self._counts) - 1, bins)
        # Score, run, and the draw that decides whether the row stays: by row, whatever the chunks.
        rows = np.stack([np.abs(z), runs, self._random.random(len(z))], axis=1)[there]
        bins = bins[there]
        self.n_rows += len(rows)
        self._runs.update(np.unique(runs[there]).tolist())
        self._counts += np.bincount(bins, minlength=len(self._counts))
        for number in np.unique(bins).tolist():
            parts = self._parts.setdefault(number, [])
            parts.append(rows[bins == number])
            # Not at every chunk, which would sort the same rows again and again.
            if sum(map(len, parts)) > 2 * self.most:
                self._parts[number] = [self._held(number)]

    def _held(self, number: int) -> FloatArray:
        """Return the rows of a bin: of more than are held, those of the smallest draws."""
        rows = np.concatenate([np.empty((0, 3)), *self._parts.get(number, [])])
        if len(rows) <= self.most:
            return rows
        return rows[np.argpartition(rows[:, 2], self.most)[: self.most]]

    def calibration(self, ends: tuple[FloatArray, FloatArray] | None = None) -> RunCalibration:
        """Return the calibration of all rows so far.

        Parameters
        ----------
        ends : tuple of ndarray, [P] each, or None
            Lowest and highest training reading of each covariate; None: nothing is said of rows
            outside them, which then count as pairs with many rows.

        Raises
        ------
        RTRidgeError
            If fewer than `MIN_ROWS` rows have a prediction.
        """
        if self.n_rows < MIN_ROWS:
            raise RTRidgeError(
                f"calibration: expected at least {MIN_ROWS} held-out rows with a prediction; "
                f"found {self.n_rows}"
            )
        inside, outside = self._counts[:-1].copy(), int(self._counts[-1])
        apart = ends is not None and inside.sum() >= MIN_ROWS
        if not apart:
            # Too few to distinguish: all are then taken as pairs with rows.
            inside[-1] += outside
        classes, thin = _classes(inside)
        of_bin = [*map(str, classes), _OUTSIDE if apart else str(classes[-1])]
        left_out = {_OUTSIDE} if outside < MIN_ROWS else set()
        edges = np.array(self.edges, dtype=np.int64)
        low, high = (None, None) if ends is None else ends
        counts = (self.n_rows, len(self._runs))
        intervals = self._intervals(of_bin, left_out)
        return RunCalibration(intervals, edges, classes, thin, low, high, *counts)

    def _intervals(self, of_bin: Sequence[str], left_out: set[str]) -> IntervalCalibration:
        """Return the scores of each class, from the bins that are of it."""
        scores = dict[str, FloatArray]()
        for name in dict.fromkeys(of_bin):
            numbers = [number for number, own in enumerate(of_bin) if own == name]
            found = np.concatenate([self._held(number) for number in numbers])
            if len(found) and name not in left_out:
                scores[name] = _kept(scores_of_new_groups(found[:, 0], found[:, 1]))
        strata = np.repeat(list(scores), [len(own) for own in scores.values()])
        return IntervalCalibration((np.concatenate(list(scores.values())),), (strata,))


def _classes(counts: IntArray) -> tuple[IntArray, BoolArray]:
    """Return the class of each bin of support, and which are thinner than what was measured.

    Neighbouring bins of pairs that were seen are joined until they have `MIN_ROWS` rows; pairs
    never seen are a class of their own, or, with fewer rows, of that of the least support: their
    errors are those of back-offs, another distribution.
    """
    classes = np.zeros(len(counts), dtype=np.int64)
    current = filled = 0
    for number, count in enumerate(counts[1:], start=1):
        if filled >= MIN_ROWS or not current:
            current, filled = number, 0
        classes[number] = current
        filled += int(count)
    if filled < MIN_ROWS and current > 1:
        classes[classes == current] = classes[current - 1]
    thin = np.cumsum(np.where(np.arange(len(counts)) > 0, counts, 0)) < MIN_ROWS
    thin[0] = counts[0] < MIN_ROWS
    if thin[0]:
        classes[0] = 1
    elif counts[1:].sum() < MIN_ROWS:
        classes[1:] = 0
    return classes, thin


def _kept(scores: FloatArray) -> FloatArray:
    """Return ascending scores, the largest of every k where there are too many."""
    k = -(-len(scores) // _MOST_KEPT)
    # From the last backwards, so that the largest stays.
    return scores[::-1][::k][::-1]


def check_edges(edges: Sequence[int]) -> tuple[int, ...]:
    """Return edges of bins of support, or raise `RTRidgeError` unless they ascend from 1."""
    if not len(edges) or edges[0] != 1 or any(np.diff(edges) <= 0):
        raise RTRidgeError(f"edges: expected ascending from 1; found {list(edges)}")
    return tuple(int(edge) for edge in edges)
