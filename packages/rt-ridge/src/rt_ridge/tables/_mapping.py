"""From what a laboratory calls things to ids that nest, and what else is checked before a fit.

Species are numbered within supercategories (or supercategories inferred from the standards), ids
that mean two things are reported, pairs are thinned to so many rows, and missing run covariates are
an error, or by switch the run's own median and an indicator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rt_ridge._errors import RTRidgeError, did_you_mean, listed
from rt_ridge.tables._keys import check_ids

if TYPE_CHECKING:
    import polars as pl

INDICATOR = "_missing"
"""Ending of the column that is 1 where a covariate was missing."""


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
        The rows left, in their order, with the columns species and species_cluster (int64).
    mapping : DataFrame
        species_raw, species_group_raw, species, species_cluster, rows.
    n_read, n_missing_group, n_missing_species, n_over_limit : int
        Rows read; dropped for want of a supercategory, or of a subgroup; over the limit per pair.
    collisions : DataFrame
        See `rt_ridge.tables._mapping.id_collisions`; without rows where no ids came with the table.
    """

    frame: pl.DataFrame
    mapping: pl.DataFrame
    n_read: int
    n_missing_group: int
    n_missing_species: int
    n_over_limit: int
    collisions: pl.DataFrame


def map_species(
    frame: pl.DataFrame,
    columns: MappingColumns | None = None,
    *,
    max_rows_per_pair: int | None = None,
    seed: int = 0,
) -> Mapped:
    """Give every row a species id nested in a supercategory id.

    Names are numbered from 0 in their order, so that equal tables get equal ids; columns of whole
    numbers are ids already and stay. Rows without a supercategory or a subgroup are dropped and
    counted.

    Parameters
    ----------
    frame : DataFrame
        One row per measurement.
    columns : MappingColumns or None
        Where things stand; None takes the defaults.
    max_rows_per_pair : int or None
        Most rows per pair of species and compound; of more, a random sample stays.
    seed : int
        Of that sample. Equal tables and seeds give equal rows.

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
    complete = frame.filter(~(blank[raw[0]] | blank[raw[1]]))
    if not complete.height:
        raise RTRidgeError(
            f"rows: expected some with both {raw[0]!r} and {raw[1]!r}; found none in {frame.height}"
        )
    check_ids(complete[columns.compound].to_numpy(), columns.compound)
    numbered = complete.with_columns(
        _numbered(complete[raw[0]]).alias("species"),
        _numbered(complete[raw[1]]).alias("species_cluster"),
    )
    _check_nesting(numbered, columns)
    sampled = numbered
    if max_rows_per_pair is not None:
        sampled = subsample_pairs(
            numbered, max_rows_per_pair, group="species", compound=columns.compound, seed=seed
        )
    names = {"species": columns.species_raw, "species_cluster": columns.cluster_raw}
    return Mapped(
        frame=sampled,
        mapping=_mapping(numbered, raw),
        n_read=frame.height,
        n_missing_group=int(blank[raw[1]].sum()),
        n_missing_species=int(without_species.sum()),
        n_over_limit=numbered.height - sampled.height,
        collisions=collisions_of(complete, names, columns.library),
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
    split = (
        numbered.group_by(columns.species_raw)
        .agg(clusters.unique().sort())
        .filter(clusters.list.len() > 1)
        .sort(columns.species_raw)
    )
    if split.height:
        lines = [
            f"{name!r} in {listed([repr(p) for p in parents])}" for name, parents in split.rows()
        ]
        raise RTRidgeError(
            f"{columns.species_raw}: expected each in one {columns.cluster_raw};"
            f" found {split.height} in several: {'; '.join(lines[:10])}"
            + (f" and {split.height - 10} more" if split.height > 10 else "")
        )


def subsample_pairs(
    frame: pl.DataFrame,
    max_rows: int,
    *,
    group: str = "species",
    compound: str = "comp_id",
    seed: int = 0,
) -> pl.DataFrame:
    """Return at most `max_rows` rows of each pair, a random sample, in their order.

    Parameters
    ----------
    frame : DataFrame
        One row per measurement.
    max_rows : int
        Most rows per pair, at least 1.
    group, compound : str
        Columns of the pair.
    seed : int
        Of the sample.

    Raises
    ------
    RTRidgeError
        If `max_rows` is below 1.
    """
    if max_rows < 1:
        raise RTRidgeError(f"max_rows_per_pair: expected at least 1; found {max_rows}")
    ids = (frame[group].to_numpy(), frame[compound].to_numpy())
    # Sorted by pair, within it at random: the first so many of each are a sample.
    order = np.lexsort((np.random.default_rng(seed).random(frame.height), *ids))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(ids[0][order]) != 0) | (np.diff(ids[1][order]) != 0)
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    chosen = order[np.arange(len(order)) - start < max_rows]
    return frame[np.sort(chosen)]


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
        Column of the library, to report where each was seen.

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


@dataclass(frozen=True)
class Imputer:
    """Fills gaps of covariates, never with a silent 0.

    Parameters
    ----------
    covariates : tuple of str
        Columns that may have gaps.
    medians : tuple of float
        Of each over the training runs, for runs without any reading of it.
    indicated : tuple of str
        Covariates that had gaps in training; each has an indicator, a covariate of the model.
    run : str
        Column of the run.
    """

    covariates: tuple[str, ...]
    medians: tuple[float, ...]
    indicated: tuple[str, ...]
    run: str = "run"

    @classmethod
    def fit(cls, frame: pl.DataFrame, covariates: Sequence[str], run: str = "run") -> Imputer:
        """Learn the medians, and which covariates have gaps, from the training rows.

        Raises
        ------
        RTRidgeError
            If there is no column of the run, or a covariate has no value at all.
        """
        import polars as pl

        if run not in frame.columns:
            raise RTRidgeError(
                f"run: expected a column {run!r} to take medians in; found {listed(frame.columns)}"
            )
        gaps = frame.select(_is_gap(name) for name in covariates)
        per_run = frame.group_by(run).agg(_median(name) for name in covariates)
        medians = per_run.select(pl.col(name).median() for name in covariates).row(0)
        empty = [name for name, median in zip(covariates, medians, strict=True) if median is None]
        if empty:
            raise RTRidgeError(
                f"covariates: expected a value somewhere in {listed([repr(e) for e in empty])};"
                f" found {frame.height} rows without any"
            )
        indicated = tuple(name for name in covariates if gaps[name].any())
        return cls(tuple(covariates), tuple(float(m) for m in medians), indicated, run)

    @property
    def columns(self) -> tuple[str, ...]:
        """Covariates of the model: those given, and the indicators."""
        return self.covariates + tuple(name + INDICATOR for name in self.indicated)

    def apply(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Fill gaps by the median of the run, else of the training runs; add the indicators.

        Raises
        ------
        RTRidgeError
            If a covariate has gaps that had none in training, so that the model has no indicator
            for it.
        """
        import polars as pl

        gaps = frame.select(_is_gap(name) for name in self.covariates)
        new = [n for n in self.covariates if n not in self.indicated and gaps[n].any()]
        if new:
            row = int(np.flatnonzero(gaps[new[0]].to_numpy())[0])
            raise RTRidgeError(
                f"covariates: expected no gap in {listed([repr(n) for n in new])}, which had none"
                f" in training; found one in row {row + 1}"
            )
        fill = [
            pl.when(_is_gap(name))
            .then(_median(name).over(self.run))
            .otherwise(pl.col(name))
            .fill_null(median)
            .alias(name)
            for name, median in zip(self.covariates, self.medians, strict=True)
        ]
        flags = [_is_gap(n).cast(pl.Float64).alias(n + INDICATOR) for n in self.indicated]
        return frame.with_columns(*fill, *flags)


