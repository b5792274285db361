"""Metrics of many resamples of the same rows, each given by how often it holds a row.

A resample of n rows with replacement is n counts. Sorting the rows once then serves the ranks of
every resample, and sums over rows become products with the counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molpool_common._arrays import FloatArray
from molpool_common.errors import InputError
from molpool_common.metrics._metric import Metric, paired


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
    y, p = paired(y_true, y_pred)
    metric.check_labels(y)
    c = np.ascontiguousarray(counts, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] != y.size:
        raise InputError("counts", expected=f"one for each of {y.size} rows", found=f"{c.shape}")
    if y.size == 0:
        return np.full(len(c), np.nan)
    formula = _FORMULAS.get(metric.name)
    values = np.full(len(c), np.nan)
    defined = _defined(metric, y, p, c)
    with np.errstate(all="ignore"):
        found = formula(_Rows(y, p), c[defined]) if formula else _repeated(metric, y, p, c[defined])
    values[defined] = np.where(np.isfinite(found), found, np.nan)
    return values


def _defined(metric: Metric, y: FloatArray, p: FloatArray, c: FloatArray) -> NDArray[np.bool_]:
    # A row that was not drawn is shown as the first one that was: conditions are about the set.
    first = np.argmax(c > 0, axis=1)[:, None]
    rows = np.where(c > 0, np.arange(y.size), first)
    holds = c.sum(axis=1) > 0
    for condition in metric.conditions:
        holds &= condition.holds(y[rows], p[rows])
    return np.asarray(holds)


@dataclass(frozen=True)
class _Order:
    """Rows in rising order of a value, ties together."""

    rows: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]

    @classmethod
    def of(cls, x: FloatArray) -> _Order:
        """Sort once."""
        rows = np.argsort(x, kind="stable")
        _, start, group, size = np.unique(
            x[rows], return_index=True, return_inverse=True, return_counts=True
        )
        return cls(rows, start[group], (start + size - 1)[group])

    def ranks(self, c: FloatArray) -> FloatArray:
        """Return the mean rank [R, n] of each row among the rows of each resample."""
        upto = np.zeros((len(c), len(self.rows) + 1))
        np.cumsum(c[:, self.rows], axis=1, out=upto[:, 1:])
        ranks = np.empty_like(c)
        ranks[:, self.rows] = (upto[:, self.first] + 1 + upto[:, self.last + 1]) / 2
        return ranks


@dataclass(frozen=True)
class _Rows:
    """Truth and prediction, with what all resamples share."""

    y: FloatArray
    p: FloatArray

    @cached_property
    def y_order(self) -> _Order:
        return _Order.of(self.y)

    @cached_property
    def p_order(self) -> _Order:
        return _Order.of(self.p)


def _total(c: FloatArray, v: FloatArray) -> FloatArray:
    """Return sums [R] over the rows that resamples hold.

    Not `c @ v`: BLAS adds in an order that depends on how many resamples there are at a time.
    """
    return np.asarray(np.einsum("rn,n->r", c, v))


def _mae(rows: _Rows, c: FloatArray) -> FloatArray:
    return np.asarray(_total(c, np.abs(rows.p - rows.y)) / c.sum(axis=1))


def _rmse(rows: _Rows, c: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(_total(c, np.square(rows.p - rows.y)) / c.sum(axis=1)))


def _r2(rows: _Rows, c: FloatArray) -> FloatArray:
    # About the mean of all rows, lest squares of large values cancel.
    y = rows.y - rows.y.mean()
    total = _total(c, np.square(y)) - np.square(_total(c, y)) / c.sum(axis=1)
    return np.asarray(1 - _total(c, np.square(rows.p - rows.y)) / total)


def _ma_rae(rows: _Rows, c: FloatArray) -> FloatArray:
    mean = _total(c, rows.y) / c.sum(axis=1)
    spread = np.einsum("rn,rn->r", c, np.abs(rows.y - mean[:, None]))
    return np.asarray(_total(c, np.abs(rows.p - rows.y)) / spread)


def _correlation(x: FloatArray, z: FloatArray, c: FloatArray) -> FloatArray:
    x, z = (v - (np.einsum("rn,rn->r", c, v) / c.sum(axis=1))[:, None] for v in (x, z))
    x, z = (v / np.abs(v).max(axis=1, initial=0, where=c > 0)[:, None] for v in (x, z))
    norms = np.einsum("rn,rn,rn->r", c, x, x) * np.einsum("rn,rn,rn->r", c, z, z)
    return np.asarray((np.einsum("rn,rn,rn->r", c, x, z) / np.sqrt(norms)).clip(-1.0, 1.0))


def _pearson(rows: _Rows, c: FloatArray) -> FloatArray:
    return _correlation(np.broadcast_to(rows.y, c.shape), np.broadcast_to(rows.p, c.shape), c)


def _spearman(rows: _Rows, c: FloatArray) -> FloatArray:
    return _correlation(rows.y_order.ranks(c), rows.p_order.ranks(c), c)


def _roc_auc(rows: _Rows, c: FloatArray) -> FloatArray:
    positives = _total(c, rows.y)
    negatives = c.sum(axis=1) - positives
    above = np.einsum("rn,rn,n->r", rows.p_order.ranks(c), c, rows.y)
    return np.asarray((above - positives * (positives + 1) / 2) / (positives * negatives))


def _average_precision(rows: _Rows, c: FloatArray) -> FloatArray:
    order = _Order.of(-rows.p)
    c, y = c[:, order.rows], rows.y[order.rows]
    at_least = np.cumsum(c, axis=1)[:, order.last]
    hits = np.cumsum(c * y, axis=1)[:, order.last]
    precision = np.divide(hits, at_least, out=np.zeros_like(c), where=at_least > 0)
    return np.asarray(np.einsum("rn,rn,n->r", precision, c, y) / _total(c, y))


def _repeated(metric: Metric, y: FloatArray, p: FloatArray, c: FloatArray) -> FloatArray:
    values = np.empty(len(c))
    for r, times in enumerate(c.astype(np.int64)):
        rows = np.repeat(np.arange(y.size), times)
        values[r] = metric.kernel(y[rows][None], p[rows][None])[0]
    return values


_FORMULAS: dict[str, Callable[[_Rows, FloatArray], FloatArray]] = {
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
    "ma_rae": _ma_rae,
    "pearson": _pearson,
    "spearman": _spearman,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
}
