"""Models of other kinds: against scikit-learn and by hand, and on equal terms with a fit."""

from __future__ import annotations

from typing import get_args

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.retention import EvaluateConfig, FitConfig, evaluate, fit
from molpool_pipelines.retention._baselines import BaselineRidge, _tricube
from molpool_pipelines.retention._config import Baseline
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

N_RUNS = 24


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """Runs that stretch their gradient; two standards at 2 and 9 min."""
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(N_RUNS), 10)
    stretch, shift = rng.normal([1, 0], [0.05, 0.2], size=(N_RUNS, 2))[run].T
    compound = np.tile(np.arange(5), 2 * N_RUNS)
    species = np.tile(np.repeat([0, 1], 5), N_RUNS)
    usual = 1.0 + 2 * compound
    return pl.DataFrame(
        {
            "species": species,
            "species_cluster": np.zeros(len(run), dtype=np.int64),
            "comp_id": compound,
            "run": [f"r{i:02d}" for i in run],
            "IS_0": stretch * 2 + shift,
            "IS_1": stretch * 9 + shift,
            "rt": stretch * usual + shift + 0.02 * rng.normal(size=len(run)),
        }
    )


def ids(frame: pl.DataFrame) -> np.ndarray:
    return frame.select("species", "comp_id").to_numpy()


def x(frame: pl.DataFrame) -> np.ndarray:
    return frame.select("IS_0", "IS_1").to_numpy()


@pytest.mark.parametrize("kind", ["irt", "loess", "ridge", "gam"])
def test_stretch_and_shift_are_found(table, kind):
    train, test = table.filter(pl.col("run") < "r16"), table.filter(pl.col("run") >= "r16")
    model = BaselineRidge(kind, ("IS_0", "IS_1")).fit(x(train), train["rt"], ids(train))
    found = model.predict_levels(x(test), ids(test))
    rmse = np.sqrt(((test["rt"].to_numpy() - found.mean) ** 2).mean())
    assert rmse < 0.1, "the noise is 0.02, drift 0.4"


def test_ridge_is_that_of_scikit_learn(table):
    model = BaselineRidge("ridge", ("IS_0", "IS_1")).fit(x(table), table["rt"], ids(table))
    rows = table.filter(comp_id=2)
    center = rows.select(pl.col("rt").mean().over("species"))["rt"].to_numpy()
    scaled = StandardScaler().fit_transform(x(rows))
    line = RidgeCV(np.logspace(-3, 3, 13)).fit(scaled, rows["rt"].to_numpy() - center)
    expected = center + line.predict(scaled)
    np.testing.assert_allclose(model.predict_levels(x(rows), ids(rows)).mean, expected, rtol=1e-10)


def test_unseen_pairs_are_at_the_mean_of_their_compound_or_of_all(table):
    model = BaselineRidge("mean", ("IS_0", "IS_1")).fit(x(table), table["rt"], ids(table))
    found = model.predict_levels(x(table.head(2)), np.array([[7, 3], [7, 99]]))
    assert found.level.tolist() == ["compound", "global"]
    expected = [table.filter(comp_id=3)["rt"].mean(), table["rt"].mean()]
    np.testing.assert_allclose(found.mean, expected)


def test_local_weights_fall_with_distance_as_loess_has_them():
    usual = np.array([0.0, 1, 2, 3])
    (weights,) = _tricube(usual, np.array([0.5]))
    # The third nearest is 1.5 away.
    expected = (1 - np.minimum(np.array([0.5, 0.5, 1.5, 2.5]) / (1.5 * 1.001), 1) ** 3) ** 3
    np.testing.assert_allclose(weights, expected, atol=1e-9)


@pytest.mark.parametrize("how", ["run", "none"])
def test_baselines_are_scored_beside_a_fit_on_the_same_rows(table, tmp_path, how):
    train = table.filter(pl.col("run") < "r20")
    train.write_parquet(tmp_path / "train.parquet")
    table.write_parquet(tmp_path / "test.parquet")
    config = FitConfig(data=[str(tmp_path / "train.parquet")], lambda_slopes="estimate",
                       flag_threshold=None)  # fmt: skip
    fit(config).write(config.open_folder(tmp_path / "ours"))
    kinds = list(get_args(Baseline)) if how == "none" else ["irt"]
    found = evaluate(EvaluateConfig(
        artefacts=[str(tmp_path / "ours")], split_type=how, cv={"folds": 2}, baselines=kinds,
        data=[str(tmp_path / "test.parquet")] if how == "none" else [],
    ))  # fmt: skip
    names = [scored.name for scored in found.scored]
    assert names == ["ours", *(f"baseline {kind}" for kind in kinds)]
    assert {scored.common["n"][-1] for scored in found.scored} == {found.n_common}
    error = {scored.name: scored.common["rmse"][-1] for scored in found.scored}
    assert error["baseline irt"] < 0.1
    if how == "none":
        assert error["baseline mean"] > 3 * error["ours"]
        assert all(scored.calibrated for scored in found.scored)
