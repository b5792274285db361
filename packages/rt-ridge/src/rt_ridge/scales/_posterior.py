"""What every method says of the scales: points with weights, and intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from molpool_common import FloatArray

TAIL = 0.025
"""On either side of an interval."""


@dataclass(frozen=True)
class ScalePosterior:
    """Posterior of the scales, a sample or a single point.

    Parameters
    ----------
    names : tuple of str
        Of the entries of a point.
    points : ndarray, [S, size]
        Standard deviations, then offsets of log σ.
    weights : ndarray, [S]
        They sum to 1.
    low, high : ndarray, [size]
        Ends of the 95 % intervals; NaN where the method gives none.
    log_likelihood : float
        Marginal log likelihood of all rows: at the optimum, or the mean over the points.
    diagnostics : dict of str to float
        Such as R-hat, the effective sample size, or how far an optimiser got.
    notes : tuple of str
        Sentences for the reader: what was left out, what was estimated at exactly 0.
    trace : object or None
        The sampler's own record (ArviZ InferenceData), where there is one.
    """

    names: tuple[str, ...]
    points: FloatArray
    weights: FloatArray
    low: FloatArray
    high: FloatArray
    log_likelihood: float
    diagnostics: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    trace: Any = None

    @classmethod
    def of_sample(
        cls,
        names: tuple[str, ...],
        points: FloatArray,
        weights: FloatArray | None = None,
        **rest: Any,
    ) -> ScalePosterior:
        """Return a sample [S, size], equally weighted by default, with its central intervals."""
        weights = np.full(len(points), 1 / len(points)) if weights is None else weights
        low, high = weighted_interval(points, weights)
        return cls(names=names, points=points, weights=weights, low=low, high=high, **rest)

    @property
    def mean(self) -> FloatArray:
        """Weighted mean of the points, [size]."""
        return np.asarray(self.weights @ self.points)

    def summary(self) -> dict[str, dict[str, float]]:
        """Return mean, low and high of each entry, by name."""
        rows = zip(self.names, self.mean, self.low, self.high, strict=True)
        return {n: {"mean": float(m), "low": float(a), "high": float(b)} for n, m, a, b in rows}

    def thinned(self, size: int) -> tuple[FloatArray, FloatArray]:
        """Return at most `size` points and their weights, evenly along the cumulated weight."""
        if len(self.points) <= size:
            return self.points, self.weights
        # Systematic resampling: as even as the weights allow, and the same at every call.
        middle = (np.arange(size) + 0.5) / size
        chosen = np.searchsorted(np.cumsum(self.weights), middle * self.weights.sum())
        place, count = np.unique(np.minimum(chosen, len(self.points) - 1), return_counts=True)
        return self.points[place], count / count.sum()


def weighted_interval(points: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the central 95 % interval of each column of weighted points [S, size]."""
    low, high = np.empty(points.shape[1]), np.empty(points.shape[1])
    for j, column in enumerate(points.T):
        order = np.argsort(column)
        level = np.cumsum(weights[order]) - weights[order] / 2
        low[j], high[j] = np.interp([TAIL, 1 - TAIL], level, column[order])
    return low, high
