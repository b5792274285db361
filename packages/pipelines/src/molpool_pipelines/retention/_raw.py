"""Raw tables of retention times as laboratories have them, read into one table of measurements.

`read_raw` takes long tables (one row a measurement or a peak) and wide ones (one row a compound or
a run), gives names their spelling, turns the times of anchors into covariates of their runs, and
says which covariates whole files lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import polars as pl
from molpool_common import (
    MISSING,
    Fault,
    Faults,
    IdColumn,
    IdKind,
    InputError,
    did_you_mean,
    joint_ids,
    listed,
    number_column,
    open_table,
    table_header,
)

from molpool_pipelines.retention._config import PrepareConfig
from molpool_pipelines.retention._covariates import (
    ANCHOR,
    FILE,
    ROW,
    Anchored,
    CovariatePlan,
    centred,
)
from molpool_pipelines.retention._identifiers import CLUSTER, COMPOUND, SPECIES, Previous
from molpool_pipelines.tables import TableFiles

ALL = "all"
"""Name of the subgroup or the supercategory where there is one."""

_TRUE = ("1", "1.0", "true", "yes", "y", "t", "istd", "is", "anchor", "+")
_FALSE = ("0", "0.0", "false", "no", "n", "f", "-")
"""How a flag may be written, in small letters; a missing one is false."""

_CURE = "--ids text takes every id as it is written."


@dataclass(frozen=True)
class RawTable:
    """Measurements of all files.

    Attributes
    ----------
    rows : DataFrame
        `FILE`, `ROW`, species_raw, species_group_raw and compound_raw (text, null where missing),
        the target (where the table has it) and the covariates, float64 with null for missing; the
        run, the library and ids that came with the table, where they are there.
    covariates : list of str
        Columns of the table, and of anchors.
    anchors : list of str
        Compounds whose times are covariates.
    kinds : dict of str to {"number", "text"}
        What ids are, by column.
    has_target : bool
        Whether there are retention times.
    n_read, n_anchor, n_empty : int
        Measurements read; those of anchors; empty cells of a wide table.
    notes : list of str
        What was read in a way that the user should know.
    """

    rows: pl.DataFrame
    covariates: list[str]
    anchors: list[str]
    kinds: dict[str, IdKind]
    has_target: bool
    n_read: int
    n_anchor: int
    n_empty: int
    notes: list[str]


def read_raw(
    config: PrepareConfig, table: TableFiles, previous: Previous | None = None
) -> RawTable:
    """Read all files into one table, every column that is used checked.

    Parameters
    ----------
    config : PrepareConfig
        Columns, layout, and what becomes of gaps.
    table : TableFiles
        The files.
    previous : Previous or None
        What ids and covariates earlier tables had.

    Raises
    ------
    InputError
        If a column is missing, holds text instead of numbers, or an id contradicts the others.
    """
    has_target = _check_columns(config, table, previous)
    plan = CovariatePlan.of(config, table, previous)
    parts = [_Part.read(config, table, file, plan) for file in table.files]
    kinds, notes = _agree(parts, previous, config)
    notes = [*_readings(parts), *notes]
    frame = pl.concat([part.measurements(config, plan, has_target) for part in parts])
    n_read = n_measured = frame.height
    if config.layout != "rows" and config.missing_target != "keep":
        # An empty cell is a measurement that nobody made, not one that went wrong.
        frame = frame.drop_nulls(config.target_col)
        n_measured = frame.height
    anchored = Anchored(frame, [], 0)
    if _has_anchors(config, previous):
        anchored = Anchored.of(config, frame, previous)
    rows = centred(config, anchored.rows, plan, anchored.covariates).drop(ANCHOR)
    if not has_target:
        notes.append(
            f"No column {config.target_col!r}: these rows are for prediction alone. --target-col"
            " names the retention time."
        )
    covariates = [*plan.names, *anchored.covariates]
    if not covariates:
        notes.append("No run covariates: intercepts only.")
    return RawTable(
        rows,
        covariates,
        anchored.anchors,
        kinds,
        has_target,
        n_read,
        anchored.n_rows,
        n_read - n_measured,
        [*notes, *plan.notes],
    )


def _has_anchors(config: PrepareConfig, previous: Previous | None) -> bool:
    given = config.anchors or config.anchor_col is not None
    return bool(given or (previous is not None and previous.anchors))


# --- which columns there must be ---


def _check_columns(config: PrepareConfig, table: TableFiles, previous: Previous | None) -> bool:
    """Refuse a table without what is named; return whether it has retention times."""
    required = ["species_raw", "cluster_raw", "anchor_col", "library_col", "compound_name"]
    wide = config.layout != "rows"
    if config.layout != "compound_columns":
        required.append("compound_col")
    anchors = _has_anchors(config, previous)
    run = config.missing_covariates == "run_median" or anchors
    if config.layout == "compound_columns" or (run and not wide):
        required.append("run_col")
    names = {key: getattr(config, key) for key in required if getattr(config, key) is not None}
    _require(names, table)
    if config.layout == "compound_columns" and config.anchor_col is not None:
        hint = "--anchors names columns of anchors."
        raise InputError("anchor_col", expected="none in this layout", found="one", hint=hint)
    has_target = wide or _has_target(config, table)
    if anchors and not has_target:
        _require({"target_col": config.target_col}, table)
    return has_target


def _require(names: dict[str, str], table: TableFiles) -> None:
    """Refuse all columns at once that are not in every file."""
    missing = {key: name for key, name in names.items() if name not in table}
    if not missing:
        return
    flags = [f"--{key.replace('_', '-')}" for key in missing]
    single = [f for f in flags if f in ("--species-raw", "--cluster-raw")]
    one = f" {' and '.join(f'{f} None' for f in single)}: all rows are of one." if single else ""
    near = did_you_mean(next(iter(missing.values())), table.columns)
    raise InputError(
        ", ".join(missing),
        expected="columns of the table",
        found=f"none called {listed([repr(name) for name in missing.values()])}",
        where=table.name,
        hint=f"{near if near.startswith('Did') else f'It has {_shown(table)}.'}"
        f" Say which by {', '.join(flags)}.{one}",
    )


def _shown(table: TableFiles) -> str:
    return listed([repr(name) for name in table.columns], 20)


def _has_target(config: PrepareConfig, table: TableFiles) -> bool:
    if config.target_col in table:
        return True
    having = [
        f.name for f in table.files if config.target_col in table_header(f, table.key, table.read)
    ]
    if having and config.missing_target != "keep":
        lacking = [f.name for f in table.files if f.name not in having]
        raise InputError(
            "target_col",
            expected=f"retention times {config.target_col!r} in all files, or in none",
            found=f"none in {listed(lacking)}",
            hint="--missing-target keep takes such files for prediction.",
        )
    # A name that somebody gave is meant to be there.
    if config.is_given("target_col") and not (having or config.missing_target == "keep"):
        _require({"target_col": config.target_col}, table)
    return bool(having)


# --- one file ---


@dataclass
class _Part:
    """One file, read.

    Attributes
    ----------
    where : str
        Its name.
    frame : DataFrame
        As it is.
    optional : list of str
        Columns that all files have and that come along: run, library, names, ids.
    values : list of str
        Columns of times of a wide table.
    ids : dict of str to IdColumn
        By the column that they become.
    texts : dict of str to Series
        Ids that agree with those of the other files.
    said : list of str
        How the file was read, where it was not as most are.
    """

    where: str
    frame: pl.DataFrame
    optional: list[str]
    values: list[str]
    ids: dict[str, IdColumn]
    texts: dict[str, pl.Series]
    said: list[str]

    @classmethod
    def read(
        cls, config: PrepareConfig, table: TableFiles, file: Path, plan: CovariatePlan
    ) -> _Part:
        frame, reading = open_table(file, config.read, key=table.key)
        where = file.name
        values = [] if config.layout == "rows" else _value_columns(config, frame, file, plan)
        raw: dict[str, pl.Series] = {}
        for new, old in ((SPECIES, config.species_raw), (CLUSTER, config.cluster_raw)):
            one = pl.Series(new, [ALL]).new_from_index(0, frame.height)
            raw[new] = one if old is None else frame[old]
        if config.layout == "compound_columns":
            raw[COMPOUND] = pl.Series("compounds in the header", values, dtype=pl.String)
        else:
            raw[COMPOUND] = frame[config.compound_col]
        ids = {new: IdColumn.read(column, where) for new, column in raw.items()}
        return cls(where, frame, _optional(config, table), values, ids, {}, reading.sentences())

    def measurements(
        self, config: PrepareConfig, plan: CovariatePlan, has_target: bool
    ) -> pl.DataFrame:
        """Return one row per measurement, in the order of the rows."""
        columns = self._described(config, plan)
        if config.layout == "rows":
            columns[COMPOUND] = self.texts[COMPOUND]
            if has_target:
                columns[config.target_col] = self._number(config.target_col)
            return self._ordered(pl.DataFrame(columns), config, plan)
        if config.layout == "run_columns":
            columns[COMPOUND] = self.texts[COMPOUND]
        times = {name: self._number(name) for name in self.values}
        index = list(columns)
        # By number, as a run may be called like a column of the index.
        numbered = {f"__{place}": times[name] for place, name in enumerate(self.values)}
        wide = pl.DataFrame({**columns, **numbered})
        long = wide.unpivot(
            list(numbered), index=index, variable_name="__column", value_name=config.target_col
        ).sort(ROW, maintain_order=True)
        new, names = config.run_col, pl.Series(self.values, dtype=pl.String)
        if config.layout == "compound_columns":
            new, names = COMPOUND, self.texts[COMPOUND]
        mapping = dict(zip(numbered, names.to_list(), strict=True))
        long = long.with_columns(pl.col("__column").replace_strict(mapping).alias(new))
        return self._ordered(long.drop("__column"), config, plan)

    def _described(self, config: PrepareConfig, plan: CovariatePlan) -> dict[str, pl.Series]:
        """Return what a row says besides its times and its compound."""
        frame, n_rows = self.frame, self.frame.height
        columns = {
            FILE: pl.Series([self.where]).new_from_index(0, n_rows),
            ROW: pl.int_range(1, n_rows + 1, eager=True),
            SPECIES: self.texts[SPECIES],
            CLUSTER: self.texts[CLUSTER],
            ANCHOR: pl.Series([False]).new_from_index(0, n_rows),
        }
        columns |= {name: _text(frame[name]) for name in self.optional}
        if config.anchor_col is not None:
            marks, cells = frame[config.anchor_col], config.anchor_values
            columns[ANCHOR] = _like(marks, cells) if cells else _flags(marks, self.where)
        columns |= {name: self._number(name) for name in plan.names}
        return columns

    def _ordered(
        self, frame: pl.DataFrame, config: PrepareConfig, plan: CovariatePlan
    ) -> pl.DataFrame:
        """Return columns in one order, whatever the order of a file's own."""
        first = [FILE, ROW, SPECIES, CLUSTER, COMPOUND, ANCHOR, config.run_col]
        wanted = dict.fromkeys([*first, *self.optional, *plan.names, config.target_col])
        return frame.select(name for name in wanted if name in frame.columns)

    def _number(self, name: str) -> pl.Series:
        """Return a column of numbers; of nulls where this file lacks it."""
        if name not in self.frame.columns:
            return pl.Series(name, [None], dtype=pl.Float64).new_from_index(0, self.frame.height)
        return number_column(self.frame, name, where=self.where)


