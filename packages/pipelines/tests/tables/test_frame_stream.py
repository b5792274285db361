"""Files written frame after frame: whole, or not at all."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from molpool_pipelines.tables.frame_stream import frames_written

FRAMES = [
    pl.DataFrame({"name": ["a", None], "n": [1, 2], "x": [0.5, None]}),
    pl.DataFrame({"name": ['b, "c"'], "n": [3], "x": [-1e-300]}),
]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_frames_are_one_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with frames_written(path) as writer:
        for frame in FRAMES:
            writer.write(frame)
        assert not path.exists()
    read = pl.read_csv(path) if name.endswith("csv") else pl.read_parquet(path)
    assert read.equals(pl.concat(FRAMES))


def test_a_frame_is_a_row_group(tmp_path: Path) -> None:
    with frames_written(tmp_path / "t.parquet") as writer:
        for frame in FRAMES:
            writer.write(frame)
    with pq.ParquetFile(tmp_path / "t.parquet") as file:
        assert [file.metadata.row_group(k).num_rows for k in range(2)] == [2, 1]


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_nothing_is_left_of_a_failure(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("before")
    with pytest.raises(KeyError):
        _fail_halfway(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


def _fail_halfway(path: Path) -> None:
    with frames_written(path) as writer:
        writer.write(FRAMES[0])
        raise KeyError
