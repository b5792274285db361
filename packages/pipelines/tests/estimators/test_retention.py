"""Retention times as an estimator."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.estimators import RetentionRidge, from_run
from rt_ridge import SimulateConfig, simulate
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_score

OPTIONS = {"calibrate": {"enabled": False}, "flag_threshold": None}


@pytest.fixture(scope="module")
def lab() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows of a small laboratory."""
    config = SimulateConfig(
        n_species=4, n_clusters=2, n_compounds=6, n_covariates=2, runs_per_species=4,
        test_runs_per_species=2, rare_pairs=2, unseen_pairs=2, anchors=1,
    )  # fmt: skip
    made = simulate(config)
    names = ["species", "species_cluster", "comp_id", "run", *config.covariates, "rt"]
    train, test = (part.select(names).to_pandas() for part in (made.train, made.test))
    return train.set_index(train.index + 100), test


@pytest.fixture(scope="module")
def fitted(lab: tuple[pd.DataFrame, pd.DataFrame]) -> RetentionRidge:
    train, _ = lab
    return RetentionRidge(options=OPTIONS).fit(train.drop(columns="rt"), train["rt"])


def test_new_runs_are_predicted_with_intervals(
    lab: tuple[pd.DataFrame, pd.DataFrame], fitted: RetentionRidge
) -> None:
    _, test = lab
    mean, interval = fitted.predict(test, return_interval=0.9)
    inside = (interval[:, 0] <= test["rt"]) & (test["rt"] <= interval[:, 1])
    assert 0.8 < inside.mean() <= 1
    assert fitted.score(test, test["rt"]) > 0.9
    assert mean.shape == (len(test),)


def test_a_table_keeps_library_and_index(
    lab: tuple[pd.DataFrame, pd.DataFrame], fitted: RetentionRidge
) -> None:
    train, _ = lab
    of_pandas = fitted.predict_table(train[:4])
    assert of_pandas.index.tolist() == train.index[:4].tolist()
    of_polars = fitted.predict_table(pl.from_pandas(train[:4]))
    assert isinstance(of_polars, pl.DataFrame)
    assert of_polars["rt"].to_list() == of_pandas["rt"].tolist()


def test_a_run_and_a_pickle_are_the_same_model(
    lab: tuple[pd.DataFrame, pd.DataFrame], fitted: RetentionRidge
) -> None:
    _, test = lab
    expected = fitted.predict(test)
    again = from_run(fitted.run_)
    assert isinstance(again, RetentionRidge)
    np.testing.assert_array_equal(again.predict(test), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(test), expected)


def test_names_of_ones_own_and_gaps(lab: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train, test = lab
    own = {"species": "matrix", "comp_id": "compound", "species_cluster": "kind", "rt": "minutes"}
    train, test = train.rename(columns=own), test.rename(columns=own)
    y = train.pop("minutes").where(train.index % 7 != 0)
    model = RetentionRidge(
        group_col="matrix", compound_col="compound", parent_col="kind",
        covariates=["run_covariate_0", "run_covariate_1"], options=OPTIONS,
    ).fit(train, y)  # fmt: skip
    assert model.target_ == "minutes"
    assert model.score(test, test["minutes"]) > 0.5


def test_runs_left_out(lab: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    train, _ = lab
    model = clone(RetentionRidge(options=OPTIONS))
    X, y = train.drop(columns="rt"), train["rt"]
    assert (cross_val_score(model, X, y, groups=X["run"], cv=GroupKFold(2)) > 0.5).all()


def test_the_page(fitted: RetentionRidge) -> None:
    assert "Standard deviations" in fitted.report().path.read_text()


@pytest.mark.parametrize(
    ("X", "said"),
    [([[1, 2]], "a frame with columns"), (pd.DataFrame({"species": [1]}), "comp_id")],
)
def test_no_rows_of_retention_times(X: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        RetentionRidge().fit(X, [1.0])
