"""What all ridge estimators share: fitting, predicting and telling of the fit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from molpool_common import FloatArray, InputError, validate_values
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from rt_ridge.algebra_threads import matched_threads
from rt_ridge.compound_classes import CompoundClasses
from rt_ridge.compound_descriptors import CompoundDescriptors
from rt_ridge.config import RidgeConfig
from rt_ridge.errors import RTRidgeError
from rt_ridge.features import FeatureMap
from rt_ridge.fit_input import as_groups, to_statistics
from rt_ridge.hierarchy import Hierarchy
from rt_ridge.inference_data import to_inference_data
from rt_ridge.posterior import summarise
from rt_ridge.scales import find_scales
from rt_ridge.scales.posterior import ScalePosterior
from rt_ridge.statistics import SufficientStatistics
from rt_ridge.summaries import Prediction, Stage1CoeffSummaries


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
            raise RTRidgeError("groups: expected as in fit, one row a prediction; found None")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        ids = as_groups(groups, len(X))
        parents = ids[:, 2] if ids.shape[1] == 3 else None
        summaries: Stage1CoeffSummaries = self.summaries_
        return summaries.predict(X, ids[:, 0], ids[:, 1], parents)

    @cached_property
    def idata_(self) -> Any:
        """Posterior of the scales as ArviZ InferenceData."""
        check_is_fitted(self, "summaries_")
        return to_inference_data(self.scale_posterior_, self.ridge_config().seed)

    def _names(self, X: FloatArray) -> Sequence[str]:
        names = getattr(self, "feature_names_in_", None)
        return [f"x{j}" for j in range(X.shape[1])] if names is None else [str(n) for n in names]

    def _fit_statistics(
        self, stats: SufficientStatistics, config: RidgeConfig, features: FeatureMap
    ) -> None:
        hierarchy = Hierarchy(stats, config, self._descriptors, self._classes)
        with matched_threads(hierarchy.system.arrangement.n_dense):
            found: ScalePosterior = find_scales(hierarchy)
            summaries = summarise(hierarchy, found, features)
        self.__dict__.pop("idata_", None)
        self.scale_posterior_ = found
        self.scales_ = found.summary()
        self.log_likelihood_ = found.log_likelihood
        self.notes_ = found.notes
        self.summaries_ = summaries