def _readings(parts: Sequence[_Part]) -> list[str]:
    """Return which files were read, and how."""
    if len(parts) == 1:
        return parts[0].said
    found = f"{len(parts)} files: {listed([part.where for part in parts])}."
    return [found, *(f"{part.where}: {said}" for part in parts for said in part.said)]


def _optional(config: PrepareConfig, table: TableFiles) -> list[str]:
    """Return the columns that come along where the table has them."""
    used = {config.species_raw, config.cluster_raw, config.compound_col}
    # Where every run is a column, none is of runs.
    run = [] if config.layout == "run_columns" else [config.run_col]
    others = [*run, config.library_col, config.compound_name]
    others += [name for name in ("species", "species_cluster") if name not in used]
    return [name for name in dict.fromkeys(others) if name is not None and name in table]


def _agree(
    parts: Sequence[_Part], previous: Previous | None, config: PrepareConfig
) -> tuple[dict[str, IdKind], list[str]]:
    """Settle the ids of all files together; return what they are, and what to say."""
    faults, kinds, notes = Faults(), dict[str, IdKind](), list[str]()
    for name in (SPECIES, CLUSTER, COMPOUND):
        known = None if previous is None else previous.kinds[name]
        columns = [part.ids[name] for part in parts]
        try:
            ids = joint_ids(columns, known, spelling=config.ids, cure=_CURE)
        except InputError as error:
            faults.take(error)
            continue
        kinds[name] = ids.kind
        notes += ids.notes
        for part, texts in zip(parts, ids.texts, strict=True):
            part.texts[name] = texts
    faults.check()
    return kinds, notes


