"""Rows of a table that a command left out or could not predict: `rejected.csv`, one by one.

Rows that came in are rows that were used and rows that stand here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from molpool_common import RunFolder, atomic_path, formulas_marked, formulas_unmarked, listed

if TYPE_CHECKING:
    from mil_attn import BagData

REJECTED = "rejected.csv"

_EARLIER = ("dropped_rows.csv", "left_out.csv")
"""What runs of chemprop and of mil called it in 2026."""

_SCHEMA = {
    "row": pl.Int64,
    "id": pl.String,
    "source": pl.String,
    "SMILES": pl.String,
    "reason": pl.String,
}

Row = tuple[int, str | None, str | None, str | None, str]
"""Row from 1 below the header, id, table, SMILES, and why it was rejected."""


def rejected_rows(rows: Iterable[Row]) -> pl.DataFrame:
    """Return rejected rows as a table: ``row, id, source, SMILES, reason``."""
    return pl.DataFrame(list(rows), schema=_SCHEMA, orient="row")


def rejected_bags(tables: Iterable[tuple[str, BagData]]) -> pl.DataFrame:
    """Return the bags of tables, by the names of their files, that have no features."""
    return rejected_rows(
        # Rows of a table are counted from 1.
        (failure.row + 1, failure.id, name, failure.smiles or None, failure.reason)
        for name, bags in tables
        for failure in bags.failures
    )


def rejected_beside(output: str | Path) -> Path:
    """Return the file of the rows that a command rejected which writes `output` and no folder."""
    path = Path(output)
    return path.with_name(f"{path.stem}_{REJECTED}")


def write_rejected(place: RunFolder | Path, rows: pl.DataFrame) -> Path | None:
    """Write rejected rows into a run folder or beside an output; None and no file where none is.

    Parameters
    ----------
    place : RunFolder or Path
        The run, or the output that `rejected_beside` stands beside.
    rows : DataFrame
        Of `rejected_rows`.
    """
    path = place.path / REJECTED if isinstance(place, RunFolder) else rejected_beside(place)
    if rows.is_empty():
        # What an earlier command rejected, whose output was replaced, is no row of this one.
        path.unlink(missing_ok=True)
        return None
    with atomic_path(path) as temporary:
        formulas_marked(rows).write_csv(temporary)
    return path


def read_rejected(folder: str | Path) -> pl.DataFrame:
    """Return the rejected rows of a run folder, written today or earlier.

    Returns
    -------
    DataFrame
        ``row, id, source, SMILES, reason``; null where an earlier file did not say.
    """
    found = [Path(folder) / name for name in (REJECTED, *_EARLIER)]
    file = next((path for path in found if path.is_file()), None)
    if file is None:
        return rejected_rows([])
    frame = formulas_unmarked(pl.read_csv(file, infer_schema=False)).rename(
        {"smiles": "SMILES"}, strict=False
    )
    if file.name == _EARLIER[1]:
        # Of bags, whose rows were counted from 0.
        frame = frame.with_columns((pl.col("row").cast(pl.Int64) + 1).cast(pl.String))
    absent = [pl.lit(None).alias(name) for name in _SCHEMA if name not in frame.columns]
    return frame.with_columns(absent).select(pl.col(n).cast(t) for n, t in _SCHEMA.items())


def rejected_note(rows: pl.DataFrame, file: str = REJECTED) -> list[str]:
    """Return what the summary of a run says of rejected rows; nothing where there is none."""
    if rows.is_empty():
        return []
    noun = "row" if len(rows) == 1 else "rows"
    where = listed(rows["row"].to_list(), 5)
    return [f"{len(rows):,} {noun} left out, their SMILES do not parse: {where} ({file})."]
