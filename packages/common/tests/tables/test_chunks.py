"""Files read in chunks and written frame after frame: whole, or not at all."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from molpool_common import InputError, frames_written, read_table, table_chunks, table_header

CUT = gzip.compress(b"a,b\n" * 99, mtime=0)[:-9]
"""Names of tests hold it, and must not hold the time."""

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


def test_small_frames_are_joined_to_row_groups_and_wide_ones_are_not(tmp_path: Path) -> None:
    with frames_written(tmp_path / "t.parquet") as writer:
        for _ in range(40):
            writer.write(ROWS.head(2048))
    assert _groups(tmp_path / "t.parquet") == [1 << 16, 8 * 2048]
    wide = pl.DataFrame({str(i): [0.5] * 1000 for i in range(2000)})
    with frames_written(tmp_path / "wide.parquet") as writer:
        for _ in range(5):
            writer.write(wide)
    # 16 MB each.
    assert _groups(tmp_path / "wide.parquet") == [3000, 2000]


def _groups(path: Path) -> list[int]:
    with pq.ParquetFile(path) as file:
        metadata = file.metadata
        return [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]


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


ROWS = pl.DataFrame(
    {"n": list(range(200_000)), "name": ["a", None, 'b, "c"', "two\nlines"] * 50_000}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    ROWS.write_parquet(folder / "t.parquet", row_group_size=70_000)
    ROWS.write_parquet(folder / "t.pq")
    ROWS.write_csv(folder / "t.csv")
    ROWS.write_csv(folder / "t.tsv", separator="\t")
    (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "t.csv").read_bytes()))
    return folder


@pytest.mark.parametrize("name", ["t.parquet", "t.pq", "t.csv", "t.tsv", "t.csv.gz"])
@pytest.mark.parametrize("names", [["n", "name"], ["name"]])
def test_chunks_are_what_reading_the_whole_table_gives(
    folder: Path, name: str, names: list[str]
) -> None:
    chunks = list(table_chunks(folder / name, names, 60_000))
    assert all(0 < chunk.height <= 60_000 for chunk in chunks)
    assert pl.concat(chunks).select(names).equals(read_table(folder / name).select(names))


def test_headers_are_read_without_the_rows(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "t.csv").write_text('\ufeff"a, b",c\n1,2\n', encoding="utf-8")
    (tmp_path / "t.tsv").write_text("a\tb\n", encoding="utf-8")
    assert table_header(tmp_path / "t.csv") == ["a, b", "c"]
    assert table_header(tmp_path / "t.tsv") == ["a", "b"]
    assert table_header(folder / "t.pq") == table_header(folder / "t.csv.gz") == ["n", "name"]
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match="header"):
        table_header(tmp_path / "empty.csv")


def test_what_a_file_is_its_content_says(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(b"a,b\n1,\xff\n")
    assert read_table(tmp_path / "t.csv.gz").rows() == [("1", "\u00ff")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"a,b\n1,2\n1,2,3\n", r"expected as many fields.*found 3 in line 3, 2 in the"),
        ("t.csv.gz", CUT, "expected a CSV file with a header"),
        ("t.parquet", b"a,b\n1,2\n", "expected a Parquet file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"data \({name}\): {message}"):
        list(table_chunks(tmp_path / name, ["a", "b"], key="data"))
