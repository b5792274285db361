"""How far a score could move had other rows been drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from molpool_common.errors import InputError, did_you_mean
from molpool_common.metrics._metric import METRICS, Metric, UndefinedMetricError, paired

_CELLS = 1_000_000
"""Rows times resamples held at once: 8 MB an array."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval; unpacks as `low, high`.

    Parameters
    ----------
    low, high : float
        Its ends.
    level : float
        Its nominal coverage.
    n : int
        Resamples it rests on.
    dropped : int
        Resamples on which the metric was undefined.
    """

    low: float
    high: float
    level: float
    n: int
    dropped: int

    def __iter__(self) -> Iterator[float]:
        yield self.low
        yield self.high


def bootstrap_interval(
    metric: str | Metric,
    y_true: ArrayLike,
    y_pred: ArrayLike,
    n: int = 1000,
    level: float = 0.95,
    *,
    rng: np.random.Generator,
) -> Interval:
    """Return the percentile bootstrap interval of a metric over rows.

    Parameters
    ----------
    metric : str or Metric
        What is scored.
    y_true, y_pred : array_like [rows]
        Finite.
    n : int
        Resamples.
    level : float
        Nominal coverage, between 0 and 1.
    rng : numpy.random.Generator
        Draws the resamples.

    Raises
    ------
    UndefinedMetricError
        If the metric is undefined on the rows themselves or on every resample.
    InputError
        If an argument is out of its range or a metric unknown.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    metric = _named(metric)
    if n < 1:
        raise InputError("n", expected="at least 1 resample", found=str(n))
    if not 0 < level < 1:
        raise InputError("level", expected="a number between 0 and 1", found=str(level))
    y, p = paired(y_true, y_pred)
    metric(y, p)
    chunk = max(1, _CELLS // y.size)
    values = np.empty(n)
    for start in range(0, n, chunk):
        rows = rng.integers(y.size, size=(min(chunk, n - start), y.size))
        values[start : start + len(rows)] = metric.batch(y[rows], p[rows])
    defined = values[~np.isnan(values)]
    if defined.size == 0:
        raise UndefinedMetricError(f"undefined on all {n} resamples")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, defined.size, n - defined.size)


def _named(metric: str | Metric) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if metric not in METRICS:
        raise InputError(
            "metric",
            expected="the name of a metric",
            found=repr(metric),
            hint=did_you_mean(metric, list(METRICS)),
        )
    return METRICS[metric]
