"""Rejected rows: one file of one name, and those of earlier names still read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from molpool_common import RunFolder
from molpool_pipelines.runs import (
    REJECTED,
    read_rejected,
    rejected_beside,
    rejected_note,
    rejected_rows,
    write_rejected,
)

ROWS = [(3, "a", "t.csv", "xx", "syntax"), (8, "b", "t.csv", None, "empty")]


def test_written_and_read_back(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "run")
    assert write_rejected(run, rejected_rows(ROWS)) == run.path / REJECTED
    assert read_rejected(run.path).rows() == ROWS
    assert read_rejected(run.path).columns == ["row", "id", "source", "SMILES", "reason"]
    # A run on a table that was mended leaves none.
    assert write_rejected(run, rejected_rows([])) is None
    assert read_rejected(run.path).is_empty()


def test_beside_an_output_that_is_no_folder(tmp_path: Path) -> None:
    output = tmp_path / "said.parquet"
    assert write_rejected(output, rejected_rows(ROWS)) == tmp_path / "said_rejected.csv"
    assert rejected_beside("x/said.csv") == Path("x/said_rejected.csv")


def test_earlier_names_are_read(tmp_path: Path) -> None:
    (tmp_path / "dropped_rows.csv").write_text("source,row,smiles,reason\nt.csv,3,xx,syntax\n")
    assert read_rejected(tmp_path).rows() == [(3, None, "t.csv", "xx", "syntax")]
    (tmp_path / "dropped_rows.csv").unlink()
    # Of mil, whose rows were counted from 0.
    pl.DataFrame({"id": ["m"], "row": [2], "smiles": ["xx"], "reason": ["syntax"]}).write_csv(
        tmp_path / "left_out.csv"
    )
    assert read_rejected(tmp_path).rows() == [(3, "m", None, "xx", "syntax")]


def test_the_summary_counts_them() -> None:
    assert rejected_note(rejected_rows([])) == []
    (note,) = rejected_note(rejected_rows(ROWS))
    assert note == "2 rows left out, their SMILES do not parse: 3, 8 (rejected.csv)."
