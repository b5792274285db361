"""Tables on disk: read whole, or in chunks where they may be larger than memory; written likewise.

Both ways of reading agree on what a table is: CSV, TSV (gzipped or not) or Parquet, one header
line, and text cells that stay text until a column is used, so that what is wrong in a column that
nobody asked for stops nobody.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from molpool_common._errors import InputError, did_you_mean, listed
from molpool_common._folders import atomic_path

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")
"""How a missing value may be written in a CSV file."""

CHUNK_ROWS = 1_000_000
"""Rows in memory at a time, for each thread."""

_PARQUET = (".parquet", ".pq")


def is_parquet(path: Path) -> bool:
    """Return whether the name of a table says Parquet; anything else is text."""
    return path.suffix in _PARQUET


def read_table(path: str | Path) -> pl.DataFrame:
    """Read CSV, TSV (also gzipped) or Parquet.

    Parameters
    ----------
    path : str or Path
        The file; anything but ``.parquet`` and ``.pq`` is read as text with a header line.

    Returns
    -------
    DataFrame
        At least one row. Columns of a text file are strings, so that each is converted, and
        complained of, only where it is used.

    Raises
    ------
    InputError
        If the file is missing, is not a table, names a column twice, or has no row.
    """
    path = Path(path)
    check_file(path)
    frame = _read(path)
    _check_separator(frame, path)
    # polars renames the second of two equal names in this way.
    repeated = [c for c in frame.columns if "_duplicated_" in c]
    if repeated:
        names = [c.partition("_duplicated_")[0] for c in repeated]
        raise InputError(
            "columns", expected="distinct names", found=f"twice {listed(names)}", where=path.name
        )
    if frame.height == 0:
        raise InputError(
            "data_path", expected="at least one row", found="a table without rows", where=path.name
        )
    return frame


def check_file(path: Path, key: str = "data_path") -> None:
    """Raise `InputError`, naming the file of the folder that is meant, unless `path` is a file."""
    if path.is_file():
        return
    folder = path.parent
    names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    hint = did_you_mean(path.name, names) if names else ""
    raise InputError(
        key,
        expected="an existing file",
        found=f"{'the folder' if path.is_dir() else 'no file'} {str(path)!r}",
        hint=hint if hint.startswith("Did") else None,
    )


def _read(path: Path) -> pl.DataFrame:
    try:
        if is_parquet(path):
            return pl.read_parquet(path)
        _check_not_json(path)
        frame = pl.read_csv(
            # Types guessed from the first rows fail at the first text after them.
            path,
            separator=_separator(path),
            infer_schema=False,
            null_values=list(MISSING),
        )
    except pl.exceptions.NoDataError:
        raise InputError(
            "data_path", expected="a header and rows", found="an empty file", where=path.name
        ) from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _malformed(path, error) from None
    for name in frame.columns:
        # polars checks the encoding of the cells but replaces what it cannot read in a header.
        if "\N{REPLACEMENT CHARACTER}" in name:
            raise _malformed(path, ValueError(f"the header {name!r}, which is not utf-8"))
    return frame


def _separator(path: Path) -> str:
    return "\t" if ".tsv" in path.suffixes else ","


def _check_not_json(path: Path) -> None:
    """Refuse JSON, whose first line would pass for a header."""
    with path.open("rb") as handle:
        start = handle.read(64).lstrip()
    if start[:1] in (b"[", b"{"):
        raise InputError("data_path", expected="CSV, TSV or Parquet", found="JSON", where=path.name)


def _check_separator(frame: pl.DataFrame, path: Path) -> None:
    """Refuse a header that only another separator would cut into columns."""
    others = [c for c in "\t;,|" if c != _separator(path) and c in frame.columns[0]]
    if frame.width == 1 and others and not is_parquet(path):
        raise InputError(
            "data_path",
            expected=f"columns separated by {_separator(path)!r}",
            found=f"one column {frame.columns[0]!r}",
            where=path.name,
            hint=f"Is {others[0]!r} the separator? A tab is read in files named .tsv.",
        )


def _malformed(path: Path, error: Exception) -> InputError:
    """Return what is wrong with a file that polars refused, by line where that is known."""
    if not is_parquet(path) and "more fields" in str(error):
        kind = "as many fields in each line as in the header"
        return InputError("data_path", expected=kind, found=_longer_line(path), where=path.name)
    return _unreadable(path, error, "data_path")


def _unreadable(path: Path, error: Exception, key: str) -> InputError:
    kind = "a Parquet file" if is_parquet(path) else "a UTF-8 CSV file with a header"
    found = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(key, expected=kind, found=found, where=path.name)


def _opened(path: Path, encoding: str = "utf-8") -> Any:
    opener: Any = gzip.open if path.suffix == ".gz" else open
    return opener(path, "rt", encoding=encoding, newline="")


def _longer_line(path: Path) -> str:
    with _opened(path) as handle:
        # polars reports no line; the file is read again only after an error.
        lines = csv.reader(handle, delimiter=_separator(path))
        width = len(next(lines))
        for fields in lines:
            if len(fields) > width:
                return f"{len(fields)} in line {lines.line_num}, {width} in the header"
    return "a longer line"


def table_header(path: Path, key: str = "data_path") -> list[str]:
    """Return the names of a table's columns; no row is read.

    Parameters
    ----------
    path : Path
        The table.
    key : str
        The configuration key that named it, for messages.

    Raises
    ------
    InputError
        If the file is no table, has no header, or names a column twice.
    """
    import pyarrow as pa  # type: ignore[import-untyped]  # it has no types
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        if is_parquet(path):
            names = list(pq.read_schema(path).names)
        else:
            # A byte order mark would become part of the first name.
            with _opened(path, "utf-8-sig") as handle:
                names = next(csv.reader(handle, delimiter=_separator(path)), [])
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error, key) from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise InputError(
            "columns",
            expected="distinct names" if twice else "a header line",
            found=f"twice {listed([repr(n) for n in twice])}" if twice else "none",
            where=path.name,
        )
    return names


def table_chunks(
    path: Path, names: Sequence[str], rows: int = CHUNK_ROWS, key: str = "data_path"
) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table from first to last, some at a time.

    Parameters
    ----------
    path : Path
        The table.
    names : sequence of str
        Columns to read, each once; the others are not converted.
    rows : int
        Most rows of a frame; of text, a frame is also at most what one block of bytes holds.
    key : str
        The configuration key that named the table, for messages.

    Yields
    ------
    DataFrame
        Columns of a text file are strings, those of Parquet have their types.

    Raises
    ------
    InputError
        At a line that does not fit the header, or a damaged file.
    """
    import pyarrow as pa

    try:
        for batch in (
            _parquet_batches(path, names, rows)
            if is_parquet(path)
            else _text_batches(path, names, rows)
        ):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            # Row groups and blocks may hold more rows than were asked for.
            yield from (frame.slice(i, rows) for i in range(0, frame.height, rows))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error, key) from None


