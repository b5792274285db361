"""What an earlier `molpool-rt prepare` settled: ids, nesting, medians."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import InputError
from rt_ridge import Imputer, MappingColumns, map_species

from molpool_pipelines.retention.numbering import Numbering
from molpool_pipelines.retention.raw import CLUSTER, COMPOUND, SPECIES

RECORD, MAPPING, COMPOUNDS = "prepared.json", "mapping.csv", "compounds.csv"


@dataclass(frozen=True)
class Settled:
    """Ids and medians, to be used again.

    Attributes
    ----------
    species, clusters, compounds : Numbering
        Ids by name.
    nesting : DataFrame
        species_raw and species_group_raw, text.
    imputer : Imputer or None
        Where gaps were filled.
    """

    species: Numbering
    clusters: Numbering
    compounds: Numbering
    nesting: pl.DataFrame
    imputer: Imputer | None

    @classmethod
    def load(cls, folder: str) -> Settled:
        """Read the folder of an earlier prepare, or raise `InputError`."""
        path = Path(folder)
        absent = [n for n in (RECORD, MAPPING, COMPOUNDS) if not (path / n).is_file()]
        if absent:
            raise InputError(
                "like",
                expected="the folder of a molpool-rt prepare",
                found=f"{folder!r} without {absent[0]}",
            )
        text = {SPECIES: pl.String, CLUSTER: pl.String, COMPOUND: pl.String}
        mapping = pl.read_csv(path / MAPPING, schema_overrides=text)
        compounds = pl.read_csv(path / COMPOUNDS, schema_overrides=text)
        stored = json.loads((path / RECORD).read_text(encoding="utf-8"))["imputer"]
        return cls(
            Numbering.from_frame(mapping, SPECIES, "species"),
            Numbering.from_frame(mapping, CLUSTER, "species_cluster"),
            Numbering.from_frame(compounds, COMPOUND, "comp_id"),
            mapping.select(SPECIES, CLUSTER),
            None if stored is None else _imputer(stored),
        )

    def check_nesting(self, frame: pl.DataFrame) -> None:
        """Raise `RTRidgeError` if a subgroup lies elsewhere than it did before; lists them."""
        now = frame.select(pl.col(SPECIES, CLUSTER).cast(pl.String)).drop_nulls().unique()
        both = pl.concat([self.nesting, now]).with_columns(comp_id=pl.lit(0))
        map_species(both, MappingColumns(SPECIES, CLUSTER))


def _imputer(stored: dict[str, Any]) -> Imputer:
    listed = {name: tuple(stored[name]) for name in ("covariates", "medians", "indicated")}
    return Imputer(**listed, run=stored["run"])


def imputer_record(imputer: Imputer | None) -> dict[str, Any] | None:
    """Return what prepared.json keeps of an imputer."""
    return None if imputer is None else asdict(imputer)
