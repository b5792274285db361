"""Every pair on its own: what partial pooling is to be better than."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from molpool_common import FloatArray
from sklearn.base import clone

from rt_ridge._config import LikelihoodKey, RidgeConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import PooledRidge
from rt_ridge.prediction._backoff import CoefficientPredictor, NoiseVariance
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.prediction._units import in_units
from rt_ridge.robust._rows import StoredRows
from rt_ridge.selection._held_out import HeldOut
from rt_ridge.selection._penalty import chosen_penalty, scaled
from rt_ridge.statistics._ridge import batched_ridge, collapsed_log_likelihood
from rt_ridge.statistics._sufficient import (
    SufficientStatistics,
    spread_of_regressors,
    standardised,
)
from rt_ridge.tables._features import FeatureCenter, FeatureMap

_NO_NOISE = 1e-12
"""Least σ² over the variance of the target, for data that a line fits without error."""


RIDGE_PENALTIES = tuple(np.logspace(-3, 3, 13).tolist())
"""Tried for ridge, in units of a row: covariates are over their standard deviations."""

LASSO_PENALTIES = tuple(np.logspace(-4, 0.5, 10).tolist())
"""Tried for lasso, in units of the spread of the target within pairs."""


class _Groupwise(PooledRidge):
    """Regressions of the pairs one by one, from their statistics."""

    _held_out: Sequence[HeldOut] = ()
    _chosen: float | None = None

    def __init__(
        self,
        alpha: float | None = 1.0,
        *,
        group_col: str = "species",
        feature_center: FeatureCenter = "global",
        likelihood: LikelihoodKey = "gaussian",
        nu: float | None = None,
        leave_out: float | None = None,
    ) -> None:
        self.alpha = alpha
        self.group_col = group_col
        self.feature_center = feature_center
        self.likelihood = likelihood
        self.nu = nu
        self.leave_out = leave_out

    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        held_out: Sequence[HeldOut] = (),
        features: FeatureMap | None = None,
        rows: StoredRows | None = None,
    ) -> Self:
        """Fit to rows, or to their statistics; see `PooledRidge.fit`.

        Parameters
        ----------
        X, y, groups, features, rows
            As there.
        held_out : sequence of HeldOut
            With statistics, where `alpha` is None: the runs that it is chosen by.
        """
        self._held_out = held_out
        return super().fit(X, y, groups, features=features, rows=rows)

    def refit(self, stats: SufficientStatistics, features: FeatureMap) -> Self:
        """Return a fit to other rows by the penalty of this one; this stays as it is."""
        other: Self = clone(self)
        other._chosen = self.alpha_
        return other.fit(stats, features=features)

    def ridge_config(self) -> RidgeConfig:
        """Return the model that the intervals stand for: flat intercepts, ridge slopes."""
        alpha = 1.0 if self.alpha is None else self.alpha
        if not (np.isfinite(alpha) and alpha > 0):
            raise RTRidgeError(f"alpha: expected a number > 0; found {alpha!r}")
        own = RidgeConfig(
            intercept_mode="collapsed", intercept_prior="flat", lambda_slopes=float(alpha)
        )
        return RidgeConfig.model_validate({**own.model_dump(), **super().ridge_config().robust})

    def _fit_statistics(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        wide: SufficientStatistics | None = None,
    ) -> None:
        scale = None if self.alpha is not None else spread_of_regressors(stats, features)
        wide = stats if wide is None else wide
        if scale is not None:
            stats, wide = standardised(stats, scale), standardised(wide, scale)
        self.alpha_ = self._penalty(stats, scale)
        slopes, precision = self._slopes(stats, self.alpha_)
        sigma2 = _noise_variance(stats, slopes, precision)
        mean = _with_intercept(stats, slopes, precision, sigma2)[0]
        cov = _with_intercept(wide, slopes, precision, sigma2)[1]
        sigma = float(np.sqrt(sigma2))
        self.scales_ = {"sigma": {"mean": sigma, "low": np.nan, "high": np.nan}}
        self.log_likelihood_ = float(
            collapsed_log_likelihood(stats, lambda_slopes=precision, sigma2=sigma2).sum()
        )
        coefficients = CoefficientPredictor(stats.keys, mean, cov, parents=stats.parents)
        if scale is not None:
            coefficients = in_units(coefficients, scale)
            features = replace(features, scale=scale)
            self.notes_ = (f"alpha {self.alpha_:.4g} chosen by {self._chosen_by}",)
        self.summaries_ = Stage1CoeffSummaries(
            group_col=stats.group_col,
            features=features,
            coefficients=coefficients,
            noise=NoiseVariance(sigma2),
            n=stats.n,
            method=type(self).__name__,
        )

    def _fit_rows(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        rows: StoredRows | None,
    ) -> None:
        self._fit_statistics(stats, config, features)
        # Runs left out are not weighted: their choice of a penalty stands.
        given, self._chosen = self._chosen, self.alpha_

        def widened(
            weighted: SufficientStatistics, wide: SufficientStatistics
        ) -> Stage1CoeffSummaries:
            self._fit_statistics(weighted, config, features, wide)
            return self.summaries_

        self._weigh(stats, rows, config, lambda weighted: widened(weighted, weighted), widened)
        self._chosen = given

    @property
    def _chosen_by(self) -> str:
        return "runs left out" if self._held_out else "rule: no runs could be left out"

    def _penalty(self, stats: SufficientStatistics, scale: FloatArray | None) -> float:
        given = self._chosen if self.alpha is None else self.alpha
        if given is not None or scale is None:
            return float(given or 1.0)
        folds = scaled(self._held_out, scale)
        return chosen_penalty(
            stats, folds, lambda part, alpha: self._slopes(part, alpha)[0], self._tried(stats)
        )

    def _tried(self, stats: SufficientStatistics) -> Sequence[float]:
        """Return the penalties that are tried, ascending."""
        raise NotImplementedError

    def _slopes(self, stats: SufficientStatistics, alpha: float) -> tuple[FloatArray, FloatArray]:
        """Return slopes, and the diagonals of the Λ of a normal prior that gives them, [G, P]."""
        raise NotImplementedError


class GroupwiseRidge(_Groupwise):
    """Ridge regression of every pair on its own; an unseen pair has no prediction.

    The coefficients are those of ``sklearn.linear_model.Ridge(alpha)`` fitted pair by pair,
    computed for all pairs at once.

    Parameters
    ----------
    alpha : float or None
        Weight of the squared slopes against the sum of squared errors, > 0. None: chosen by runs
        left out, of covariates over their standard deviations.
    group_col : str
        What the group is called, for the artefact.
    feature_center : {"global", "none"}
        Whether covariates are centred at their mean, where the intercept then stands.
    likelihood, nu, leave_out
        See `RidgeConfig`.

    Attributes
    ----------
    summaries_ : Stage1CoeffSummaries
        Coefficients, and their covariances under a flat prior of intercepts, a normal one of
        slopes, and one σ that maximises the collapsed likelihood.
    scales_ : dict
        That σ, in the unit of the target.
    """

    def _tried(self, stats: SufficientStatistics) -> Sequence[float]:
        return RIDGE_PENALTIES

    def _slopes(self, stats: SufficientStatistics, alpha: float) -> tuple[FloatArray, FloatArray]:
        precision = np.full((stats.G, stats.P), alpha)
        return batched_ridge(stats, precision).slopes, precision


class GroupwiseLasso(_Groupwise):
    """Lasso of every pair on its own; an unseen pair has no prediction.

    The coefficients are those of ``sklearn.linear_model.Lasso(alpha)`` fitted pair by pair.

    Parameters
    ----------
    alpha : float or None
        Weight of the absolute slopes against half the mean squared error, > 0. None: as in
        `GroupwiseRidge`.
    group_col, feature_center, likelihood, nu, leave_out
        As in `GroupwiseRidge`.

    Attributes
    ----------
    summaries_ : Stage1CoeffSummaries
        Coefficients, and covariances by the local quadratic approximation of the penalty (Fan
        and Li 2001, doi:10.1198/016214501753382273): a slope of 0 is held there.
    scales_ : dict
        σ, in the unit of the target.
    """

    def __init__(
        self,
        alpha: float | None = 0.01,
        *,
        group_col: str = "species",
        feature_center: FeatureCenter = "global",
        likelihood: LikelihoodKey = "gaussian",
        nu: float | None = None,
        leave_out: float | None = None,
    ) -> None:
        known: dict[str, Any] = {"likelihood": likelihood, "nu": nu, "leave_out": leave_out}
        super().__init__(alpha, group_col=group_col, feature_center=feature_center, **known)

    def _tried(self, stats: SufficientStatistics) -> Sequence[float]:
        within = float(np.sqrt(stats.syy.sum() / max(stats.n_rows - stats.G, 1)))
        return [(within or 1.0) * share for share in LASSO_PENALTIES]

    def _slopes(self, stats: SufficientStatistics, alpha: float) -> tuple[FloatArray, FloatArray]:
        penalty = alpha * stats.mass
        slopes = groupwise_lasso(stats.sxx, stats.sxy, penalty)
        # |w| is about w² / 2|w0| + |w0| / 2 near w0; the floor keeps slopes at 0 definite.
        floor = 1e-6 * max(float(np.abs(slopes).max(initial=0.0)), 1e-6)
        return slopes, penalty[:, None] / np.maximum(np.abs(slopes), floor)


def _noise_variance(
    stats: SufficientStatistics, slopes: FloatArray, precision: FloatArray
) -> float:
    """Return σ² that maximises the collapsed likelihood of flat intercepts."""
    # Each pair spends a row on its flat intercept.
    freedom = int((stats.n - 1).sum())
    if freedom == 0:
        raise RTRidgeError(
            f"rows: expected a pair with two or more to measure the noise; found pairs of one row"
            f" each, n_samples = {stats.G}"
        )
    # RSS from centred moments: rows are not read again, and the intercept is already taken out.
    rss = stats.syy - 2 * np.einsum("gp,gp->g", slopes, stats.sxy)
    rss += np.einsum("gp,gpq,gq->g", slopes, stats.sxx, slopes)
    total = float(np.maximum(rss, 0.0).sum() + (precision * slopes**2).sum())
    return max(total, _NO_NOISE * (float(stats.syy.sum()) or 1.0)) / freedom


def _with_intercept(
    stats: SufficientStatistics, slopes: FloatArray, precision: FloatArray, sigma2: float
) -> tuple[FloatArray, FloatArray]:
    """Return mean and covariance of [b, w]; the line turns about the mean of its rows."""
    inverse = batched_ridge(stats, precision).covariance
    mean = np.empty((stats.G, stats.P + 1))
    mean[:, 1:] = slopes
    mean[:, 0] = stats.mean_y - np.einsum("gp,gp->g", stats.mean_x, slopes)
    lever = np.einsum("gpq,gq->gp", inverse, stats.mean_x)
    cov = np.empty((stats.G, stats.P + 1, stats.P + 1))
    # b = ȳ − x̄·w, where ȳ and w are independent.
    cov[:, 0, 0] = 1 / stats.mass + np.einsum("gp,gp->g", stats.mean_x, lever)
    cov[:, 0, 1:] = cov[:, 1:, 0] = -lever
    cov[:, 1:, 1:] = inverse
    return mean, sigma2 * cov


def groupwise_lasso(
    sxx: FloatArray,
    sxy: FloatArray,
    penalty: FloatArray,
    *,
    max_iter: int = 10_000,
    tol: float = 1e-9,
) -> FloatArray:
    """Minimise ½ w·S_xx w - w·S_xy + penalty |w|₁ of each group.

    Parameters
    ----------
    sxx : ndarray, [G, P, P]
        Centred cross products of the covariates.
    sxy : ndarray, [G, P]
        Those of covariates and target.
    penalty : ndarray, [G]
        Weight of the sum of absolute slopes.
    max_iter : int
        Sweeps over the covariates.
    tol : float
        A group is done when its optimality conditions hold to `tol` times its largest |S_xy|.
        Slopes of collinear covariates may wander on; what they predict does not.

    Returns
    -------
    ndarray, [G, P]
        Slopes; 0 for a constant covariate.

    Warns
    -----
    UserWarning
        If groups are left after `max_iter` sweeps.

    Notes
    -----
    The sweeps of Friedman et al. (2010, doi:10.18637/jss.v033.i01), over groups side by side, and
    after each a step to the optimum for the signs at hand, as in the feature-sign search of Lee
    et al. (2006, NIPS 19), which ends the crawl that collinear covariates would cause.
    """
    slopes = np.zeros_like(sxy)
    open_groups = np.arange(len(sxy))
    for _ in range(max_iter):
        if not len(open_groups):
            return slopes
        w, part = slopes[open_groups], (sxx[open_groups], sxy[open_groups], penalty[open_groups])
        _sweep(w, *part)
        w = _along_signs(w, *part)
        slopes[open_groups] = w
        largest = np.abs(part[1]).max(axis=1, initial=0.0)
        open_groups = open_groups[_violation(w, *part) > tol * largest]
    if len(open_groups):
        warnings.warn(
            f"lasso: {len(open_groups)} of {len(sxy)} groups are not done after {max_iter} sweeps",
            UserWarning,
            stacklevel=2,
        )
    return slopes


def _sweep(w: FloatArray, sxx: FloatArray, sxy: FloatArray, penalty: FloatArray) -> None:
    """Minimise over every slope once, in place."""
    diagonal = np.einsum("gpp->gp", sxx)
    for j in range(w.shape[1]):
        # The covariance update of Friedman et al. (2010, section 2.2): residuals are never formed.
        gradient = sxy[:, j] - np.einsum("gp,gp->g", sxx[:, j], w) + diagonal[:, j] * w[:, j]
        # Soft thresholding, the proximal map of the absolute value.
        shrunk = np.sign(gradient) * np.maximum(np.abs(gradient) - penalty, 0.0)
        w[:, j] = np.divide(shrunk, diagonal[:, j], out=np.zeros(len(w)), where=diagonal[:, j] > 0)


def _along_signs(
    w: FloatArray, sxx: FloatArray, sxy: FloatArray, penalty: FloatArray
) -> FloatArray:
    """Go to the optimum for the signs at hand, or as far as the first slope that becomes 0."""
    active = w != 0
    system = sxx * (active[:, :, None] & active[:, None, :])
    diagonal = np.einsum("gpp->gp", system)
    # A hair of ridge: with more slopes than rows the penalty alone says where to go, and far.
    diagonal += np.where(active, 1e-12 * diagonal, 1.0)
    right = np.where(active, sxy - np.sign(w) * penalty[:, None], 0.0)
    solved = np.linalg.solve(system, right[..., None])[..., 0] if w.size else w
    crosses = active & (np.sign(solved) != np.sign(w))
    # Where on the way from w to `solved` a slope becomes 0; past it the signs no longer hold.
    step = np.divide(w, w - solved, out=np.ones_like(w), where=crosses)
    shortest = step.min(axis=1, keepdims=True, initial=1.0)
    moved = w + shortest * (solved - w)
    return np.where(crosses & (step == shortest), 0.0, moved)


def _violation(w: FloatArray, sxx: FloatArray, sxy: FloatArray, penalty: FloatArray) -> FloatArray:
    """Return how far each group is from |gradient| <= penalty, with = and the sign where w ≠ 0."""
    gradient = sxy - np.einsum("gpq,gq->gp", sxx, w)
    bound = penalty[:, None]
    off = np.where(w != 0, np.abs(gradient - np.sign(w) * bound), np.abs(gradient) - bound)
    return np.asarray(np.maximum(off, 0.0).max(axis=1, initial=0.0))
