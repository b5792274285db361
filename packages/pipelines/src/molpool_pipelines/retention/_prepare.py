"""From raw tables to rows that can be fitted: nested ids, checked, capped and imputed.

`prepare` reads the raw columns (`_raw`), gives names their ids (those of a previous preparation
where `like` names one), imputes gaps of covariates by medians of runs, and draws at most `cap` rows
per pair. `Prepared.write` leaves them, one file per library, with what later tables need to get the
same ids: `mapping.csv`, `compounds.csv` and `prepared.json`, which `Previous.load` reads; and
`rejected.csv`, the rows that were set aside, with reasons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
from molpool_common import (
    Fault,
    Faults,
    InputError,
    RunFolder,
    did_you_mean,
    formulas_marked,
    listed,
)
from rt_ridge import Imputer, MappingColumns, id_collisions, map_species

from molpool_pipelines.retention._config import PrepareConfig, Progress, silent
from molpool_pipelines.retention._covariates import FILE, ROW
from molpool_pipelines.retention._identifiers import (
    CLUSTER,
    COMPOUND,
    COMPOUNDS,
    MAPPING,
    RECORD,
    SPECIES,
    Identifiers,
    Previous,
)
from molpool_pipelines.retention._plausible import OddTimes, alike_names, two_units
from molpool_pipelines.retention._raw import RawTable, read_raw
from molpool_pipelines.retention._rejected import Rejected
from molpool_pipelines.runs import write_rejected
from molpool_pipelines.tables import TableFiles


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
        id is out of range or contradicts the others, or no row is left.
    """
    previous = None if config.like is None else Previous.load(config.like)
    if previous is not None and previous.imputer is not None:
        # A model that was fitted with indicators of gaps needs them in every later table.
        config = config.model_copy(update={"missing_covariates": "run_median"})
    table = TableFiles.find(config.data, "data", read=config.read)
    progress(f"Reading {table.name}")
    raw = read_raw(config, table, previous)
    if previous is not None:
        # Before ids are given: a subgroup that moved would get the pooled prior of the wrong
        # supercategory.
        previous.check_nesting(raw.rows)
    rejected = Rejected()
    frame, counts = _usable(config, raw, rejected)
    frame, imputer = _imputed(config, frame, raw.covariates, previous)
    frame = _complete(config, frame, raw.covariates, counts, rejected)
    if raw.has_target:
        raw.notes.extend(_doubtful(config, frame))
    raw.notes.extend(_alike(config, frame, previous))
    return _identified(config, raw, frame, imputer, previous, counts, rejected)


@dataclass(frozen=True)
class Prepared:
    """Rows that can be fitted, and how they came about.

    Attributes
    ----------
    config : PrepareConfig
        As it was carried out.
    rows : DataFrame
        species, species_cluster, comp_id, run, library, the covariates with their indicators, and
        the target, unless the rows are for prediction alone.
    files : dict of str to DataFrame
        The rows by name of the file, one per library.
    mapping, compounds : DataFrame
        Names and ids, those of earlier tables too.
    collisions : DataFrame
        See `rt_ridge.id_collisions`.
    imputer : Imputer or None
        Medians that filled gaps.
    counts : dict of str to int
        Rows read, dropped, capped and kept.
    rejected : DataFrame
        The rows dropped and capped: row, id, source, reason.
    notes : list of str
        What was read in a way that the user should know.
    record : dict
        What later tables need besides: covariates with their means, anchors, kinds of ids.
    """

    config: PrepareConfig
    rows: pl.DataFrame
    files: dict[str, pl.DataFrame]
    mapping: pl.DataFrame
    compounds: pl.DataFrame
    collisions: pl.DataFrame
    imputer: Imputer | None
    counts: dict[str, int]
    rejected: pl.DataFrame
    notes: list[str]
    record: dict[str, Any]

    def write(self, run: RunFolder) -> None:
        """Write rows, mapping, collisions, rows rejected and the record."""
        for name, rows in self.files.items():
            run.write_frame(name, rows)
        run.write_text(MAPPING, formulas_marked(self.mapping).write_csv())
        run.write_text(COMPOUNDS, formulas_marked(self.compounds).write_csv())
        run.write_text("collisions.csv", formulas_marked(self.collisions).write_csv())
        write_rejected(run, self.rejected)
        imputer = None if self.imputer is None else asdict(self.imputer)
        files = {name: rows.height for name, rows in self.files.items()}
        # Last: by the record a later `--like` knows the folder as complete.
        record = {"rows": self.counts, "imputer": imputer, "files": files, **self.record}
        run.write_json(RECORD, record | {"notes": self.notes})
        run.log("finished", **self.counts)


# --- rows that cannot be used ---


