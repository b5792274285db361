"""Wrong artefacts, and what commands are not given: code 2, one message, nothing written."""

from __future__ import annotations

import zipfile

import numpy as np
import polars as pl
import pytest


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
        (_schema, ("version 3;", "version 99")),
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


def test_a_fault_late_in_the_table_leaves_no_half_file(refused, lab, pooled, tmp_path, with_value):
    test = pl.read_parquet(lab / "test.parquet")
    bad = with_value(test, "run_covariate_0", float("inf"), row=test.height - 1)
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
    assert ".parquet, .csv, .tsv, .xlsx" in refused(
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


def test_runs_need_both_tables_and_models(refused, lab, tmp_path):
    out = ("--save-dir", tmp_path / "out")
    assert "test: expected tables" in refused("run", "--train", lab / "train.parquet", *out)
    config = tmp_path / "bad.yaml"
    config.write_text("models: {a/b: {model: ridge}}")
    assert "'a/b'" in refused("run", "--config", config, *out)
    config.write_text("models: {a: {modle: ridge}}")
    assert "model" in refused("run", "--config", config, *out)
    config.write_text("simulate: {n_species: 2, n_clusters: 3}")
    assert "n_clusters" in refused("run", "--config", config, *out)
    config.write_text("models: {a: {use_descriptors: true}}")
    tables = ("--train", lab / "train.parquet", "--test", lab / "test.parquet")
    assert "descriptors: expected a table" in refused("run", "--config", config, *tables, *out)
