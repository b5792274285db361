"""Partially pooled ridge regressions in scikit-learn's manner, and their calibrated intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from molpool_common import FloatArray, InputError, IntArray, validate_values
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from rt_ridge._config import (
    InterceptMode,
    InterceptPrior,
    Method,
    RidgeConfig,
    SamplingConfig,
    ScalePriors,
    SlopeHeadMode,
)
from rt_ridge._errors import RTRidgeError
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._linear_system import matched_threads
from rt_ridge.posterior._artefact import summarise
from rt_ridge.prediction._conformal import HeldOutErrors, RunCalibration, outside_range
from rt_ridge.prediction._summaries import Prediction, Stage1CoeffSummaries
from rt_ridge.prediction._units import in_basis, in_units
from rt_ridge.scales import find_scales
from rt_ridge.scales._correlated import find_turn, in_own_basis
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.scales._sampling import to_inference_data
from rt_ridge.statistics._sufficient import (
    SufficientStatistics,
    spread_of_regressors,
    standardised,
)
from rt_ridge.tables._compounds import CompoundClasses, CompoundDescriptors
from rt_ridge.tables._features import FeatureCenter, FeatureMap


class PooledRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn regressor over pairs; subclasses offer the parameters.

    Parameters that are keys of `RidgeConfig` make up the model.
    """

    group_col = "species"
    _descriptors: CompoundDescriptors | None = None
    _classes: CompoundClasses | None = None

    def ridge_config(self) -> RidgeConfig:
        """Return the validated configuration that the parameters stand for."""
        fields = RidgeConfig.model_fields
        given = {k: v for k, v in self.get_params(deep=False).items() if k in fields}
        try:
            return validate_values(RidgeConfig, {k: v for k, v in given.items() if v is not None})
        except InputError as error:
            raise RTRidgeError(str(error)) from None

    @classmethod
    def from_config(cls, config: RidgeConfig) -> Self:
        """Return an estimator with the parameters of a configuration."""
        names = cls._get_param_names()
        return cls(**{name: getattr(config, name) for name in names if hasattr(config, name)})

    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        *,
        features: FeatureMap | None = None,
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

        Returns
        -------
        self

        Raises
        ------
        RTRidgeError
            If the data lack what the parameters ask for.
        ImportError
            If `method` is "nuts" or "advi" and the extra ``sampling`` is not installed.
        """
        config = self.ridge_config()
        if isinstance(X, SufficientStatistics):
            stats = X
            features = features or FeatureMap.plain(stats.covariates)
            self.n_features_in_ = len(features.names)
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
            stats, features = to_statistics(
                X, y, groups, self._names(X), self.group_col, self.feature_center
            )
        self._with_groups = isinstance(X, SufficientStatistics) or groups is not None
        self._fit_statistics(stats, config, features)
        return self

    def predict(
        self, X: Any, groups: Any = None, *, return_std: bool = False
    ) -> FloatArray | tuple[FloatArray, FloatArray]:
        """Predict retention times.

        Parameters
        ----------
        X : array_like, [N, P]
            Covariates.
        groups : array_like of int, [N, 2] or [N, 3], or None
            Group, compound and, for groups never seen, supercategory of each row.
        return_std : bool
            Return also the standard deviation of a new measurement.

        Returns
        -------
        mean : ndarray, [N]
            NaN for pairs never seen, under flat intercepts.
        std : ndarray, [N]
            If `return_std`.
        """
        prediction = self.predict_levels(X, groups)
        return (prediction.mean, prediction.std) if return_std else prediction.mean

    def predict_levels(self, X: Any, groups: Any = None) -> Prediction:
        """Predict, and say from which level each row was; see `predict`."""
        check_is_fitted(self, "summaries_")
        if groups is None and self._with_groups:
            raise RTRidgeError("groups: expected as in fit, one row per prediction; found None")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        ids = as_groups(groups, len(X))
        parents = ids[:, 2] if ids.shape[1] == 3 else None
        summaries: Stage1CoeffSummaries = self.summaries_
        return summaries.predict(X, ids[:, 0], ids[:, 1], parents)

    @cached_property
    def idata_(self) -> Any:
        """Posterior of the scales as ArviZ InferenceData; needs the extra ``sampling``."""
        check_is_fitted(self, "summaries_")
        return to_inference_data(self.scale_posterior_, self.ridge_config().seed)

    def _names(self, X: FloatArray) -> Sequence[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{j}" for j in range(X.shape[1])] if names is None else [str(n) for n in names]

    def _fit_statistics(
        self, stats: SufficientStatistics, config: RidgeConfig, features: FeatureMap
    ) -> None:
        found, summaries = fitted(stats, config, features, (self._descriptors, self._classes))
        # A cached posterior would be that of the fit before.
        self.__dict__.pop("idata_", None)
        self.scale_posterior_ = found
        self.scales_ = found.summary()
        self.log_likelihood_ = found.log_likelihood
        self.notes_ = found.notes
        self.summaries_ = summaries


def fitted(
    stats: SufficientStatistics,
    config: RidgeConfig,
    features: FeatureMap,
    known: tuple[CompoundDescriptors | None, CompoundClasses | None] = (None, None),
    scales: ScalePosterior | None = None,
) -> tuple[ScalePosterior, Stage1CoeffSummaries]:
    """Fit one model; return its scales, and the artefact with slopes per unit of each regressor.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the regressors as they are.
    config : RidgeConfig
        The model.
    features : FeatureMap
        From covariates to regressors.
    known : tuple
        Descriptors and classes of compounds, if any.
    scales : ScalePosterior or None
        Of standardised regressors, where they are known and are of this model's; None: found.
    """
    scale = spread_of_regressors(stats) if config.standardise else None
    seen = stats if scale is None else standardised(stats, scale)
    turn = None
    if config.correlated_slopes and stats.P:
        config = config.model_copy(update={"slope_scales": "covariate"})
        turn = find_turn(seen, lambda turned: Hierarchy(turned, config, *known), find_scales)
        seen = turn.of(seen)
    hierarchy = Hierarchy(seen, config, *known)
    # Threads of BLAS that wait for each other cost more than small systems gain.
    with matched_threads(hierarchy.system.arrangement.n_dense):
        if scales is None or scales.names != hierarchy.layout.names:
            scales = find_scales(hierarchy)
        found, summaries = scales, summarise(hierarchy, scales, features)
    if turn is not None:
        found = in_own_basis(found, turn, stats.covariates)
        own = in_basis(summaries.coefficients, turn.back)
        summaries = replace(summaries, coefficients=own)
    if scale is None:
        return found, summaries
    in_unit = in_units(summaries.coefficients, scale)
    return found, replace(summaries, features=replace(features, scale=scale), coefficients=in_unit)


def as_groups(groups: Any, n_rows: int) -> IntArray:
    """Return ids [N, 2] or [N, 3]; zeros where none are given.

    Raises
    ------
    RTRidgeError
        If they have another shape, or are not whole numbers.
    """
    if groups is None:
        return np.zeros((n_rows, 2), dtype=np.int64)
    ids = np.asarray(groups)
    if ids.dtype.names is not None:
        ids = np.stack([ids[name] for name in ids.dtype.names], axis=1)
    if ids.ndim != 2 or ids.shape[1] not in (2, 3) or len(ids) != n_rows:
        raise RTRidgeError(
            f"groups: expected [{n_rows}, 2] (group, compound) or [{n_rows}, 3] (and "
            f"supercategory); found shape {list(ids.shape)}"
        )
    if not np.issubdtype(ids.dtype, np.integer):
        raise RTRidgeError(f"groups: expected whole numbers; found {ids.dtype}")
    return ids.astype(np.int64)


def to_statistics(
    X: FloatArray,
    y: FloatArray,
    groups: Any,
    names: Sequence[str],
    group_col: str,
    center: FeatureCenter,
) -> tuple[SufficientStatistics, FeatureMap]:
    """Reduce rows to the statistics of their pairs.

    Parameters
    ----------
    X, y : ndarray, [N, P], [N]
        Covariates and target.
    groups : array_like of int or None
        See `as_groups`.
    names : sequence of str
        Of the covariates.
    group_col : str
        What the group is called.
    center : {"global", "none"}
        Whether the covariates are centred at their mean.
    """
    import polars as pl

    ids = as_groups(groups, len(X))
    mean = X.mean(axis=0)
    features = FeatureMap.fit(names, mean, np.eye(len(names)), center=center)
    # Numbered names, since a covariate may be called like a column of ids.
    inner = [f"x{j}" for j in range(X.shape[1])]
    frame = pl.DataFrame(features.transform(X), schema=inner)
    frame = frame.with_columns(
        pl.Series("group", ids[:, 0]), pl.Series("compound", ids[:, 1]), pl.Series("rt", y)
    )
    parent = None
    if ids.shape[1] == 3:
        parent = "parent"
        frame = frame.with_columns(pl.Series(parent, ids[:, 2]))
    stats = SufficientStatistics.from_frame(
        frame, group="group", compound="compound", parent=parent, covariates=inner, target="rt"
    )
    return replace(stats, covariates=tuple(names), group_col=group_col), features


class PartialPoolingRidge(PooledRidge):
    """Ridge regression of every (group, compound), pooled towards what is above it.

    Parameters
    ----------
    intercept_mode, intercept_prior, slope_head_mode, lambda_slopes, slope_scales, standardise, \
