"""Tables of any length, some rows at a time: a frame, or Parquet and CSV files."""

from __future__ import annotations

import csv
import glob
import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rt_ridge.errors import RTRidgeError
from rt_ridge.rows import Columns

if TYPE_CHECKING:
    import polars as pl

CHUNK_ROWS = 1_000_000
"""Rows in memory at a time, for each thread."""

_CSV_BLOCK_BYTES = 1 << 26

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a table.

    Parameters
    ----------
    frame : polars DataFrame
        The columns asked for.
    where : str
        What messages call the table.
    first_row : int
        Number of the first row, from 1 below the header.
    """

    frame: pl.DataFrame
    where: str
    first_row: int


def frame_chunks(frame: Any, columns: Columns, size: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield the rows of a polars or pandas frame, as `Chunk`."""
    import polars as pl

    where = "table"
    if not isinstance(frame, pl.DataFrame):
        if type(frame).__module__.partition(".")[0] != "pandas" or not hasattr(frame, "columns"):
            raise RTRidgeError(
                f"df: expected a polars or pandas DataFrame; found {type(frame).__name__}"
            )
        columns.check([str(name) for name in frame.columns], where)
        frame = pl.from_pandas(frame[columns.names])
    columns.check(frame.columns, where)
    frame = frame.select(columns.names)
    for first in range(0, frame.height, size):
        yield Chunk(frame.slice(first, size), where, first + 1)


def file_chunks(paths: Paths, columns: Columns, size: int = CHUNK_ROWS) -> Iterator[Chunk]:
    """Yield the rows of Parquet or CSV files, in their order, as `Chunk`.

    Parameters
    ----------
    paths : path, glob, or iterable of them
        ``.parquet`` or ``.pq`` is read as Parquet, ``.tsv`` as text parted by tabs, anything else
        by commas; text may be gzipped.
    columns : Columns
        The columns to read.
    size : int
        Rows at a time.
    """
    for path in expand(paths):
        first_row = 1
        read = _parquet if path.suffix in (".parquet", ".pq") else _csv
        for frame in _named_errors(read(path, columns, size), path):
            if frame.height:
                yield Chunk(frame, path.name, first_row)
            first_row += frame.height


def expand(paths: Paths) -> list[Path]:
    """Return the files that paths and globs stand for, those of a glob in order of name.

    Raises
    ------
    RTRidgeError
        If there is none, or one is not a file.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[Path] = []
    for one in given:
        text = os.fspath(one)
        path = Path(text)
        # A name with brackets may be a file rather than a pattern.
        matched = [path] if path.is_file() else sorted(Path(p) for p in glob.glob(text))
        files = [p for p in matched if p.is_file()]
        if not files:
            kind = "the folder" if path.is_dir() else "nothing at"
            raise RTRidgeError(
                f"paths: expected a file, or a pattern that matches one; found {kind} {text!r}"
            )
        found += files
    if not found:
        raise RTRidgeError("paths: expected at least one file; found none")
    return found


def _named_errors(frames: Iterator[pl.DataFrame], path: Path) -> Iterator[pl.DataFrame]:
    import pyarrow as pa  # type: ignore[import-untyped]

    try:
        yield from frames
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        kind = "a Parquet file" if path.suffix in (".parquet", ".pq") else "a UTF-8 CSV file"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RTRidgeError(f"paths ({path.name}): expected {kind}; found {reason}") from None


def _parquet(path: Path, columns: Columns, size: int) -> Iterator[pl.DataFrame]:
    import polars as pl
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    # Read ahead, all bytes would be copied once more, and the sums take both cores anyway.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        columns.check(file.schema_arrow.names, path.name)
        for batch in file.iter_batches(size, columns=columns.names):
            yield _frame(pl.from_arrow(batch))


def _csv(path: Path, columns: Columns, size: int) -> Iterator[pl.DataFrame]:
    """Yield the cells as text: `rt_ridge.rows` says of each that is no number where it stands."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.csv as pc  # type: ignore[import-untyped]
    from molpool_common import MISSING

    separator = "\t" if ".tsv" in path.suffixes else ","
    columns.check(_header(path, separator), path.name)
    stream = pc.open_csv(
        path,
        pc.ReadOptions(block_size=_CSV_BLOCK_BYTES),
        pc.ParseOptions(delimiter=separator),
        pc.ConvertOptions(
            include_columns=columns.names,
            column_types=dict.fromkeys(columns.names, pa.string()),
            null_values=list(MISSING),
            strings_can_be_null=True,
        ),
    )
    with stream:
        for batch in stream:
            frame = _frame(pl.from_arrow(batch))
            yield from (frame.slice(first, size) for first in range(0, frame.height, size))


def _header(path: Path, separator: str) -> Sequence[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
        names: list[str] = next(csv.reader(handle, delimiter=separator), [])
    return names


def _frame(converted: pl.DataFrame | pl.Series) -> pl.DataFrame:
    # A record batch always converts to a frame, which polars' type leaves open.
    import polars as pl

    assert isinstance(converted, pl.DataFrame)
    return converted
