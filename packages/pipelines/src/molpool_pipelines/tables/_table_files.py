"""Tables of any length: files with the same columns, found by name or pattern, read in chunks.

One file is what prediction reads; retention times come in many. What is read and how is
`molpool_common.table_chunks`; here are the files, their common columns and the rows' numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    CHUNK_ROWS,
    InputError,
    ReadConfig,
    did_you_mean,
    expand_tables,
    is_parquet,
    listed,
    number_column,
    table_chunks,
    table_header,
    table_reading,
    tell,
    text_column,
)

_SURVEY_ROWS = 65_536
_WILD = frozenset("*?[")


@dataclass(frozen=True)
class TableChunk:
    """Consecutive rows of a table.

    Parameters
    ----------
    frame : polars DataFrame
        The columns asked for.
    where : str
        What messages call the table.
    first_row : int
        Number of the first row, from 1 below the header of its file.
    """

    frame: pl.DataFrame
    where: str
    first_row: int


@dataclass(frozen=True)
class TableFiles:
    """Files with the same columns, read as one table.

    Make one with `find`.

    Parameters
    ----------
    files : list of Path
        In the order in which they are read.
    columns : list of str
        Names that all of them have, in the order of the first.
    key : str
        The configuration key that named them, for messages.
    read : ReadConfig or None
        What is known of them.
    """

    files: list[Path]
    columns: list[str]
    key: str = "data_path"
    read: ReadConfig | None = None

    @classmethod
    def find(
        cls,
        paths: Sequence[str | Path],
        key: str = "data_path",
        *,
        read: ReadConfig | None = None,
    ) -> TableFiles:
        """Return the files that names and globs stand for, their headers read.

        Parameters
        ----------
        paths : sequence of str or Path
            Tables of any format; the files of a glob come in order of name.
        key : str
            The configuration key that names them, for messages.
        read : ReadConfig, optional
            What is known of them.

        Raises
        ------
        InputError
            If none is given, a name stands for no file, or a file is no table.
        """
        if not paths:
            raise InputError(key, expected="at least one file or glob", found="none")
        files = [file for path in paths for file in expand_tables(path, key)]
        headers = [table_header(file, key, read) for file in files]
        # Files of one laboratory differ in columns that nothing reads; those that are read are
        # required by name later.
        shared = set(headers[0]).intersection(*headers[1:])
        return cls(files, [name for name in headers[0] if name in shared], key, read)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    @property
    def name(self) -> str:
        """What messages call it."""
        more = len(self.files) - 1
        return self.files[0].name + (f" and {more} more" if more else "")

    def notes(self) -> list[str]:
        """Return what files were found, and how they are read, where that is worth a word."""
        many = len(self.files) > 1
        found = f"{len(self.files)} files: {listed([file.name for file in self.files])}."
        said = [
            f"{file.name}: {sentence}" if many else sentence
            for file in self.files
            for sentence in table_reading(file, self.read, key=self.key).sentences()
        ]
        return [*([found] if many else []), *said]

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

    def matching(self, patterns: Sequence[str], key: str) -> list[str]:
        """Return the columns that names and patterns stand for, in the order of the table.

        Parameters
        ----------
        patterns : sequence of str
            A name without ``*``, ``?`` or ``[`` must be there; a pattern may match nothing, but
            not all of them.
        key : str
            The configuration key that holds them, for messages.

        Raises
        ------
        InputError
            If a name is no column, or no pattern matches.
        """
        found: dict[str, None] = {}
        for pattern in patterns:
            # Before patterns: a column may hold a star or brackets itself.
            if pattern in self:
                found[pattern] = None
            elif _WILD & set(pattern):
                found |= dict.fromkeys(c for c in self.columns if fnmatchcase(c, pattern))
            else:
                self.require(pattern, key)
        if patterns and not found:
            raise InputError(
                key,
                expected=f"columns that match {listed(patterns)}",
                found=f"none among {listed([repr(c) for c in self.columns], 20)}",
                where=self.name,
                hint=f"Name them by --{key.replace('_', '-')}.",
            )
        return list(found)

    def chunks(
        self, names: Iterable[str], most: int | None = None, *, rows: int = CHUNK_ROWS
    ) -> Iterator[TableChunk]:
        """Yield the rows of all files, at most the first `most`, of some columns.

        Parameters
        ----------
        names : iterable of str
            Columns of the table; a name given twice is read once.
        most : int or None
            Rows after which to stop.
        rows : int
            Most rows of a chunk.

        Raises
        ------
        InputError
            At a line that does not fit the header, or a damaged file.
        """
        wanted = list(dict.fromkeys(names))
        left = most
        for file in self.files:
            first_row = 1
            for frame in table_chunks(file, wanted, rows, self.key, self.read):
                chunk = frame if left is None else frame.head(left)
                yield TableChunk(chunk, file.name, first_row)
                # Of the uncut frame; rows count from 1 in each file.
                first_row += frame.height
                if left is not None:
                    left -= chunk.height
                    if not left:
                        return

    def told(self, chunks: Iterable[TableChunk], stage: str) -> Iterator[TableChunk]:
        """Yield chunks and say how far they are; see `molpool_common.tell`.

        Parameters
        ----------
        chunks : iterable of TableChunk
            Of `chunks`.
        stage : str
            What is done with them.
        """
        expected, done = sum(_expected_rows(file) for file in self.files), 0
        for chunk in chunks:
            done += chunk.frame.height
            # Never the last of them, as the number of lines of a text file is an estimate.
            tell(stage, done, max(expected, done + 1), "rows")
            yield chunk
        tell(stage, done, done)

    def of_numbers(self, names: Iterable[str]) -> frozenset[str]:
        """Return which of these columns hold text that is numbers and gaps alone, in every row."""
        left = {name for name in names if name in self}
        for chunk in self.chunks(sorted(left), rows=_SURVEY_ROWS) if left else ():
            left = {name for name in left if _is_numbers(chunk.frame, name)}
        return frozenset(left)

    def frames(self, names: Iterable[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield the columns as they are read, in frames of exactly `rows` rows but the last."""
        return _in_frames((chunk.frame for chunk in self.chunks(names, rows=rows)), rows)

    def texts(self, names: Iterable[str], rows: int) -> Iterator[pl.DataFrame]:
        """Yield the columns as text, in frames of exactly `rows` rows but the last.

        A model's batches then do not depend on how the file is laid out.
        """
        chunks = self.chunks(names, rows=rows)
        texts = (
            pl.DataFrame([text_column(c.frame, name, where=c.where) for name in c.frame.columns])
            for c in chunks
        )
        return _in_frames(texts, rows)


def _is_numbers(frame: pl.DataFrame, name: str) -> bool:
    if frame[name].dtype != pl.String:
        return False
    try:
        number_column(frame, name, where="")
    except InputError:
        return False
    return True


def _in_frames(chunks: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of frames in frames of exactly `rows` rows but the last."""
    parts: list[pl.DataFrame] = []
    waiting = 0
    for chunk in chunks:
        parts.append(chunk)
        waiting += chunk.height
        if waiting >= rows:
            # Once per frame: joining at every chunk would copy the rows again and again.
            joined = pl.concat(parts)
            yield joined.head(rows)
            parts, waiting = [joined.slice(rows)], waiting - rows
    if waiting:
        yield pl.concat(parts)


def survey(table: TableFiles, column: str, *, distinct: bool) -> int:
    """Read one column to its end and return the number of rows.

    Parameters
    ----------
    table : TableFiles
        The table.
    column : str
        One of its columns.
    distinct : bool
        Whether each of its values must be there, once.

    Raises
    ------
    InputError
        If the file is damaged or has no row, or values are missing or stand more than once (with
        counts and the first of them).
    """
    n = 0
    missing: list[int] = []
    hashes = []
    for frame in table.texts([column], _SURVEY_ROWS):
        if distinct:
            missing += (frame[column].is_null().arg_true() + n + 1).to_list()
            # 8 bytes for each id: all the ids of a long table may not fit in memory.
            hashes.append(frame[column].hash().to_numpy())
        n += frame.height
    if n == 0:
        raise InputError(table.key, expected="at least one row", found="none", where=table.name)
    if missing:
        raise InputError(
            f"column {column!r}",
            expected="an id in every row",
            found=f"none in {len(missing)} rows: {listed(missing, limit=5)}",
            where=table.name,
        )
    if distinct:
        _refuse_repeated(table, column, np.sort(np.concatenate(hashes)))
    return n


def _refuse_repeated(table: TableFiles, column: str, hashes: Any) -> None:
    # Equal hashes are neighbours once sorted: no set of all ids is held.
    twice = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
    if not len(twice):
        return
    counts: dict[str, int] = {}
    for frame in table.texts([column], _SURVEY_ROWS):
        suspects = frame[column].filter(frame[column].hash().is_in(pl.Series(twice).implode()))
        for name in suspects.to_list():
            counts[name] = counts.get(name, 0) + 1
    more = {name: n for name, n in counts.items() if n > 1}
    if more:  # two texts may have one hash
        raise InputError(
            f"column {column!r}",
            expected="each id once",
            found=f"{len(more)} ids more than once: "
            f"{listed([f'{name!r} ({n} times)' for name, n in more.items()], limit=5)}",
            where=table.name,
        )


_SAMPLE = 1 << 16
"""Bytes whose lines say how long those of a text file are."""


def _expected_rows(file: Path) -> int:
    """Return about how many rows a file has, 0 where that would take reading it."""
    if not file.is_file():
        return 0
    if is_parquet(file):
        return int(pl.scan_parquet(file).select(pl.len()).collect().item())
    with file.open("rb") as text:
        start = text.read(_SAMPLE)
    # Compressed files, and those of Excel, have no lines.
    lines = start.count(b"\n") if b"\0" not in start else 0
    return round(file.stat().st_size / len(start) * lines) if lines else 0
