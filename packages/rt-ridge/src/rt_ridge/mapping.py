"""From what a laboratory calls things to ids that nest: the check before any fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rt_ridge.cap import cap_pairs
from rt_ridge.collisions import collisions_of
from rt_ridge.errors import RTRidgeError, did_you_mean, listed
from rt_ridge.keys import check_ids

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class MappingColumns:
    """Columns that a mapping reads.

    Parameters
    ----------
    species_raw, cluster_raw : str
        Names of subgroup and supercategory: text, or ids.
    compound : str
        Compound id.
    library : str or None
        Library of the row; None where there is one.
    """

    species_raw: str = "species_raw"
    cluster_raw: str = "species_group_raw"
    compound: str = "comp_id"
    library: str | None = None

    @property
    def names(self) -> list[str]:
        """All of them."""
        library = [] if self.library is None else [self.library]
        return [self.species_raw, self.cluster_raw, self.compound, *library]


@dataclass(frozen=True)
class Mapped:
    """Rows with ids, and what became of the others.

    Attributes
    ----------
    frame : DataFrame
        The rows kept, in their order, with the columns species and species_cluster (int64).
    mapping : DataFrame
        species_raw, species_group_raw, species, species_cluster, rows.
    n_read, n_missing_group, n_missing_species, n_capped : int
        Rows read; dropped for want of a supercategory, or of a subgroup; dropped by the cap.
    collisions : DataFrame
        See `rt_ridge.collisions.id_collisions`; without rows where no ids came with the table.
    """

    frame: pl.DataFrame
    mapping: pl.DataFrame
    n_read: int
    n_missing_group: int
    n_missing_species: int
    n_capped: int
    collisions: pl.DataFrame

    def by_library(self, column: str) -> dict[str, pl.DataFrame]:
        """Return the rows of each library, by its name."""
        parts = self.frame.partition_by(column, as_dict=True, maintain_order=True)
        return {str(key[0]): part for key, part in sorted(parts.items(), key=lambda i: str(i[0]))}


def map_species(
    frame: pl.DataFrame,
    columns: MappingColumns | None = None,
    *,
    cap: int | None = None,
    seed: int = 0,
) -> Mapped:
    """Give every row a species id nested in a supercategory id.

    Names are numbered from 0 in their order, so that equal tables get equal ids; columns of whole
    numbers are ids already, and kept. Rows without a supercategory or a subgroup are dropped and
    counted.

    Parameters
    ----------
    frame : DataFrame
        A row a measurement.
    columns : MappingColumns or None
        Where things stand; None takes the defaults.
    cap : int or None
        Most rows a pair of species and compound; of more, so many are drawn at random.
    seed : int
        Of that draw. Equal tables and seeds keep equal rows.

    Returns
    -------
    Mapped

    Raises
    ------
    RTRidgeError
        If a column is missing, a subgroup lies in two supercategories (lists them), a compound
        id is out of range, or no row is left.
    """
    columns = columns or MappingColumns()
    _check_columns(frame, columns)
    raw = (columns.species_raw, columns.cluster_raw)
    blank = {name: _is_blank(frame[name]) for name in raw}
    without_species = blank[raw[0]] & ~blank[raw[1]]
    kept = frame.filter(~(blank[raw[0]] | blank[raw[1]]))
    if not kept.height:
        raise RTRidgeError(
            f"rows: expected some with both {raw[0]!r} and {raw[1]!r}; found none in {frame.height}"
        )
    check_ids(kept[columns.compound].to_numpy(), columns.compound)
    numbered = kept.with_columns(
        _numbered(kept[raw[0]]).alias("species"), _numbered(kept[raw[1]]).alias("species_cluster")
    )
    _check_nesting(numbered, columns)
    capped = numbered
    if cap is not None:
        capped = cap_pairs(numbered, cap, group="species", compound=columns.compound, seed=seed)
    names = {"species": columns.species_raw, "species_cluster": columns.cluster_raw}
    return Mapped(
        frame=capped,
        mapping=_mapping(numbered, raw),
        n_read=frame.height,
        n_missing_group=int(blank[raw[1]].sum()),
        n_missing_species=int(without_species.sum()),
        n_capped=numbered.height - capped.height,
        collisions=collisions_of(kept, names, columns.library),
    )


def _mapping(numbered: pl.DataFrame, raw: tuple[str, str]) -> pl.DataFrame:
    """Return the rows of each species, with its names and ids."""
    import polars as pl

    ids = ("species", "species_cluster")
    names = (pl.col(raw[0]).alias("species_raw"), pl.col(raw[1]).alias("species_group_raw"))
    grouped = numbered.select(*names, *ids).group_by(pl.all())
    return grouped.agg(pl.len().alias("rows")).sort("species")


def _check_columns(frame: pl.DataFrame, columns: MappingColumns) -> None:
    missing = [name for name in columns.names if name not in frame.columns]
    if missing:
        raise RTRidgeError(
            f"columns: expected {listed([repr(name) for name in columns.names])};"
            f" found no {missing[0]!r}. {did_you_mean(missing[0], frame.columns)}"
        )


def _is_blank(column: pl.Series) -> pl.Series:
    import polars as pl

    if column.dtype == pl.String:
        return column.is_null() | (column.str.strip_chars() == "")
    if column.dtype.is_float():
        return column.is_null() | column.is_nan()
    return column.is_null()


def _numbered(column: pl.Series) -> pl.Series:
    """Return ids as they are, and names as their place among the sorted distinct ones, int64."""
    import polars as pl

    if column.dtype.is_integer():
        return pl.Series(check_ids(column.to_numpy(), column.name))
    return column.rank("dense").cast(pl.Int64) - 1


def _check_nesting(numbered: pl.DataFrame, columns: MappingColumns) -> None:
    import polars as pl

    clusters = pl.col(columns.cluster_raw)
    torn = (
        numbered.group_by(columns.species_raw)
        .agg(clusters.unique().sort())
        .filter(clusters.list.len() > 1)
        .sort(columns.species_raw)
    )
    if torn.height:
        lines = [
            f"{name!r} in {listed([repr(p) for p in parents])}" for name, parents in torn.rows()
        ]
        raise RTRidgeError(
            f"{columns.species_raw}: expected each in one {columns.cluster_raw};"
            f" found {torn.height} in several: {'; '.join(lines[:10])}"
            + (f" and {torn.height - 10} more" if torn.height > 10 else "")
        )
