"""Ids that mean two things, as happens where libraries number their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def id_collisions(
    frame: pl.DataFrame, id_column: str, name_column: str, library: str | None = None
) -> pl.DataFrame:
    """Find ids that stand for several names, and names that several ids stand for.

    Parameters
    ----------
    frame : DataFrame
        Rows with both columns.
    id_column, name_column : str
        What the ids are, and what they are said to stand for.
    library : str or None
        Column of the library, to tell where each was seen.

    Returns
    -------
    DataFrame
        column, kind ("id with several names" or "name with several ids"), id, name, libraries
        and rows; a row for each of the ids and names involved, sorted.
    """
    import polars as pl

    seen = pl.lit("").alias("library") if library is None else pl.col(library).cast(pl.String)
    pairs = (
        frame.select(
            pl.col(id_column).cast(pl.Int64).alias("id"),
            pl.col(name_column).cast(pl.String).alias("name"),
            seen.alias("library"),
        )
        .drop_nulls(["id", "name"])
        .group_by("id", "name")
        .agg(pl.col("library").unique().sort().str.join(", ").alias("libraries"), rows=pl.len())
    )
    kinds = []
    for key, other, kind in (
        ("id", "name", "id with several names"),
        ("name", "id", "name with several ids"),
    ):
        shared = pairs.filter(pl.col(other).n_unique().over(key) > 1).sort(key, other)
        columns = (pl.lit(id_column).alias("column"), pl.lit(kind).alias("kind"))
        kinds.append(shared.select(*columns, "id", "name", "libraries", "rows"))
    return pl.concat(kinds)


def collisions_of(
    frame: pl.DataFrame, names: Mapping[str, str], library: str | None = None
) -> pl.DataFrame:
    """Return the collisions of every column of ids that the table has; see `id_collisions`.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    names : mapping of str to str
        Column of names for each column of ids; columns that are absent are passed over.
    library : str or None
        Column of the library.
    """
    import polars as pl

    parts = [
        id_collisions(frame, ids, name, library)
        for ids, name in names.items()
        if ids in frame.columns and ids != name
    ]
    return pl.concat(parts) if parts else pl.DataFrame(schema=_schema())


def _schema() -> dict[str, type[pl.DataType]]:
    import polars as pl

    text = dict.fromkeys(("column", "kind", "id", "name", "libraries"), pl.String)
    return {**text, "id": pl.Int64, "rows": pl.UInt32}
