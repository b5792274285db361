"""Run covariates of several files, and those that the times of anchors are.

A covariate is a column of every file, or the retention time that an anchor (an internal standard, a
compound that every run has) took in a run. What a whole file lacks is said by file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import polars as pl
from molpool_common import (
    Fault,
    InputError,
    TableError,
    did_you_mean,
    listed,
    number_column,
    table_header,
)

from molpool_pipelines.retention._config import COVARIATES, PrepareConfig
from molpool_pipelines.retention._identifiers import COMPOUND, Previous
from molpool_pipelines.tables import TableChunk, TableFiles

FILE, ROW = "__file", "__row"
"""Where a measurement comes from: the file, and its row from 1 below the header."""

ANCHOR = "__anchor"
"""Whether a row is of an anchor."""

PREFIX = "IS_"
"""Beginning of the name of a covariate that is the time of an anchor."""

PREPARE = "Of a raw table molpool-rt prepare --like PREPARED makes them."
CENTER = "--absent-covariates center takes their mean instead."


def matching_covariates(table: TableFiles, patterns: Sequence[str]) -> list[str]:
    """Return the columns of run covariates; none where there are none of the default names.

    Raises
    ------
    InputError
        If a name that was given is no column, or patterns that were given match none.
    """
    if tuple(patterns) != COVARIATES:
        return table.matching(patterns, "covariates")
    wild = [c for c in table.columns if any(fnmatchcase(c, p) for p in patterns)]
    return table.matching(patterns, "covariates") if wild else []


def everywhere(table: TableFiles) -> TableFiles:
    """Return the same files with the columns that any of them has."""
    if len(table.files) == 1:
        return table
    headers = [table_header(file, table.key, table.read) for file in table.files]
    names = list(dict.fromkeys(name for header in headers for name in header))
    return TableFiles(table.files, names, table.key, table.read)


def lacking(table: TableFiles, names: Sequence[str]) -> dict[str, list[str]]:
    """Return which of some covariates files lack, by file."""
    headers = {file.name: table_header(file, table.key, table.read) for file in table.files}
    found = {file: [n for n in names if n not in header] for file, header in headers.items()}
    return {file: gone for file, gone in found.items() if gone}


@dataclass(frozen=True)
class CentredFiles:
    """Files of which some lack covariates, which are at their mean in these.

    Parameters
    ----------
    table : TableFiles
        The files.
    absent : mapping of str to sequence of str
        Covariates that a file lacks, by file.
    centers : mapping of str to float
        The mean of each such covariate.
    """

    table: TableFiles
    absent: Mapping[str, Sequence[str]] = field(default_factory=dict)
    centers: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, table: TableFiles, names: Sequence[str]) -> CentredFiles:
        """Return files with the means of covariates over the rows that have them."""
        absent = lacking(table, names) if len(table.files) > 1 else {}
        return cls(table, absent, _means(table, absent))

    def __contains__(self, column: object) -> bool:
        return column in self.table

    def require(self, column: str, key: str) -> str:
        """Return `column`, or raise `InputError` as `TableFiles.require` does."""
        return self.table.require(column, key)

    @property
    def notes(self) -> list[str]:
        """What files lack."""
        return [
            f"{listed(list(names))}: at the mean of the other rows in {file}, which lacks them."
            for file, names in self.absent.items()
        ]

    def chunks(self, names: Iterable[str], most: int | None = None) -> Iterator[TableChunk]:
        """Yield rows as `TableFiles.chunks` does."""
        wanted, left = list(dict.fromkeys(names)), most
        for table, absent in self._tables():
            gone = [name for name in wanted if name in absent]
            for chunk in table.chunks([n for n in wanted if n not in gone], left):
                filled = chunk.frame.with_columns(pl.lit(self.centers[n]).alias(n) for n in gone)
                yield TableChunk(filled.select(wanted), chunk.where, chunk.first_row)
                if left is not None:
                    left -= chunk.frame.height
            if left == 0:
                return

    def told(self, chunks: Iterable[TableChunk], stage: str) -> Iterator[TableChunk]:
        """Yield chunks and say how far they are, as `TableFiles.told` does."""
        return self.table.told(chunks, stage)

    def _tables(self) -> Iterator[tuple[TableFiles, Sequence[str]]]:
        """Yield files one by one with what they lack; all together where none lacks any."""
        if not self.absent:
            yield self.table, ()
            return
        for file in self.table.files:
            header = table_header(file, self.table.key, self.table.read)
            yield (
                TableFiles([file], header, self.table.key, self.table.read),
                self.absent.get(file.name, ()),
            )


def _means(table: TableFiles, absent: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the mean of each covariate that some file lacks, over the rows of the others."""
    sums: dict[str, tuple[float, int]] = {}
    for name in dict.fromkeys(n for names in absent.values() for n in names):
        having = [file for file in table.files if name not in absent.get(file.name, ())]
        total, count = sums.get(name, (0.0, 0))
        for chunk in TableFiles(having, [name], table.key, table.read).chunks([name]):
            values = number_column(chunk.frame, name, where=chunk.where).drop_nulls()
            total, count = total + float(values.sum()), count + len(values)
        sums[name] = (total, count)
    return {name: total / max(count, 1) for name, (total, count) in sums.items()}


