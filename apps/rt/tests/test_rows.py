"""Rows in are rows used and rows rejected, ids stay as they came, and no input is written over."""

from __future__ import annotations

import json
import os

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def predict(good, pooled, tmp_path):
    """Predict a table by the pooled fit and return what was written."""

    def run(*data, output="out.csv", **options):
        flags = [word for key, value in options.items() for word in (f"--{key}", value)]
        path = tmp_path / output
        good("predict", "--artefact", pooled, "--data", *data, "--output", path, *flags)
        return pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)

    return run


@pytest.mark.core
@pytest.mark.parametrize("how", ["itself", "relative", "symlink", "hardlink", "glob"])
def test_the_input_is_never_written_over(refused, lab, pooled, tmp_path, how):
    data = tmp_path / "new.parquet"
    data.write_bytes((lab / "test.parquet").read_bytes())
    output, given = tmp_path / "out.parquet", data
    if how == "symlink":
        output.symlink_to(data)
    elif how == "hardlink":
        os.link(data, output)
    elif how == "relative":
        output = tmp_path / ".." / tmp_path.name / "new.parquet"
    else:
        output = data
        given = tmp_path / "*.parquet" if how == "glob" else data
    message = refused(
        *("predict", "--artefact", pooled, "--data", given, "--output", output),
        *("--overwrite", "true"),
        writes=(),
    )
    assert "expected another file than data" in message


def test_the_artefact_is_never_written_over(refused, lab, pooled, tmp_path):
    (tmp_path / "o.csv").symlink_to(pooled / "coefficients.npz")
    flags = ("--output", tmp_path / "o.csv", "--overwrite", "true")
    data = ("--data", lab / "test.parquet")
    assert "than artefact" in refused("predict", "--artefact", pooled, *data, *flags, writes=())


def test_a_folder_that_is_read_is_not_replaced(good, refused, lab, tmp_path):
    flags = ("--species-raw", "species", "--cluster-raw", "species_cluster")
    good("prepare", "--data", lab / "train.parquet", *flags, "--save-dir", tmp_path / "p")
    rows = tmp_path / "p" / "rows.parquet"
    again = ("--save-dir", tmp_path / "p", "--overwrite", "true")
    assert "rows.parquet" in refused("fit", "--data", rows, *again, writes=())
    like = ("--data", lab / "test.parquet", *flags, "--like", tmp_path / "p")
    assert "like" in refused("prepare", *like, *again, writes=())
    assert rows.is_file()


def test_ids_and_rows_come_out_as_they_came(predict, lab, tmp_path):
    test = pl.read_parquet(lab / "test.parquet").sample(fraction=1.0, shuffle=True, seed=1)
    # As pandas writes integers of a column with gaps.
    dotted = test.with_columns(pl.format("{}.0", "comp_id").alias("comp_id"))
    dotted.write_csv(tmp_path / "new.csv")
    found = predict(tmp_path / "new.csv", output="o.parquet")
    assert found["comp_id"].to_list() == dotted["comp_id"].to_list()
    assert found["row"].to_list() == list(range(1, test.height + 1))
    test.write_parquet(tmp_path / "new.parquet")
    plain = predict(tmp_path / "new.parquet", output="p.parquet")
    assert plain["comp_id"].dtype == test["comp_id"].dtype
    assert plain["rt"].equals(found["rt"])


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_that_cannot_be_placed_have_a_reason(predict, lab, tmp_path, suffix):
    test = pl.read_parquet(lab / "test.parquet").head(6)
    at = pl.int_range(pl.len())
    holes = test.with_columns(
        pl.when(at != 1).then("comp_id").alias("comp_id"),
        pl.when(at != 2).then("species_cluster").alias("species_cluster"),
        pl.when(~at.is_in([1, 3])).then("run_covariate_1").alias("run_covariate_1"),
    ).drop("rt")
    file = tmp_path / f"new.{suffix}"
    holes.write_csv(file) if suffix == "csv" else holes.write_parquet(file)
    found = predict(file)
    assert found["reason"].to_list() == [
        *(None, "no comp_id; no run_covariate_1", None, "no run_covariate_1", None, None)
    ]
    assert found["rt"].is_null().to_list() == found["reason"].is_not_null().to_list()
    assert found["level"].to_list()[1] == "none"
    test.write_parquet(tmp_path / "full.parquet")
    full = predict(tmp_path / "full.parquet", output="full.csv")
    # A group is placed without its supercategory, and no row depends on its neighbours.
    kept = found["reason"].is_null()
    assert found.filter(kept)["rt"].to_list() == full.filter(kept)["rt"].to_list()
    rejected = pl.read_csv(tmp_path / "out_rejected.csv")
    assert rejected["row"].to_list() == [2, 4]
    assert not (tmp_path / "full_rejected.csv").exists()


