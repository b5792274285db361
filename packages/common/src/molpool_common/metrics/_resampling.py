"""How far a score could move had other molecules been drawn: the one scheme of every interval.

A metric's interval on a run's page, in its score, in a comparison and in a study is the percentile
interval of the same resamples, so that it is the same to the last digit: rows are put in the order
of their keys, whole rows are drawn (with all tasks and models, which stay paired), and seed and
number of resamples have one default.

A resample of n rows with replacement is n counts. Sorting the rows once then serves the ranks of
every resample, and sums over rows become products with the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from molpool_common._arrays import FloatArray
from molpool_common._errors import InputError, did_you_mean
from molpool_common._progress import tell
from molpool_common.metrics._drawn import Drawn, total
from molpool_common.metrics._early import EARLY
from molpool_common.metrics._metric import (
    METRICS,
    WITHIN,
    Metric,
    UndefinedMetricError,
    close,
    paired,
)

N_RESAMPLES = 1000
"""Resamples of an interval, unless others are asked for."""

_CELLS = 2_000_000
"""Rows times resamples held at once: 16 MB per array."""


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
    done = 0
    for counts in draw_counts(len(y_true), n, np.random.default_rng(seed)):
        tell("Intervals", done, n, "resamples")
        done += len(counts)
        for t, rows in enumerate(labelled):
            c, y = np.take(counts, rows, axis=1), y_true[rows, t]
            # Model by model, as what its metrics share is as large as the resamples.
            each = [_values(_checked(y, p[rows, t], c), metrics[t]) for p in y_pred]
            for k, metric in enumerate(metrics[t]):
                found[t][metric.name].append(np.stack([of[k] for of in each], axis=1))
    tell("Intervals", n, n, "resamples")
    return [{name: np.concatenate(v) for name, v in by_name.items()} for by_name in found]


def draw_counts(n_rows: int, n: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Draw `n` resamples of the rows, as counts [r, N], some at a time."""
    if n_rows == 0:
        yield np.zeros((n, 0))
        return
    chunk = max(1, _CELLS // n_rows)
    for start in range(0, n, chunk):
        r = min(chunk, n - start)
        # One bincount for all resamples of the chunk: each has its own range of row numbers.
        drawn = rng.integers(n_rows, size=(r, n_rows)) + n_rows * np.arange(r)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=r * n_rows)
        yield counts.reshape(r, n_rows).astype(np.float64)


def percentile_interval(values: FloatArray, level: float = 0.95) -> Interval | None:
    """Return the central interval of resampled values [R]; None where all are undefined (NaN)."""
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    # Percentiles (Efron and Tibshirani 1993, chapter 13): BCa would need a jackknife of every
    # metric, task and model.
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


def resampled(
    metric: Metric, y_true: ArrayLike, y_pred: ArrayLike, counts: ArrayLike
) -> FloatArray:
    """Return the metric on each of R resamples, NaN where it is undefined.

    Parameters
    ----------
    metric : Metric
        What is scored.
    y_true, y_pred : array_like [n]
        Finite.
    counts : array_like [R, n]
        How often each resample holds each row, whole numbers from 0; a resample may be empty.

    Returns
    -------
    ndarray [R]
        The same, up to rounding, as the metric of the rows repeated so often.

    Raises
    ------
    InputError
        If shapes differ, an entry is not finite, or a class is not 0 or 1.
    """
    return _valued(_checked(y_true, y_pred, counts), metric)


def _checked(y_true: ArrayLike, y_pred: ArrayLike, counts: ArrayLike) -> Drawn:
    y, p = paired(y_true, y_pred)
    c = np.ascontiguousarray(counts, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] != y.size:
        raise InputError("counts", expected=f"one for each of {y.size} rows", found=f"{c.shape}")
    return Drawn(y, p, c)


def _values(drawn: Drawn, metrics: Sequence[Metric]) -> list[FloatArray]:
    """Return metrics on each resample, NaN where one is undefined."""
    return [_valued(drawn, metric) for metric in metrics]


def _valued(drawn: Drawn, metric: Metric) -> FloatArray:
    metric.check_labels(drawn.y)
    values = np.full(len(drawn.c), np.nan)
    if drawn.y.size == 0:
        return values
    with np.errstate(all="ignore"):
        if metric.scale != "none":
            drawn = Drawn(metric.scaled(drawn.y), metric.scaled(drawn.p), drawn.c)
        defined = drawn.size > 0
        for condition in metric.conditions:
            defined &= condition.holds(drawn.p_ends if condition.predicted else drawn.y_ends)
        if not defined.all():
            drawn = Drawn(drawn.y, drawn.p, drawn.c[defined])
        formula = _FORMULAS.get(metric.name)
        found = formula(drawn) if formula else _repeated(metric, drawn)
    values[defined] = np.where(np.isfinite(found), found, np.nan)
    return values


