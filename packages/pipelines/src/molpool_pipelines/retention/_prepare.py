"""From raw tables to rows that can be fitted: nested ids, checked, capped and imputed.

`prepare` reads the raw columns, gives names their ids (those of a previous preparation where `like`
names one), imputes gaps of covariates by medians of runs, and draws at most `cap` rows per pair.
`Prepared.write` leaves them, one file per library, with what later tables need to get the same ids:
`mapping.csv`, `compounds.csv` and `prepared.json`, which `Previous.load` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from molpool_common import (
    MISSING,
    InputError,
    RunFolder,
    did_you_mean,
    listed,
    number_column,
    read_table,
)
from rt_ridge import Imputer, MappingColumns, check_ids, id_collisions, map_species

from molpool_pipelines.retention._config import PrepareConfig, Progress, silent
from molpool_pipelines.tables import TableFiles

SPECIES, CLUSTER, COMPOUND = "species_raw", "species_group_raw", "compound_raw"
"""Columns of names, whatever the raw table calls them."""

RECORD, MAPPING, COMPOUNDS = "prepared.json", "mapping.csv", "compounds.csv"


def prepare(config: PrepareConfig, progress: Progress = silent) -> Prepared:
    """Read raw tables and return rows that can be fitted; writes nothing.

    Parameters
    ----------
    config : PrepareConfig
        Tables, columns, and what becomes of gaps.
    progress : callable
        Called with what is being done.

    Raises
    ------
    InputError, RTRidgeError
        If a column is missing or holds what it may not, a subgroup lies in two supercategories, an
        id is out of range, or no row is left.
    """
    previous = None if config.like is None else Previous.load(config.like)
    if previous is not None and previous.imputer is not None:
        # A model that was fitted with indicators of gaps needs them in every later table.
        config = config.model_copy(update={"missing_covariates": "run_median"})
    table = TableFiles.find(config.data, "data", read=config.read)
    covariates = table.matching(config.covariates, "covariates")
    progress(f"Reading {table.name}")
    raw = read_raw(config, table, covariates)
    if previous is not None:
        # Before ids are given: a subgroup that moved would get the pooled prior of the wrong
        # supercategory.
        previous.check_nesting(raw)
    # Rows without a target are not fitted, and must not enter the medians.
    frame, imputer = _imputed(config, raw.drop_nulls(config.target_col), covariates, previous)
    # Ids before the cap, so that which rows are drawn does not change which ids there are.
    compounds = Identifiers.of(frame[COMPOUND], previous.compounds if previous else None)
    frame = frame.with_columns(compounds.apply(frame[COMPOUND]).alias("comp_id"))
    columns = MappingColumns(SPECIES, CLUSTER, "comp_id", config.library_col)
    mapped = map_species(frame, columns, max_rows_per_pair=config.cap, seed=config.seed)
    # After `map_species`, which numbers names itself: ids that the user gave stay as they are.
    mapping, rows = _identified(mapped.mapping, mapped.frame, previous)
    collisions = mapped.collisions
    if config.compound_name is not None:
        named = id_collisions(frame, "comp_id", config.compound_name, config.library_col)
        collisions = pl.concat([collisions, named])
    order = ["species", "species_cluster", "comp_id", config.run_col, config.library_col]
    order += [*covariates, *(() if imputer is None else imputer.columns), config.target_col]
    # dict.fromkeys: the raw table may already call its columns as the output does.
    rows = rows.select(name for name in dict.fromkeys(order) if name in rows.columns)
    counts = {
        "read": raw.height,
        "without_supercategory": mapped.n_missing_group,
        "without_subgroup": mapped.n_missing_species,
        "without_target": raw[config.target_col].null_count(),
        "capped": mapped.n_over_limit,
        "kept": rows.height,
    }
    files = _by_library(config, rows)
    names = compounds.frame(COMPOUND, "comp_id")
    return Prepared(config, rows, files, mapping, names, collisions, imputer, counts)


@dataclass(frozen=True)
class Prepared:
    """Rows that can be fitted, and how they came about.

    Attributes
    ----------
    config : PrepareConfig
        As it was carried out.
    rows : DataFrame
        species, species_cluster, comp_id, run, library, the covariates with their indicators, and
        the target.
    files : dict of str to DataFrame
        The rows by name of the file, one per library.
    mapping, compounds : DataFrame
        Names and ids.
    collisions : DataFrame
        See `rt_ridge.id_collisions`.
    imputer : Imputer or None
        Medians that filled gaps.
    counts : dict of str to int
        Rows read, dropped, capped and kept.
    """

    config: PrepareConfig
    rows: pl.DataFrame
    files: dict[str, pl.DataFrame]
    mapping: pl.DataFrame
    compounds: pl.DataFrame
    collisions: pl.DataFrame
    imputer: Imputer | None
    counts: dict[str, int]

    def write(self, run: RunFolder) -> None:
        """Write rows, mapping, collisions and the record."""
        for name, rows in self.files.items():
            run.write_frame(name, rows)
        run.write_text(MAPPING, self.mapping.write_csv())
        run.write_text(COMPOUNDS, self.compounds.write_csv())
        run.write_text("collisions.csv", self.collisions.write_csv())
        imputer = None if self.imputer is None else asdict(self.imputer)
        files = {name: rows.height for name, rows in self.files.items()}
        # Last: by the record a later `--like` knows the folder as complete.
        run.write_json(RECORD, {"rows": self.counts, "imputer": imputer, "files": files})
        run.log("finished", **self.counts)


def _identified(
    mapping: pl.DataFrame, rows: pl.DataFrame, previous: Previous | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both with ids that came as numbers, or that the previous preparation gave."""
    species = Identifiers.of(mapping[SPECIES], previous.species if previous else None)
    clusters = Identifiers.of(mapping[CLUSTER], previous.clusters if previous else None)

    def identified(part: pl.DataFrame) -> pl.DataFrame:
        return part.with_columns(
            species.apply(part[SPECIES]).alias("species"),
            clusters.apply(part[CLUSTER]).alias("species_cluster"),
        )

    return identified(mapping), identified(rows)


