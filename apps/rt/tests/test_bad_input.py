"""What is wrong with the input ends in exit code 2, one message, and nothing written."""

from __future__ import annotations

import zipfile

import numpy as np
import polars as pl
import pytest


@pytest.fixture
def refused(rt, tmp_path):
    """Run a command that must be refused and return its message."""

    def run(*arguments, writes=("out",)):
        before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
        ended = rt(*arguments)
        assert ended.code == 2, ended.out + ended.err
        assert ended.err.startswith("molpool-rt: ")
        assert ended.err.count("\n") == 1, ended.err
        assert "Traceback" not in ended.err
        assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
        assert not any((tmp_path / name).exists() for name in writes)
        return ended.err

    return run


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


def with_value(frame, column, value, row=4):
    """Return a table with one cell replaced."""
    at = pl.int_range(pl.len()) == row
    dtype = pl.String if isinstance(value, str) else frame.schema[column]
    cell = pl.lit(value, dtype=dtype)
    return frame.with_columns(
        pl.when(at).then(cell).otherwise(pl.col(column).cast(dtype)).alias(column)
    )


def test_species_in_two_supercategories_are_listed(fit, train):
    torn = with_value(train, "species_cluster", 1 - train["species_cluster"][4])
    for message in fit(torn):
        assert f"{train['species'][4]} in 0, 1" in message


def test_species_in_two_supercategories_are_listed_in_preparation(refused, train, tmp_path):
    torn = with_value(train, "species_cluster", 1 - train["species_cluster"][4])
    torn.write_csv(tmp_path / "bad.csv")
    message = refused(
        *("prepare", "--data", tmp_path / "bad.csv", "--save-dir", tmp_path / "out"),
        *("--species-raw", "species", "--cluster-raw", "species_cluster"),
    )
    assert f"{train['species'][4]} in 0, 1" in message


@pytest.mark.parametrize("value", [-1, 2**31])
@pytest.mark.parametrize("column", ["species", "comp_id", "species_cluster"])
def test_ids_out_of_range_are_named(fit, train, column, value):
    for message in fit(with_value(train, column, value)):
        assert repr(column) in message
        assert str(value) in message
        assert "rows 5" in message


@pytest.mark.parametrize("value", [-1, 2**31])
@pytest.mark.parametrize("column", ["species", "comp_id", "species_cluster"])
def test_ids_out_of_range_are_named_in_preparation(refused, train, column, value, tmp_path):
    with_value(train, column, value).write_csv(tmp_path / "bad.csv")
    message = refused(
        *("prepare", "--data", tmp_path / "bad.csv", "--save-dir", tmp_path / "out"),
        *("--species-raw", "species", "--cluster-raw", "species_cluster"),
    )
    assert str(value) in message
    assert "0 to 2^31 - 1" in message


def test_a_column_that_stands_twice_is_named(refused, train, tmp_path):
    file = tmp_path / "bad.csv"
    text = train.write_csv()
    head, rest = text.split("\n", 1)
    file.write_text(head.replace("run_covariate_1", "run_covariate_0") + "\n" + rest)
    assert "twice 'run_covariate_0'" in refused(
        "fit", "--data", file, "--save-dir", tmp_path / "out"
    )


def test_text_in_a_covariate_is_named(fit, train):
    for message in fit(with_value(train, "run_covariate_1", "high")):
        assert "run_covariate_1" in message
        assert "'high' in row 5" in message


@pytest.mark.parametrize("column", ["run_covariate_0", "rt"])
def test_infinity_is_named(fit, train, column):
    for message in fit(with_value(train, column, float("inf"))):
        assert column in message
        assert "finite" in message


@pytest.mark.parametrize("column", ["run_covariate_0", "rt", "species"])
def test_missing_values_are_named(fit, train, column):
    for message in fit(with_value(train, column, None)):
        assert column in message
        assert "rows 5" in message


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


@pytest.fixture
def spoil(pooled, tmp_path):
    """Return a copy of an artefact, changed."""

    def make(change):
        with np.load(pooled / "coefficients.npz") as file:
            arrays = dict(file)
        change(arrays)
        path = tmp_path / "bad.npz"
        np.savez(path, **arrays)
        return path

    return make


def _nan(arrays):
    arrays["mean"][2, 1] = np.nan


def _indefinite(arrays):
    arrays["cov"][3] *= -1


def _schema(arrays):
    arrays["schema_version"] = np.array(99)


def _shape(arrays):
    arrays["mean"] = arrays["mean"][:, :-1]


def _lacking(arrays):
    del arrays["sigma2_mean"]


@pytest.mark.parametrize(
    ("change", "fragments"),
    [
        (_nan, ("mean", "finite")),
        (_indefinite, ("cov", "positive definite")),
        (_schema, ("version 1;", "version 99")),
        (_shape, ("mean", "shape")),
        (_lacking, ("lacks 'sigma2_mean'",)),
    ],
)
@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_wrong_artefacts_are_explained(refused, lab, spoil, tmp_path, change, fragments, command):
    flag, out = {
        "predict": ("--artefact", ("--output", tmp_path / "out.csv")),
        "evaluate": ("--artefacts", ("--save-dir", tmp_path / "out")),
    }[command]
    data = ("--data", lab / "test.parquet")
    message = refused(command, flag, spoil(change), *data, *out, writes=("out", "out.csv"))
    for fragment in fragments:
        assert fragment in message


