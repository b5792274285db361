"""`molpool-train chemprop` as estimators."""

from __future__ import annotations

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
from molpool_pipelines.runs import MODEL


@dataclass(kw_only=True, eq=False, repr=False)
class _Chemprop(MoleculeEstimator):
    epochs: int = 50
    hidden_size: int = 300
    depth: int = 3
    features: str | None = None
    val_share: float = 0.1

    def _train(self, values: dict[str, Any]) -> None:
        # What trains takes seconds to import.
        from molpool_pipelines.fitting import TrainChempropConfig, train_chemprop

        own = {
            "training": {"epochs": self.epochs},
            "model": {"message_passing": {"hidden_size": self.hidden_size, "depth": self.depth}},
            "features": self.features,
            "data": {"split_ratios": [1 - self.val_share, self.val_share, 0.0]},
        }
        train_chemprop(validate_values(TrainChempropConfig, merged(own, values)))

    def encode(self, X: Any) -> Float32Array:
        """Return the learned fingerprints [N, H] of molecules, NaN where one does not parse."""
        check_is_fitted(self, "run_")
        from molecule_features import featurize

        name = f"chemprop:{self.run_ / MODEL}"
        return featurize(smiles_of(X, self.smiles_column), name, cache=None).values


class ChempropRegressor(MoleculeRegressor, _Chemprop):
    """A multi-task directed message passing network (Yang et al. 2019).

    Parameters
    ----------
    epochs : int
        Epochs to train; the weights of the best by validation loss are kept.
    hidden_size : int
        Width of a bond's hidden state.
    depth : int
        Message passing steps.
    features : str or None
        Featurisers whose columns the predictor takes beside the learned fingerprint.
    val_share : float
        Share of the molecules that validate and calibrate.
    options, smiles_column, save_dir, random_state, verbose
        As of `MoleculeEstimator`.
    """


class ChempropClassifier(MoleculeClassifier, _Chemprop):
    """A multi-task directed message passing network of classes.

    Parameters
    ----------
    epochs, hidden_size, depth, features, val_share
        As of `ChempropRegressor`.
    options, smiles_column, save_dir, random_state, verbose
        As of `MoleculeEstimator`.
    """
