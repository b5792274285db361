"""Partially pooled ridge regressions, in scikit-learn's manner."""

from __future__ import annotations

from typing import Any, Self

from rt_ridge.compound_classes import CompoundClasses
from rt_ridge.compound_descriptors import CompoundDescriptors
from rt_ridge.config import (
    InterceptMode,
    InterceptPrior,
    Method,
    RidgeConfig,
    SamplingConfig,
    SlopeHeadMode,
)
from rt_ridge.errors import RTRidgeError
from rt_ridge.features import FeatureCenter, FeatureMap
from rt_ridge.pooled_ridge import PooledRidge
from rt_ridge.priors import ScalePriors


class PartialPoolingRidge(PooledRidge):
    """Ridge regression of every (group, compound), pooled towards what is above it.

    Parameters
    ----------
    intercept_mode, intercept_prior, slope_head_mode, lambda_slopes, sigma, compound_slopes, \
cluster_slopes, species_slopes, class_slopes, slope_shrinkage, descriptor_heads, \
descriptor_slopes, descriptor_components, location_mean, location_sd, sigma_fixed, priors, method, \
sampling, seed
        See `RidgeConfig`.
    feature_center : {"global", "none"}
        With rows: whether covariates are centred at their mean, where the intercept then stands.

    Attributes
    ----------
    scales_ : dict
        Mean and 95 % interval of each standard deviation.
    log_likelihood_ : float
        Marginal log likelihood: at the optimum, or its mean over the points.
    summaries_ : Stage1CoeffSummaries
        Coefficients and covariances, and the levels that unseen pairs back off to.
    idata_ : arviz.InferenceData
        Posterior of the scales.
    notes_ : tuple of str
        What was left out of the model, and what was estimated at exactly 0.

    Examples
    --------
    >>> import numpy as np
    >>> from rt_ridge import PartialPoolingRidge
    >>> rng = np.random.default_rng(0)
    >>> groups = np.stack([np.repeat(np.arange(8), 10), np.tile(np.arange(5), 16)], axis=1)
    >>> X = rng.normal(size=(80, 1))
    >>> y = 5 + groups[:, 1] + 0.2 * X[:, 0] + rng.normal(scale=0.05, size=80)
    >>> model = PartialPoolingRidge().fit(X, y, groups)
    >>> mean, std = model.predict(X[:1], [[99, 3]], return_std=True)
    >>> bool(abs(mean[0] - 8) < 1)
    True
    """

    def __init__(
        self,
        *,
        intercept_mode: InterceptMode = "explicit",
        intercept_prior: InterceptPrior = "comp_hier",
        slope_head_mode: SlopeHeadMode = "none",
        lambda_slopes: float | list[float] | str = 1.0,
        sigma: str = "global",
        compound_slopes: bool = False,
        cluster_slopes: bool = False,
        species_slopes: bool = False,
        class_slopes: str = "none",
        slope_shrinkage: str = "shared",
        descriptor_heads: str = "none",
        descriptor_slopes: str = "none",
        descriptor_components: int | None = None,
        location_mean: float = 0.0,
        location_sd: float | None = None,
        sigma_fixed: float | None = None,
        priors: ScalePriors | None = None,
        method: Method = "map",
        sampling: SamplingConfig | None = None,
        feature_center: FeatureCenter = "global",
        seed: int = 0,
    ) -> None:
        self.intercept_mode = intercept_mode
        self.intercept_prior = intercept_prior
        self.slope_head_mode = slope_head_mode
        self.lambda_slopes = lambda_slopes
        self.sigma = sigma
        self.compound_slopes = compound_slopes
        self.cluster_slopes = cluster_slopes
        self.species_slopes = species_slopes
        self.class_slopes = class_slopes
        self.slope_shrinkage = slope_shrinkage
        self.descriptor_heads = descriptor_heads
        self.descriptor_slopes = descriptor_slopes
        self.descriptor_components = descriptor_components
        self.location_mean = location_mean
        self.location_sd = location_sd
        self.sigma_fixed = sigma_fixed
        self.priors = priors
        self.method = method
        self.sampling = sampling
        self.feature_center = feature_center
        self.seed = seed

    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        features: FeatureMap | None = None,
        descriptors: CompoundDescriptors | None = None,
        classes: CompoundClasses | None = None,
    ) -> Self:
        """Fit to rows, or to their sufficient statistics.

        Parameters
        ----------
        X : SufficientStatistics, or array_like [N, P]
            Statistics, whose covariates are taken as given; or the covariates of the rows.
        y : array_like, [N]
            Retention times, with rows.
        groups : array_like of int, [N, 2] or [N, 3], or None
            Group, compound and, for what is pooled by it, supercategory of each row; None: all
            rows are of one pair.
        features : FeatureMap or None
            With statistics: how their covariates were made from those of a table.
        descriptors : CompoundDescriptors or None
            Descriptors that intercepts of compounds, and slopes, are regressed on.
        classes : CompoundClasses or None
            Classes of compounds, for `class_slopes`.

        Returns
        -------
        self

        Raises
        ------
        RTRidgeError
            If the data lack what the parameters ask for.
        """
        self._descriptors, self._classes = descriptors, classes
        return super().fit(X, y, groups, features=features)


class SupercategoryRidge(PooledRidge):
    """Ridge regression of every (supercategory, compound): the group is the supercategory itself.

    Parameters
    ----------
    intercept_prior : {"comp_hier", "flat"}
        Whether intercepts are pooled towards their compound.
    slope_head_mode : {"none", "global"}
        What slopes are pooled towards.
    lambda_slopes, sigma, priors, method, sampling, seed
        See `RidgeConfig`.
    feature_center : {"global", "none"}
        With rows: whether covariates are centred at their mean, where the intercept then stands.

    Attributes
    ----------
    scales_, log_likelihood_, summaries_, idata_, notes_
        As in `PartialPoolingRidge`.
    """

    group_col = "species_cluster"

    def __init__(
        self,
        *,
        intercept_prior: InterceptPrior = "comp_hier",
        slope_head_mode: SlopeHeadMode = "none",
        lambda_slopes: float | list[float] | str = 1.0,
        sigma: str = "global",
        priors: ScalePriors | None = None,
        method: Method = "map",
        sampling: SamplingConfig | None = None,
        feature_center: FeatureCenter = "global",
        seed: int = 0,
    ) -> None:
        self.intercept_prior = intercept_prior
        self.slope_head_mode = slope_head_mode
        self.lambda_slopes = lambda_slopes
        self.sigma = sigma
        self.priors = priors
        self.method = method
        self.sampling = sampling
        self.feature_center = feature_center
        self.seed = seed

    def ridge_config(self) -> RidgeConfig:
        """Return the validated configuration that the parameters stand for."""
        for name, allowed in (
            ("intercept_prior", ("flat", "comp_hier")),
            ("slope_head_mode", ("none", "global")),
        ):
            if getattr(self, name) not in allowed:
                raise RTRidgeError(
                    f"{name}: a supercategory has nothing above it; expected one of "
                    f"{', '.join(allowed)}; found {getattr(self, name)!r}"
                )
        return super().ridge_config()