def test_pairs_that_a_fit_has_no_level_for_have_a_reason(good, lab, ridge, tmp_path):
    output = tmp_path / "o.csv"
    ended = good(
        *("predict", "--artefact", ridge, "--data", lab / "test.parquet", "--output", output)
    )
    found = pl.read_csv(output)
    none = found.filter(level="none")
    assert found.height == pl.read_parquet(lab / "test.parquet").height
    assert none.height > 0
    assert none["reason"].str.contains("never seen in training").all()
    assert pl.read_csv(tmp_path / "o_rejected.csv")["row"].to_list() == none["row"].to_list()
    assert f"{none.height:,}  without a prediction: never seen" in ended.out


def test_a_covariate_that_one_file_lacks(rt, good, lab, pooled, tmp_path):
    test = pl.read_parquet(lab / "test.parquet")
    test.head(5).write_csv(tmp_path / "a.csv")
    test.head(5).drop("run_covariate_1").write_csv(tmp_path / "b.csv")
    files = ("--data", tmp_path / "a.csv", tmp_path / "b.csv")
    for command in (
        ("predict", "--artefact", pooled, *files, "--output", tmp_path / "o.csv"),
        ("evaluate", "--artefacts", pooled, *files, "--save-dir", tmp_path / "e"),
    ):
        ended = rt(*command)
        assert ended.code == 2
        assert "b.csv" in ended.err
        assert "'run_covariate_1'" in ended.err or "run_covariate_1" in ended.err
        good(*command, "--absent-covariates", "center")
    ended = rt("fit", *files, "--save-dir", tmp_path / "f")
    assert ended.code == 2
    assert "covariates (b.csv)" in ended.err
    # At the mean of the other file's rows, as if these had been written there.
    center = ("--absent-covariates", "center", "--model", "ridge")
    ended = good("fit", *files, "--save-dir", tmp_path / "f", *center)
    assert "run_covariate_1: at the mean of the other rows in b.csv" in ended.out
    mean = test.head(5)["run_covariate_1"].mean()
    test.head(5).with_columns(run_covariate_1=pl.lit(mean)).write_csv(tmp_path / "d.csv")
    good(
        *("fit", "--data", tmp_path / "a.csv", tmp_path / "d.csv", "--model", "ridge"),
        *("--save-dir", tmp_path / "g"),
    )
    one, two = (np.load(tmp_path / name / "coefficients.npz") for name in "fg")
    np.testing.assert_allclose(one["mean"], two["mean"], rtol=1e-9, atol=1e-12)
    ended = rt("fit", *files, *center, "--feature-center", "none", "--save-dir", tmp_path / "h")
    assert ended.code == 2
    assert "feature_center" in ended.err
    found = pl.read_csv(tmp_path / "o.csv")
    mean = pl.read_parquet(lab / "train.parquet")["run_covariate_1"].mean()
    centred = test.head(5).with_columns(run_covariate_1=pl.lit(mean))
    centred.write_parquet(tmp_path / "c.parquet")
    flags = ("--data", tmp_path / "c.parquet", "--output", tmp_path / "c.csv")
    good("predict", "--artefact", pooled, *flags)
    expected = pl.read_csv(tmp_path / "c.csv")["rt"].to_list()
    assert found["rt"].to_list()[5:] == pytest.approx(expected, rel=1e-9)


def test_rows_in_are_rows_used_and_rows_rejected(good, lab, pooled, ridge, tmp_path):
    metrics = json.loads((pooled / "metrics.json").read_text())
    train = pl.read_parquet(lab / "train.parquet")
    assert metrics["rows_read"] == train.height == metrics["rows"] + metrics["rows_not_drawn"]
    good(
        *("fit", "--data", lab / "train.parquet", "--max-groups", "7", "--model", "ridge"),
        *("--save-dir", tmp_path / "some"),
    )
    metrics = json.loads((tmp_path / "some" / "metrics.json").read_text())
    assert metrics["rows_read"] == train.height == metrics["rows"] + metrics["rows_not_drawn"]
    assert metrics["rows_not_drawn"] > 0
    for name, flags in (("all", ()), ("seen", ("--require-seen-group", "true"))):
        good(
            *("evaluate", "--artefacts", pooled, ridge, "--data", lab / "test.parquet"),
            *("--save-dir", tmp_path / name, *flags),
        )
        rows = json.loads((tmp_path / name / "evaluation.json").read_text())["rows"]
        assert rows["read"] == pl.read_parquet(lab / "test.parquet").height
        assert rows["read"] == rows["used"] + rows["rejected"]
        rejected = pl.read_csv(tmp_path / name / "rejected.csv")
        assert rejected.height == rows["rejected"] > 0
        said = "no prediction by ridge" if name == "all" else "pair never seen in training"
        assert set(rejected["reason"]) == {said}