def run_names(runs: pl.Series) -> pl.Series:
    """Return names as text, those of one run alike whether a file holds 3 or "3"."""
    exact = runs.cast(pl.Int64) if runs.dtype.is_integer() else runs
    return (exact.fill_nan(None) if exact.dtype.is_float() else exact).cast(pl.String)


def refuse_absent(absent: Mapping[str, Sequence[str]], cure: str) -> None:
    """Raise `TableError` for covariates that whole files lack, by file."""
    faults = [
        Fault(
            f"covariates ({file})",
            "those of the other files and of earlier tables",
            f"none called {listed([repr(n) for n in names])}",
            cure=cure,
        )
        for file, names in absent.items()
        if names
    ]
    if faults:
        raise TableError(faults)


@dataclass(frozen=True)
class CovariatePlan:
    """Which columns are covariates, and what files lack.

    Attributes
    ----------
    names : list of str
        Columns.
    absent : dict of str to list of str
        Those of them that a file lacks.
    previous : Previous or None
        What earlier tables had.
    notes : list of str
        What was left out.
    """

    names: list[str]
    absent: dict[str, list[str]]
    previous: Previous | None
    notes: list[str]

    @classmethod
    def of(
        cls, config: PrepareConfig, table: TableFiles, previous: Previous | None
    ) -> CovariatePlan:
        """Return the covariates of a table, or those of earlier tables.

        Raises
        ------
        InputError
            If a name is no column of any file.
        """
        if config.layout == "run_columns":
            # Every run is a column: what else a row says is of its compound.
            return cls([], {}, previous, [])
        found = matching_covariates(everywhere(table), config.covariates)
        names, notes = found, list[str]()
        if previous is not None and previous.covariates is not None:
            anchored = {PREFIX + anchor for anchor in previous.anchors}
            names = [name for name in previous.covariates if name not in anchored]
            if new := [name for name in found if name not in names]:
                notes.append(f"Left out as earlier tables have no such covariate: {listed(new)}.")
        return cls(names, lacking(table, names), previous, notes)