def _parquet_batches(path: Path, names: Sequence[str], rows: int) -> Iterator[Any]:
    import pyarrow.parquet as pq

    # Read ahead, all bytes would be copied once more, and what is done with them takes the cores.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(rows, columns=list(names))


def _text_batches(path: Path, names: Sequence[str], rows: int) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.csv as pc  # type: ignore[import-untyped]

    # About as many bytes as the rows have: a small chunk need not wait for a large block.
    block = min(max(64 * rows, 1 << 20), 1 << 26)
    with pc.open_csv(
        path,
        pc.ReadOptions(block_size=block),
        pc.ParseOptions(delimiter=_separator(path), newlines_in_values=True),
        pc.ConvertOptions(
            include_columns=list(names),
            column_types=dict.fromkeys(names, pa.string()),
            null_values=list(MISSING),
            # By default Arrow takes "NA" in a text column for text.
            strings_can_be_null=True,
        ),
    ) as reader:
        yield from reader


class FrameWriter(Protocol):
    """Takes frames of the same columns, one after the other."""

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows."""


@contextmanager
def frames_written(path: Path) -> Iterator[FrameWriter]:
    """Give a writer whose rows become the file `path` when the block ends, and nothing before.

    Parameters
    ----------
    path : Path
        Ending in ``.csv``, or else Parquet, one row group per frame (needs the extra ``parquet``).
        If the block raises, nothing is left of it.
    """
    with atomic_path(path) as temporary:
        writer: _Parquet | _CSV
        writer = _CSV(temporary) if path.suffix == ".csv" else _Parquet(temporary)
        try:
            yield writer
        finally:
            writer.close()


class _Parquet:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def write(self, frame: pl.DataFrame) -> None:
        import pyarrow.parquet as pq

        # 64-bit strings and views are read by few others.
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _CSV:
    def __init__(self, path: Path) -> None:
        self._handle = path.open("wb")
        self._first = True

    def write(self, frame: pl.DataFrame) -> None:
        frame.write_csv(self._handle, include_header=self._first)
        self._first = False

    def close(self) -> None:
        self._handle.close()


def require_columns(frame: pl.DataFrame, names: Sequence[str], *, key: str, where: str) -> None:
    """Raise `InputError` for the first name that is not a column; says the nearest that is."""
    for name in names:
        if name not in frame.columns:
            raise InputError(
                key,
                expected="a column of the table",
                found=repr(name),
                where=where,
                hint=did_you_mean(name, frame.columns),
            )


def number_column(
    frame: pl.DataFrame, name: str, *, where: str, rows: Sequence[int] | pl.Series | None = None
) -> pl.Series:
    """Return a column as float64 with null for missing.

    Parameters
    ----------
    frame : DataFrame
        The table.
    name : str
        A column of it.
    where : str
        Name of the table, for messages.
    rows : sequence of int, optional
        Row numbers for messages, where `frame` is not the whole table; by default 1, 2, ...

    Returns
    -------
    Series
        Finite float64 values and nulls.

    Raises
    ------
    InputError
        For text or infinity, naming the first rows (the first row below the header is row 1).
    """
    column = frame[name]
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    text = column.is_not_null() & numbers.is_null()
    if column.dtype.is_float():
        text &= column.is_not_nan()
    numbered = range(1, frame.height + 1) if rows is None else rows
    _refuse(column, text, "a number or nothing", where, numbered)
    infinite = numbers.is_infinite().fill_null(value=False)
    _refuse(column, infinite, "a finite number", where, numbered)
    return numbers.alias(name)


def _refuse(
    column: pl.Series, bad: pl.Series, expected: str, where: str, rows: Sequence[int] | pl.Series
) -> None:
    at = bad.arg_true().to_list()
    if at:
        raise InputError(
            f"column {column.name!r}",
            expected=f"{expected} in every row",
            found=f"{column[at[0]]!r} in row {rows[at[0]]}",
            where=where,
            hint=f"Rows: {listed([rows[i] for i in at])}." if len(at) > 1 else None,
        )
