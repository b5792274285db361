"""Ids of names, and those that a previous preparation gave: extended, never given again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Any, TypeVar

import polars as pl
from molpool_common import (
    MISSING,
    ConfigModel,
    IdKind,
    InputError,
    checked,
    did_you_mean,
    formulas_unmarked,
)
from rt_ridge import Imputer, MappingColumns, check_ids, map_species

from molpool_pipelines.tables import TableFiles

SPECIES, CLUSTER, COMPOUND = "species_raw", "species_group_raw", "compound_raw"
"""Columns of names, whatever the raw table calls them."""

Config = TypeVar("Config", bound=ConfigModel)

RECORD, MAPPING, COMPOUNDS = "prepared.json", "mapping.csv", "compounds.csv"

_LOOKED_AT = 1000
"""Rows by which names are told from ids."""

NAMED = {SPECIES: "species", CLUSTER: "species_cluster", COMPOUND: "comp_id"}
"""Columns of ids by those of their names, as a preparation calls them."""


@dataclass(frozen=True)
class Identifiers:
    """An id for every name of a column.

    Parameters
    ----------
    ids : dict of str to int
        By name, as it is written; those of earlier tables too, whether or not they came again.
    kind : {"number", "text"}
        Whether names are whole numbers, which are their own ids.
    """

    ids: dict[str, int]
    kind: IdKind = "text"

    @classmethod
    def of(
        cls,
        column: pl.Series,
        previous: Identifiers | None = None,
        kind: IdKind | None = None,
    ) -> Identifiers:
        """Return ids of the names of a column, new ones beside those of `previous`.

        Whole numbers stay as they are; other names get the numbers after the largest so far, in
        the order of the names. Without a kind, a column of integers is one of numbers.

        Raises
        ------
        RTRidgeError
            If a number is negative or 2^31 or more.
        """
        known = {} if previous is None else previous.ids
        kind = kind or ("number" if column.dtype.is_integer() else "text")
        names = column.cast(pl.String).drop_nulls().unique().sort().to_list()
        new = [name for name in names if name not in known]
        if kind == "number":
            numbers = pl.Series(new, dtype=pl.String).cast(pl.Int64, strict=False)
            # Too long for 64 bits is out of range all the more.
            own = check_ids(numbers.fill_null(2**31).to_numpy(), f"column {column.name!r}").tolist()
        else:
            own = []
        taken = set(known.values())
        first = max([*taken, *own], default=-1) + 1
        ids = dict(known)
        for place, name in enumerate(new):
            # A chain that held text once may have given a number's own id to a name.
            free = kind == "number" and own[place] not in taken
            ids[name] = own[place] if free else first
            first += not free
        return cls(ids, kind)

    @classmethod
    def from_frame(
        cls, frame: pl.DataFrame, name: str, id_: str, kind: IdKind | None = None
    ) -> Identifiers:
        """Take names and ids from two columns; without a kind, that which the ids suggest."""
        # Folders of version 0.2 and before hold names that were not normalised; of two that are one
        # name, that with the lower id stays.
        names = frame.sort(id_, descending=True)[name].cast(pl.String).str.normalize("NFC")
        ids = dict(zip(names, frame[id_].sort(descending=True), strict=True))
        own = all(text == str(number) for text, number in ids.items())
        return cls(ids, kind or ("number" if own else "text"))

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the ids of a column, int64, null where it is."""
        return (
            column.cast(pl.String)
            .replace_strict(self.ids, return_dtype=pl.Int64)
            .alias(column.name)
        )

    def frame(self, name: str, id_: str) -> pl.DataFrame:
        """Return names and ids as a table, by id."""
        columns = {name: list(self.ids), id_: list(self.ids.values())}
        return pl.DataFrame(columns, schema={name: pl.String, id_: pl.Int64}).sort(id_)


