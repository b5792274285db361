"""Simulate, fit and predict through the command, against the package and against the truth."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import polars as pl
import pytest
from molpool_common import load_config, table_metadata
from molpool_pipelines.retention import FitConfig
from rt_ridge import GroupwiseRidge, Stage1CoeffSummaries, SufficientStatistics
from sklearn.linear_model import Ridge

X = ["run_covariate_0", "run_covariate_1"]


def test_simulated_tables_lie_in_the_folder(lab):
    train, test = (pl.read_parquet(lab / f"{name}.parquet") for name in ("train", "test"))
    assert set(train.columns) == {"species", "species_cluster", "comp_id", "run", "rt", *X}
    assert train.columns == test.columns
    assert {p.stem for p in lab.glob("*.parquet")} == {
        *("train", "test", "compounds", "species", "pairs")
    }


def test_a_fit_leaves_its_record(pooled):
    metrics = json.loads((pooled / "metrics.json").read_text())
    assert metrics["rows"] == pl.read_parquet(_data(pooled)).height
    # The laboratory's noise is 0.1 min by default; the interval of a fit of 400 rows is narrow.
    assert metrics["scales"]["sigma"]["mean"] == pytest.approx(0.1, rel=0.2)
    sigma = metrics["scales"]["sigma"]
    assert sigma["low"] < sigma["mean"] < sigma["high"]
    assert np.isfinite(metrics["log_likelihood"])
    files = {p.name for p in pooled.iterdir()}
    assert files == {
        *("config.resolved.yaml", "environment.json", "log.jsonl", "metrics.json"),
        *("coefficients.npz", "statistics.npz", "residuals.csv", "flagged.csv"),
        *(".lock", "SHA256SUMS"),
    }


def runs_of(lab):
    return pl.read_parquet(lab / "train.parquet")["run"].n_unique()


def _data(run):
    return load_config(FitConfig, run / "config.resolved.yaml").data[0]


def test_ridge_of_the_command_is_that_of_scikit_learn(ridge, train):
    summaries = Stage1CoeffSummaries.load(ridge / "coefficients.npz")
    for place in (0, len(summaries.keys) // 2):
        key = int(summaries.keys[place])
        rows = train.filter(species=key >> 32, comp_id=key & 0xFFFFFFFF)
        own = Ridge(1.0).fit(rows.select(X).to_numpy(), rows["rt"].to_numpy())
        # Both solve the same normal equations in float64.
        np.testing.assert_allclose(summaries.mean[place, 1:], own.coef_, atol=1e-9)


READERS = {
    "parquet": pl.read_parquet,
    "csv": pl.read_csv,
    "tsv": partial(pl.read_csv, separator="\t"),
    "xlsx": pl.read_excel,
}


@pytest.mark.parametrize("suffix", READERS)
def test_predictions_are_those_of_the_package(good, lab, pooled, tmp_path, suffix):
    output = tmp_path / f"out.{suffix}"
    ended = good(
        *("predict", "--artefact", pooled, "--data", lab / "test.parquet"),
        *("--output", output, "--keep-cols", "rt", "run", "--level", "0.8", "0.95"),
    )
    frame = READERS[suffix](output)
    test = pl.read_parquet(lab / "test.parquet")
    ids = (test[c].to_numpy() for c in ("species", "comp_id", "species_cluster"))
    summaries = Stage1CoeffSummaries.load(pooled / "coefficients.npz")
    expected = summaries.predict(test, *ids)
    np.testing.assert_allclose(frame["rt"], expected.mean, rtol=1e-12)
    np.testing.assert_allclose(frame["rt_sd"], expected.std, rtol=1e-12)
    np.testing.assert_allclose(frame["rt_measured"], test["rt"], rtol=1e-12)
    for level in (80, 95):
        half = expected.half_width(level / 100)
        np.testing.assert_allclose(frame[f"rt_lower_{level}"], expected.mean - half, rtol=1e-9)
        np.testing.assert_allclose(frame[f"rt_upper_{level}"], expected.mean + half, rtol=1e-9)
    about = table_metadata(output)
    assert about is not None
    assert about["levels"] == [0.8, 0.95]
    assert about["target"] == "rt"
    assert about["calibration"]["runs"] == runs_of(lab)
    assert frame["level"].to_list() == expected.level.tolist()
    assert frame["row"].to_list() == list(range(1, test.height + 1))
    assert "by coefficients of their own pair" in ended.out


def test_pairs_that_a_ridge_never_saw_have_no_prediction(good, lab, ridge, tmp_path):
    output = tmp_path / "out.parquet"
    good("predict", "--artefact", ridge, "--data", lab / "test.parquet", "--output", output)
    frame = pl.read_parquet(output)
    unseen = frame.filter(pl.col("n_train") == 0)
    assert unseen.height
    assert unseen["rt"].null_count() == unseen.height
    assert set(unseen["level"]) == {"none"}
    assert frame.filter(pl.col("n_train") > 0)["rt"].null_count() == 0


def test_files_and_globs_are_one_table(good, lab, train, pooled, tmp_path):
    half = train.height // 2
    train[:half].write_parquet(tmp_path / "part1.parquet")
    train[half:].write_csv(tmp_path / "part2.csv")
    run = tmp_path / "run"
    good("fit", "--data", tmp_path / "part*", "--save-dir", run, "--model", "ridge", "--alpha", "1")
    stats = SufficientStatistics.from_parquet(lab / "train.parquet", covariates=X)
    own = GroupwiseRidge().fit(stats).summaries_
    found = Stage1CoeffSummaries.load(run / "coefficients.npz")
    # Slopes do not depend on where the covariates are centred.
    np.testing.assert_allclose(found.mean[:, 1:], own.mean[:, 1:], rtol=1e-9, atol=1e-12)
    output = tmp_path / "out.csv"
    good("predict", "--artefact", pooled, "--data", tmp_path / "part*", "--output", output)
    frame = pl.read_csv(output)
    assert frame.height == train.height
    assert set(frame["file"]) == {"part1.parquet", "part2.csv"}


def test_squares_and_axes_and_trials(good, lab, train, tmp_path):
    run = tmp_path / "run"
    ended = good(
        *("fit", "--data", lab / "train.parquet", "--save-dir", run),
        *("--anchor-expansion", "poly2", "--feature-rotation", "pca"),
        *("--max-train-rows", "200", "--max-groups", "12", "--seed", "3"),
    )
    found = Stage1CoeffSummaries.load(run / "coefficients.npz")
    assert found.features.regressors == ("pc1", "pc2", "pc1^2", "pc2^2")
    # The centre is that of the first 200 rows, the pairs are 12 of theirs.
    np.testing.assert_allclose(found.feature_center, train[:200].select(X).mean().row(0))
    assert len(found.keys) == 12
    assert "12 pairs" in ended.out


def test_a_fit_without_covariates_is_of_intercepts(good, lab, tmp_path):
    run = tmp_path / "run"
    good("fit", "--data", lab / "train.parquet", "--save-dir", run, "--covariates")
    assert Stage1CoeffSummaries.load(run / "coefficients.npz").mean.shape[1] == 1


def test_groups_are_supercategories_where_asked(good, lab, tmp_path):
    run = tmp_path / "run"
    good("fit", "--data", lab / "train.parquet", "--save-dir", run, "--model", "supercategory")
    found = Stage1CoeffSummaries.load(run / "coefficients.npz")
    assert found.group_col == "species_cluster"
    assert set((found.keys >> 32).tolist()) == {0, 1}


def test_slopes_by_class_of_compound(good, refused, lab, tmp_path):
    run, names = tmp_path / "run", tmp_path / "classes.csv"
    frame = pl.read_parquet(lab / "compounds.parquet").select("comp_id", kind="class_id")
    named = frame.with_columns(pl.format("class {}", "kind").alias("kind"))
    named.write_csv(names)
    fit = ("fit", "--data", lab / "train.parquet", "--class-slopes", "cluster", "--save-dir", run)
    given = ("--classes", names, "--class-col")
    assert "classes: expected a table of them" in refused(*fit, writes=["run"])
    assert "class_col" in refused(*fit, *given, "kid", writes=["run"])
    wrong = refused(*fit, *given, "kind", "--model", "ridge", writes=["run"])
    assert "classes: expected model partial_pooling" in wrong
    good(*fit, *given, "kind")
    effect = Stage1CoeffSummaries.load(run / "coefficients.npz").coefficients.classes
    assert effect is not None
    assert effect.classes.tolist() == frame["kind"].to_list()
    assert effect.within is not None
    assert len(effect.within.ids) == 4


@pytest.mark.slow
def test_sampled_scales_are_kept(good, lab, tmp_path):
    run = tmp_path / "run"
    good(
        *("fit", "--data", lab / "train.parquet", "--save-dir", run, "--method", "laplace"),
        *("--sampling.draws", "50"),
    )
    draws = pl.read_parquet(run / "scales.parquet")
    assert draws["weight"].sum() == pytest.approx(1)
    assert {"sigma", "tau_pair", "tau_compound"} <= set(draws.columns)
