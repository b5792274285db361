from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from rt_ridge import RTRidgeError, SufficientStatistics
from rt_ridge.tables._rows import Columns, expand, file_chunks

COLUMNS = Columns("species", "comp_id", "species_cluster", ("is_1", "is_2"), "rt")


def test_globs_are_read_in_order_of_name_and_brackets_may_be_a_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "run[1].csv"):
        (tmp_path / name).touch()
    names = [p.name for p in expand([tmp_path / "*.csv", tmp_path / "run[1].csv"])]
    assert names == ["a.csv", "b.csv", "run[1].csv", "run[1].csv"]
    none: list[Path] = []
    for nothing in (tmp_path, tmp_path / "*.parquet", none):
        with pytest.raises(RTRidgeError, match="paths: expected"):
            expand(nothing)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.tsv", "t.csv.gz"])
def test_rows_of_a_file_are_numbered_through(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path, name: str
) -> None:
    frame = make_table(0, n_rows=25).with_columns(note=pl.lit("left, out"))
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.write_parquet(path, row_group_size=9)
    else:
        text = frame.write_csv(separator="\t" if "tsv" in name else ",").encode()
        # As spreadsheets write it, with a mark at the start and lines ended their way.
        text = b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n")
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    chunks = list(file_chunks(path, COLUMNS, 10))
    starts = [chunk.first_row for chunk in chunks]
    assert max(chunk.frame.height for chunk in chunks) <= 10
    assert starts == [1 + sum(c.frame.height for c in chunks[:i]) for i in range(len(chunks))]
    read = pl.concat([chunk.frame.cast(pl.Float64) for chunk in chunks])
    assert read.equals(frame.select(COLUMNS.names).cast(pl.Float64))


def test_a_fault_is_named_by_file_and_row(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    make_table(0, n_rows=20).write_parquet(tmp_path / "a.parquet")
    bad = make_table(1, n_rows=20).with_columns(
        is_1=pl.when(pl.int_range(pl.len()) == 16).then(None).otherwise("is_1")
    )
    bad.write_parquet(tmp_path / "b.parquet")
    with pytest.raises(RTRidgeError) as caught:
        SufficientStatistics.from_parquet(
            tmp_path / "*.parquet", covariates=["is_1", "is_2"], chunk_rows=8
        )
    expected = (
        "column 'is_1' (b.parquet): expected a number in every row; found 1 missing in rows 17 to"
        " 20 (rows 17)"
    )
    assert str(caught.value) == expected


def test_an_empty_file_among_others_is_passed_over(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    frame = make_table(0)
    frame.write_csv(tmp_path / "a.csv")
    frame.head(0).write_csv(tmp_path / "b.csv")
    stats = SufficientStatistics.from_parquet(tmp_path / "*.csv", covariates=["is_1", "is_2"])
    assert stats.n_rows == frame.height


@pytest.mark.parametrize(
    ("name", "content", "phrase"),
    [
        ("a.parquet", b"species,comp_id", "expected a Parquet file"),
        ("a.csv", b"", "expected a header and rows"),
        (
            "a.csv",
            b"species,comp_id,species_cluster,is_1,is_2,rt\n1,2\n",
            "found 2 in line 2, 6 in",
        ),
        ("a.csv", b"\xff\xfe", "expected a header"),
        ("a.csv", b"species,species,comp_id,species_cluster,is_1,is_2,rt\n", "found twice"),
        ("a.csv.gz", b"\x1f\x8bno gzip", "expected a CSV file"),
    ],
)
def test_a_file_that_is_no_table_is_refused(
    tmp_path: Path, name: str, content: bytes, phrase: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RTRidgeError) as caught:
        list(file_chunks(tmp_path / name, COLUMNS))
    assert phrase in str(caught.value)
    assert name in str(caught.value)


def test_memory_does_not_grow_with_the_rows(
    make_table: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    """Ten times the rows, the same peak of NumPy's memory: within a chunk's size, 8 MB."""
    make_table(0, n_rows=50_000).write_parquet(tmp_path / "a.parquet")
    peaks = []
    for times in (2, 20):
        tracemalloc.start()
        SufficientStatistics.from_parquet(
            [tmp_path / "a.parquet"] * times,
            covariates=["is_1", "is_2"],
            threads=1,
            chunk_rows=50_000,
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 8e6
    assert os.path.getsize(tmp_path / "a.parquet") * 20 > 2 * peaks[1]