@dataclass(frozen=True)
class Previous:
    """What a previous preparation settled, for later tables.

    Attributes
    ----------
    species, clusters, compounds : Identifiers
        Ids by name.
    nesting : DataFrame
        species_raw and species_group_raw, text.
    imputer : Imputer or None
        Where gaps were filled.
    covariates : list of str or None
        All run covariates, those of anchors too; None for folders of version 0.2 and before.
    centers : dict of str to float
        Mean of each over the rows.
    anchors : list of str
        Compounds whose times are covariates.
    """

    species: Identifiers
    clusters: Identifiers
    compounds: Identifiers
    nesting: pl.DataFrame
    imputer: Imputer | None
    covariates: list[str] | None
    centers: dict[str, float]
    anchors: list[str]

    @classmethod
    def load(cls, folder: str) -> Previous:
        """Read the folder of a previous preparation, or raise `InputError`."""
        path = Path(folder)
        absent = [n for n in (RECORD, MAPPING, COMPOUNDS) if not (path / n).is_file()]
        if absent:
            raise InputError(
                "like",
                expected="the folder of a molpool-rt prepare",
                found=f"{folder!r} without {absent[0]}",
            )
        # Names such as 007 stay text, and a compound may be called as a missing value is written.
        text = {SPECIES: pl.String, CLUSTER: pl.String, COMPOUND: pl.String}
        mapping = formulas_unmarked(pl.read_csv(checked(path / MAPPING), schema_overrides=text))
        compounds = formulas_unmarked(pl.read_csv(checked(path / COMPOUNDS), schema_overrides=text))
        stored = json.loads(checked(path / RECORD).read_text(encoding="utf-8"))
        kinds = stored.get("ids", {})
        return cls(
            Identifiers.from_frame(mapping, SPECIES, "species", kinds.get(SPECIES)),
            Identifiers.from_frame(mapping, CLUSTER, "species_cluster", kinds.get(CLUSTER)),
            Identifiers.from_frame(compounds, COMPOUND, "comp_id", kinds.get(COMPOUND)),
            mapping.select(SPECIES, CLUSTER),
            None if stored["imputer"] is None else _imputer(stored["imputer"]),
            stored.get("covariates"),
            stored.get("centers", {}),
            stored.get("anchors", []),
        )

    @property
    def kinds(self) -> Mapping[str, IdKind]:
        """What ids of each column are."""
        return {
            SPECIES: self.species.kind,
            CLUSTER: self.clusters.kind,
            COMPOUND: self.compounds.kind,
        }

    def check_nesting(self, frame: pl.DataFrame) -> None:
        """Raise `RTRidgeError` if a subgroup lies in another supercategory than before."""
        now = frame.select(SPECIES, CLUSTER).drop_nulls().unique()
        # `map_species` does the check; it needs a column of compounds, which any constant serves.
        both = pl.concat([self.nesting, now]).with_columns(comp_id=pl.lit(0))
        map_species(both, MappingColumns(SPECIES, CLUSTER))

    def unseen(self, mapping: pl.DataFrame) -> pl.DataFrame:
        """Return the species of earlier tables that a mapping lacks, of no row."""
        rest = self.nesting.join(mapping, on=SPECIES, how="anti", maintain_order="left")
        return rest.with_columns(
            self.species.apply(rest[SPECIES]).alias("species"),
            self.clusters.apply(rest[CLUSTER]).alias("species_cluster"),
            rows=pl.lit(0, dtype=pl.UInt32),
        )


