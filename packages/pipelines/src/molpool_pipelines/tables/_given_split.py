"""Splits that a user gives: read beside the molecules, and kept from leaking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    InputError,
    IntArray,
    MoleculeTable,
    Split,
    assign_rows,
    joined_groups,
    listed,
    on_two_sides,
    overlap_words,
    read_split_file,
    require_columns,
    split_names,
    without_overlap,
)

from molpool_pipelines.tables._table_config import DataConfig, SourceConfig

UNUSED = "unused"
"""Marks rows that a given split does not name."""

_NO_SPLIT = "names no split"


def split_cells(
    frame: pl.DataFrame, source: SourceConfig, config: DataConfig, rows: pl.Series, where: str
) -> list[str] | None:
    """Return the split that source or column give each row of a table; None where neither does.

    Raises
    ------
    InputError
        If the column is missing or has another word than those for train, val and test.
    """
    if source.split is not None:
        return [source.split] * frame.height
    # Rows for training only are never divided, and often lack the column.
    if config.split_column is None or not source.hold_out:
        return None
    require_columns(frame, [config.split_column], key="data.split_column", where=where)
    names = split_names(
        frame[config.split_column].to_list(),
        rows=rows.to_list(),
        parameter=f"column {config.split_column!r}",
        where=where,
    )
    return [name or UNUSED for name in names]


def series_cells(
    frame: pl.DataFrame, source: SourceConfig, config: DataConfig, where: str
) -> list[Any] | None:
    """Return the values of the column that stays together; None where it is not asked for."""
    if config.group_column is None:
        return None
    # Sources for training only often lack the column; where they have it, it links molecules.
    if not source.hold_out and config.group_column not in frame.columns:
        return [None] * frame.height
    require_columns(frame, [config.group_column], key="data.group_column", where=where)
    return frame[config.group_column].cast(pl.String).to_list()


def with_given_split(table: MoleculeTable, config: DataConfig) -> MoleculeTable:
    """Return the table with the split of a file, without the rows that no given split names.

    Series, until then as their columns have them, become keys of what is kept together.

    Parameters
    ----------
    table : MoleculeTable
        All sources, stacked, the rows that do not parse apart.
    config : DataConfig
        With ``split_file``, or columns that `split_cells` read.

    Returns
    -------
    MoleculeTable
        Rows that are not used are listed among the dropped ones, with the reason.

    Raises
    ------
    InputError
        If the file cannot be read or names rows or ids that there are not.
    """
    if table.series is not None:
        table = replace(table, series=joined_groups(table.groups, table.series))
    if config.split_file is not None:
        table = _of_file(table, config, Path(config.split_file))
    if table.given is None or UNUSED not in table.given:
        return table
    unused = [row for row, split in enumerate(table.given) if split == UNUSED]
    used = np.array([row for row, split in enumerate(table.given) if split != UNUSED], np.int64)
    source = config.split_column or Path(config.split_file or "").name
    reason = f"{source!r} {_NO_SPLIT}"
    return replace(
        table.take(used), dropped=pl.concat([table.dropped, _left(table, unused, reason)])
    )


def is_unused(dropped: pl.DataFrame) -> pl.Series:
    """Return which dropped rows the given split does not name; the others do not parse."""
    return dropped["reason"].str.ends_with(_NO_SPLIT)


def _left(table: MoleculeTable, rows: Sequence[int], reason: str) -> pl.DataFrame:
    """Return rows as `table.dropped` lists them."""
    origin = table.origin[list(rows)]
    smiles = pl.Series([table.smiles[row] for row in rows], dtype=pl.String)
    frame = origin.with_columns(
        smiles.alias("smiles"), smiles.alias("SMILES"), pl.lit(reason).alias("reason")
    )
    return frame.select(table.dropped.columns).cast(table.dropped.schema)


def _of_file(table: MoleculeTable, config: DataConfig, path: Path) -> MoleculeTable:
    entries = read_split_file(path)
    if config.split_index >= len(entries):
        raise InputError(
            "data.split_index",
            expected=f"0 to {len(entries) - 1}",
            found=str(config.split_index),
            where=path.name,
        )
    positions, n_rows = row_positions(table)
    ids = [""] * n_rows
    for position, name in zip(positions.tolist(), table.origin["id"], strict=True):
        ids[position] = str(name)
    known = ids if any(source.id_column for source in config.sources) or config.id_column else None
    names = assign_rows(entries[config.split_index], n_rows, known, where=path.name)
    given = [
        # What trains only is in no file of splits.
        names[position] or (UNUSED if free else "train")
        for position, free in zip(positions.tolist(), table.hold_out.tolist(), strict=True)
    ]
    return replace(table, given=given)


def row_positions(table: MoleculeTable) -> tuple[IntArray, int]:
    """Return the position of each row in the tables as read, one below the other, and their length.

    Rows that do not parse count: a file of splits is of the tables on disk.
    """
    origin = table.origin.select("source", "row")
    dropped = table.dropped.select(pl.col("source").cast(pl.String), pl.col("row").cast(pl.Int64))
    every = pl.concat([origin.cast({"source": pl.String, "row": pl.Int64}), dropped])
    heights = every.group_by("source", maintain_order=True).agg(pl.col("row").max())
    start: dict[str, int] = {}
    total = 0
    for source, height in heights.iter_rows():
        start[source] = total
        total += height
    rows = zip(origin["source"], origin["row"], strict=True)
    return np.array([start[s] + row - 1 for s, row in rows], dtype=np.int64), total


def given_parts(
    table: MoleculeTable, config: DataConfig, rows: IntArray
) -> tuple[list[IntArray], list[str]]:
    """Return the rows to train on, validate on and test on as given, and what to say of them.

    Parameters
    ----------
    table : MoleculeTable
        With `given`.
    config : DataConfig
        What becomes of molecules on two sides.
    rows : ndarray of int64
        Rows that may be held out.

    Raises
    ------
    InputError
        If molecules are on two sides and ``split_overlap`` is ``error``.
    """
    assert table.given is not None
    # Rows that the user leaves to a method train or validate.
    side = {"": "train"}
    names = np.array([side.get(table.given[r], table.given[r]) for r in rows.tolist()])
    split = Split(*(rows[names == part] for part in ("train", "val", "test")))
    train, val = on_two_sides(split, table.units)
    if not len(train) + len(val):
        return list(split), []
    note = _overlap(table, config, train, val)
    if config.split_overlap == "drop":
        split = without_overlap(split, table.units)
    return list(split), [note]


def _overlap(table: MoleculeTable, config: DataConfig, train: IntArray, val: IntArray) -> str:
    rows = [*train.tolist(), *val.tolist()]
    what = "molecules" if table.series is None else "molecules or series"
    found = overlap_words(len({table.units[r] for r in rows}), len(train), len(val), what)
    found += ": " + listed(
        [f"{table.origin['id'][r]} of {table.origin['source'][r]}" for r in rows], 3
    )
    if config.split_overlap == "error":
        raise InputError(
            "data.split_overlap",
            expected="each molecule in one split",
            found=found,
            hint="drop leaves those rows out of the earlier part, keep uses the split as it is. "
            f"Molecules are compared by --standardize {config.standardize}.",
        )
    done = (
        "these rows are left out"
        if config.split_overlap == "drop"
        else "kept as given, and scores are too good by as much"
    )
    return f"{found}; {done} (--data.split-overlap)."