def _value_columns(
    config: PrepareConfig, frame: pl.DataFrame, file: Path, plan: CovariatePlan
) -> list[str]:
    """Return the columns of times of a wide table.

    Raises
    ------
    InputError
        If there is none, or one that was not named holds text.
    """
    if config.value_cols:
        return TableFiles([file], frame.columns, "data").matching(config.value_cols, "value_cols")
    row = config.run_col if config.layout == "compound_columns" else config.compound_col
    roles = {row, config.species_raw, config.cluster_raw, config.anchor_col, config.library_col}
    roles |= {config.compound_name, *plan.names}
    values = [name for name in frame.columns if name not in roles]
    if not values:
        raise InputError(
            "value_cols", expected="columns of retention times", found="none", where=file.name
        )
    faults = Faults(file.name)
    for name in values:
        try:
            number_column(frame, name, where=file.name)
        except InputError as error:
            cure = "Is it a column of times? --value-cols names those that are."
            faults.add(Fault(error.parameter, error.expected, error.found, cure=cure))
    faults.check()
    return values


def _like(column: pl.Series, patterns: Sequence[str]) -> pl.Series:
    """Return which cells are one of some texts, or match one of some patterns."""
    words = column.cast(pl.String).str.strip_chars()
    distinct = words.drop_nulls().unique().to_list()
    found = [w for w in distinct if w in patterns or any(fnmatchcase(w, p) for p in patterns)]
    return words.is_in(found).fill_null(value=False).alias(ANCHOR)


def _flags(column: pl.Series, where: str) -> pl.Series:
    """Return a column of flags; what is missing is false.

    Raises
    ------
    InputError
        For what is neither true nor false, with the rows.
    """
    words = column.cast(pl.String).str.strip_chars().str.to_lowercase()
    missing = words.is_null() | words.is_in([m.lower() for m in MISSING])
    unknown = (~(words.is_in(_TRUE) | words.is_in(_FALSE) | missing)).arg_true().to_list()
    if unknown:
        raise InputError(
            f"column {column.name!r}",
            expected="flags: 1 or 0, true or false, yes or no",
            found=f"{column[unknown[0]]!r} (rows {listed([row + 1 for row in unknown])})",
            where=where,
            hint="--anchor-values says which cells mark anchors.",
        )
    return words.is_in(_TRUE).fill_null(value=False).alias(ANCHOR)


def _text(column: pl.Series) -> pl.Series:
    """Return text with null for what tables write for missing; 3.0 is 3."""
    # A column of integers with gaps is read as floats.
    if column.dtype.is_float() and column.drop_nulls().drop_nans().eq(column.floor()).all():
        column = column.fill_nan(None).cast(pl.Int64)
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text.is_in(MISSING), None)
