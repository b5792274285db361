"""`molpool-rt prepare`: from raw tables to ids that nest, checked, capped and without gaps."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from molpool_common import InputError, RunFolder, listed
from rich.console import Console
from rt_ridge import Imputer, Mapped, MappingColumns, id_collisions, map_species

from molpool_pipelines.retention.config import PrepareConfig
from molpool_pipelines.retention.earlier import COMPOUNDS, MAPPING, RECORD, Settled, imputer_record
from molpool_pipelines.retention.folder import free_folder, open_folder
from molpool_pipelines.retention.numbering import Numbering
from molpool_pipelines.retention.raw import CLUSTER, COMPOUND, SPECIES, read_raw
from molpool_pipelines.retention.tables import Table, matching


def main(config: PrepareConfig, arguments: Sequence[str]) -> None:
    """Prepare, leave a folder, and say what was dropped, capped and filled."""
    console = Console(highlight=False)
    path = free_folder(config, "prepare")
    settled = None if config.like is None else Settled.load(config.like)
    if settled is not None and settled.imputer is not None:
        config = config.model_copy(update={"missing_covariates": "run_median"})
    table = Table.find(config.data)
    covariates = matching(config.covariates, table) if config.covariates else []
    with console.status(f"Reading {table.name}"):
        raw = read_raw(config, table, covariates)
    prepared = prepare(config, raw, covariates, settled)
    files = prepared.files(config)
    run = open_folder(config, path, arguments)
    prepared.write(run, files)
    prepared.show(console)
    for name, rows in files.items():
        console.print(f"{path / name}: {rows.height:,} rows", soft_wrap=True)


def prepare(
    config: PrepareConfig, raw: pl.DataFrame, covariates: Sequence[str], settled: Settled | None
) -> Prepared:
    """Return the rows that `read_raw` returned with ids, checked, capped and filled.

    Raises
    ------
    InputError, RTRidgeError
        If a subgroup lies in two supercategories, an id is out of range, or no row is left.
    """
    if settled is not None:
        settled.check_nesting(raw)
    frame, imputer = _filled(config, raw.drop_nulls(config.target_col), covariates, settled)
    compounds = Numbering.of(frame[COMPOUND], settled.compounds if settled else None)
    frame = frame.with_columns(compounds.apply(frame[COMPOUND]).alias("comp_id"))
    columns = MappingColumns(SPECIES, CLUSTER, "comp_id", config.library_col)
    mapped = map_species(frame, columns, max_rows_per_pair=config.cap, seed=config.seed)
    mapping, rows = _numbered(mapped, settled)
    collisions = mapped.collisions
    if config.compound_name is not None:
        named = id_collisions(frame, "comp_id", config.compound_name, config.library_col)
        collisions = pl.concat([collisions, named])
    kept = ["species", "species_cluster", "comp_id", config.run_col, config.library_col]
    kept += [*covariates, *(() if imputer is None else imputer.columns), config.target_col]
    counts = {
        "read": raw.height,
        "without_supercategory": mapped.n_missing_group,
        "without_subgroup": mapped.n_missing_species,
        "without_target": raw[config.target_col].null_count(),
        "capped": mapped.n_over_limit,
        "kept": rows.height,
    }
    return Prepared(
        rows.select(name for name in dict.fromkeys(kept) if name in rows.columns),
        mapping,
        compounds.frame(COMPOUND, "comp_id"),
        collisions,
        imputer,
        counts,
    )


def _numbered(mapped: Mapped, settled: Settled | None) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return mapping and rows with the ids that came as numbers, or were settled before."""
    species = Numbering.of(mapped.mapping[SPECIES], settled.species if settled else None)
    clusters = Numbering.of(mapped.mapping[CLUSTER], settled.clusters if settled else None)
    mapping, rows = (
        part.with_columns(
            species.apply(part[SPECIES]).alias("species"),
            clusters.apply(part[CLUSTER]).alias("species_cluster"),
        )
        for part in (mapped.mapping, mapped.frame)
    )
    return mapping, rows


