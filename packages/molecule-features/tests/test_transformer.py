"""The transformer of scikit-learn."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from molecule_features import FeatureError, MoleculeFeaturizer, featurize
from molecule_features._fingerprints import Fingerprint
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

TEXTS = ["CCO", "c1ccccc1", "CCN"]

CHECKS = (
    "check_no_attributes_set_in_init",
    "check_get_params_invariance",
    "check_set_params",
    "check_estimator_repr",
    "check_estimator_cloneable",
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_parameters_default_constructible",
    "check_mixin_order",
)
"""Those of `check_estimator` that do not hand over tables of numbers."""


@pytest.mark.parametrize("check", CHECKS)
def test_scikit_learns_own_checks(check: str) -> None:
    getattr(estimator_checks, check)("MoleculeFeaturizer", MoleculeFeaturizer())


@pytest.mark.core
@pytest.mark.parametrize(
    "molecules",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object).reshape(-1, 1),
        pd.Series(TEXTS, index=[7, 7, 1]),
        pd.DataFrame({"smiles": TEXTS}),
        pl.Series(TEXTS),
        pl.DataFrame({"smiles": TEXTS}),
    ],
)
def test_any_column_of_molecules(molecules: Any) -> None:
    found = MoleculeFeaturizer("maccs+erg").fit_transform(molecules)
    np.testing.assert_array_equal(found, featurize(TEXTS, "maccs+erg").values)


def test_names_and_frames() -> None:
    transformer = clone(MoleculeFeaturizer("maccs+erg", cache=None)).fit(TEXTS)
    names = featurize(TEXTS, "maccs+erg").names
    assert tuple(transformer.get_feature_names_out()) == names
    frame = transformer.set_output(transform="pandas").transform(TEXTS)
    assert tuple(frame.columns) == names


def test_in_a_pipeline_with_a_search() -> None:
    model = make_pipeline(MoleculeFeaturizer(), Ridge())
    grid = {"moleculefeaturizer__features": ["maccs", "morgan_bit"]}
    y = np.arange(6.0)
    search = GridSearchCV(model, grid, cv=2, scoring="neg_mean_absolute_error")
    search.fit(["CO", "CCO", "CCCO", "CCCCO", "CCCCCO", "CCCCCCO"], y)
    assert search.best_params_["moleculefeaturizer__features"] in ("maccs", "morgan_bit")


def test_beside_other_columns_of_a_frame() -> None:
    frame = pd.DataFrame({"smiles": TEXTS, "dose": [1.0, 2.0, 3.0]})
    both = make_column_transformer(
        (MoleculeFeaturizer("maccs"), "smiles"), ("passthrough", ["dose"])
    )
    assert both.fit_transform(frame).shape == (3, 168)


def test_a_fitted_one_survives_pickle_and_refuses_other_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = pickle.dumps(MoleculeFeaturizer("maccs", cache=None).fit(TEXTS))
    again = pickle.loads(stored)
    np.testing.assert_array_equal(again.transform(TEXTS), featurize(TEXTS, "maccs").values)
    monkeypatch.setattr(Fingerprint, "names", ("one",))
    with pytest.raises(FeatureError, match="on which the model was trained"):
        again.transform(TEXTS)


def test_failures_are_told() -> None:
    transformer = MoleculeFeaturizer("maccs", cache=None).fit(TEXTS)
    assert np.isnan(transformer.transform(["CCO", "xx", None])[1:]).all()
    assert [(bad.row, bad.smiles) for bad in transformer.bad_] == [(1, "xx"), (2, None)]
    strict = MoleculeFeaturizer("maccs", cache=None, on_failure="raise").fit(TEXTS)
    with pytest.raises(FeatureError, match=r"expected features of all; found none for 2: .*row 1"):
        strict.transform(["CCO", "xx", None])


@pytest.mark.parametrize(
    ("molecules", "message"),
    [
        ("CCO", "found a single text"),
        (np.zeros((3, 2)), r"expected one column of molecules; found shape \(3, 2\)"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), "expected one column"),
    ],
)
def test_what_is_no_column_of_molecules(molecules: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        MoleculeFeaturizer("maccs").fit(molecules)


def test_bad_parameters_are_refused_at_fit() -> None:
    with pytest.raises(FeatureError, match="on_failure: expected 'nan' or 'raise'; found 'drop'"):
        MoleculeFeaturizer(on_failure="drop").fit(TEXTS)  # pyrefly: ignore[bad-argument-type]
    with pytest.raises(FeatureError, match="Did you mean 'maccs'"):
        MoleculeFeaturizer("macs").fit(TEXTS)


def test_before_fit_nothing_is_known() -> None:
    with pytest.raises(NotFittedError):
        MoleculeFeaturizer("maccs").transform(TEXTS)
    with pytest.raises(NotFittedError):
        MoleculeFeaturizer("maccs").get_feature_names_out()
