"""Featurisers as a transformer of scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from molpool_common import BadSmiles, Float32Array, StrArray, listed
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from molecule_features._errors import FeatureError
from molecule_features._featurize import Features, featurize
from molecule_features._registry import FeatureSet
from molecule_features._running import MAX_SECONDS


class MoleculeFeaturizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn SMILES or RDKit molecules into features, inside a pipeline of scikit-learn.

    Parameters
    ----------
    features : str or sequence of str
        Names joined by "+", as `featurizer_names` lists them.
    cache : str or path, optional
        As of `featurize`.
    workers : int, optional
        As of `featurize`.
    max_seconds : float
        As of `featurize`.
    on_failure : {'nan', 'raise'}
        What becomes of a molecule without features: a row of NaN, or an error that names it.

    Attributes
    ----------
    signature_ : dict
        Featurisers and versions at `fit`. A later `transform` with other columns is refused.
    bad_ : list of BadSmiles
        The molecules without features of the latest `fit` or `transform`, with reasons.
    n_features_in_ : int
        1, the column of molecules.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> model = make_pipeline(MoleculeFeaturizer("morgan_count", cache=None), Ridge())
    >>> model.fit(["CCO", "CCN", "CCC"], [0.1, 0.2, 0.9]).predict(["CCC"]).shape
    (1,)
    """

    def __init__(
        self,
        features: str | Sequence[str] = "rdkit2d+morgan_count",
        *,
        cache: str | os.PathLike[str] | None = "auto",
        workers: int | None = None,
        max_seconds: float = MAX_SECONDS,
        on_failure: Literal["nan", "raise"] = "nan",
    ) -> None:
        self.features = features
        self.cache = cache
        self.workers = workers
        self.max_seconds = max_seconds
        self.on_failure = on_failure

    def fit(self, X: Any, y: Any = None) -> MoleculeFeaturizer:
        """Note the featurisers and their versions; nothing is learnt from the molecules.

        Parameters
        ----------
        X : list, array, series or frame of one column
            SMILES or molecules.
        y : ignored
            As in all transformers.
        """
        if self.on_failure not in ("nan", "raise"):
            raise FeatureError(f"on_failure: expected 'nan' or 'raise'; found {self.on_failure!r}")
        _column(X)
        chosen = FeatureSet.named(self.features)
        self.signature_ = chosen.signature()
        self.n_features_in_ = 1
        return self

    def transform(self, X: Any) -> Float32Array:
        """Return the features, float32 [N, F].

        Parameters
        ----------
        X : list, array, series or frame of one column
            SMILES or molecules.

        Raises
        ------
        FeatureError
            If the columns are others than at `fit`, or, with ``on_failure="raise"``, if a molecule
            has no features.
        """
        return self.featurize(X).values

    def featurize(self, X: Any) -> Features:
        """Return features with reasons, names and blocks; parameters as of `transform`."""
        check_is_fitted(self, "signature_")
        molecules = _column(X)
        found = featurize(
            molecules,
            self.features,
            cache=self.cache,
            workers=self.workers,
            max_seconds=self.max_seconds,
            stored=self.signature_,
        )
        bad = found.failed.tolist()
        self.bad_ = [
            BadSmiles(row, m if isinstance(m := molecules[row], str) else None, found.reasons[row])
            for row in bad
        ]
        if bad and self.on_failure == "raise":
            shown = listed([f"{found.reasons[row]} (row {row})" for row in bad], limit=3)
            raise FeatureError(
                f"molecules: expected features of all; found none for {len(bad)}: {shown}"
            )
        return found

    def get_feature_names_out(self, input_features: Any = None) -> StrArray:
        """Return the names [F] of the columns."""
        check_is_fitted(self, "signature_")
        return np.array(FeatureSet.named(self.features).names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.allow_nan = True
        tags.no_validation = True
        return tags


def _column(X: Any) -> list[Any]:
    """Return the molecules of a list, an array, a series, or a frame or array of one column."""
    if isinstance(X, (str, bytes)):
        raise FeatureError("X: expected a list of molecules; found a single text. Put it in [].")
    shape = getattr(X, "shape", None)
    if shape is None or len(shape) == 1:
        return list(X)
    if len(shape) != 2 or shape[1] != 1:
        raise FeatureError(f"X: expected one column of molecules; found shape {tuple(shape)}")
    rows = X.rows() if hasattr(X, "rows") else np.asarray(X, dtype=object)
    return [row[0] for row in rows]