sigma, compound_slopes, \
cluster_slopes, species_slopes, correlated_slopes, class_slopes, slope_shrinkage, \
descriptor_heads, \
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
        slope_scales: str = "shared",
        standardise: bool = False,
        sigma: str = "global",
        compound_slopes: bool = False,
        cluster_slopes: bool = False,
        species_slopes: bool = False,
        correlated_slopes: bool = False,
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
        self.slope_scales = slope_scales
        self.standardise = standardise
        self.sigma = sigma
        self.compound_slopes = compound_slopes
        self.cluster_slopes = cluster_slopes
        self.species_slopes = species_slopes
        self.correlated_slopes = correlated_slopes
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
        """Fit to rows, or to their sufficient statistics; see `PooledRidge.fit` for the rest.

        Parameters
        ----------
        X, y, groups, features
            Statistics, or the covariates [N, P], retention times [N] and ids [N, 2] or [N, 3].
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


def calibrate_intervals(
    estimator: Any,
    X: Any,
    y: Any,
    groups: Any,
    runs: Any,
    *,
    n_folds: int = 10,
    seed: int = 0,
    **known: Any,
) -> RunCalibration:
    """Fit to all but one fold of the runs at a time, and measure the errors on that fold.

    Parameters
    ----------
    estimator : PartialPoolingRidge, SupercategoryRidge or GroupwiseRidge
        Not changed; clones of it are fitted.
    X, y, groups : array_like, [N, P], [N], [N, 2] or [N, 3]
        As for `fit`.
    runs : array_like, [N]
        Run of each row: rows that share what is measured of the run, and so err together.
    n_folds : int
        Folds that the runs are held out in.
    seed : int
        Of the folds.
    **known
        What `fit` takes besides rows: descriptors, classes.

    Returns
    -------
    RunCalibration
        For ``dataclasses.replace(estimator.summaries_, calibration=...)`` of a fit to all rows.

    Raises
    ------
    RTRidgeError
        If there are fewer runs than folds, or too few rows.
    """
    X, y, ids, runs = (np.asarray(values) for values in (X, y, groups, runs))
    unique = np.unique(runs)
    if not 2 <= n_folds <= len(unique) or len(runs) != len(y):
        raise RTRidgeError(
            f"n_folds: expected 2 to the number of runs, {len(unique)}, and a run for each of "
            f"{len(y)} rows; found {n_folds} and {len(runs)}"
        )
    errors, number = HeldOutErrors(), np.searchsorted(unique, runs)
    order = np.random.default_rng(seed).permutation(len(unique))
    for fold in np.array_split(unique[order], n_folds):
        out = np.isin(runs, fold)
        model = clone(estimator).fit(X[~out], y[~out], ids[~out], **known)
        found = model.predict_levels(X[out], ids[out])
        support = model.summaries_.support(ids[out, 0], ids[out, 1])
        outside = outside_range(X[out], X[~out].min(axis=0), X[~out].max(axis=0))
        errors.add((y[out] - found.mean) / found.std, support, number[out], outside)
    return errors.calibration((X.min(axis=0), X.max(axis=0)))
