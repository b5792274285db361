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
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from molpool_common._arrays import BoolArray, FloatArray
from molpool_common._errors import InputError, did_you_mean
from molpool_common._progress import tell
from molpool_common.metrics._early import EARLY, Formula
from molpool_common.metrics._metric import (
    METRICS,
    WITHIN,
    Metric,
    UndefinedMetricError,
    close,
    paired,
)
from molpool_common.metrics._order import Order, running

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
            each = [_values(_Drawn.of(y, p[rows, t], c), metrics[t]) for p in y_pred]
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
    return _Drawn.of(y_true, y_pred, counts).values(metric)


@dataclass(frozen=True)
class _Drawn:
    """Truth and prediction [n], how often R resamples hold each row, and what metrics share."""

    y: FloatArray
    p: FloatArray
    c: FloatArray

    @classmethod
    def of(cls, y_true: ArrayLike, y_pred: ArrayLike, counts: ArrayLike) -> _Drawn:
        y, p = paired(y_true, y_pred)
        c = np.ascontiguousarray(counts, dtype=np.float64)
        if c.ndim != 2 or c.shape[1] != y.size:
            expected = f"one for each of {y.size} rows"
            raise InputError("counts", expected=expected, found=f"{c.shape}")
        return cls(y, p, c)

    def values(self, metric: Metric) -> FloatArray:
        """Return the metric on each resample, NaN where it is undefined."""
        metric.check_labels(self.y)
        if self.y.size == 0:
            return np.full(len(self.c), np.nan)
        values = np.full(len(self.c), np.nan)
        with np.errstate(all="ignore"):
            drawn = self
            if metric.scale != "none":
                drawn = _Drawn(metric.scaled(self.y), metric.scaled(self.p), self.c)
            defined = drawn._defined(metric)
            if not defined.all():
                drawn = _Drawn(drawn.y, drawn.p, self.c[defined])
            formula = _FORMULAS.get(metric.name)
            found = formula(drawn) if formula else drawn._repeated(metric)
        values[defined] = np.where(np.isfinite(found), found, np.nan)
        return values

    @cached_property
    def size(self) -> FloatArray:
        """Rows of each resample, [R]."""
        return np.asarray(self.c.sum(axis=1))

    @cached_property
    def y_order(self) -> Order:
        return Order.of(self.y)

    @cached_property
    def p_order(self) -> Order:
        return Order.of(self.p)

    @cached_property
    def by_y(self) -> FloatArray:
        """Counts [R, n] in the order of the truth."""
        return self.y_order.of_rows(self.c)

    @cached_property
    def by_p(self) -> FloatArray:
        """Counts [R, n] in the order of the prediction."""
        return self.p_order.of_rows(self.c)

    @cached_property
    def running(self) -> FloatArray:
        """Rows [R, n + 1] of lower prediction than each place, and all."""
        return running(self.by_p)

    def _defined(self, metric: Metric) -> BoolArray:
        holds = self.size > 0
        for condition in metric.conditions:
            holds &= condition.holds(self._ends_p if condition.predicted else self._ends_y)
        return np.asarray(holds)

    @cached_property
    def _ends_y(self) -> FloatArray:
        """Least and greatest truth of each resample, [R, 2], on which conditions rest."""
        low, high = self.y.min(), self.y.max()
        lowest, highest = self.y == low, self.y == high
        if not (lowest | highest).all():
            return _ends(self.y[self.y_order.rows], self.by_y)
        # Two values, as of classes.
        least = np.where(_total(self.c, lowest) > 0, low, high)
        return np.stack([least, np.where(_total(self.c, highest) > 0, high, low)], axis=1)

    @cached_property
    def _ends_p(self) -> FloatArray:
        return _ends(self.p[self.p_order.rows], self.by_p)

    def _repeated(self, metric: Metric) -> FloatArray:
        values = np.empty(len(self.c))
        for r, times in enumerate(self.c.astype(np.int64)):
            drawn = np.repeat(np.arange(self.y.size), times)
            # No closed form over counts: the resample is written out.
            values[r] = metric.kernel(self.y[drawn][None], self.p[drawn][None])[0]
        return values


def _values(drawn: _Drawn, metrics: Sequence[Metric]) -> list[FloatArray]:
    return [drawn.values(metric) for metric in metrics]