def test_pickles_and_other_files_are_no_artefact(refused, lab, tmp_path):
    data = ("--data", lab / "test.parquet", "--output", tmp_path / "out.csv")
    for name, content in (("text.npz", b"keys,mean\n"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        assert name in refused("predict", "--artefact", tmp_path / name, *data)
    np.savez(tmp_path / "pickle.npz", keys=np.array([{"a": 1}], dtype=object))
    assert zipfile.is_zipfile(tmp_path / "pickle.npz")
    assert "pickle.npz" in refused("predict", "--artefact", tmp_path / "pickle.npz", *data)


def test_features_of_fit_and_table_are_both_listed(refused, lab, pooled, tmp_path):
    test = pl.read_parquet(lab / "test.parquet").rename({"run_covariate_1": "IS_b"})
    test.write_csv(tmp_path / "bad.csv")
    message = refused(
        *("predict", "--artefact", pooled, "--data", tmp_path / "bad.csv"),
        *("--output", tmp_path / "out.csv"),
        writes=("out.csv",),
    )
    assert "fitted with: run_covariate_0, run_covariate_1" in message
    assert "without run_covariate_1" in message
    assert "IS_b" in message


def test_a_fault_late_in_the_table_leaves_no_half_file(refused, lab, pooled, tmp_path):
    test = pl.read_parquet(lab / "test.parquet")
    bad = with_value(test, "run_covariate_0", float("nan"), row=test.height - 1)
    for suffix in ("csv", "parquet"):
        test.write_parquet(tmp_path / "a.parquet")
        bad.write_parquet(tmp_path / "b.parquet")
        message = refused(
            *("predict", "--artefact", pooled, "--output", tmp_path / f"out.{suffix}"),
            *("--data", tmp_path / "a.parquet", tmp_path / "b.parquet"),
            writes=(f"out.{suffix}",),
        )
        assert "b.parquet" in message
        assert str(test.height) in message


def test_predicting_needs_what_it_names(refused, lab, pooled, tmp_path):
    data = ("--data", lab / "test.parquet")
    assert "artefact" in refused("predict", *data)
    assert ".parquet or .csv" in refused(
        "predict", "--artefact", pooled, *data, "--output", tmp_path / "out.txt"
    )
    assert "folder that exists" in refused(
        "predict", "--artefact", pooled, *data, "--output", tmp_path / "no" / "out.csv"
    )
    assert "keep_cols" in refused(
        *("predict", "--artefact", pooled, *data, "--keep-cols", "rtt"),
        *("--output", tmp_path / "out.csv"),
    )
    assert "found 'species'" in refused(
        *("predict", "--artefact", pooled, *data, "--keep-cols", "species"),
        *("--output", tmp_path / "out.csv"),
    )


def test_evaluating_needs_what_it_names(refused, lab, pooled, tmp_path):
    data, out = ("--data", lab / "test.parquet"), ("--save-dir", tmp_path / "out")
    assert "artefacts" in refused("evaluate", *data, *out)
    assert "'pooled' more than once" in refused(
        "evaluate", "--artefacts", pooled, pooled, *data, *out
    )
    test = pl.read_parquet(lab / "test.parquet")
    test.drop("rt").write_csv(tmp_path / "bad.csv")
    assert "target_col" in refused(
        "evaluate", "--artefacts", pooled, "--data", tmp_path / "bad.csv", *out
    )
    assert "ascending" in refused(
        "evaluate", "--artefacts", pooled, *data, *out, "--support-edges", "5", "1"
    )
    test.filter(comp_id=0).with_columns(comp_id=pl.lit(999)).write_csv(tmp_path / "new.csv")
    assert "seen in training" in refused(
        *("evaluate", "--artefacts", pooled, "--data", tmp_path / "new.csv", *out),
        "--require-seen-group",
    )


def test_reporting_needs_what_it_names(refused, pooled, lab, tmp_path):
    output = ("--output", tmp_path / "out.html")
    assert "neither" in refused("report", *output)
    assert "coefficients.npz" in refused("report", "--runs", lab, *output)
    assert "evaluation.json" in refused("report", "--evaluation", pooled, *output)
    (tmp_path / "out.pdf").write_bytes(b"mine")
    message = refused("report", "--runs", pooled, *output, writes=("out.html",))
    assert "out.pdf" in message


def test_preparing_needs_what_it_names(refused, train, tmp_path):
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


def test_runs_need_both_tables_and_models(refused, lab, tmp_path):
    out = ("--save-dir", tmp_path / "out")
    assert "test: expected tables" in refused("run", "--train", lab / "train.parquet", *out)
    config = tmp_path / "bad.yaml"
    config.write_text("models: {a/b: {model: ridge}}")
    assert "'a/b'" in refused("run", "--config", config, *out)
    config.write_text("models: {a: {modle: ridge}}")
    assert "model" in refused("run", "--config", config, *out)
    config.write_text("simulate: {n_species: 2}")
    assert "n_clusters" in refused("run", "--config", config, *out)