def _usable(
    config: PrepareConfig, raw: RawTable, rejected: Rejected
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return rows with a target, of the libraries asked for, or raise for gaps that may not be."""
    counts = {"read": raw.n_read}
    # Only where they can be: most tables have neither.
    counts |= {"anchors": raw.n_anchor} if raw.anchors else {}
    counts |= {"empty_cells": raw.n_empty} if config.layout != "rows" else {}
    frame = raw.rows
    if config.libs is not None:
        wanted = _of_libraries(config, frame)
        frame, n = _set_aside(frame, ~wanted, "of another library", rejected)
        counts["other_libraries"] = n
    _refuse_gaps(config, raw, frame)
    counts["without_target"] = 0
    if raw.has_target and config.missing_target != "keep":
        # Rows without a target are not fitted, and must not enter the medians.
        gaps = frame[config.target_col].is_null()
        frame, counts["without_target"] = _set_aside(frame, gaps, "no retention time", rejected)
    return frame, counts


def _complete(
    config: PrepareConfig,
    frame: pl.DataFrame,
    covariates: Sequence[str],
    counts: dict[str, int],
    rejected: Rejected,
) -> pl.DataFrame:
    """Return rows with a supercategory, a subgroup and, where gaps are dropped, covariates."""
    reasons = (
        ("without_supercategory", CLUSTER, "no supercategory"),
        ("without_subgroup", SPECIES, "no subgroup"),
    )
    for key, column, reason in reasons:
        frame, counts[key] = _set_aside(frame, frame[column].is_null(), reason, rejected)
    if config.missing_covariates == "drop":
        counts["without_covariate"] = 0
        for name in covariates:
            gaps = frame[name].is_null()
            frame, n = _set_aside(frame, gaps, f"no value of {name}", rejected)
            counts["without_covariate"] += n
    if not frame.height:
        why = listed([f"{n:,} {key}" for key, n in counts.items() if n and key != "read"])
        raise InputError(
            "rows", expected="some that can be used", found=f"none of {counts['read']:,} ({why})"
        )
    return frame


def _set_aside(
    frame: pl.DataFrame, gone: pl.Series, reason: str, rejected: Rejected
) -> tuple[pl.DataFrame, int]:
    """Return the other rows, and how many these were."""
    rows = frame.filter(gone)
    return frame.filter(~gone), rejected.add(rows[ROW], rows[COMPOUND], rows[FILE], reason)


def _refuse_gaps(config: PrepareConfig, raw: RawTable, frame: pl.DataFrame) -> None:
    """Refuse missing values that may not be, all columns of all files at once."""
    # Rows without a species or a supercategory are dropped later: their gaps do not matter.
    used = frame.drop_nulls([SPECIES, CLUSTER])
    columns: dict[str, tuple[str, str | None]] = {COMPOUND: (config.compound_col, None)}
    if raw.has_target and config.missing_target == "error":
        cure = "--missing-target drop leaves such rows out, --missing-target keep predicts them."
        columns[config.target_col] = (config.target_col, cure)
    if config.missing_covariates == "error":
        cure = (
            "--missing-covariates run_median takes the run's median with an indicator,"
            " --missing-covariates drop leaves such rows out."
        )
        columns |= {name: (name, cure) for name in raw.covariates}
    faults = Faults()
    for name, (said, hint) in columns.items():
        gaps = used.filter(pl.col(name).is_null()).group_by(FILE, maintain_order=True)
        for file, rows in gaps.agg(ROW).rows():
            found = f"{len(rows)} missing (rows {listed(rows)})"
            parameter = f"column {said!r} ({file})"
            faults.add(Fault(parameter, "a value in every row", found, cure=hint))
    faults.check()


def _of_libraries(config: PrepareConfig, frame: pl.DataFrame) -> pl.Series:
    """Return which rows are of the libraries asked for."""
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
    return frame[config.library_col].is_in(config.libs).fill_null(value=False)


def _doubtful(config: PrepareConfig, frame: pl.DataFrame) -> list[str]:
    """Return what is said of times that can hardly be any, and of rows that stand twice."""
    odd = OddTimes()
    odd.add(frame[config.target_col], frame[ROW])
    notes = odd.notes()
    if config.run_col in frame.columns:
        notes += two_units(*(frame[c] for c in (config.target_col, COMPOUND, config.run_col)))
        same = [config.run_col, SPECIES, COMPOUND, config.target_col]
        measured = frame.drop_nulls(same)
        repeated = measured.filter(~pl.struct(same).is_first_distinct())
        if repeated.height:
            notes.append(
                f"{repeated.height:,} rows repeat run, species, compound and time of another to"
                f" the last digit (rows {listed(repeated[ROW].to_list())}): is a file read twice?"
            )
    return notes


def _alike(config: PrepareConfig, frame: pl.DataFrame, previous: Previous | None) -> list[str]:
    """Return what is said of names that may be others misspelt."""
    columns = {
        SPECIES: (config.species_raw, previous.species.ids if previous else None),
        CLUSTER: (config.cluster_raw, previous.clusters.ids if previous else None),
        COMPOUND: (config.compound_col, previous.compounds.ids if previous else None),
    }
    return [
        note
        for name, (column, known) in columns.items()
        if column is not None
        for note in alike_names(column, frame[name].cast(pl.String), known, slips=name != COMPOUND)
    ]


# --- ids, and the table that comes out ---


def _identified(
    config: PrepareConfig,
    raw: RawTable,
    frame: pl.DataFrame,
    imputer: Imputer | None,
    previous: Previous | None,
    counts: dict[str, int],
    rejected: Rejected,
) -> Prepared:
    """Give ids, cap, and put together what comes out."""
    # Ids before the cap, so that which rows are drawn does not change which ids there are.
    ids = {
        SPECIES: previous.species if previous else None,
        CLUSTER: previous.clusters if previous else None,
        COMPOUND: previous.compounds if previous else None,
    }
    given = {name: Identifiers.of(frame[name], ids[name], raw.kinds[name]) for name in ids}
    frame = frame.with_columns(
        given[COMPOUND].apply(frame[COMPOUND]).alias("comp_id"), __place=pl.int_range(pl.len())
    )
    # As numbers where they are: `map_species` names species in its messages.
    numbers = [pl.col(n).cast(pl.Int64) for n in (SPECIES, CLUSTER) if raw.kinds[n] == "number"]
    columns = MappingColumns(SPECIES, CLUSTER, "comp_id", config.library_col)
    mapped = map_species(
        frame.with_columns(numbers), columns, max_rows_per_pair=config.cap, seed=config.seed
    )
    capped = ~frame["__place"].is_in(mapped.frame["__place"].implode())
    _, counts["capped"] = _set_aside(frame, capped, "over the cap of its pair", rejected)

    def numbered(part: pl.DataFrame) -> pl.DataFrame:
        # After `map_species`, which numbers names itself: an id never changes.
        return part.with_columns(
            pl.col(SPECIES, CLUSTER).cast(pl.String),
            given[SPECIES].apply(part[SPECIES]).alias("species"),
            given[CLUSTER].apply(part[CLUSTER]).alias("species_cluster"),
        )

    rows, mapping = numbered(mapped.frame), numbered(mapped.mapping)
    if previous is not None:
        mapping = pl.concat([mapping, previous.unseen(mapping).select(mapping.columns)])
    counts["kept"] = rows.height
    centers = {name: rows[name].mean() for name in raw.covariates}
    rows = rows.select(_columns(config, raw, imputer, rows))
    return Prepared(
        config,
        rows,
        _by_library(config, rows),
        mapping.sort("species"),
        given[COMPOUND].frame(COMPOUND, "comp_id"),
        _collisions(config, frame, mapped.collisions),
        imputer,
        counts,
        rejected.frame(),
        raw.notes,
        {
            "ids": raw.kinds,
            "covariates": raw.covariates,
            # Those of the first table stay: what is at the centre has no effect of a slope.
            "centers": centers | (previous.centers if previous else {}),
            "anchors": raw.anchors,
            "columns": {"run_col": config.run_col, "target_col": config.target_col},
        },
    )


def _columns(
    config: PrepareConfig, raw: RawTable, imputer: Imputer | None, rows: pl.DataFrame
) -> list[str]:
    order = ["species", "species_cluster", "comp_id", config.run_col, config.library_col]
    order += [*raw.covariates, *(() if imputer is None else imputer.columns)]
    order += [config.target_col] if raw.has_target else []
    # dict.fromkeys: the raw table may already call its columns as the output does.
    return [name for name in dict.fromkeys(order) if name in rows.columns]


def _collisions(config: PrepareConfig, frame: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    if config.compound_name is None:
        return found
    named = id_collisions(frame, "comp_id", config.compound_name, config.library_col)
    return pl.concat([found, named])


def _imputed(
    config: PrepareConfig,
    frame: pl.DataFrame,
    covariates: Sequence[str],
    previous: Previous | None,
) -> tuple[pl.DataFrame, Imputer | None]:
    if config.missing_covariates != "run_median":
        return frame, None
    if previous is None:
        imputer = Imputer.fit(frame, covariates, config.run_col)
    elif previous.imputer is None:
        raise InputError(
            "missing_covariates",
            expected="error or drop, as the previous prepare had, which has no medians",
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