def _repeated(metric: Metric, drawn: Drawn) -> FloatArray:
    values = np.empty(len(drawn.c))
    for r, times in enumerate(drawn.c.astype(np.int64)):
        rows = np.repeat(np.arange(drawn.y.size), times)
        # No closed form over counts: the resample is written out.
        values[r] = metric.kernel(drawn.y[rows][None], drawn.p[rows][None])[0]
    return values


def _mae(drawn: Drawn) -> FloatArray:
    return np.asarray(total(drawn.c, np.abs(drawn.p - drawn.y)) / drawn.size)


def _rmse(drawn: Drawn) -> FloatArray:
    return np.asarray(np.sqrt(total(drawn.c, np.square(drawn.p - drawn.y)) / drawn.size))


def _r2(drawn: Drawn) -> FloatArray:
    # About the mean of all rows, lest squares of large values cancel.
    y = drawn.y - drawn.y.mean()
    spread = total(drawn.c, np.square(y)) - np.square(total(drawn.c, y)) / drawn.size
    return np.asarray(1 - total(drawn.c, np.square(drawn.p - drawn.y)) / spread)


def _ma_rae(drawn: Drawn) -> FloatArray:
    # About the mean of the resample, as the metric is defined on the rows at hand.
    mean = total(drawn.c, drawn.y) / drawn.size
    spread = np.einsum("rn,rn->r", drawn.c, np.abs(drawn.y - mean[:, None]))
    return np.asarray(total(drawn.c, np.abs(drawn.p - drawn.y)) / spread)


def _pearson(drawn: Drawn) -> FloatArray:
    c = drawn.c
    centred = (v - (total(c, v) / drawn.size)[:, None] for v in (drawn.y, drawn.p))
    x, z = (v / np.abs(v).max(axis=1, initial=0, where=c > 0)[:, None] for v in centred)
    norms = np.einsum("rn,rn,rn->r", c, x, x) * np.einsum("rn,rn,rn->r", c, z, z)
    return np.asarray((np.einsum("rn,rn,rn->r", c, x, z) / np.sqrt(norms)).clip(-1.0, 1.0))


def _spearman(drawn: Drawn) -> FloatArray:
    c, order = drawn.by_y, drawn.y_order
    place = np.empty_like(order.rows)
    place[drawn.p_order.rows] = np.arange(len(place))
    # Ranks sum to those of rows without ties: half-integers below 2^53, so that nothing rounds.
    mean = (drawn.size[:, None] + 1) / 2
    x = order.ranks(c) - mean
    z = np.take(drawn.p_order.ranks(drawn.by_p), place[order.rows], axis=1) - mean
    norms = np.einsum("rn,rn,rn->r", c, x, x) * np.einsum("rn,rn,rn->r", c, z, z)
    return np.asarray((np.einsum("rn,rn,rn->r", c, x, z) / np.sqrt(norms)).clip(-1.0, 1.0))


def _roc_auc(drawn: Drawn) -> FloatArray:
    rank, positives = drawn.ranked, drawn.positives
    # Of each positive, the negatives below it and half of those that are tied with it.
    before = rank.before - rank.positives_before(rank.first)
    upto = rank.upto - rank.positives_before(rank.after)
    above = np.einsum("rk,rk->r", rank.own, (before + upto) / 2)
    return np.asarray(above / (positives * (drawn.size - positives)))


def _average_precision(drawn: Drawn) -> FloatArray:
    rank, positives = drawn.ranked, drawn.positives
    at_least = drawn.size[:, None] - rank.before
    hits = positives[:, None] - rank.positives_before(rank.first)
    precision = hits / np.maximum(at_least, 1)
    return np.asarray(np.einsum("rk,rk->r", rank.own, precision) / positives)


def _within(drawn: Drawn, *, distance: float) -> FloatArray:
    return np.asarray(total(drawn.c, close(drawn.y, drawn.p, distance)) / drawn.size)


_FORMULAS: dict[str, Callable[[Drawn], FloatArray]] = {
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
    "ma_rae": _ma_rae,
    "pearson": _pearson,
    "spearman": _spearman,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    **{name: partial(_within, distance=distance) for name, distance in WITHIN.items()},
    **EARLY,
}