@dataclass(frozen=True)
class Anchored:
    """Rows with the times of anchors as covariates.

    Attributes
    ----------
    rows : DataFrame
        Without those of anchors.
    anchors : list of str
        Compounds, as they are called.
    n_rows : int
        Rows of anchors.
    """

    rows: pl.DataFrame
    anchors: list[str]
    n_rows: int

    @property
    def covariates(self) -> list[str]:
        """Their columns."""
        return [PREFIX + anchor for anchor in self.anchors]

    @classmethod
    def of(cls, config: PrepareConfig, frame: pl.DataFrame, previous: Previous | None) -> Anchored:
        """Take the rows of anchors out, and their mean time in each run into its other rows.

        Raises
        ------
        InputError
            If no row is of an anchor, or one of those asked for is no compound.
        """
        known = [] if previous is None else previous.anchors
        chosen = _chosen(config, frame[COMPOUND], known)
        rows = frame.with_columns(pl.col(ANCHOR) | pl.col(COMPOUND).is_in(chosen))
        # A flag that is missing flags nothing.
        marked = rows[ANCHOR].fill_null(value=False)
        own, others = rows.filter(marked), rows.filter(~marked)
        anchors = known or own[COMPOUND].drop_nulls().unique().sort().to_list()
        if not anchors:
            raise InputError(
                "anchor_col", expected="rows of anchors", found="none", hint="--anchors names them."
            )
        times = (
            own.filter(pl.col(COMPOUND).is_in(anchors))
            .group_by(config.run_col)
            .agg(
                pl.col(config.target_col).filter(pl.col(COMPOUND) == a).mean().alias(PREFIX + a)
                for a in anchors
            )
        )
        _check_new(others, [PREFIX + a for a in anchors])
        joined = others.join(times, on=config.run_col, how="left", maintain_order="left")
        return cls(joined, anchors, own.height)


def _chosen(config: PrepareConfig, compounds: pl.Series, known: Sequence[str]) -> list[str]:
    """Return the compounds that names and patterns stand for, and those of earlier tables."""
    present = compounds.drop_nulls().unique().sort().to_list()
    found = dict.fromkeys(known)
    for pattern in config.anchors:
        same = [c for c in present if c == pattern]
        matched = same or [c for c in present if fnmatchcase(c, pattern)]
        if not matched and pattern not in known:
            raise InputError(
                "anchors",
                expected="compounds of the table, or patterns of them",
                found=repr(pattern),
                hint=did_you_mean(pattern, present),
            )
        found |= dict.fromkeys(matched)
    return list(found)


def _check_new(frame: pl.DataFrame, names: Sequence[str]) -> None:
    if twice := [name for name in names if name in frame.columns]:
        raise InputError(
            "anchors",
            expected="covariates that the table does not have yet",
            found=listed([repr(n) for n in twice]),
            hint="--covariates leaves its own out.",
        )


def centred(
    config: PrepareConfig,
    frame: pl.DataFrame,
    plan: CovariatePlan,
    anchored: Sequence[str],
) -> pl.DataFrame:
    """Return rows in which covariates that a whole file lacks are at their mean.

    Parameters
    ----------
    config : PrepareConfig
        Whether they may.
    frame : DataFrame
        All rows.
    plan : CovariatePlan
        What columns files lack.
    anchored : sequence of str
        Covariates that are times of anchors.

    Raises
    ------
    TableError
        If they may not, or no row at all has one; names files and covariates.
    """
    absent = {file: list(names) for file, names in plan.absent.items()}
    there = frame.group_by(FILE).agg(pl.col(name).count() for name in anchored)
    for row in there.sort(FILE).iter_rows(named=True):
        if none := [name for name in anchored if not row[name]]:
            absent.setdefault(row[FILE], []).extend(none)
    if config.absent_covariates == "error":
        refuse_absent(absent, CENTER)
    earlier = {} if plan.previous is None else plan.previous.centers
    for name in dict.fromkeys(n for names in absent.values() for n in names):
        mean = frame.select(pl.col(name).cast(pl.Float64).mean()).item()
        center: float | None = earlier.get(name, mean)
        if center is None:
            refuse_absent({f: [n for n in names if n == name] for f, names in absent.items()}, "")
        files = [file for file, names in absent.items() if name in names]
        gap = pl.col(FILE).is_in(files)
        frame = frame.with_columns(
            pl.when(gap).then(pl.lit(center, dtype=pl.Float64)).otherwise(name).alias(name)
        )
        plan.notes.append(f"{name} is at its mean, {center:.6g}, in {listed(files)}.")
    return frame
