"""How many rows are expected of a file, so that reading it can say how long it takes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from molpool_common import tell
from molpool_pipelines.tables import _table_files as files
from molpool_pipelines.tables._table_files import TableFiles


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_are_about_as_many_as_expected(tmp_path: Path, suffix: str) -> None:
    frame = pl.DataFrame({"a": range(20_000), "b": ["x" * 30] * 20_000})
    file = tmp_path / f"table.{suffix}"
    frame.write_csv(file) if suffix == "csv" else frame.write_parquet(file)
    assert files._expected_rows(file) == pytest.approx(20_000, rel=0.05)
    assert files._expected_rows(tmp_path / "none") == 0


def test_chunks_come_through_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, int]] = []

    def note(stage: str, done: int, total: int, unit: str = "") -> None:
        tell(stage, done, total, unit)
        said.append((done, total))

    monkeypatch.setattr(files, "tell", note)
    file = tmp_path / "table.csv"
    pl.DataFrame({"a": range(100)}).write_csv(file)
    table = TableFiles.find([str(file)], "data")
    chunks = list(table.told(table.chunks(["a"], rows=30), "Reading"))
    assert sum(chunk.frame.height for chunk in chunks) == 100
    assert [done for done, _ in said] == [30, 60, 90, 100, 100]
    assert all(done < total for done, total in said[:-1])
    assert said[-1] == (100, 100)
