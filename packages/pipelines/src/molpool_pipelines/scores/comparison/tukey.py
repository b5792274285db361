"""Tukey's honestly significant differences of models that were all scored on the same folds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from molpool_common import FloatArray
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class TukeyHSD:
    """All pairwise differences of means, with simultaneous intervals.

    Parameters
    ----------
    difference : ndarray [M, M]
        Mean of row model minus mean of column model.
    low, high : ndarray [M, M]
        Ends of intervals that hold all at once at the level.
    p : ndarray [M, M]
        Adjusted for all pairs; 1 on the diagonal.
    half_width : float
        Half of an interval. Two models differ where intervals of half this half width about their
        means are apart (Hochberg and Tamhane 1987).
    residual_sd : float
        Square root of the residual mean square.
    df : int
        Its degrees of freedom.
    """

    difference: FloatArray
    low: FloatArray
    high: FloatArray
    p: FloatArray
    half_width: float
    residual_sd: float
    df: int


def residuals(scores: FloatArray) -> FloatArray:
    """Return scores [K, M] less the effects of fold and of model."""
    by_fold = scores.mean(axis=1, keepdims=True)
    by_model = scores.mean(axis=0, keepdims=True)
    return np.asarray(scores - by_fold - by_model + scores.mean())


def repeated_measures_tukey(scores: ArrayLike, level: float = 0.95) -> TukeyHSD:
    """Compare the means of M models over the K folds on which all of them were scored.

    The error is the residual of a repeated-measures analysis of variance, the folds being the
    subjects: what makes a fold hard for all models alike does not count as error.

    Parameters
    ----------
    scores : array_like [K, M]
        Finite; K and M at least 2.
    level : float
        Of the simultaneous intervals.

    Raises
    ------
    ValueError
        If there are fewer than two folds or models.

    References
    ----------
    Tukey, "The problem of multiple comparisons" (1953); Ash et al., "Practically Significant Method
    Comparison Protocols for Machine Learning in Small Molecule Drug Discovery" (2024), which
    applies it to repeated cross-validation.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or min(x.shape) < 2:
        raise ValueError(f"scores: expected at least 2 folds and 2 models; found {x.shape}")
    n_folds, n_models = x.shape
    df = (n_folds - 1) * (n_models - 1)
    mean_square = float(np.square(residuals(x)).sum() / df)
    return honest_differences(x.mean(axis=0), n_folds, mean_square, df, level)


def honest_differences(
    means: FloatArray, n: int, mean_square: float, df: int, level: float = 0.95
) -> TukeyHSD:
    """Compare all pairs of means of a balanced design.

    Parameters
    ----------
    means : ndarray [M]
        Each over `n` scores.
    n : int
        Scores a mean.
    mean_square : float
        Of the error.
    df : int
        Its degrees of freedom.
    level : float
        Of the simultaneous intervals.
    """
    from scipy.stats import studentized_range

    error = float(np.sqrt(mean_square / n))
    difference = means[:, None] - means[None, :]
    half = _critical(level, len(means), df) * error
    gap = np.abs(difference)
    # Models that differ by the same amount on every fold leave no residual.
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(gap > 0, gap / error, 0.0)
    p = np.ones_like(q)
    upper = np.triu_indices(len(means), 1)
    tail = np.where(np.isinf(q[upper]), 0.0, 1.0)
    finite = np.isfinite(q[upper])
    if finite.any():
        tail[finite] = studentized_range.sf(q[upper][finite], len(means), df)
    p[upper] = tail.clip(0.0, 1.0)
    p[upper[::-1]] = p[upper]
    low, high = difference - half, difference + half
    return TukeyHSD(difference, low, high, p, half, mean_square**0.5, df)


@cache
def _critical(level: float, n_models: int, df: int) -> float:
    """Return the quantile of the studentised range, which takes a tenth of a second."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(level, n_models, df))