def _filled(
    config: PrepareConfig,
    frame: pl.DataFrame,
    covariates: Sequence[str],
    settled: Settled | None,
) -> tuple[pl.DataFrame, Imputer | None]:
    """Return the rows with their gaps filled, and what filled them."""
    if config.missing_covariates == "error":
        return frame, None
    if settled is None:
        imputer = Imputer.fit(frame, covariates, config.run_col)
    elif settled.imputer is None:
        raise InputError(
            "missing_covariates",
            expected="error, as the earlier prepare had, which has no medians",
            found="run_median",
        )
    else:
        imputer = settled.imputer
    return imputer.apply(frame), imputer


@dataclass(frozen=True)
class Prepared:
    """Rows that can be fitted, and how they came about.

    Attributes
    ----------
    rows : DataFrame
        species, species_cluster, comp_id, run, library, the covariates with their indicators, and
        the target.
    mapping, compounds : DataFrame
        Names and ids.
    collisions : DataFrame
        See `rt_ridge.id_collisions`.
    imputer : Imputer or None
        What filled gaps.
    counts : dict of str to int
        Rows read, dropped, capped and kept.
    """

    rows: pl.DataFrame
    mapping: pl.DataFrame
    compounds: pl.DataFrame
    collisions: pl.DataFrame
    imputer: Imputer | None
    counts: dict[str, int]

    def files(self, config: PrepareConfig) -> dict[str, pl.DataFrame]:
        """Return the tables to write, one a library, by name.

        Raises
        ------
        InputError
            If a row has no library, or two libraries would share a file.
        """
        if config.library_col is None:
            return {"rows.parquet": self.rows}
        if self.rows[config.library_col].null_count():
            raise InputError(
                "library_col",
                expected="a library in every row",
                found=f"{self.rows[config.library_col].null_count():,} rows without",
            )
        parts = self.rows.partition_by(config.library_col, as_dict=True, maintain_order=True)
        files = {f"lib{_safe(str(key[0]))}.parquet": part for key, part in parts.items()}
        if len(files) < len(parts):
            raise InputError(
                "library_col",
                expected="names that differ in letters and digits",
                found=listed([repr(k[0]) for k in parts]),
            )
        return dict(sorted(files.items()))

    def write(self, run: RunFolder, files: dict[str, pl.DataFrame]) -> None:
        """Write rows, mapping, collisions and the record."""
        for name, rows in files.items():
            run.write_frame(name, rows)
        run.write_text(MAPPING, self.mapping.write_csv())
        run.write_text(COMPOUNDS, self.compounds.write_csv())
        run.write_text("collisions.csv", self.collisions.write_csv())
        record: dict[str, Any] = {"rows": self.counts, "imputer": imputer_record(self.imputer)}
        run.write_json(RECORD, {**record, "files": {n: f.height for n, f in files.items()}})
        run.log("finished", **self.counts)

    def show(self, console: Console) -> None:
        """Print what became of the rows."""
        counts, mapping = self.counts, self.mapping
        console.print(
            f"{counts['read']:,} rows read, {counts['kept']:,} kept:"
            f" {mapping['species'].n_unique():,} species in"
            f" {mapping['species_cluster'].n_unique():,} supercategories"
        )
        for key, what in _DROPPED.items():
            if counts[key]:
                console.print(f"{counts[key]:,} rows {what}")
        if self.imputer is not None:
            for name in self.imputer.indicated:
                console.print(f"Gaps of {name} are the run's median, told by {name}_missing.")
        if self.collisions.height:
            n = self.collisions.height
            console.print(f"Warning: {n:,} ids or names collide; collisions.csv lists them.")


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)


_DROPPED = {
    "without_supercategory": "without a supercategory are dropped",
    "without_subgroup": "without a subgroup are dropped",
    "without_target": "without a retention time are dropped",
    "capped": "are beyond the cap",
}
