"""Tables of measurements, read in chunks, and tables of compounds, read whole."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import InputError, did_you_mean, listed, number_column, read_table
from rt_ridge import (
    Chunk,
    Columns,
    CompoundClasses,
    CompoundDescriptors,
    check_ids,
    expand,
    file_chunks,
)

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Table:
    """Files with the same columns, read as one table.

    Parameters
    ----------
    files : list of Path
        In the order in which they are read.
    columns : list of str
        Names that all of them have, in the order of the first.
    """

    files: list[Path]
    columns: list[str]

    @classmethod
    def find(cls, paths: Sequence[str], key: str = "data") -> Table:
        """Return the files that names and globs stand for, their headers read.

        Raises
        ------
        InputError, RTRidgeError
            If none is given, a name stands for no file, or a file has no header.
        """
        if not paths:
            raise InputError(key, expected="at least one file or glob", found="none")
        files = expand(paths)
        headers = [header(file) for file in files]
        shared = set(headers[0]).intersection(*headers[1:])
        return cls(files, [name for name in headers[0] if name in shared])

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    @property
    def name(self) -> str:
        """What messages call it."""
        more = len(self.files) - 1
        return self.files[0].name + (f" and {more} more" if more else "")

    def require(self, column: str, key: str) -> str:
        """Return `column`, or raise `InputError` naming the key and the nearest column."""
        if column not in self:
            raise InputError(
                key,
                expected="a column of the table",
                found=repr(column),
                where=self.name,
                hint=did_you_mean(column, self.columns),
            )
        return column

    def chunks(self, columns: Columns, most: int | None = None) -> Iterator[Chunk]:
        """Yield the rows, at most the first `most`, of the columns asked for."""
        left = most
        for chunk in file_chunks(self.files, columns):
            if left is None:
                yield chunk
                continue
            frame = chunk.frame.head(left)
            left -= frame.height
            yield Chunk(frame, chunk.where, chunk.first_row)
            if not left:
                return


class AnyColumns(Columns):
    """Columns of a table whatever their role, which those check who give them one."""

    @classmethod
    def named(cls, names: Sequence[str]) -> AnyColumns:
        """Return what reads `names`, each once."""
        first, *others = dict.fromkeys(names)
        return cls(first, first, None, tuple(others), first)

    def __post_init__(self) -> None:
        """Skip the check of roles."""


def header(path: Path) -> list[str]:
    """Return the names of a file's columns.

    Raises
    ------
    InputError
        If there are none, or one stands twice.
    """
    names = _parquet_header(path) if path.suffix in PARQUET else _text_header(path)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(
            "columns",
            expected="distinct names",
            found=f"twice {listed([repr(n) for n in twice])}",
            where=path.name,
        )
    if not names:
        raise InputError("columns", expected="a header line", found="none", where=path.name)
    return names


def _text_header(path: Path) -> list[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    separator = "\t" if ".tsv" in path.suffixes else ","
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as handle:
            return next(csv.reader(handle, delimiter=separator), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, "a UTF-8 CSV file", error) from None


def _parquet_header(path: Path) -> list[str]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, "a Parquet file", error) from None


def _unreadable(path: Path, expected: str, error: Exception) -> InputError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError("data", expected=expected, found=reason, where=path.name)


def matching(patterns: Sequence[str], table: Table, key: str = "covariates") -> list[str]:
    """Return the columns that names and patterns stand for, in the order of the table.

    A name without ``*`` or ``?`` must be there; a pattern may match nothing, but not all of them.

    Raises
    ------
    InputError
        If a name is no column, or no pattern matches.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if pattern in table.columns:
            found[pattern] = None
        elif any(sign in pattern for sign in "*?["):
            found |= dict.fromkeys(c for c in table.columns if fnmatchcase(c, pattern))
        else:
            table.require(pattern, key)
    if patterns and not found:
        raise InputError(
            key,
            expected=f"columns that match {listed(patterns)}",
            found=f"none among {listed([repr(c) for c in table.columns], 20)}",
            where=table.name,
            hint=f"Name them by --{key.replace('_', '-')}.",
        )
    return list(found)


def read_descriptors(
    path: str, compound: str, names: Sequence[str] | None = None
) -> CompoundDescriptors:
    """Read the descriptors of compounds; compounds that lack one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row per compound.
    compound : str
        Column of the compound's id.
    names : sequence of str or None
        Columns, or patterns; None: ``descriptor_*``.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, holds text, or a compound has several rows.
    """
    table, frame = _compounds(path, "descriptors", compound)
    columns = matching(names or ["descriptor_*"], table, key="descriptor_cols")
    repeated, counts = np.unique(frame[compound], return_counts=True)
    if (counts > 1).any():
        raise InputError(
            "descriptors",
            expected="one row per compound",
            found=f"several of {listed(repeated[counts > 1].tolist())}",
            where=table.name,
        )
    numbers = [number_column(frame, c, where=table.name).alias(c) for c in columns]
    complete = pl.DataFrame([frame[compound], *numbers]).drop_nulls()
    return CompoundDescriptors.from_frame(complete, compound=compound, columns=columns)


def read_classes(path: str, compound: str, column: str) -> CompoundClasses:
    """Read the class of each compound; compounds without one are left out.

    Parameters
    ----------
    path : str
        CSV or Parquet, one row per compound.
    compound, column : str
        Columns of the compound's id and of its class: ids or names.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing, an id is invalid, or a compound has several rows.
    """
    table, frame = _compounds(path, "classes", compound)
    table.require(column, "class_col")
    complete = frame.select(list(dict.fromkeys([compound, column]))).drop_nulls()
    return CompoundClasses.from_frame(complete, compound=compound, column=column)


def _compounds(path: str, key: str, compound: str) -> tuple[Table, pl.DataFrame]:
    """Return a table of compounds, its ids checked."""
    table = Table.find([path], key=key)
    table.require(compound, "compound_col")
    frame = read_table(table.files[0])
    numbers = number_column(frame, compound, where=table.name)
    ids = check_ids(numbers.to_numpy(), f"column {compound!r} ({table.name})")
    return table, frame.with_columns(pl.Series(compound, ids))


def with_descriptors(
    frame: pl.DataFrame, compound: str, descriptors: CompoundDescriptors
) -> pl.DataFrame:
    """Return rows with the descriptors of their compounds, NaN where there are none."""
    table = pl.DataFrame(descriptors.values, schema=list(descriptors.names))
    table = table.with_columns(pl.Series(compound, descriptors.ids))
    joined = frame.join(table, on=compound, how="left", maintain_order="left")
    return joined.with_columns(pl.col(descriptors.names).fill_null(float("nan")))
