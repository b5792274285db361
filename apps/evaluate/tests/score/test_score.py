"""`molpool-evaluate score` from table to files."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, read_table
from molpool_evaluate.cli import main
from molpool_pipelines.runs import ColumnsConfig
from molpool_pipelines.scores import read_predictions
from sklearn.metrics import mean_absolute_error, roc_auc_score


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def score(*arguments: object) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["score", *(str(a) for a in arguments)])
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """80 molecules of two tasks, half of them training, with uncertainty, bounds and quality."""
    rng = np.random.default_rng(0)
    n = 80
    y = rng.normal(size=n)
    c = (rng.random(n) < 0.4).astype(float)
    frame = pl.DataFrame(
        {
            "id": [f"m{i}" for i in range(n)],
            "SMILES": ["C" * (i + 1) if i % 2 else "c1ccccc1" + "C" * i for i in range(n)],
            "side": ["train", "test"] * (n // 2),
            "quality": ["high", "high", "low", "low"] * (n // 4),
            "LogD": y,
            "LogD modifier": ["=", "<", "=", "=", "=", "="] * (n // 6) + ["="] * (n % 6),
            "LogD predicted": y + rng.normal(size=n),
            "LogD_sd": rng.uniform(0.5, 1.5, n),
            "tox": c,
            "tox predicted": 0.3 * c + 0.7 * rng.random(n),
        }
    )
    path = tmp_path / "model.parquet"
    frame.write_parquet(path)
    return path


FAST = ("--n-bootstrap", 50)


@pytest.mark.core
def test_files_hold_what_the_table_says(table: Path, tmp_path: Path) -> None:
    ended = score("--predictions", table, "--save-dir", tmp_path / "out", *FAST)
    assert ended.code == 0, ended.err
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names >= {"metrics.json", "metrics.csv", "fit.png", "calibration.png", "roc.png"}
    assert "checkpoints" not in names
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    frame = pl.read_parquet(table)
    test = frame.filter(pl.col("side") == "test")
    exact = test.filter(pl.col("LogD modifier") == "=")
    assert (found["schema_version"], found["kind"], found["reported"]) == (2, "score", "test")
    test_split = found["splits"]["test"]
    tasks = test_split["tasks"]
    mae = tasks["LogD"]["metrics"]["mae"]
    assert mae["value"] == pytest.approx(
        mean_absolute_error(exact["LogD"], exact["LogD predicted"])
    )
    assert (tasks["LogD"]["n"], test_split["n"]) == (exact.height, 40)
    assert mae["low"] < mae["value"] < mae["high"]
    auc = roc_auc_score(test["tox"], test["tox predicted"])
    assert tasks["tox"]["metrics"]["roc_auc"]["value"] == pytest.approx(auc)
    assert test_split["uncertainty"]["LogD"]["n"] == exact.height
    assert {s["of"] for s in test_split["strata"]} == {
        "quality",
        "scaffold",
        "similarity",
        "labels",
    }
    csv = pl.read_csv(tmp_path / "out" / "metrics.csv", infer_schema_length=None)
    row = csv.filter(
        pl.col("stratum_of").is_null(), pl.col("task") == "LogD", pl.col("metric") == "mae"
    )
    assert row["value"].item() == pytest.approx(mae["value"])
    assert "labels of all splits are bounds" in ended.out
    # The folder of a test is as long as its name; tables must fit.
    lines = ended.out.replace(str(tmp_path), "").splitlines()
    assert max(len(line) for line in lines) <= 80


def test_the_scored_rows_are_a_table(table: Path, tmp_path: Path) -> None:
    output = tmp_path / "rows.xlsx"
    arguments = ("--predictions", table, "--save-dir", tmp_path / "out", "--n-bootstrap", 0)
    ended = score(*arguments, "--output", output)
    assert ended.code == 0, ended.err
    again = read_predictions(output)
    whole = read_predictions(table).of_split("test")
    assert again.ids.tolist() == whole.ids.tolist()
    np.testing.assert_allclose(again.y_pred, whole.y_pred, rtol=1e-12)
    assert "LogD_measured" in read_table(output).columns
    ended = score(*arguments, "--output", output, "--overwrite", "true")
    assert ended.code == 0, ended.err
    ended = score(*arguments, "--output", table, "--overwrite", "true")
    assert "another file" in ended.err


def test_a_truth_of_its_own_is_joined_by_id(table: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(table)
    said = frame.select(
        "id", pl.col("LogD predicted").alias("LogD"), pl.col("tox predicted").alias("tox")
    )
    said.reverse().write_csv(tmp_path / "said.csv")
    frame.select("id", "SMILES", "LogD", "tox", "LogD modifier").write_csv(tmp_path / "true.csv")
    ours = read_predictions(tmp_path / "said.csv", truth=tmp_path / "true.csv")
    whole = read_predictions(table)
    assert ours.tasks == whole.tasks == ("LogD", "tox")
    assert ours.task_types == ("regression", "classification")
    assert ours.ids.tolist() == whole.ids.tolist()
    np.testing.assert_allclose(ours.y_pred, whole.y_pred)
    np.testing.assert_allclose(ours.y_true, whole.y_true)
    assert ours.n_bounds.tolist() == whole.n_bounds.tolist()


def test_a_truth_may_call_its_ids_otherwise_or_number_them(table: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(table)
    said = frame.select("id", "LogD predicted")
    said.write_csv(tmp_path / "said.csv")
    frame.select(pl.col("id").alias("Name"), "LogD").reverse().write_csv(tmp_path / "true.csv")
    columns = ColumnsConfig(truth_id="Name")
    found = read_predictions(tmp_path / "said.csv", truth=tmp_path / "true.csv", columns=columns)
    np.testing.assert_allclose(found.y_pred[::-1, 0], frame["LogD predicted"])
    np.testing.assert_allclose(found.y_true[::-1, 0], frame["LogD"])
    with pytest.raises(InputError, match=r"no column .id., .* Columns: Name, LogD\."):
        read_predictions(tmp_path / "said.csv", truth=tmp_path / "true.csv")
    numbers = pl.Series("id", [str(i + 1) for i in range(frame.height)])
    said.with_columns(numbers).write_csv(tmp_path / "numbered.csv")
    frame.select("LogD").write_csv(tmp_path / "bare.csv")
    both = (tmp_path / "numbered.csv", tmp_path / "bare.csv")
    with pytest.raises(InputError, match="--join row takes the rows in their order"):
        read_predictions(both[0], truth=both[1])
    found = read_predictions(both[0], truth=both[1], join="row")
    assert found.notes == ("Predictions and bare.csv are joined by number of row, as asked for.",)
    np.testing.assert_allclose(found.y_pred[:, 0], frame["LogD predicted"])


def _faults(table: Path, folder: Path) -> dict[str, tuple[list[Any], str]]:
    frame = pl.read_parquet(table)
    truth = folder / "truth.csv"
    frame.select("id", "LogD", "tox").write_csv(truth)

    def put(name: str, changed: pl.DataFrame) -> Path:
        changed.write_parquet(folder / f"{name}.parquet")
        return folder / f"{name}.parquet"

    said = frame.drop("LogD", "tox", "LogD modifier")
    lacks = put("lacks", said.filter(~pl.col("id").is_in(["m3", "m5", "m7"])))
    twice = put("twice", said.with_columns(pl.col("id").replace({"m4": "m3", "m9": "m8"})))
    again = put("again", frame.with_columns(pl.col("id").replace({"m4": "m3"})))
    empty = frame.with_columns(
        pl.when(pl.col("id") == "m6").then(None).otherwise(pl.col("LogD predicted"))
        .alias("LogD predicted")
    )  # fmt: skip
    other = put("other", frame.with_columns(pl.col("LogD predicted").cast(pl.String) + "x"))
    both = ["--predictions", table]
    return {
        "none": ([], "expected one of --predictions and --model-dir; found neither"),
        "two": ([*both, "--model-dir", folder], "found --predictions and --model-dir"),
        "no data": (["--model-dir", folder], "--data-path: expected a table to predict"),
        "lacks rows": (
            ["--predictions", lacks, "--data-path", truth],
            "found none for 3 of 80 rows, ids 'm3', 'm5', 'm7'",
        ),
        "twice": (
            ["--predictions", twice, "--data-path", truth],
            "expected each id once; found 2 ids more than once: 'm3' (2 times), 'm8' (2 times)",
        ),
        "again": (["--predictions", again], "found 1 ids more than once: 'm3' (2 times)"),
        "unpredicted": (
            ["--predictions", put("empty", empty)],
            "found none for 1 of 67 rows, ids 'm6'",
        ),
        "text": (["--predictions", other], "column 'LogD predicted'"),
        "side": ([*both, "--side", "tets"], "Did you mean 'test'?"),
        "tasks": ([*both, "--columns.tasks", "LogP"], "Did you mean 'LogD'?"),
        "types": ([*both, "--task-types", "LogP", "regression"], "task_types"),
        "bins": ([*both, "--similarity-bins", "0.7", "0.3"], "ascending numbers"),
        "no folder": (["--predictions", folder / "no"], "expected an existing file"),
        "no run": (["--predictions", folder], "a run folder with predictions.parquet"),
        "no column": ([*both, "--columns.id", "ids"], "Did you mean 'id'?"),
    }


def test_what_is_wrong_is_said_and_nothing_is_written(table: Path, tmp_path: Path) -> None:
    for name, (arguments, message) in _faults(table, tmp_path).items():
        ended = score(*arguments, "--save-dir", tmp_path / "out", *FAST)
        assert ended.code == 2, (name, ended.err)
        assert message in ended.err, (name, ended.err)
        assert not (tmp_path / "out").exists(), name


def test_scores_are_replaced_only_when_asked(table: Path, tmp_path: Path) -> None:
    arguments = ("--predictions", table, "--save-dir", tmp_path / "out", "--n-bootstrap", 0)
    assert score(*arguments).code == 0
    ended = score(*arguments)
    assert ended.code == 2
    assert "--overwrite true" in ended.err
    assert score(*arguments, "--overwrite", "true").code == 0


def test_a_metric_without_value_is_left_out_and_said(table: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(table).with_columns(tox=pl.lit(0.0))
    frame.write_parquet(table)
    ended = score("--predictions", table, "--save-dir", tmp_path / "out", *FAST)
    assert ended.code == 0, ended.err
    words = " ".join(ended.out.split())
    assert "Left out (a single class): tox on all rows" in words
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    tox = found["splits"]["test"]["tasks"]["tox"]
    assert tox["n"] == 40
    assert tox["metrics"]["roc_auc"] == {"value": None, "note": "a single class"}