def _ends(ordered: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the first and last value [R, 2] of those [n] that resamples [R, n] hold."""
    there = counts > 0
    last = len(ordered) - 1 - there[:, ::-1].argmax(axis=1)
    return np.asarray(ordered[np.stack([there.argmax(axis=1), last], axis=1)])


def _total(c: FloatArray, v: FloatArray) -> FloatArray:
    """Return sums [R] over the rows that resamples hold.

    Not `c @ v`: BLAS adds in an order that depends on how many resamples there are at a time.
    """
    return np.asarray(np.einsum("rn,n->r", c, v))


def _mae(drawn: _Drawn) -> FloatArray:
    return np.asarray(_total(drawn.c, np.abs(drawn.p - drawn.y)) / drawn.size)


def _rmse(drawn: _Drawn) -> FloatArray:
    return np.asarray(np.sqrt(_total(drawn.c, np.square(drawn.p - drawn.y)) / drawn.size))


def _r2(drawn: _Drawn) -> FloatArray:
    # About the mean of all rows, lest squares of large values cancel.
    y = drawn.y - drawn.y.mean()
    total = _total(drawn.c, np.square(y)) - np.square(_total(drawn.c, y)) / drawn.size
    return np.asarray(1 - _total(drawn.c, np.square(drawn.p - drawn.y)) / total)


def _ma_rae(drawn: _Drawn) -> FloatArray:
    # About the mean of the resample, as the metric is defined on the rows at hand.
    mean = _total(drawn.c, drawn.y) / drawn.size
    spread = np.einsum("rn,rn->r", drawn.c, np.abs(drawn.y - mean[:, None]))
    return np.asarray(_total(drawn.c, np.abs(drawn.p - drawn.y)) / spread)


def _pearson(drawn: _Drawn) -> FloatArray:
    c = drawn.c
    centred = (v - (_total(c, v) / drawn.size)[:, None] for v in (drawn.y, drawn.p))
    x, z = (v / np.abs(v).max(axis=1, initial=0, where=c > 0)[:, None] for v in centred)
    norms = np.einsum("rn,rn,rn->r", c, x, x) * np.einsum("rn,rn,rn->r", c, z, z)
    return np.asarray((np.einsum("rn,rn,rn->r", c, x, z) / np.sqrt(norms)).clip(-1.0, 1.0))


def _spearman(drawn: _Drawn) -> FloatArray:
    c, order = drawn.by_y, drawn.y_order
    place = np.empty_like(order.rows)
    place[drawn.p_order.rows] = np.arange(len(place))
    # Ranks sum to those of rows without ties: half-integers below 2^53, so that nothing rounds.
    mean = (drawn.size[:, None] + 1) / 2
    x = order.ranks(c) - mean
    z = np.take(drawn.p_order.ranks(drawn.by_p), place[order.rows], axis=1) - mean
    norms = np.einsum("rn,rn,rn->r", c, x, x) * np.einsum("rn,rn,rn->r", c, z, z)
    return np.asarray((np.einsum("rn,rn,rn->r", c, x, z) / np.sqrt(norms)).clip(-1.0, 1.0))


def _roc_auc(drawn: _Drawn) -> FloatArray:
    positives = _total(drawn.c, drawn.y)
    rank = _Ranked.of(drawn)
    # Of each positive, the negatives below it and half of those that are tied with it.
    below = (rank.before - rank.own_before + rank.upto - rank.own_upto) / 2
    above = np.einsum("rk,rk->r", rank.own, below)
    return np.asarray(above / (positives * (drawn.size - positives)))


def _average_precision(drawn: _Drawn) -> FloatArray:
    positives, rank = _total(drawn.c, drawn.y), _Ranked.of(drawn)
    at_least = drawn.size[:, None] - rank.before
    hits = positives[:, None] - rank.own_before
    precision = hits / np.maximum(at_least, 1)
    return np.asarray(np.einsum("rk,rk->r", rank.own, precision) / positives)


@dataclass(frozen=True)
class _Ranked:
    """Of K positives by rising prediction, rows below each and up to its ties, all [R, K].

    Parameters
    ----------
    own : ndarray
        How often resamples hold the positive.
    before, upto : ndarray
        Rows.
    own_before, own_upto : ndarray
        Positives among them.
    """

    own: FloatArray
    before: FloatArray
    upto: FloatArray
    own_before: FloatArray
    own_upto: FloatArray

    @classmethod
    def of(cls, drawn: _Drawn) -> _Ranked:
        order = drawn.p_order
        at = np.flatnonzero(drawn.y[order.rows])
        first, after = order.first[at], order.last[at] + 1
        own = np.take(drawn.by_p, at, axis=1)
        owned, ends = running(own), (np.searchsorted(at, first), np.searchsorted(at, after))
        return cls(
            own,
            *(np.take(drawn.running, place, axis=1) for place in (first, after)),
            *(np.take(owned, place, axis=1) for place in ends),
        )


def _within(drawn: _Drawn, *, distance: float) -> FloatArray:
    return np.asarray(_total(drawn.c, close(drawn.y, drawn.p, distance)) / drawn.size)


def _at_top(drawn: _Drawn, *, formula: Formula) -> FloatArray:
    return formula(drawn.y, drawn.p, drawn.c)


_FORMULAS: dict[str, Callable[[_Drawn], FloatArray]] = {
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
    "ma_rae": _ma_rae,
    "pearson": _pearson,
    "spearman": _spearman,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    **{name: partial(_within, distance=distance) for name, distance in WITHIN.items()},
    **{name: partial(_at_top, formula=formula) for name, formula in EARLY.items()},
}
