"""`molpool-train auto` as estimators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molpool_common import Float32Array, validate_values
from sklearn.utils.validation import check_is_fitted

from molpool_pipelines.estimators._estimator import merged
from molpool_pipelines.estimators._inputs import smiles_of
from molpool_pipelines.estimators._molecules import (
    MoleculeClassifier,
    MoleculeEstimator,
    MoleculeRegressor,
)
from molpool_pipelines.fitting import FEATURES
from molpool_pipelines.models import TabularModel


@dataclass(kw_only=True, eq=False, repr=False)
class _Auto(MoleculeEstimator):
    time_budget: str | None = "10m"
    model: str | Sequence[str] = ("lightgbm", "mlp", "gp")
    features: str = FEATURES

    def _train(self, values: dict[str, Any]) -> None:
        # What trains takes seconds to import.
        from molpool_pipelines.fitting import TrainAutoConfig, train_auto

        own = {
            "time_budget": self.time_budget,
            "model": [self.model] if isinstance(self.model, str) else list(self.model),
            "features": self.features,
            # All molecules train; those out of fold calibrate.
            "data": {"split_ratios": [1.0, 0.0, 0.0]},
        }
        train_auto(validate_values(TrainAutoConfig, merged(own, values)))

    def encode(self, X: Any) -> Float32Array:
        """Return the last hidden units [N, H] of the blend's networks, NaN for what does not parse.

        Raises
        ------
        InputError
            If there is no ``mlp`` among the models.
        """
        check_is_fitted(self, "run_")
        smiles = [text or "" for text in smiles_of(X, self.smiles_column)]
        return TabularModel.load(self.run_).encode(smiles)


class AutoRegressor(MoleculeRegressor, _Auto):
    """A calibrated blend of models on features, within a time budget.

    Parameters
    ----------
    time_budget : str or None
        Time that features and fits may take together, as ``90s`` or ``10m``.
    model : sequence of str
        Models that are mixed, as ``molpool-train blend --model`` takes them.
    features : str
        Featurisers, joined by ``+``.
    options, smiles_column, save_dir, random_state, verbose
        As of `MoleculeEstimator`.

    Examples
    --------
    >>> model = AutoRegressor(model=["lightgbm"], features="maccs")  # doctest: +SKIP
    >>> mean, interval = model.fit(smiles, y).predict(new, return_interval=0.8)  # doctest: +SKIP
    """


class AutoClassifier(MoleculeClassifier, _Auto):
    """A calibrated blend of classifiers on features, within a time budget.

    Parameters
    ----------
    time_budget, model, features
        As of `AutoRegressor`.
    options, smiles_column, save_dir, random_state, verbose
        As of `MoleculeEstimator`.
    """
