"""How far a score could move had other molecules been drawn: the one scheme of every interval.

A metric's interval on a run's page, in its score, in a comparison and in a study is the percentile
interval of the same resamples, so that it is the same to the last digit: rows are put in the order
of their keys, whole rows are drawn (with all tasks and models, which stay paired), and seed and
number of resamples have one default.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from molpool_common._arrays import FloatArray
from molpool_common.errors import InputError, did_you_mean
from molpool_common.metrics._counted import resampled
from molpool_common.metrics._metric import METRICS, Metric, UndefinedMetricError

N_RESAMPLES = 1000
"""Resamples of an interval, unless others are asked for."""

_CELLS = 2_000_000
"""Rows times resamples held at once: 16 MB an array."""


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
    n: int = N_RESAMPLES,
    level: float = 0.95,
    *,
    keys: Sequence[Any] | None = None,
    seed: int | np.random.Generator = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a metric over rows.

    Parameters
    ----------
    metric : str or Metric
        What is scored.
    y_true : array_like [N]
        NaN where there is no label: such rows are drawn with the others and not scored.
    y_pred : array_like [N]
        Finite wherever there is a label.
    n : int
        Resamples.
    level : float
        Nominal coverage, between 0 and 1.
    keys : sequence of N, optional
        See `resampled_scores`.
    seed : int or numpy.random.Generator
        Of the resamples.

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
    y, p = np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
    labelled = ~np.isnan(y)
    metric(y[labelled], p[labelled])
    drawn = resampled_scores(y[:, None], p[None, :, None], [[metric]], keys=keys, n=n, seed=seed)
    interval = percentile_interval(drawn[0][metric.name][:, 0], level)
    if interval is None:
        raise UndefinedMetricError(f"undefined on all {n} resamples")
    return interval


def resampled_scores(
    y_true: FloatArray,
    y_pred: FloatArray,
    metrics: Sequence[Sequence[Metric]],
    *,
    keys: Sequence[Any] | None = None,
    n: int = N_RESAMPLES,
    seed: int | np.random.Generator = 0,
) -> list[dict[str, FloatArray]]:
    """Score every model and task on the same resamples of the molecules.

    Parameters
    ----------
    y_true : ndarray [N, T]
        NaN where there is no label.
    y_pred : ndarray [M, N, T]
        Of M models; finite wherever there is a label.
    metrics : sequence of sequence of Metric, length T
        Of each task.
    keys : sequence of N, optional
        Distinct names of the rows, which sort: the resamples then do not depend on the order of
        the rows. None: they are drawn as they stand.
    n : int
        Resamples R.
    seed : int or numpy.random.Generator
        Of the resamples.

    Returns
    -------
    list of dict of str to ndarray [R, M]
        By task and metric; NaN where undefined. A resample draws whole rows, so that models stay
        paired and so do tasks.
    """
    if keys is not None:
        order = np.array(sorted(range(len(y_true)), key=keys.__getitem__), dtype=np.intp)
        y_true, y_pred = y_true[order], y_pred[:, order]
    labelled = [np.flatnonzero(~np.isnan(y)) for y in y_true.T]
    found: list[dict[str, list[FloatArray]]] = [{m.name: [] for m in ms} for ms in metrics]
    for counts in draw_counts(len(y_true), n, np.random.default_rng(seed)):
        for t, rows in enumerate(labelled):
            c, y = counts[:, rows], y_true[rows, t]
            for metric in metrics[t]:
                values = [resampled(metric, y, p[rows, t], c) for p in y_pred]
                found[t][metric.name].append(np.stack(values, axis=1))
    return [{name: np.concatenate(v) for name, v in by_name.items()} for by_name in found]


def draw_counts(n_rows: int, n: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Draw `n` resamples of the rows, as counts [r, N], some at a time."""
    if n_rows == 0:
        yield np.zeros((n, 0))
        return
    chunk = max(1, _CELLS // n_rows)
    for start in range(0, n, chunk):
        r = min(chunk, n - start)
        drawn = rng.integers(n_rows, size=(r, n_rows)) + n_rows * np.arange(r)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=r * n_rows)
        yield counts.reshape(r, n_rows).astype(np.float64)


def percentile_interval(values: FloatArray, level: float = 0.95) -> Interval | None:
    """Return the central interval of resampled values [R]; None where all are undefined (NaN)."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, defined.size, values.size - defined.size)


def mean_over_tasks(values: Sequence[FloatArray] | FloatArray) -> FloatArray:
    """Return the mean of resampled values [K, ...] over K tasks, each where it is defined.

    A task without a value on a resample is left out there, as it is left out of the mean over
    tasks of the rows themselves. NaN where none has one.
    """
    each = np.asarray(values)
    defined = ~np.isnan(each)
    n = defined.sum(axis=0)
    total = np.where(defined, each, 0.0).sum(axis=0)
    return np.asarray(np.where(n > 0, total / np.maximum(n, 1), np.nan))


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
