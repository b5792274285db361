"""Runs as estimators: what goes in, what comes out, and scikit-learn's own tools around them."""

from __future__ import annotations

import copy
import pickle
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.estimators import (
    AutoClassifier,
    AutoRegressor,
    BagClassifier,
    BagRegressor,
    ChempropClassifier,
    ChempropRegressor,
    RetentionRidge,
    RunEstimator,
    from_run,
)
from molpool_pipelines.fitting import TrainAutoConfig, TrainChempropConfig
from molpool_pipelines.models import PredictConfig, predict_table
from molpool_pipelines.retention import FitConfig
from pydantic import BaseModel
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import estimator_checks

OPTIONS = {"folds": 2, "baselines": "none", "data": {"split_type": "random"}, "limits": "none"}


def quick(**given: object) -> AutoRegressor:
    """Nearest neighbours, which take no time."""
    return AutoRegressor(model=["neighbours"], features="maccs", options=OPTIONS, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def frame(demo_csv: Path) -> pd.DataFrame:
    return pd.read_csv(demo_csv, index_col="Molecule Name")


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> AutoRegressor:
    return quick().fit(frame[["SMILES"]], frame["LogP"])


@pytest.fixture(scope="module")
def classifier(frame: pd.DataFrame) -> AutoClassifier:
    y = np.where(frame["LogP"] > frame["LogP"].median(), "high", "low")
    model = AutoClassifier(model=["neighbours"], features="maccs", options=OPTIONS)
    return model.fit(frame["SMILES"], y)


class TestInputs:
    def test_any_form_of_molecules_is_predicted_alike(
        self, frame: pd.DataFrame, fitted: AutoRegressor
    ) -> None:
        from rdkit import Chem

        smiles = frame["SMILES"].tolist()[:5]
        expected = fitted.predict(smiles)
        assert np.isfinite(expected).all()
        for X in (
            np.array(smiles),
            np.array(smiles, dtype=object)[:, None],
            pd.Series(smiles),
            pl.Series(smiles),
            frame[:5],
            pl.DataFrame({"id": range(5), "structure": smiles}),
            [Chem.MolFromSmiles(text) for text in smiles],
        ):
            np.testing.assert_array_equal(fitted.predict(X), expected)

    def test_a_molecule_that_does_not_parse_is_nan(self, fitted: AutoRegressor) -> None:
        found = fitted.predict(["CCO", "no molecule", None])
        assert np.isfinite(found).tolist() == [True, False, False]

    @pytest.mark.parametrize(
        ("X", "said"),
        [
            ("CCO", "Put it in"),
            ([3], "SMILES or RDKit molecules"),
            (pd.DataFrame({"a": ["C"], "b": ["N"]}), "one column of SMILES"),
        ],
    )
    def test_no_molecules(self, X: object, said: str, fitted: AutoRegressor) -> None:
        with pytest.raises(InputError, match=said):
            fitted.predict(X)

    def test_a_named_column(self, frame: pd.DataFrame, fitted: AutoRegressor) -> None:
        named = copy.deepcopy(fitted).set_params(smiles_column="drug")
        both = pd.DataFrame({"drug": frame["SMILES"], "other": "C"})[:3]
        np.testing.assert_array_equal(named.predict(both), fitted.predict(frame[:3]))
        with pytest.raises(InputError, match="smiles_column"):
            named.predict(frame)

    @pytest.mark.parametrize(
        ("y", "said"),
        [([1.0], "a row for each of 2"), (["a", "b"], "numbers"), (np.zeros((2, 1, 1)), "shape")],
    )
    def test_wrong_labels(self, y: object, said: str) -> None:
        with pytest.raises(InputError, match=said):
            quick().fit(["CCO", "CCN"], y)


class TestRegressor:
    def test_intervals_widen_with_the_level(
        self, frame: pd.DataFrame, fitted: AutoRegressor
    ) -> None:
        mean, narrow = fitted.predict(frame, return_interval=0.5)
        _, wide = fitted.predict(frame, return_interval=0.9)
        assert narrow.shape == (len(frame), 2)
        assert (wide[:, 0] < narrow[:, 0]).all()
        assert (narrow[:, 1] < wide[:, 1]).all()
        np.testing.assert_allclose(mean, fitted.predict(frame))

    @pytest.mark.parametrize("share", [True, 0, 1, 90, "0.9"])
    def test_no_share(self, share: Any, fitted: AutoRegressor) -> None:
        with pytest.raises(InputError, match="return_interval: expected a share between 0 and 1"):
            fitted.predict(["CCO"], return_interval=share)

    def test_several_tasks_with_gaps(self, frame: pd.DataFrame) -> None:
        y = frame[["LogP", "QED"]].copy()
        y.iloc[::3, 1] = np.nan
        model = quick().fit(frame["SMILES"], y)
        mean, interval = model.predict(frame["SMILES"][:4], return_interval=0.8)
        assert model.task_names_ == ("LogP", "QED")
        assert (mean.shape, interval.shape) == ((4, 2), (4, 2, 2))
        assert 0 < model.score(frame, y) < 1

    def test_a_table_keeps_library_and_index(
        self, frame: pd.DataFrame, fitted: AutoRegressor
    ) -> None:
        of_pandas = fitted.predict_table(frame[7:9])
        of_polars = fitted.predict_table(pl.from_pandas(frame[7:9]))
        assert of_pandas.index.tolist() == frame.index[7:9].tolist()
        assert isinstance(of_polars, pl.DataFrame)
        assert of_polars["LogP"].to_list() == of_pandas["LogP"].tolist()
        assert {"LogP_lower", "LogP_upper", "similarity"} <= set(of_polars.columns)

    def test_is_the_run_that_commands_read(
        self, frame: pd.DataFrame, fitted: AutoRegressor, tmp_path: Path
    ) -> None:
        table, output = tmp_path / "new.csv", tmp_path / "found.csv"
        frame[:6].to_csv(table)
        config = PredictConfig(model_dir=str(fitted.run_), data_path=str(table), output=str(output))
        predict_table(config)
        np.testing.assert_allclose(
            pd.read_csv(output)["LogP"], fitted.predict(frame[:6]), rtol=1e-9
        )
        again = from_run(fitted.run_)
        assert isinstance(again, AutoRegressor)
        np.testing.assert_array_equal(again.predict(frame[:6]), fitted.predict(frame[:6]))

    def test_the_page_of_the_run_is_drawn_when_asked_for(self, fitted: AutoRegressor) -> None:
        (fitted.run_ / "report.html").unlink(missing_ok=True)
        shown = fitted.report()._repr_html_()
        assert shown.startswith("<iframe srcdoc=")
        # All of the page is inside the attribute.
        assert shown.count("<") == 2

    def test_a_pickle_brings_its_run(self, frame: pd.DataFrame, fitted: AutoRegressor) -> None:
        read = pickle.loads(pickle.dumps(fitted))
        assert read.run_ != fitted.run_
        np.testing.assert_array_equal(read.predict(frame[:3]), fitted.predict(frame[:3]))

    def test_networks_encode(self, frame: pd.DataFrame, fitted: AutoRegressor) -> None:
        mlp = {"members": 1, "hidden": 8, "epochs": 1}
        model = AutoRegressor(model=["mlp"], features="maccs", options={**OPTIONS, "mlp": mlp})
        found = model.fit(frame["SMILES"][:40], frame["LogP"][:40]).encode(["CCO", None, "no"])
        assert found.shape == (3, 8)
        assert np.isfinite(found).all(axis=1).tolist() == [True, False, False]
        with pytest.raises(InputError, match=r"network on features \(mlp\); found neighbours"):
            fitted.encode(["CCO"])


class TestClassifier:
    def test_classes_of_any_name(self, frame: pd.DataFrame, classifier: AutoClassifier) -> None:
        probability = classifier.predict_proba(frame["SMILES"])
        assert classifier.classes_.tolist() == ["high", "low"]
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        called = classifier.predict(frame["SMILES"])
        truth = np.where(frame["LogP"] > frame["LogP"].median(), "high", "low")
        assert (called == truth).mean() > 0.8
        assert classifier.score(frame["SMILES"], truth) > 0.8

    def test_no_class_of_what_does_not_parse(self, classifier: AutoClassifier) -> None:
        with pytest.raises(InputError, match="none in rows 1"):
            classifier.predict(["CCO", "no molecule"])

    def test_three_classes(self) -> None:
        with pytest.raises(InputError, match="two classes; found 3"):
            AutoClassifier().fit(["C", "CC", "CCC"], ["a", "b", "c"])


class TestInScikitLearn:
    def test_cross_validation_and_search(self, frame: pd.DataFrame) -> None:
        X, y = frame["SMILES"][:60], frame["LogP"][:60]
        assert (cross_val_score(quick(), X, y, cv=2) > 0).all()
        search = GridSearchCV(quick(), {"features": ["morgan_bit"]}, cv=2, refit=False)
        assert search.fit(X, y).cv_results_["mean_test_score"] > 0

    def test_a_clone_has_the_parameters_and_no_run(self, fitted: AutoRegressor) -> None:
        copied = clone(fitted)
        assert copied.get_params() == fitted.get_params()
        assert not hasattr(copied, "run_")

    @pytest.mark.parametrize(
        "kind",
        [
            *(AutoRegressor, AutoClassifier, ChempropRegressor, ChempropClassifier),
            *(BagRegressor, BagClassifier, RetentionRidge),
        ],
    )
    def test_conventions(self, kind: type[RunEstimator]) -> None:
        # By their tags they take no arrays of numbers, which all other checks would fit.
        with pytest.warns(SkipTestWarning, match="requires input"):
            estimator_checks.check_estimator(kind())
        for check in (
            "check_no_attributes_set_in_init",
            "check_parameters_default_constructible",
            "check_get_params_invariance",
            "check_set_params",
            "check_estimator_cloneable",
            "check_estimator_repr",
        ):
            getattr(estimator_checks, check)(kind.__name__, kind())


@pytest.mark.parametrize(
    ("kind", "config", "keys"),
    [
        (
            AutoRegressor,
            TrainAutoConfig,
            {k: k for k in ("time_budget", "model", "features")} | {"random_state": "seed"},
        ),
        (
            ChempropRegressor,
            TrainChempropConfig,
            {
                "epochs": "training.epochs",
                "hidden_size": "model.message_passing.hidden_size",
                "depth": "model.message_passing.depth",
                "features": "features",
                "random_state": "seed",
            },
        ),
        (
            RetentionRidge,
            FitConfig,
            {k: k for k in ("group_col", "compound_col", "parent_col", "run_col", "model")},
        ),
    ],
)
def test_defaults_are_those_of_the_commands(
    kind: type[RunEstimator], config: type[BaseModel], keys: dict[str, str]
) -> None:
    parameters = kind().get_params()
    for name, key in keys.items():
        value = attrgetter(key)(config())
        assert parameters[name] == (tuple(value) if isinstance(value, list) else value), name


@pytest.mark.usefixtures("one_thread")
def test_chemprop_trains_and_encodes(frame: pd.DataFrame) -> None:
    model = ChempropRegressor(epochs=1, hidden_size=16, options={"baselines": "none"})
    model.fit(frame["SMILES"][:60], frame[["LogP", "QED"]][:60])
    assert model.predict(frame[60:63]).shape == (3, 2)
    encoded = model.encode(["CCO", "no molecule"])
    assert encoded.shape == (2, 16)
    assert np.isfinite(encoded).all(axis=1).tolist() == [True, False]
    assert isinstance(from_run(model.run_), ChempropRegressor)