def refuse_gaps(frame: pl.DataFrame, covariates: Sequence[str]) -> None:
    """Raise `RTRidgeError` if a covariate is missing anywhere; names column, rows and cure."""
    gaps = frame.select(_is_gap(name) for name in covariates)
    for name in covariates:
        rows = np.flatnonzero(gaps[name].to_numpy())
        if len(rows):
            raise RTRidgeError(
                f"{name}: expected a value in every row; found {len(rows)} missing"
                f" (rows {listed((rows + 1).tolist())}). Take the run's median with an indicator by"
                " missing_covariates run_median, or leave the rows out."
            )


def _is_gap(name: str) -> pl.Expr:
    import polars as pl

    column = pl.col(name).cast(pl.Float64)
    return (column.is_null() | column.is_nan()).alias(name)


def _median(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).cast(pl.Float64).fill_nan(None).median()


def infer_clusters(
    frame: pl.DataFrame,
    covariates: Sequence[str],
    n_clusters: int,
    *,
    species: str = "species",
    run: str | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Group species by k-means on their mean readings, each covariate standardised.

    With `run` it is the runs that are grouped, and a species belongs where most of its runs do:
    labels are then as uncertain as single runs are.

    Parameters
    ----------
    frame : DataFrame
        Training rows.
    covariates : sequence of str
        Run covariates.
    n_clusters : int
        Clusters k.
    species : str
        Column of the species.
    run : str or None
        Column of the run, to group runs instead.
    seed : int
        Of the ten starts of k-means.

    Returns
    -------
    DataFrame
        `species`, ascending, and species_cluster, numbered by their first species.

    Raises
    ------
    RTRidgeError
        If there are fewer species, or runs, than clusters.
    """
    import numpy as np
    import polars as pl
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    unit = [species] if run is None else [species, run]
    means = frame.group_by(unit).agg(pl.col(name).mean() for name in covariates).sort(unit)
    if means.height < n_clusters:
        what = "species" if run is None else "runs"
        raise RTRidgeError(
            f"n_clusters: expected at most {means.height} {what}; found {n_clusters}"
        )
    points = StandardScaler().fit_transform(means.select(covariates).to_numpy())
    found = KMeans(n_clusters, n_init=10, random_state=seed).fit_predict(points)
    votes = means.select(species).with_columns(pl.Series("cluster", found, dtype=pl.Int64))
    # Where votes tie, the lowest number wins; modes come in no order.
    most = pl.col("cluster").mode().min()
    labels = votes.group_by(species).agg(most).sort(species)
    _, first, place = np.unique(labels["cluster"], return_index=True, return_inverse=True)
    # k-means numbers its clusters at random; the first species of each gives a stable order.
    number = np.argsort(np.argsort(first))[place]
    return labels.select(species).with_columns(pl.Series("species_cluster", number, dtype=pl.Int64))