@dataclass(frozen=True)
class PreparedNames:
    """Names of the ids of a prepared table.

    Parameters
    ----------
    names : dict of str to dict of int to str
        By the column of the names, and by id; columns whose names are the ids are left out.
    """

    names: dict[str, dict[int, str]]

    @classmethod
    def load(cls, folder: str | Path) -> PreparedNames:
        """Read the folder of a preparation, or raise `InputError`."""
        previous = Previous.load(str(folder))
        each = {
            SPECIES: previous.species,
            CLUSTER: previous.clusters,
            COMPOUND: previous.compounds,
        }
        return cls({name: {id_: n for n, id_ in ids.ids.items()} for name, ids in each.items()})

    @classmethod
    def beside(cls, file: Path) -> PreparedNames:
        """Return the names of a table that lies in the folder of a preparation; none of another."""
        folder = file.parent
        there = all((folder / name).is_file() for name in (RECORD, MAPPING, COMPOUNDS))
        if not there:
            return cls({})
        found = cls.load(folder).names
        # A number that is its own id says nothing more.
        telling = {n: ids for n, ids in found.items() if any(str(k) != v for k, v in ids.items())}
        return cls(telling)

    @classmethod
    def of_fit(cls, data: Sequence[str]) -> PreparedNames:
        """Return the names of the tables of a fit, by the first of them."""
        return cls.beside(Path(data[0])) if data else cls({})

    def of(self, column: str) -> dict[int, str]:
        """Return the names of a column, by id."""
        return self.names.get(column, {})

    def ids(self, column: str) -> dict[str, int]:
        """Return the ids of a column, by name."""
        return {name: id_ for id_, name in self.of(column).items()}

    def apply(self, column: str, ids: pl.Series) -> pl.Series:
        """Return the name of each id, or the id itself where there is none."""
        known = self.of(column)
        text = ids.cast(pl.String)
        named = ids.replace_strict(known, default=None, return_dtype=pl.String) if known else text
        return named.fill_null(text).alias(column)


def names_copied(table: Path, folder: Path) -> None:
    """Copy the names of a prepared table to a folder with some of its rows."""
    for name in (RECORD, MAPPING, COMPOUNDS):
        if (table.parent / name).is_file():
            copyfile(table.parent / name, folder / name)


RAW = "Of a raw table molpool-rt prepare makes rows with ids."


def id_column(table: TableFiles, name: str, key: str) -> str:
    """Return a column of ids, or raise `InputError` where it is not there or holds names."""
    expected = "a column of ids, as molpool-rt prepare gives them"
    if name not in table:
        raise InputError(
            key,
            expected=expected,
            found=f"none called {name!r}",
            where=table.name,
            hint=f"{did_you_mean(name, table.columns)} {RAW}",
        )
    start = next(iter(table.chunks([name], _LOOKED_AT, rows=_LOOKED_AT)), None)
    if start is not None and start.frame[name].dtype == pl.String:
        words = start.frame[name].str.strip_chars()
        words = words.filter(~words.is_in(MISSING)).drop_nulls()
        # A number among them is a slip, which is said by its row.
        if len(words) and words.cast(pl.Float64, strict=False).null_count() == len(words):
            found = f"names, as {words[0]!r}, in column {name!r}"
            raise InputError(key, expected=expected, found=found, where=table.name, hint=RAW)
    return name


def as_prepared(config: Config, table: TableFiles) -> Config:
    """Return a configuration with the columns of run and target of a prepared table.

    Only names that were not given are changed, and only where the table, which lies in the folder
    of a preparation, has no column of that name.
    """
    record = table.files[0].parent / RECORD
    if not record.is_file():
        return config
    checked(record)
    try:
        stored = json.loads(record.read_text(encoding="utf-8")).get("columns", {})
    except (ValueError, AttributeError):
        return config
    changed: dict[str, object] = {}
    for key, name in stored.items():
        default = getattr(config, key, None)
        if default and not config.is_given(key) and default not in table and name in table:
            changed[key] = name
    calibrate = getattr(config, "calibrate", None)
    if isinstance(calibrate, ConfigModel) and "run_col" in stored:
        changed["calibrate"] = as_prepared(calibrate, table)
    return config.model_copy(update=changed)


def _imputer(stored: dict[str, Any]) -> Imputer:
    values = {name: tuple(stored[name]) for name in ("covariates", "medians", "indicated")}
    return Imputer(**values, run=stored["run"])
