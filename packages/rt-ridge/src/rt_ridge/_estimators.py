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
    LikelihoodKey,
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
from rt_ridge.prediction._tails import Tails
from rt_ridge.prediction._units import in_basis, in_units
from rt_ridge.robust._em import SETTLED, Fit, Settled, Widened, settled_fit
from rt_ridge.robust._rows import StoredRows
from rt_ridge.runs._cells import RunCells
from rt_ridge.runs._fit import of_runs, part_of_runs, summarised
from rt_ridge.runs._scales import find_with_runs
from rt_ridge.runs._system import check_size
from rt_ridge.scales import find_scales
from rt_ridge.scales._correlated import find_turn, in_own_basis
from rt_ridge.scales._mode import Near, find_from, find_near
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.scales._sampling import to_inference_data
from rt_ridge.selection._held_out import natural_order
from rt_ridge.statistics._sufficient import (
    SufficientStatistics,
    spread_of_regressors,
    standardised,
)
from rt_ridge.tables._compounds import CompoundClasses, CompoundDescriptors
from rt_ridge.tables._features import FeatureCenter, FeatureMap
from rt_ridge.tables._rows import Columns


class PooledRidge(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A scikit-learn regressor over pairs; subclasses offer the parameters.

    Parameters that are keys of `RidgeConfig` make up the model.
    """

    group_col = "species"
    run_col = "run"
    summaries_: Stage1CoeffSummaries
    scale_posterior_: ScalePosterior
    scales_: dict[str, dict[str, float]]
    log_likelihood_: float
    _runs: Any = None
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
        rows: StoredRows | None = None,
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
        rows : StoredRows or None
            With statistics: the rows, where `likelihood` or `leave_out` weigh them. Statistics of
            weighted rows are fitted as they are. With `run_effects`: the rows with their runs.

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
            names = self._names(X)
            stats, features = to_statistics(
                X, y, groups, names, self.group_col, self.feature_center
            )
            if config.weighs_rows:
                rows = to_rows(X, y, groups)
            elif config.run_effects != "none" and self._runs is not None:
                number, self._runs = numbered(self._runs, X)
                rows = to_rows(X, y, groups, number)
        self._with_groups = isinstance(X, SufficientStatistics) or groups is not None
        if config.weighs_rows and stats.weight is None:
            self._fit_rows(stats, config, features, rows)
        else:
            self._fit_statistics(stats, config, features)
        if config.run_effects != "none":
            self._add_runs(stats, rows)
        return self

    def _add_runs(self, stats: SufficientStatistics, rows: StoredRows | None) -> None:
        """Fit once more, with effects of runs."""
        if rows is None or self._runs is None:
            raise RTRidgeError("run_effects: expected the run of each row; found none")
        names = [str(run) for run in np.asarray(self._runs).tolist()]
        config, features = self._model_of_runs(), self.summaries_.features
        check_size(stats.G, stats.P, len(names))
        hierarchy, scale = _as_seen(stats, config, self._known, features)
        cells = RunCells.of(stats, rows, features, len(names), scale)
        # Of many runs a part says all there is to say of the few scales.
        chosen = part_of_runs(len(names), config.run_effects)
        part, of_part = hierarchy, cells
        if len(chosen) < len(names):
            some = of_runs(stats, rows, features, np.isin(np.arange(len(names)), chosen))
            part, scale_of_part = _as_seen(some, config, self._known, features)
            every = RunCells.of(some, rows, features, len(names), scale_of_part)
            of_part = every.take(np.arange(some.G), chosen)
        with matched_threads(max(hierarchy.system.arrangement.n_dense, len(names))):
            found = find_with_runs(part, of_part, self.scale_posterior_)
            summaries = summarised(hierarchy, cells, found, features, (names, self.run_col))
        self.scale_posterior_, self.scales_ = found, found.summary()
        self.log_likelihood_, self.notes_ = found.log_likelihood, found.notes
        self.summaries_ = _per_unit(summaries, scale)

    def _model_of_runs(self) -> RidgeConfig:
        return self.ridge_config()

    def _fit_rows(
        self,
        stats: SufficientStatistics,
        config: RidgeConfig,
        features: FeatureMap,
        rows: StoredRows | None,
    ) -> None:
        """Fit to rows that are weighted until their weights stand."""
        near: list[Near | None] = [None]

        def fit(weighted: SufficientStatistics) -> Stage1CoeffSummaries:
            found, near[0] = fitted_near(weighted, config, features, self._known, near[0])
            return found[1]

        def widened(
            weighted: SufficientStatistics, wide: SufficientStatistics
        ) -> Stage1CoeffSummaries:
            scales = settled_scales(weighted, config, self._known, near[0], features)
            self._keep(*fitted(weighted, config, features, self._known, scales))
            again = fitted(wide, config, features, self._known, self.scale_posterior_)[1]
            return of_both(self.summaries_, again)

        self._weigh(stats, rows, config, fit, widened)

    @property
    def _known(self) -> tuple[CompoundDescriptors | None, CompoundClasses | None]:
        """What is known of compounds."""
        return self._descriptors, self._classes

    def _weigh(
        self,
        stats: SufficientStatistics,
        rows: StoredRows | None,
        config: RidgeConfig,
        fit: Fit,
        widened: Widened,
        tails: Tails | None = None,
        start: Settled | None = None,
        settled: float = SETTLED,
    ) -> None:
        """Fit, weigh, and fit again; see `settled_fit`."""
        if rows is None:
            raise RTRidgeError(
                f"likelihood: {config.errors} and leave_out weigh rows; expected rows, or "
                "statistics and `rows`; found statistics alone"
            )
        found = settled_fit(stats, rows, config, fit, widened, tails, start, settled)
        self.summaries_, self.weighted_ = found.summaries, found
        self.log_likelihood_ += found.log_density
        nothing = {"low": np.nan, "high": np.nan}
        parameters = found.summaries.tails.parameters
        self.scales_ = self.scales_ | {n: {"mean": v, **nothing} for n, v in parameters.items()}
        self.notes_ = (*getattr(self, "notes_", ()), *found.notes)

    def predict(
        self, X: Any, groups: Any = None, *, return_std: bool = False, runs: Any = None
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
        runs : array_like, [N], or None
            With `run_effects`: the run of each row; None: of runs never seen.

        Returns
        -------
        mean : ndarray, [N]
            NaN for pairs never seen, under flat intercepts.
        std : ndarray, [N]
            If `return_std`.
        """
        prediction = self.predict_levels(X, groups, runs)
        return (prediction.mean, prediction.std) if return_std else prediction.mean

    def predict_levels(self, X: Any, groups: Any = None, runs: Any = None) -> Prediction:
        """Predict, and say from which level each row was; see `predict`."""
        check_is_fitted(self, "summaries_")
        if groups is None and self._with_groups:
            raise RTRidgeError("groups: expected as in fit, one row per prediction; found None")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        ids = as_groups(groups, len(X))
        parents = ids[:, 2] if ids.shape[1] == 3 else None
        summaries: Stage1CoeffSummaries = self.summaries_
        return summaries.predict(X, ids[:, 0], ids[:, 1], parents, runs=runs)

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
        self._keep(*fitted(stats, config, features, self._known))

    def _keep(self, found: ScalePosterior, summaries: Stage1CoeffSummaries) -> None:
        """Take what was fitted."""
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
    if config.correlated_slopes and stats.P:
        return _fitted_correlated(stats, config, features, known)
    hierarchy, scale = _as_seen(stats, config, known, features)
    # Threads of BLAS that wait for each other cost more than small systems gain.
    with matched_threads(hierarchy.system.arrangement.n_dense):
        if scales is None or scales.names != hierarchy.layout.names:
            scales = find_scales(hierarchy)
        return scales, _per_unit(summarise(hierarchy, scales, features), scale)


def _fitted_correlated(
    stats: SufficientStatistics,
    config: RidgeConfig,
    features: FeatureMap,
    known: tuple[CompoundDescriptors | None, CompoundClasses | None],
) -> tuple[ScalePosterior, Stage1CoeffSummaries]:
    """Fit a model with the full covariance of coefficients; see `fitted`."""
    scale = spread_of_regressors(stats, features) if config.standardise else None
    seen = stats if scale is None else standardised(stats, scale)
    config = config.model_copy(update={"slope_scales": "covariate"})
    turn = find_turn(seen, lambda turned: Hierarchy(turned, config, *known), find_scales)
    hierarchy = Hierarchy(turn.of(seen), config, *known)
    with matched_threads(hierarchy.system.arrangement.n_dense):
        scales = find_scales(hierarchy)
        summaries = summarise(hierarchy, scales, features)
    own = in_basis(summaries.coefficients, turn.back)
    found = in_own_basis(scales, turn, stats.covariates)
    return found, _per_unit(replace(summaries, coefficients=own), scale)


def fitted_near(
    stats: SufficientStatistics,
    config: RidgeConfig,
    features: FeatureMap,
    known: tuple[CompoundDescriptors | None, CompoundClasses | None],
    near: Near | None,
) -> tuple[tuple[ScalePosterior, Stage1CoeffSummaries], Near | None]:
    """Fit a model to about the same rows as before, its scales near theirs; see `fitted`.

    Parameters
    ----------
    stats, config, features, known
        As in `fitted`.
    near : Near or None
        What the fit before returned last.
    """
    if config.method != "map":
        return fitted(stats, config, features, known), None
    hierarchy, scale = _as_seen(stats, config, known, features)
    with matched_threads(hierarchy.system.arrangement.n_dense):
        scales, near = find_near(hierarchy, near)
        return (scales, _per_unit(summarise(hierarchy, scales, features), scale)), near


def settled_scales(
    stats: SufficientStatistics,
    config: RidgeConfig,
    known: tuple[CompoundDescriptors | None, CompoundClasses | None],
    near: Near | None,
    features: FeatureMap,
) -> ScalePosterior | None:
    """Return the scales of a model from next to their mode, None where that is not known."""
    if near is None:
        return None
    hierarchy, _ = _as_seen(stats, config, known, features)
    with matched_threads(hierarchy.system.arrangement.n_dense):
        return find_from(hierarchy, near)


def _as_seen(
    stats: SufficientStatistics,
    config: RidgeConfig,
    known: tuple[CompoundDescriptors | None, CompoundClasses | None],
    features: FeatureMap | None = None,
) -> tuple[Hierarchy, FloatArray | None]:
    """Return a model of the rows, and what regressors were divided by."""
    scale = spread_of_regressors(stats, features) if config.standardise else None
    seen = stats if scale is None else standardised(stats, scale)
    return Hierarchy(seen, config, *known), scale


def _per_unit(summaries: Stage1CoeffSummaries, scale: FloatArray | None) -> Stage1CoeffSummaries:
    """Return the artefact with slopes per unit of each regressor."""
    if scale is None:
        return summaries
    in_unit = in_units(summaries.coefficients, scale)
    of_unit = replace(summaries.features, scale=scale)
    return replace(summaries, features=of_unit, coefficients=in_unit)


def of_both(means: Stage1CoeffSummaries, covariances: Stage1CoeffSummaries) -> Stage1CoeffSummaries:
    """Return an artefact with the means of pairs of one and all else of another of its scales."""
    wide = replace(covariances.coefficients, mean=means.coefficients.mean)
    return replace(means, coefficients=wide, unseen=covariances.unseen)


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


def numbered(runs: Any, X: FloatArray) -> tuple[IntArray, Any]:
    """Return the number of the run of each row in acquisition order, and the runs in it.

    Parameters
    ----------
    runs : array_like, [N]
        Numbers or names, whose order is that of time.
    X : ndarray, [N, P]
        The rows.
    """
    labels = np.asarray(runs)
    if labels.shape != (len(X),):
        raise RTRidgeError(f"runs: expected [{len(X)}]; found shape {list(labels.shape)}")
    unique, number = np.unique(labels, return_inverse=True)
    number = np.asarray(number, dtype=np.int64)
    if labels.dtype.kind in "iufM":
        return number, unique
    order = natural_order(unique.tolist())
    place = np.empty(len(unique), dtype=np.int64)
    place[order] = np.arange(len(unique))
    return place[number], unique[order]


def to_rows(X: FloatArray, y: FloatArray, groups: Any, runs: IntArray | None = None) -> StoredRows:
    """Return rows in memory to be gone through again; `groups` as for `as_groups`."""
    frame, columns = _as_table(X, y, as_groups(groups, len(X)))
    return StoredRows.of_frame(frame, columns, runs)


def _as_table(X: FloatArray, y: FloatArray, ids: IntArray) -> tuple[Any, Columns]:
    """Return a frame of rows and the columns that it has."""
    import polars as pl

    # Numbered names, since a covariate may be called like a column of ids.
    inner = [f"x{j}" for j in range(X.shape[1])]
    known = {"group": ids[:, 0], "compound": ids[:, 1], "rt": y}
    parent = "parent" if ids.shape[1] == 3 else None
    if parent is not None:
        known[parent] = ids[:, 2]
    frame = pl.DataFrame(X, schema=inner).with_columns(
        pl.Series(name, values) for name, values in known.items()
    )
    columns = Columns.of(inner, group="group", compound="compound", parent=parent, target="rt")
    return frame, columns


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
    ids = as_groups(groups, len(X))
    mean = X.mean(axis=0)
    features = FeatureMap.fit(names, mean, np.eye(len(names)), center=center)
    frame, columns = _as_table(features.transform(X), y, ids)
    stats = SufficientStatistics.from_frame(
        frame,
        covariates=columns.covariates,
        group=columns.group,
        compound=columns.compound,
        parent=columns.parent,
        target=columns.target,
    )
    return replace(stats, covariates=tuple(names), group_col=group_col), features


class PartialPoolingRidge(PooledRidge):
    """Ridge regression of every (group, compound), pooled towards what is above it.

    Parameters
    ----------
    intercept_mode, intercept_prior, slope_head_mode, lambda_slopes, slope_scales, standardise, \
sigma, compound_slopes, \
cluster_slopes, species_slopes, correlated_slopes, class_slopes, intercept_shrinkage, \
slope_shrinkage, descriptor_heads, run_effects, \
descriptor_slopes, descriptor_components, location_mean, location_sd, sigma_fixed, likelihood, nu, \
leave_out, priors, method, sampling, seed
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
    weighted_ : Settled
        Where rows differ in weight: their statistics, and the rows left out.

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
        intercept_shrinkage: str = "supercat",
        slope_shrinkage: str = "shared",
        descriptor_heads: str = "none",
        descriptor_slopes: str = "none",
        descriptor_components: int | None = None,
        run_effects: str = "none",
        location_mean: float = 0.0,
        location_sd: float | None = None,
        sigma_fixed: float | None = None,
        likelihood: LikelihoodKey = "auto",
        nu: float | None = None,
        leave_out: float | None = None,
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
        self.intercept_shrinkage = intercept_shrinkage
        self.slope_shrinkage = slope_shrinkage
        self.descriptor_heads = descriptor_heads
        self.descriptor_slopes = descriptor_slopes
        self.descriptor_components = descriptor_components
        self.run_effects = run_effects
        self.location_mean = location_mean
        self.location_sd = location_sd
        self.sigma_fixed = sigma_fixed
        self.likelihood = likelihood
        self.nu = nu
        self.leave_out = leave_out
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
        rows: StoredRows | None = None,
        runs: Any = None,
        descriptors: CompoundDescriptors | None = None,
        classes: CompoundClasses | None = None,
    ) -> Self:
        """Fit to rows, or to their sufficient statistics; see `PooledRidge.fit` for the rest.

        Parameters
        ----------
        X, y, groups, features, rows
            Statistics, or the covariates [N, P], retention times [N] and ids [N, 2] or [N, 3].
        runs : array_like, [N] or [R], or None
            For `run_effects`: the run of each row; with statistics, the name of each run.
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
        self._descriptors, self._classes, self._runs = descriptors, classes, runs
        return super().fit(X, y, groups, features=features, rows=rows)


class SupercategoryRidge(PooledRidge):
    """Ridge regression of every (supercategory, compound): the group is the supercategory itself.

    Parameters
    ----------
    intercept_prior : {"comp_hier", "flat"}
        Whether intercepts are pooled towards their compound.
    slope_head_mode : {"none", "global"}
        What slopes are pooled towards.
    lambda_slopes, sigma, likelihood, nu, leave_out, priors, method, sampling, seed
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
        likelihood: LikelihoodKey = "gaussian",
        nu: float | None = None,
        leave_out: float | None = None,
        priors: ScalePriors | None = None,
        method: Method = "map",
        sampling: SamplingConfig | None = None,
        feature_center: FeatureCenter = "global",
        seed: int = 0,
    ) -> None:
        self.likelihood = likelihood
        self.nu = nu
        self.leave_out = leave_out
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
