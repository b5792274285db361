"""Columns of a table as names of bags, features and labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import listed, number_column, read_table, require_columns
from numpy.typing import NDArray

from mil_attn.errors import MILError

_NUMBERED = re.compile(r"f\d+")


def table_of(table: str | Path | pl.DataFrame, name: str) -> tuple[pl.DataFrame, str]:
    """Return a table, read where a file is given, and what messages call it."""
    if isinstance(table, pl.DataFrame):
        return table, name
    return read_table(table), Path(table).name


def names_of(frame: pl.DataFrame, column: str, where: str) -> pl.Series:
    """Return names of bags as text.

    Raises
    ------
    MILError
        If one is missing; names the rows.
    """
    require_columns(frame, [column], key="id_column", where=where)
    names = frame[column].cast(pl.String)
    missing = names.is_null().arg_true()
    if len(missing):
        rows = listed([row + 1 for row in missing])
        raise MILError(f"column {column!r} ({where}): expected a name; found none in rows {rows}.")
    return names


def columns_of_features(frame: pl.DataFrame, others: Sequence[str], where: str) -> list[str]:
    """Return the columns of features where none are named.

    These are ``f1``, ``f2``, ... where there are such; else all but `others`.

    Raises
    ------
    MILError
        If there is none.
    """
    numbered = [c for c in frame.columns if _NUMBERED.fullmatch(c) and c not in others]
    columns = numbered or [c for c in frame.columns if c not in others]
    if not columns:
        raise MILError(
            f"features ({where}): expected columns beside {listed(list(others))}; found none."
        )
    return columns


def feature_matrix(
    frame: pl.DataFrame, columns: Sequence[str], where: str, *, undefined_ok: bool = False
) -> NDArray[np.float32]:
    """Return features [R, F] in single precision.

    Raises
    ------
    MILError
        At a value that is missing, not a number or not finite; names row and column.
    """
    require_columns(frame, columns, key="features", where=where)
    matrix = np.empty((frame.height, len(columns)), dtype=np.float32)
    for i, name in enumerate(columns):
        column = frame[name]
        values = column.cast(pl.Float64, strict=False)
        text = (column.is_not_null() & values.is_null()).arg_true()
        if len(text):
            raise MILError(
                f"features ({where}): expected numbers; found {column[int(text[0])]!r} in row "
                f"{text[0] + 1}, column {name!r}. Is it a feature? feature_columns names them."
            )
        with np.errstate(over="ignore"):  # past single precision is infinite, and refused
            matrix[:, i] = values.fill_null(np.nan).to_numpy()
    _refuse(frame, matrix, columns, where, undefined_ok)
    return matrix


def _refuse(
    frame: pl.DataFrame,
    matrix: NDArray[np.float32],
    columns: Sequence[str],
    where: str,
    undefined_ok: bool,
) -> None:
    bad = np.isinf(matrix) if undefined_ok else ~np.isfinite(matrix)
    if not bad.any():
        return
    row, column = np.argwhere(bad)[0].tolist()
    found = frame[columns[column]][row]
    hint = (
        " undefined_ok takes missing features, which scaling puts at the training mean."
        if np.isnan(matrix[row, column])
        else ""
    )
    raise MILError(
        f"features ({where}): expected finite numbers; "
        f"found {'nothing' if found is None else found} in row {row + 1}, "
        f"column {columns[column]!r} ({int(bad.sum())} such values).{hint}"
    )


def label_matrix(frame: pl.DataFrame, columns: Sequence[str], where: str) -> NDArray[np.float64]:
    """Return labels [R, T], NaN where missing.

    Raises
    ------
    InputError
        For text or infinity; names row and column.
    """
    require_columns(frame, columns, key="label_columns", where=where)
    labels = np.full((frame.height, len(columns)), np.nan)
    for t, name in enumerate(columns):
        labels[:, t] = number_column(frame, name, where=where).fill_null(np.nan).to_numpy()
    return labels
