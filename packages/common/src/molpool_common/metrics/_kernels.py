"""The formulas, over a batch: truth and prediction [R, n] give a value [R].

The batch axis is there for the bootstrap, which would take a thousand Python calls otherwise. The
kernels assume that their metric is defined; `Metric` sees to it.
"""

from __future__ import annotations

import numpy as np

from molpool_common._arrays import FloatArray


def mean_absolute_error(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mean of |p - y|."""
    return np.asarray(np.abs(p - y).mean(axis=-1))


def root_mean_squared_error(y: FloatArray, p: FloatArray) -> FloatArray:
    """Square root of the mean of (p - y)²."""
    return np.asarray(np.sqrt(np.square(p - y).mean(axis=-1)))


def coefficient_of_determination(y: FloatArray, p: FloatArray) -> FloatArray:
    """1 - residual over total sum of squares, the total about the mean of y."""
    return np.asarray(1 - np.square(p - y).sum(axis=-1) / np.square(_centred(y)).sum(axis=-1))


def relative_absolute_error(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mean absolute error over that of the constant prediction mean(y)."""
    return np.asarray(mean_absolute_error(y, p) / np.abs(_centred(y)).mean(axis=-1))


def pearson_correlation(y: FloatArray, p: FloatArray) -> FloatArray:
    """Cosine of the centred vectors."""
    cosine: FloatArray = (_unit(_centred(y)) * _unit(_centred(p))).sum(axis=-1)
    # Rounding can put a perfect correlation an ulp past 1.
    return np.asarray(cosine.clip(-1.0, 1.0))


def spearman_correlation(y: FloatArray, p: FloatArray) -> FloatArray:
    """Pearson correlation of the ranks, ties at their mean rank."""
    return pearson_correlation(_ranks(y), _ranks(p))


def kendall_tau_b(y: FloatArray, p: FloatArray) -> FloatArray:
    """Tau-b, which corrects for ties."""
    from scipy.stats import kendalltau

    return np.array([kendalltau(a, b).statistic for a, b in zip(y, p, strict=True)], dtype=float)


def roc_area(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mann–Whitney statistic over its maximum: P(a positive scores above a negative), ties half."""
    positives = y.sum(axis=-1)
    negatives = y.shape[-1] - positives
    above = (_ranks(p) * y).sum(axis=-1) - positives * (positives + 1) / 2
    return np.asarray(above / (positives * negatives))


def average_precision_area(y: FloatArray, p: FloatArray) -> FloatArray:
    """Mean over the positives of the precision among all that score at least as high."""
    from scipy.stats import rankdata

    at_least = rankdata(-p, method="max", axis=-1).astype(np.int64)
    order = np.argsort(-p, axis=-1, kind="stable")
    hits = np.take_along_axis(np.cumsum(np.take_along_axis(y, order, -1), -1), at_least - 1, -1)
    return np.asarray((y * hits / at_least).sum(axis=-1) / y.sum(axis=-1))


def _centred(x: FloatArray) -> FloatArray:
    return np.asarray(x - x.mean(axis=-1, keepdims=True))


def _unit(x: FloatArray) -> FloatArray:
    # Scaled by the largest entry first: squares of very small or large entries leave float64.
    x = x / np.abs(x).max(axis=-1, keepdims=True)
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def _ranks(x: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(x, axis=-1), dtype=np.float64)