def test_without_covariates_every_command_works(good, lab, tmp_path):
    for name in ("train", "test"):
        frame = pl.read_parquet(lab / f"{name}.parquet")
        frame.select(pl.exclude("^run_covariate_.*$")).write_csv(tmp_path / f"{name}.csv")
    flags = ("--species-raw", "species", "--cluster-raw", "species_cluster")
    ended = good("prepare", "--data", tmp_path / "train.csv", *flags, "--save-dir", tmp_path / "p")
    assert "intercepts only" in ended.out
    rows, test = tmp_path / "p" / "rows.parquet", tmp_path / "test.csv"
    models = {
        "map": ("--calibrate.enabled", "true", "--calibrate.n-folds", "3"),
        "ml": ("--method", "ml", "--lambda-slopes", "estimate"),
        "laplace": ("--method", "laplace", "--intercept-prior", "comp_hier_supercat"),
        "poly": (
            *("--anchor-expansion", "poly2", "--feature-rotation", "pca"),
            *("--likelihood", "gaussian"),
        ),
        "ridge": ("--model", "ridge"),
        "lasso": ("--model", "lasso"),
        "supercategory": ("--model", "supercategory"),
    }
    for name, given in models.items():
        ended = good("fit", "--data", rows, "--save-dir", tmp_path / name, *given)
        assert "no covariates" in ended.out
        flags = ("--data", test, "--output", tmp_path / f"{name}.csv")
        good("predict", "--artefact", tmp_path / name, *flags)
    fits = [tmp_path / name for name in models]
    evaluation = tmp_path / "e"
    good("evaluate", "--artefacts", *fits, "--data", test, "--save-dir", evaluation)
    some = [tmp_path / name for name in ("map", "poly", "ridge")]
    results = ("--runs", *some, "--evaluation", evaluation)
    good("plot", *results, "--save-dir", tmp_path / "plots")
    good("report", *results, "--output", tmp_path / "r.html", "--pdf", "false")
    # Every pair's own mean, in closed form.
    predicted = pl.read_csv(tmp_path / "ridge.csv")
    ids = ["species", "comp_id"]
    means = pl.read_parquet(rows).group_by(ids).agg(mean=pl.col("rt").mean())
    joined = predicted.join(means, on=ids, how="left", maintain_order="left")
    assert joined["rt"].to_list() == pytest.approx(joined["mean"].to_list(), nan_ok=True)


def test_one_species_of_one_supercategory_has_no_scale_of_them(good, lab, tmp_path):
    train = pl.read_parquet(lab / "train.parquet").with_columns(species=0, species_cluster=0)
    train.write_parquet(tmp_path / "one.parquet")
    ended = good(
        *("fit", "--data", tmp_path / "one.parquet", "--save-dir", tmp_path / "f"),
        *("--intercept-prior", "comp_hier_supercat", "--slope-head-mode", "cluster_supercat"),
    )
    said = " ".join(ended.out.split())
    assert "tau_supercategory left out: there is one supercategory" in said
    assert "tau_group left out: there is one group" in said
    scales = json.loads((tmp_path / "f" / "metrics.json").read_text())["scales"]
    assert not [name for name in scales if name.startswith(("tau_group", "tau_supercategory"))]


def test_names_of_a_prepared_table_need_not_be_given_again(good, lab, tmp_path):
    renamed = pl.read_parquet(lab / "train.parquet").rename({"rt": "Retention.time", "run": "File"})
    renamed.write_csv(tmp_path / "raw.csv")
    flags = ("--species-raw", "species", "--cluster-raw", "species_cluster")
    names = ("--target-col", "Retention.time", "--run-col", "File")
    good("prepare", "--data", tmp_path / "raw.csv", *flags, *names, "--save-dir", tmp_path / "p")
    rows = tmp_path / "p" / "rows.parquet"
    calibrated = ("--calibrate.enabled", "true", "--calibrate.n-folds", "3")
    good("fit", "--data", rows, *calibrated, "--save-dir", tmp_path / "f")
    good("evaluate", "--artefacts", tmp_path / "f", "--data", rows, "--save-dir", tmp_path / "e")
    assert (tmp_path / "e" / "drift.csv").is_file()
