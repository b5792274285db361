"""Names of the columns of files of predictions, and what reads them whatever tasks are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from molpool_common import SUMS, InputError, RunFolder, table_metadata, write_table
from molpool_pipelines.runs import (
    as_file,
    described,
    file_columns,
    in_memory,
    read_run_predictions,
    write_predictions,
)
from molpool_pipelines.scores import read_predictions

TYPES: dict[str, Any] = {"LogD": "regression", "tox": "classification"}
ROWS = pl.DataFrame(
    {
        "id": ["a", "b"],
        "SMILES": ["C", "CC"],
        "split": ["train", "test"],
        "LogD": [1.0, None],
        "LogD modifier": ["=", None],
        "LogD predicted": [1.5, 2.5],
        "LogD_sd": [0.1, 0.2],
        "LogD_lower": [1.0, 2.0],
        "LogD_upper": [2.0, 3.0],
        "tox": [1.0, 0.0],
        "tox predicted": [0.9, 0.2],
        "tox decision": [True, False],
    }
)


def test_a_prediction_has_the_name_of_its_task() -> None:
    frame, said = as_file(ROWS, TYPES, levels=[0.9])
    assert frame.columns == [
        *("id", "SMILES", "split", "LogD_measured", "LogD_modifier", "LogD", "LogD_sd"),
        *("LogD_lower", "LogD_upper", "tox_measured", "tox", "tox_class"),
    ]
    assert frame["tox_class"].to_list() == [1, 0]
    assert said["tasks"]["LogD"]["columns"]["upper"] == "LogD_upper"
    assert said["levels"] == [0.9]


@pytest.mark.parametrize("ending", ["parquet", "csv", "xlsx", "sdf"])
def test_files_are_read_as_they_were_in_memory(tmp_path: Path, ending: str) -> None:
    run = RunFolder.create(tmp_path / "run")
    (path,) = write_predictions(run, ROWS, TYPES, f"p.{ending}")
    found = read_predictions(path)
    assert found.tasks == ("LogD", "tox")
    assert found.task_types == ("regression", "classification")
    assert found.y_pred[:, 0].tolist() == [1.5, 2.5]
    assert found.y_true[:, 1].tolist() == [1.0, 0.0]
    assert found.decisions is not None
    assert found.decisions[:, 1].tolist() == [1.0, 0.0]
    assert found.sd is not None
    if ending == "parquet":
        assert read_run_predictions(run.path, path.name).equals(ROWS)
        # Handed on without the digests of its folder: checksums of its pages are left.
        (run.path / SUMS).unlink()
        sound, refused = path.read_bytes(), 0
        for at in range(40, 140):
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
            try:
                assert read_run_predictions(run.path, path.name).equals(ROWS)
            except InputError:
                refused += 1
        assert refused > 50


def test_a_target_that_is_called_like_a_column_stays_a_target() -> None:
    tasks = ["x", "x_sd", "x_measured", "row", "x sd"]
    names = file_columns(tasks, ["sd", "measured", "lower"])
    assert [of["predicted"] for of in names.values()] == [
        *("x", "x_sd", "x_measured", "row predicted", "x sd")
    ]
    every = [name for of in names.values() for name in of.values()]
    assert len(set(every)) == len(every) == 4 * len(tasks)
    assert names["x"]["sd"] == "x sd_"
    assert names["x"]["measured"] == "x measured"


def test_names_alone_tell_where_the_description_is_lost() -> None:
    frame, _ = as_file(ROWS, TYPES)
    found = in_memory(frame)
    assert found.columns == ROWS.columns
    assert in_memory(ROWS).equals(ROWS), "as files were until 2026"
    bare = frame.select("id", "LogD")
    assert in_memory(bare).equals(bare), "another tool's"


def test_the_columns_that_name_rows_may_be_called_otherwise(tmp_path: Path) -> None:
    columns = file_columns(["y"], ["measured"])
    table = pl.DataFrame(
        {"Name": ["a", "b"], "CXSMILES": ["C", "CC"], "y_measured": [1.0, 2], "y": [2.0, 3]}
    )
    said = described(columns, {"y": "regression"}, id_column="Name", smiles_column="CXSMILES")
    write_table(tmp_path / "t.csv", table, metadata=said)
    assert table_metadata(tmp_path / "t.csv") == said
    found = read_predictions(tmp_path / "t.csv")
    assert found.ids.tolist() == ["a", "b"]
    assert found.smiles is not None
    assert found.y_true[:, 0].tolist() == [1.0, 2.0]


def test_columns_that_were_carried_along_are_no_tasks(tmp_path: Path) -> None:
    columns = file_columns(["y"], [])
    table = pl.DataFrame({"Name": ["a", "b"], "batch": ["p", "q"], "y": [2.0, 3]})
    said = described(columns, {"y": "regression"}, id_column="Name", smiles_column=None)
    write_table(tmp_path / "t.parquet", table, metadata=said)
    truth = pl.DataFrame({"id": ["a", "b"], "batch": ["p", "q"], "y": [1.0, 1.5]})
    truth.write_csv(tmp_path / "truth.csv")
    found = read_predictions(tmp_path / "t.parquet", truth=tmp_path / "truth.csv")
    assert found.tasks == ("y",)
    assert found.y_true[:, 0].tolist() == [1.0, 1.5]
    truth.drop("y").write_csv(tmp_path / "other.csv")
    with pytest.raises(InputError, match="both tables have"):
        read_predictions(tmp_path / "t.parquet", truth=tmp_path / "other.csv")
