"""From tables of any length, some rows at a time, to checked keys and numbers.

A frame, or Parquet and CSV files; every column that is used is checked, row by row.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray, ReadConfig

from rt_ridge._errors import RTRidgeError, did_you_mean, listed
from rt_ridge.tables._keys import check_ids

if TYPE_CHECKING:
    import polars as pl

_BLOCK = 8192
"""Rows copied from columns at a time: both stay in the processor's cache."""

CHUNK_ROWS = 1_000_000
"""Rows in memory at a time, for each thread."""

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@dataclass(frozen=True)
class Columns:
    """The columns of a table that statistics are made of.

    Parameters
    ----------
    group, compound : str
        Ids, 0 <= id < 2³¹.
    parent : str or None
        Supercategory of the group.
    covariates : tuple of str
        Distinct names.
    target : str
        Retention time.
    """

    group: str
    compound: str
    parent: str | None
    covariates: tuple[str, ...]
    target: str

    def __post_init__(self) -> None:
        repeated = [c for c, times in Counter((*self.covariates, self.target)).items() if times > 1]
        if repeated:
            raise RTRidgeError(
                f"covariates: expected distinct names, the target {self.target!r} not among them;"
                f" found {listed([repr(c) for c in repeated])} more than once"
            )

    @classmethod
    def of(
        cls,
        covariates: Sequence[str],
        *,
        group: str,
        compound: str,
        parent: str | None,
        target: str,
    ) -> Columns:
        """Return checked columns, the names of covariates in any sequence."""
        if isinstance(covariates, str):
            raise RTRidgeError(
                f"covariates: expected a sequence of names; found the text {covariates!r}"
            )
        return cls(group, compound, parent, tuple(covariates), target)

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Names of the columns by the parameter that gave them."""
        roles = {"group": (self.group,), "compound": (self.compound,)}
        if self.parent is not None:
            roles["parent"] = (self.parent,)
        return {**roles, "target": (self.target,), "covariates": self.covariates}

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        return list(dict.fromkeys(name for names in self.roles.values() for name in names))

    def check(self, table: Sequence[str], where: str) -> None:
        """Raise `RTRidgeError` unless a table with these columns has them all, each once."""
        for role, names in self.roles.items():
            for name in names:
                if name not in table:
                    hint = did_you_mean(name, table)
                    if role == "parent":
                        hint += " Give parent=None for groups without supercategories."
                    raise RTRidgeError(
                        f"{role} ({where}): expected a column of the table; found {name!r}. {hint}"
                    )
        twice = [name for name, times in Counter(table).items() if times > 1 and name in self.names]
        if twice:
            raise RTRidgeError(f"columns ({where}): expected distinct names; found twice {twice}")


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


def file_chunks(
    paths: Paths, columns: Columns, size: int = CHUNK_ROWS, read: ReadConfig | None = None
) -> Iterator[Chunk]:
    """Yield the rows of Parquet or CSV files, in their order, as `Chunk`.

    Parameters
    ----------
    paths : path, glob, or iterable of them
        Parquet, text of any separator and encoding, compressed or not, or Excel.
    columns : Columns
        The columns to read.
    size : int
        Rows at a time.
    read : ReadConfig, optional
        What is known of the files.
    """
    from molpool_common import InputError, table_chunks, table_header

    for path in expand(paths):
        first_row = 1
        try:
            columns.check(table_header(path, "paths", read), path.name)
            for frame in table_chunks(path, columns.names, size, "paths", read):
                yield Chunk(frame, path.name, first_row)
                first_row += frame.height
        except InputError as error:
            raise RTRidgeError(str(error)) from None


def expand(paths: Paths) -> list[Path]:
    """Return the files that paths and globs stand for, those of a glob in order of name.

    Raises
    ------
    RTRidgeError
        If there is none, or one is not a file.
    """
    from molpool_common import InputError, expand_tables

    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    try:
        found = [path for one in given for path in expand_tables(os.fspath(one), "paths")]
    except InputError as error:
        raise RTRidgeError(str(error)) from None
    if not found:
        raise RTRidgeError("paths: expected at least one file; found none")
    return found


@dataclass(frozen=True, eq=False)
class Rows:
    """Checked rows.

    Parameters
    ----------
    keys : ndarray of int64, [N]
        (group << 32) + compound.
    values : ndarray, [N, P + 1]
        Covariates and target, finite.
    parents : ndarray of int64, [N], or None
        (group << 32) + parent.
    """

    keys: IntArray
    values: FloatArray
    parents: IntArray | None


def read_rows(
    frame: pl.DataFrame,
    columns: Columns,
    where: str,
    first_row: int = 1,
    *,
    out: FloatArray | None = None,
) -> Rows:
    """Check and convert the rows of a frame that has all `columns`.

    Parameters
    ----------
    frame : polars DataFrame
        Rows.
    columns : Columns
        Which columns.
    where : str
        What messages call the table.
    first_row : int
        Number of the first row in messages; the first below a header is 1.
    out : ndarray, [>= N, P + 1], or None
        Where the values go; None: to memory of their own.

    Raises
    ------
    RTRidgeError
        For missing values, text, infinities and ids out of range: column, how many, first rows.
    """
    place = _Place(where, first_row)
    group = _ids(frame[columns.group], place)
    compound = group if columns.compound == columns.group else _ids(frame[columns.compound], place)
    parents = None
    if columns.parent is not None:
        parents = (group << 32) + _ids(frame[columns.parent], place)
    names = (*columns.covariates, columns.target)
    numbers = [_numbers(frame[name], place) for name in names]
    values = np.empty((frame.height, len(names))) if out is None else out[: frame.height]
    for first in range(0, frame.height, _BLOCK):
        for j, column in enumerate(numbers):
            values[first : first + _BLOCK, j] = column[first : first + _BLOCK]
    return Rows((group << 32) + compound, values, parents)


@dataclass(frozen=True)
class _Place:
    where: str
    first_row: int


def _ids(column: pl.Series, place: _Place) -> IntArray:
    _refuse_padded(column, place)
    fast = column.dtype.is_integer() and not column.null_count()
    array: npt.NDArray[Any] = column.to_numpy() if fast else _slowly(column, place)
    name = f"column {column.name!r} ({place.where})"
    return check_ids(array, name, first_row=place.first_row)


def _refuse_padded(column: pl.Series, place: _Place) -> None:
    """Refuse 007, which as a number would be the same as 7."""
    import polars as pl

    if column.dtype != pl.String:
        return
    padded = column.str.contains(r"^\s*[+-]?0\d").fill_null(value=False).arg_true().to_list()
    if padded:
        rows = listed([row + place.first_row for row in padded])
        raise RTRidgeError(
            f"column {column.name!r} ({place.where}): expected whole numbers as ids; found"
            f" {column[padded[0]]!r}, which is a name (rows {rows}). molpool-rt prepare numbers"
            " names."
        )


def _numbers(column: pl.Series, place: _Place) -> FloatArray:
    import polars as pl

    if column.dtype.is_numeric() and not column.null_count():
        array = column.cast(pl.Float64).to_numpy()
        if np.isfinite(array).all():
            return array
    return _slowly(column, place)


def _slowly(column: pl.Series, place: _Place) -> FloatArray:
    """Return a column that is not plainly good as float64, or say which rows are not numbers."""
    import polars as pl
    from molpool_common import InputError, number_column

    dtype = column.dtype
    if dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)  # its labels, not the codes that stand for them
    elif not (dtype.is_numeric() or dtype in (pl.String, pl.Boolean, pl.Null)):
        raise RTRidgeError(
            f"column {column.name!r} ({place.where}): expected numbers; found {dtype}"
        )
    rows = range(place.first_row, place.first_row + len(column))
    try:
        numbers = number_column(column.to_frame(), column.name, where=place.where, rows=rows)
    except InputError as error:
        raise RTRidgeError(str(error)) from None
    missing = numbers.is_null().arg_true().to_list()
    if missing:
        raise RTRidgeError(
            f"column {column.name!r} ({place.where}): expected a number in every row; found"
            f" {len(missing)} missing in rows {rows[0]} to {rows[-1]}"
            f" (rows {listed([rows[i] for i in missing])})"
        )
    return numbers.to_numpy()
