"""How far a series of molecules is off as a whole, learnt from the few that were measured.

A series is predicted with an error of its own, which no molecule measured before tells. Each
measured residual is that error plus noise; the mean of few is shrunk toward 0 by how far series are
usually off (empirical Bayes).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from molpool_common import FloatArray, IntArray

_PRIOR_ROWS = 20.0
"""Rows that the calibration's estimate of the noise counts for, beside those of a new series."""

_PRIOR_SERIES = 20.0
"""Series that its estimate of their bias counts for, beside the new one: a bias such as none of
them had is not explained away by a variance of 0."""


@dataclass(frozen=True)
class BiasPrior:
    """Variances of the residuals of T tasks.

    Make one with `fit`.

    Parameters
    ----------
    between : ndarray [T]
        Of the mean residual of a series; NaN where it is not known.
    within : ndarray [T]
        Of residuals around that mean.
    """

    between: FloatArray
    within: FloatArray

    @classmethod
    def fit(cls, residuals: FloatArray, series: Sequence[str]) -> Self:
        """Return the variances of residuals by the analysis of variance of a random effect.

        Parameters
        ----------
        residuals : ndarray [N, T]
            Label minus prediction, NaN where there is none.
        series : sequence of str, length N
            To which the rows belong.

        References
        ----------
        Searle, Casella and McCulloch, "Variance Components" (Wiley 1992), section 3.6: the
        estimator for unbalanced data, not below 0.
        """
        _, which = np.unique(np.asarray(series, dtype=np.str_), return_inverse=True)
        found = [_components(residuals[:, t], which) for t in range(residuals.shape[1])]
        return cls(np.array([b for b, _ in found]), np.array([w for _, w in found]))

    def to_arrays(self) -> dict[str, FloatArray]:
        """Return arrays for an npz file."""
        return {"prior.between": self.between, "prior.within": self.within}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self | None:
        """Return what `to_arrays` stored; None where an earlier version stored nothing."""
        if "prior.between" not in arrays:
            return None
        return cls(arrays["prior.between"], arrays["prior.within"])


def _components(residuals: FloatArray, which: IntArray) -> tuple[float, float]:
    rows = np.isfinite(residuals)
    values, groups = residuals[rows], np.unique(which[rows], return_inverse=True)[1]
    n = len(values)
    sizes = np.bincount(groups) if n else np.zeros(0)
    if n < 2:
        return np.nan, np.nan
    if len(sizes) < 2 or len(sizes) == n:
        # Nothing tells bias from noise.
        return float(values.mean()) ** 2, float(values.var(ddof=1))
    means = np.bincount(groups, weights=values) / sizes
    within = float(((values - means[groups]) ** 2).sum() / (n - len(sizes)))
    among = float((sizes * (means - values.mean()) ** 2).sum() / (len(sizes) - 1))
    typical = (n - (sizes**2).sum() / n) / (len(sizes) - 1)
    # About 0, not about the mean of the calibration rows: a shift that they share would be there in
    # a new series too.
    between = max((among - within) / typical, 0.0) + float(values.mean()) ** 2
    return between, within


@dataclass(frozen=True)
class Recentring:
    """What newly measured molecules change in the predictions of T tasks.

    Make one with `learn`.

    Parameters
    ----------
    shift : ndarray [T]
        Added to predictions.
    factor : ndarray [T]
        By which intervals become wider, or narrower.
    n : ndarray of int64 [T]
        Newly measured labels.
    """

    shift: FloatArray
    factor: FloatArray
    n: IntArray

    @classmethod
    def learn(cls, residuals: FloatArray, prior: BiasPrior) -> Self:
        """Return the posterior mean of each task's bias, and the spread that is left.

        Parameters
        ----------
        residuals : ndarray [N, T]
            Label minus prediction of new molecules, NaN where there is none.
        prior : BiasPrior
            What series are like.
        """
        tasks = range(residuals.shape[1])
        found = [_posterior(residuals[:, t], prior.between[t], prior.within[t]) for t in tasks]
        counts = np.isfinite(residuals).sum(axis=0)
        return cls(np.array([s for s, _ in found]), np.array([f for _, f in found]), counts)

    def ends(self, lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the ends of intervals [M, T], moved and rescaled about their middle."""
        half = (upper - lower) / 2 * self.factor
        with np.errstate(invalid="ignore"):
            middle = (upper + lower) / 2 + self.shift
            known = np.isfinite(half)
            return (
                np.where(known, middle - half, lower),
                np.where(known, middle + half, upper),
            )

    def described(self, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
        """Return, by task, the labels, the shift on the model's scale and the factor."""
        rows = zip(tasks, self.n.tolist(), self.shift.tolist(), self.factor.tolist(), strict=True)
        return {t: {"labels": n, "shift": s, "width": f} for t, n, s, f in rows if n}


def _posterior(residuals: FloatArray, between: float, within: float) -> tuple[float, float]:
    values = residuals[np.isfinite(residuals)]
    n = len(values)
    if not n or not np.isfinite(between) or within <= 0:
        return 0.0, 1.0
    mean = float(values.mean())
    # The noise of a new series may be another: its own counts for its degrees of freedom.
    noise = (_PRIOR_ROWS * within + ((values - mean) ** 2).sum()) / (_PRIOR_ROWS + n - 1)
    seen = max(mean**2 - noise / n, 0.0)
    spread = (_PRIOR_SERIES * between + seen) / (_PRIOR_SERIES + 1)
    weight = n * spread / (n * spread + noise)
    left = noise + (1 - weight) * spread
    return weight * mean, float(np.sqrt(left / (within + between)))
