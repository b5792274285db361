"""What is wrong with the input ends in exit code 2, one message, and nothing written."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from rt_ridge import Stage1CoeffSummaries


@pytest.fixture
def fit(refused, tmp_path):
    """Refuse to fit a table, written as CSV and as Parquet, and return both messages."""

    def run(frame, *arguments, suffixes=("csv", "parquet")):
        messages = []
        for suffix in suffixes:
            file = tmp_path / f"bad.{suffix}"
            frame.write_csv(file) if suffix == "csv" else frame.write_parquet(file)
            messages.append(
                refused("fit", "--data", file, "--save-dir", tmp_path / "out", *arguments)
            )
        return messages

    return run


def test_species_in_two_supercategories_are_listed(fit, train, with_value):
    torn = with_value(train, "species_cluster", 1 - train["species_cluster"][4])
    for message in fit(torn):
        assert f"{train['species'][4]} in 0, 1" in message


def test_species_in_two_supercategories_are_listed_in_preparation(
    refused, train, tmp_path, with_value
):
    torn = with_value(train, "species_cluster", 1 - train["species_cluster"][4])
    torn.write_csv(tmp_path / "bad.csv")
    message = refused(
        *("prepare", "--data", tmp_path / "bad.csv", "--save-dir", tmp_path / "out"),
        *("--species-raw", "species", "--cluster-raw", "species_cluster"),
    )
    assert f"{train['species'][4]} in 0, 1" in message


@pytest.mark.parametrize("value", [-1, 2**31])
@pytest.mark.parametrize("column", ["species", "comp_id", "species_cluster"])
def test_ids_out_of_range_are_named(fit, train, column, value, with_value):
    for message in fit(with_value(train, column, value)):
        assert repr(column) in message
        assert str(value) in message
        assert "rows 5" in message


@pytest.mark.parametrize("value", [-1, 2**31])
@pytest.mark.parametrize("column", ["species", "comp_id", "species_cluster"])
def test_ids_out_of_range_are_named_in_preparation(
    refused, train, column, value, tmp_path, with_value
):
    with_value(train, column, value).write_csv(tmp_path / "bad.csv")
    message = refused(
        *("prepare", "--data", tmp_path / "bad.csv", "--save-dir", tmp_path / "out"),
        *("--species-raw", "species", "--cluster-raw", "species_cluster"),
    )
    assert str(value) in message
    assert "0 to 2^31 - 1" in message


def test_names_of_digits_are_no_numbers(refused, pooled, train, tmp_path):
    padded = pl.format("00{}", "comp_id").alias("comp_id")
    train.head(20).with_columns(padded).write_csv(tmp_path / "bad.csv")
    for command in (
        ("fit", "--save-dir", tmp_path / "out"),
        ("predict", "--artefact", pooled, "--output", tmp_path / "out"),
        ("evaluate", "--artefacts", pooled, "--save-dir", tmp_path / "out"),
    ):
        flags = ("--output", tmp_path / "out.csv") if command[0] == "predict" else ()
        message = refused(*command, "--data", tmp_path / "bad.csv", *flags)
        assert "'comp_id' (bad.csv)" in message
        assert "which is a name (rows 1, 2" in message


def test_a_column_that_stands_twice_is_named(refused, train, tmp_path):
    file = tmp_path / "bad.csv"
    text = train.write_csv()
    head, rest = text.split("\n", 1)
    file.write_text(head.replace("run_covariate_1", "run_covariate_0") + "\n" + rest)
    assert "twice 'run_covariate_0'" in refused(
        "fit", "--data", file, "--save-dir", tmp_path / "out"
    )


def test_text_in_a_covariate_is_named(fit, train, with_value):
    for message in fit(with_value(train, "run_covariate_1", "high")):
        assert "run_covariate_1" in message
        assert "'high' in row 5" in message


@pytest.mark.parametrize("column", ["run_covariate_0", "rt"])
def test_infinity_is_named(fit, train, column, with_value):
    for message in fit(with_value(train, column, float("inf"))):
        assert column in message
        assert "finite" in message


@pytest.mark.parametrize("column", ["run_covariate_0", "rt", "species"])
def test_missing_values_are_named(fit, train, column, with_value):
    for message in fit(with_value(train, column, None)):
        assert column in message
        assert "rows 5" in message


def constant(frame):
    return frame.with_columns(run_covariate_1=pl.lit(2.5))


def collinear(frame):
    return frame.with_columns(run_covariate_1=3 * pl.col("run_covariate_0") - 1)


@pytest.mark.parametrize(
    ("change", "phrase"), [(constant, "constant"), (collinear, "linearly dependent")]
)
def test_covariates_that_tell_nothing_are_shrunk_or_named(
    fit, good, train, tmp_path, change, phrase
):
    for message in fit(change(train), "--slope-head-mode", "global"):
        assert "run_covariate_1" in message
        assert phrase in message
    change(train).write_csv(tmp_path / "odd.csv")
    good("fit", "--data", tmp_path / "odd.csv", "--save-dir", tmp_path / "run")
    found = Stage1CoeffSummaries.load(tmp_path / "run" / "coefficients.npz")
    assert np.isfinite(found.mean).all()
    if change is constant:
        assert np.abs(found.mean[:, 2]).max() < 1e-9


def test_pairs_with_fewer_rows_than_covariates_are_fitted(good, train, tmp_path):
    # One row a pair, of two covariates.
    thin = train.unique(["species", "comp_id"], keep="first", maintain_order=True)
    thin.write_csv(tmp_path / "thin.csv")
    good("fit", "--data", tmp_path / "thin.csv", "--save-dir", tmp_path / "run")
    found = Stage1CoeffSummaries.load(tmp_path / "run" / "coefficients.npz")
    assert set(found.n.tolist()) == {1}
    assert (np.linalg.eigvalsh(found.cov)[:, 0] > 0).all()


def test_one_row_in_all_is_refused(fit, train):
    for message in fit(train[:1]):
        assert "row" in message


def test_no_row_at_all_is_refused(fit, train):
    for message in fit(train[:0]):
        assert "row" in message


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (("--group-col", "specis"), ("group_col", "Did you mean 'species'")),
        (("--covariates", "IS_1"), ("covariates", "'IS_1'")),
        (("--covariates", "IS_*"), ("covariates", "none among", "run_covariate_0")),
        (("--lambda-slopes", "-1"), ("lambda_slopes", "> 0")),
        (("--lambda-slopes", "1", "2", "3"), ("lambda_slopes", "found 3")),
        (("--methode", "map"), ("--methode", "'--method'")),
        (("--method", "mcmc"), ("method", "nuts")),
        (("--intercept-mode", "collapsed"), ("intercept_mode", "comp_hier")),
        (("--model", "supercategory", "--intercept-prior", "comp_hier_supercat"), ("above it",)),
        (("--descriptors", "nowhere.csv"), ("nowhere.csv",)),
    ],
)
def test_wrong_settings_are_named(refused, lab, tmp_path, arguments, fragments):
    message = refused(
        "fit", "--data", lab / "train.parquet", "--save-dir", tmp_path / "out", *arguments
    )
    for fragment in fragments:
        assert fragment in message


def test_supercategories_that_a_model_needs_are_named(fit, train):
    for message in fit(train.drop("species_cluster"), "--slope-head-mode", "cluster_supercat"):
        assert "species_cluster" in message


def test_files_that_are_none(refused, tmp_path):
    out = ("--save-dir", tmp_path / "out")
    assert "data: expected at least one" in refused("fit", *out)
    assert "nothing at" in refused("fit", "--data", tmp_path / "no*.csv", *out)
    bad = tmp_path / "bad.parquet"
    bad.write_bytes(b"PAR1 but not really")
    assert "bad.parquet" in refused("fit", "--data", bad, *out)


def test_a_folder_in_use_is_left_alone(rt, lab, pooled):
    before = {p: p.stat().st_mtime_ns for p in pooled.rglob("*")}
    ended = rt("fit", "--data", lab / "train.parquet", "--save-dir", pooled)
    assert ended.code == 2
    assert "--overwrite" in ended.err
    assert {p: p.stat().st_mtime_ns for p in pooled.rglob("*")} == before


def test_preparing_needs_what_it_names(refused, train, tmp_path, with_value):
    train.write_csv(tmp_path / "raw.csv")
    prepare = ("prepare", "--data", tmp_path / "raw.csv", "--save-dir", tmp_path / "out")
    assert "species_raw" in refused(*prepare)
    ids = ("--species-raw", "species", "--cluster-raw", "species_cluster")
    assert "library_col" in refused(*prepare, *ids, "--libs", "208")
    assert "'208'" in refused(*prepare, *ids, "--libs", "208", "--library-col", "species_cluster")
    assert "cap" in refused(*prepare, *ids, "--cap", "0")
    assert "like" in refused(*prepare, *ids, "--like", tmp_path)
    with_value(train, "run_covariate_0", None).write_csv(tmp_path / "raw.csv")
    message = refused(*prepare, *ids)
    assert "rows 5" in message
    assert "--missing-covariates run_median" in message
    with_value(train, "rt", None).write_csv(tmp_path / "raw.csv")
    assert "--missing-target drop" in refused(*prepare, *ids)


def test_later_tables_must_nest_as_the_first_did(good, refused, train, tmp_path):
    ids = ("--species-raw", "species", "--cluster-raw", "species_cluster")
    train.write_csv(tmp_path / "raw.csv")
    good("prepare", "--data", tmp_path / "raw.csv", *ids, "--save-dir", tmp_path / "first")
    moved = train.filter(species=1).with_columns(species_cluster=1 - pl.col("species_cluster"))
    moved.write_csv(tmp_path / "moved.csv")
    message = refused(
        *("prepare", "--data", tmp_path / "moved.csv", *ids, "--like", tmp_path / "first"),
        *("--save-dir", tmp_path / "out"),
    )
    assert "'1' in '0', '1'" in message
