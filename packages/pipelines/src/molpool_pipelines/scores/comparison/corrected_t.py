"""The corrected resampled t-test: a guard against folds that share their training rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class CorrectedT:
    """A paired difference over folds.

    Parameters
    ----------
    difference : float
        Mean over folds.
    low, high : float
        Its interval, of this pair alone.
    t : float
        Statistic; infinite where the folds do not vary.
    p : float
        Two-sided, of this pair alone.
    df : int
        Folds less one.
    """

    difference: float
    low: float
    high: float
    t: float
    p: float
    df: int


def corrected_resampled_t(
    differences: ArrayLike, test_to_train: float, level: float = 0.95
) -> CorrectedT:
    """Test whether the mean of paired differences over folds is 0.

    Models of different folds are trained on rows that overlap, so that the variance over folds
    understates that of a new training set. The test adds what the ratio of test to training rows
    says is missing: the variance of the mean is (1/K + n_test/n_train) s², not s²/K.

    Parameters
    ----------
    differences : array_like [K]
        One a fold, K at least 2.
    test_to_train : float
        Test rows over training rows; 1 / (k - 1) for k folds, repeated or not.
    level : float
        Of the interval.

    Raises
    ------
    ValueError
        If there are fewer than two folds or the ratio is not positive.

    References
    ----------
    Nadeau and Bengio, "Inference for the generalization error", Machine Learning 52 (2003) 239-281,
    equation 9; for repeated cross-validation Bouckaert and Frank (2004).
    """
    from scipy.stats import t as student

    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or d.size < 2:
        raise ValueError(f"differences: expected at least 2 folds; found shape {d.shape}")
    if not test_to_train > 0:
        raise ValueError(f"test_to_train: expected a positive ratio; found {test_to_train}")
    df = d.size - 1
    mean = float(d.mean())
    error = float(np.sqrt((1 / d.size + test_to_train) * d.var(ddof=1)))
    half = float(student.ppf((1 + level) / 2, df)) * error
    if error > 0:
        t = mean / error
        p = float(2 * student.sf(abs(t), df))
    else:
        t, p = (float(np.copysign(np.inf, mean)), 0.0) if mean else (0.0, 1.0)
    return CorrectedT(mean, mean - half, mean + half, t, p, df)
