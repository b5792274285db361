"""Tables from disk, checked column by column before anything is computed from them."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from molpool_common.errors import InputError, did_you_mean, listed

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "None")
"""How a missing value may be written in a CSV file."""


def read_table(path: str | Path) -> pl.DataFrame:
    """Read CSV, TSV (also gzipped) or Parquet.

    Parameters
    ----------
    path : str or Path
        The file; anything but ``.parquet`` is read as text with a header line.

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
    if not path.is_file():
        raise InputError(
            "data_path",
            expected="an existing file",
            found=f"{'the folder' if path.is_dir() else 'no file'} {str(path)!r}",
            hint=_similar_file(path),
        )
    frame = _read(path)
    _check_separator(frame, path)
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


def _similar_file(path: Path) -> str | None:
    folder = path.parent
    names = [p.name for p in folder.iterdir() if p.is_file()] if folder.is_dir() else []
    hint = did_you_mean(path.name, names) if names else ""
    return hint if hint.startswith("Did") else None


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        _check_not_json(path)
        frame = pl.read_csv(
            path, separator=_separator(path), infer_schema=False, null_values=list(MISSING)
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
    if frame.width == 1 and others and path.suffix != ".parquet":
        raise InputError(
            "data_path",
            expected=f"columns separated by {_separator(path)!r}",
            found=f"one column {frame.columns[0]!r}",
            where=path.name,
            hint=f"Is {others[0]!r} the separator? A tab is read in files named .tsv.",
        )


def _malformed(path: Path, error: Exception) -> InputError:
    """Return what is wrong with a file that polars refused, by line where it can be told."""
    if path.suffix == ".parquet":
        kind, found = "a Parquet file", str(error).splitlines()[0]
    elif "more fields" in str(error):
        kind, found = "as many fields in each line as in the header", _longer_line(path)
    else:
        kind, found = "a UTF-8 CSV file with a header", str(error).splitlines()[0]
    return InputError("data_path", expected=kind, found=found, where=path.name)


def _longer_line(path: Path) -> str:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as handle:
        lines = csv.reader(handle, delimiter=_separator(path))
        width = len(next(lines))
        for fields in lines:
            if len(fields) > width:
                return f"{len(fields)} in line {lines.line_num}, {width} in the header"
    return "a longer line"


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