def _imputed(
    config: PrepareConfig,
    frame: pl.DataFrame,
    covariates: Sequence[str],
    previous: Previous | None,
) -> tuple[pl.DataFrame, Imputer | None]:
    if config.missing_covariates == "error":
        return frame, None
    if previous is None:
        imputer = Imputer.fit(frame, covariates, config.run_col)
    elif previous.imputer is None:
        raise InputError(
            "missing_covariates",
            expected="error, as the previous prepare had, which has no medians",
            found="run_median",
        )
    else:
        # The medians of then: those of the new table would shift its rows against the fitted
        # coefficients.
        imputer = previous.imputer
    return imputer.apply(frame), imputer


def _by_library(config: PrepareConfig, rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rows by name of their file."""
    if config.library_col is None:
        return {"rows.parquet": rows}
    if rows[config.library_col].null_count():
        raise InputError(
            "library_col",
            expected="a library in every row",
            found=f"{rows[config.library_col].null_count():,} rows without",
        )
    parts = rows.partition_by(config.library_col, as_dict=True, maintain_order=True)
    # Libraries come from the table and may hold slashes.
    safe = {key: re.sub(r"[^\w.-]+", "_", str(key[0])) for key in parts}
    files = {f"lib{safe[key]}.parquet": part for key, part in parts.items()}
    if len(files) < len(parts):
        raise InputError(
            "library_col",
            expected="names that differ in letters and digits",
            found=listed([repr(k[0]) for k in parts]),
        )
    return dict(sorted(files.items()))


# --- the raw table ---


def read_raw(config: PrepareConfig, table: TableFiles, covariates: Sequence[str]) -> pl.DataFrame:
    """Read all files into one table, every column that is used checked.

    Returns
    -------
    DataFrame
        species_raw, species_group_raw and compound_raw, int64 where all values are whole numbers,
        else text; the target and the covariates, float64 with null for missing; the run, the
        library and ids that came with the table, where they are there.

    Raises
    ------
    InputError
        If a column is missing, holds text instead of numbers, or a value is missing where none
        may be.
    """
    required = ["species_raw", "cluster_raw", "compound_col", "target_col"]
    required += [k for k in ("library_col", "compound_name") if getattr(config, k) is not None]
    required += ["run_col"] if config.missing_covariates == "run_median" else []
    for key in required:
        table.require(getattr(config, key), key)
    frame = pl.concat([_read_file(config, table, file, covariates) for file in table.files])
    # Over all files at once: one file of numbers must not turn into ids beside another of names.
    frame = frame.with_columns(_as_integers(frame[name]) for name in (SPECIES, CLUSTER, COMPOUND))
    return frame if config.libs is None else _of_libraries(config, frame)


def _read_file(
    config: PrepareConfig, table: TableFiles, file: Path, covariates: Sequence[str]
) -> pl.DataFrame:
    read = read_table(file, config.read, key="data")
    raw = {SPECIES: config.species_raw, CLUSTER: config.cluster_raw, COMPOUND: config.compound_col}
    texts = {new: _text(read[old]).alias(new) for new, old in raw.items()}
    others = [config.run_col, config.library_col, config.compound_name]
    others += [n for n in ("species", "species_cluster") if n not in raw.values()]
    texts |= {n: _text(read[n]) for n in others if n is not None and n in table}
    numbers = [number_column(read, n, where=file.name) for n in (config.target_col, *covariates)]
    frame = pl.DataFrame([*texts.values(), *numbers])
    # Rows without a species or a supercategory are dropped later: their gaps do not matter.
    used = frame[SPECIES].is_not_null() & frame[CLUSTER].is_not_null()
    if config.missing_covariates == "error":
        hint = "Take the run's median with an indicator by --missing-covariates run_median."
        for name in covariates:
            _refuse_gaps(frame[name], used, file, hint)
    if config.missing_target == "error":
        hint = "Leave such rows out by --missing-target drop."
        _refuse_gaps(frame[config.target_col], used, file, hint)
    _refuse_gaps(frame[COMPOUND].alias(config.compound_col), used, file, None)
    return frame


def _refuse_gaps(column: pl.Series, used: pl.Series, file: Path, hint: str | None) -> None:
    rows = (column.is_null() & used).arg_true() + 1
    if len(rows):
        raise InputError(
            f"column {column.name!r}",
            expected="a value in every row",
            found=f"{len(rows)} missing (rows {listed(rows.to_list())})",
            where=file.name,
            hint=hint,
        )


def _text(column: pl.Series) -> pl.Series:
    """Return text with null for what tables write for missing; 3.0 is 3."""
    # A column of integers with gaps is read as floats.
    if column.dtype.is_float() and column.drop_nulls().drop_nans().eq(column.floor()).all():
        column = column.fill_nan(None).cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(MISSING), None)


def _as_integers(column: pl.Series) -> pl.Series:
    """Return int64 where every value is a whole number."""
    numbers = column.cast(pl.Int64, strict=False)
    # All or none: half a column of numbers would collide with ids given to names.
    return numbers if numbers.null_count() == column.null_count() else column


def _of_libraries(config: PrepareConfig, frame: pl.DataFrame) -> pl.DataFrame:
    if config.library_col is None or config.libs is None:
        raise InputError("library_col", expected="the column that libs are of", found="none")
    present = frame[config.library_col].drop_nulls().unique().sort().to_list()
    for name in config.libs:
        if name not in present:
            raise InputError(
                "libs",
                expected=f"libraries of column {config.library_col!r}",
                found=repr(name),
                hint=did_you_mean(name, present),
            )
    return frame.filter(pl.col(config.library_col).is_in(config.libs))


# --- ids, and those of a previous preparation ---


@dataclass(frozen=True)
class Identifiers:
    """An id for every name of a column.

    Parameters
    ----------
    ids : dict of str to int
        By name; an id that came as a number is its own name.
    """

    ids: dict[str, int]

    @classmethod
    def of(cls, column: pl.Series, previous: Identifiers | None = None) -> Identifiers:
        """Return ids of the values of a column, new ones after those of `previous`.

        Whole numbers stay as they are; other names get 0, 1, ... in their order.

        Raises
        ------
        RTRidgeError
            If a number is negative or 2^31 or more.
        """
        names = column.drop_nulls().unique().sort()
        known = {} if previous is None else previous.ids
        if names.dtype.is_integer():
            ids = check_ids(names.to_numpy(), f"column {column.name!r}")
            return cls(known | {str(i): i for i in ids.tolist()})
        new = [name for name in names.to_list() if name not in known]
        # After the largest rather than the count: ids that came as numbers have gaps.
        first = max(known.values(), default=-1) + 1
        return cls(known | {name: first + j for j, name in enumerate(new)})

    @classmethod
    def from_frame(cls, frame: pl.DataFrame, name: str, id_: str) -> Identifiers:
        """Take names and ids from two columns."""
        return cls(dict(zip(frame[name].cast(pl.String), frame[id_], strict=True)))

    def apply(self, column: pl.Series) -> pl.Series:
        """Return the ids of a column, int64, null where it is."""
        text = column.cast(pl.String)
        return text.replace_strict(self.ids, return_dtype=pl.Int64).alias(column.name)

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
    """

    species: Identifiers
    clusters: Identifiers
    compounds: Identifiers
    nesting: pl.DataFrame
    imputer: Imputer | None

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
        # Names such as 007 stay text.
        text = {SPECIES: pl.String, CLUSTER: pl.String, COMPOUND: pl.String}
        mapping = pl.read_csv(path / MAPPING, schema_overrides=text)
        compounds = pl.read_csv(path / COMPOUNDS, schema_overrides=text)
        stored = json.loads((path / RECORD).read_text(encoding="utf-8"))["imputer"]
        return cls(
            Identifiers.from_frame(mapping, SPECIES, "species"),
            Identifiers.from_frame(mapping, CLUSTER, "species_cluster"),
            Identifiers.from_frame(compounds, COMPOUND, "comp_id"),
            mapping.select(SPECIES, CLUSTER),
            None if stored is None else _imputer(stored),
        )

    def check_nesting(self, frame: pl.DataFrame) -> None:
        """Raise `RTRidgeError` if a subgroup lies in another supercategory than before."""
        now = frame.select(pl.col(SPECIES, CLUSTER).cast(pl.String)).drop_nulls().unique()
        # `map_species` does the check; it needs a column of compounds, which any constant serves.
        both = pl.concat([self.nesting, now]).with_columns(comp_id=pl.lit(0))
        map_species(both, MappingColumns(SPECIES, CLUSTER))


def _imputer(stored: dict[str, Any]) -> Imputer:
    values = {name: tuple(stored[name]) for name in ("covariates", "medians", "indicated")}
    return Imputer(**values, run=stored["run"])
