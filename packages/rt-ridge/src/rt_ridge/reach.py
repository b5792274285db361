"""How far errors reach, so that intervals hold on runs that were not among those measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge.errors import RTRidgeError

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
