"""What Tukey's test on folds takes for granted, measured on the folds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray
from numpy.typing import ArrayLike

from molpool_pipelines.scores.comparison.tukey import residuals

LARGEST_RATIO = 9.0
"""Of the variances of the models' scores; above it Ash et al. (2024) prefer a test of ranks."""
LEAST_P = 0.05
LEAST_EPSILON = 0.75
"""Of sphericity; the usual bound below which the Greenhouse-Geisser correction is advised."""


@dataclass(frozen=True)
class Assumptions:
    """Checks of one task and metric.

    Parameters
    ----------
    normality_p : float or None
        Shapiro-Wilk on the residuals; None where they do not vary or are fewer than three.
    variance_ratio : float or None
        Largest over smallest variance of a model's scores; None where the smallest is 0.
    epsilon : float or None
        Greenhouse-Geisser estimate of sphericity, from 1 / (M - 1) to 1.
    friedman_p : float or None
        Of the test of ranks that needs none of them; None for two models.
    doubts : tuple of str
        What fails, in words.
    """

    normality_p: float | None
    variance_ratio: float | None
    epsilon: float | None
    friedman_p: float | None
    doubts: tuple[str, ...]


def check_assumptions(scores: ArrayLike) -> Assumptions:
    """Check scores [K, M] for normal residuals, equal variances and sphericity."""
    x = np.asarray(scores, dtype=np.float64)
    normality = _normality(residuals(x))
    ratio = _variance_ratio(x)
    epsilon = greenhouse_geisser(x)
    doubts = []
    if normality is not None and normality < LEAST_P:
        doubts.append(f"residuals are not normal (Shapiro-Wilk p {normality:.2g})")
    if ratio is None or ratio > LARGEST_RATIO:
        size = "without bound" if ratio is None else f"{ratio:.1f}"
        doubts.append(f"variances of the models are unlike (ratio {size}, above {LARGEST_RATIO:g})")
    if epsilon is not None and epsilon < LEAST_EPSILON:
        doubts.append(f"differences vary unalike (Greenhouse-Geisser epsilon {epsilon:.2f})")
    return Assumptions(normality, ratio, epsilon, _friedman(x), tuple(doubts))


def greenhouse_geisser(scores: FloatArray) -> float | None:
    """Return epsilon of scores [K, M]: 1 where all differences of models vary alike.

    References
    ----------
    Greenhouse and Geisser, "On methods in the analysis of profile data", Psychometrika 24 (1959)
    95-112.
    """
    n_models = scores.shape[1]
    centring = np.eye(n_models) - 1 / n_models
    s = centring @ np.cov(scores, rowvar=False) @ centring
    below = float((n_models - 1) * np.square(s).sum())
    return float(np.trace(s) ** 2 / below) if below > 0 else None


def _normality(rest: FloatArray) -> float | None:
    from scipy.stats import shapiro

    flat = rest.ravel()
    if flat.size < 3 or np.ptp(flat) <= 1e-12:
        return None
    return float(shapiro(flat).pvalue)


def _variance_ratio(x: FloatArray) -> float | None:
    variances = x.var(axis=0, ddof=1)
    if variances.max() == 0:
        return 1.0
    return float(variances.max() / variances.min()) if variances.min() > 0 else None


def _friedman(x: FloatArray) -> float | None:
    from scipy.stats import friedmanchisquare

    if x.shape[1] < 3 or np.ptp(x, axis=1).max() == 0:
        return None
    return float(friedmanchisquare(*x.T).pvalue)
