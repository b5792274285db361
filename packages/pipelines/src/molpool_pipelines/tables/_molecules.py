"""From tables to one validated set of molecules with targets, quality, times and bounds.

Which columns are read is said once, by `DataConfig.tables`; training and the profile of a table
(`molpool-data describe`) both come through `load_molecules`, and so agree. Each source is read,
checked before minutes of parsing, parsed, and converted to the units of the targets; all that is
wrong in any of them is one message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    BadSmiles,
    Faults,
    FloatArray,
    InputError,
    IntArray,
    Measured,
    ReadConfig,
    SignArray,
    StoredTexts,
    cache_folder,
    canonical_smiles,
    did_you_mean,
    listed,
    measured_column,
    open_table,
    parse_smiles,
    read_table,
    require_columns,
    smiles_column_of,
    stack,
    text_column,
)
from molpool_common import MoleculeTable as MoleculeTable

from molpool_pipelines.datasets import locate
from molpool_pipelines.runs import rejected_rows
from molpool_pipelines.tables._cells import Wanted, read_quality, read_strata, read_times
from molpool_pipelines.tables._given_split import (
    series_cells,
    split_cells,
    with_given_split,
)
from molpool_pipelines.tables._identity import Identities, identify, identify_parts
from molpool_pipelines.tables._table_config import DEMO as DEMO
from molpool_pipelines.tables._table_config import (
    ColumnSource,
    DataConfig,
    OnBadSmiles,
    SourceConfig,
    Step,
)
from molpool_pipelines.tables._table_files import TableFiles
from molpool_pipelines.tables._values import converted_unit, read_signs, reverses_order, transform

_AT_A_TIME = 65_536
"""Rows of a long table whose molecules are in memory together."""

_QUICK = 20_000
"""Rows that are parsed although something else is wrong already, so that all of it is said."""


def load_molecules(
    config: DataConfig,
    data_path: str | None,
    *,
    quality_column: str | None = None,
    qualities: Sequence[str] = (),
    on_bad_smiles: OnBadSmiles = "error",
    min_labels: int = 2,
    check_times: bool = True,
    read: ReadConfig | None = None,
    strata_column: str | None = None,
) -> MoleculeTable:
    """Read, check, convert and stack the tables that a configuration names.

    Parameters
    ----------
    config : DataConfig
        Columns, conversions and sources.
    data_path : str or None
        The table, where `config.sources` is empty.
    quality_column : str or None
        Column of quality labels of a single table; None if they are not needed.
    qualities : sequence of str
        The labels that may stand there.
    on_bad_smiles : {"error", "drop", "keep"}
        What to do about rows whose SMILES do not parse; the table that is returned has none of
        them, and lists them apart.
    min_labels : int
        Fewest labels that a task may have.
    check_times : bool
        Whether times must read as times; otherwise they may be names of any kind.
    read : ReadConfig, optional
        What is known of the files.
    strata_column : str, optional
        Column of strata, within which intervals shall hold.

    Returns
    -------
    MoleculeTable

    Raises
    ------
    InputError
        For what is wrong in the tables, naming file, column and rows; `TableError` where that is
        several things, all of which it names.
    """
    wanted = Wanted(config, quality_column, qualities, on_bad_smiles, min_labels, check_times)
    wanted = replace(wanted, read=read, strata_column=strata_column)
    return load_sources(config.tables(data_path), wanted)


def load_sources(sources: Sequence[SourceConfig], wanted: Wanted) -> MoleculeTable:
    """Read, check and convert tables, and stack their rows; see `load_molecules`."""
    names = {source.path and Path(source.path).name for source in sources}
    reading = Reading(wanted, Faults(names.pop() if len(names) == 1 else None))
    parts = [reading.source(source) for source in sources]
    reading.check_labels()
    reading.faults.check()
    tables = [part for part in parts if part is not None]
    table = stack(tables if len(tables) == 1 else [_with_source(table) for table in tables])
    return with_given_split(table, wanted.config)


def _with_source(table: MoleculeTable) -> MoleculeTable:
    """Return a table whose notes say which of several it is."""
    name = table.origin["source"][0] if len(table) else "a source"
    return replace(table, notes=tuple(f"{name}: {note}" for note in table.notes))


@dataclass(frozen=True)
class _Table:
    """The table of a source as it lies on disk, N rows.

    Parameters
    ----------
    source : SourceConfig
        What is to be read of it.
    frame : DataFrame
        Its cells, as far as they are used.
    header : list of str
        Names of all its columns.
    where : str
        What messages call it.
    columns : list of ColumnSource or None, length T
        The column of each target, None where it has none.
    notes : list of str
        How it was read.
    """

    source: SourceConfig
    frame: pl.DataFrame
    header: list[str]
    where: str
    columns: list[ColumnSource | None]
    notes: list[str]

    @cached_property
    def smiles(self) -> list[str | None]:
        """SMILES of each row: one text, whoever holds it."""
        return text_column(self.frame, self.source.smiles_column, where=self.where).to_list()

    def parts(self, read: ReadConfig | None) -> Iterator[list[str | None]]:
        """Yield the SMILES of some thousand rows at a time, read as they are asked for."""
        name = self.source.smiles_column
        if self.source.dataset == DEMO:
            yield self.smiles
            return
        files = TableFiles.find([_path(self.source)], read=read)
        yield from (frame[name].to_list() for frame in files.texts([name], _AT_A_TIME))

    @property
    def ids(self) -> pl.Series:
        """Name of each row: its number where no column holds names."""
        if self.source.id_column is not None:
            return self.frame[self.source.id_column].cast(pl.String)
        return pl.int_range(1, self.frame.height + 1, eager=True).cast(pl.String)


@dataclass(frozen=True)
class _Cells:
    """What some rows of a source say besides their structures.

    Parameters
    ----------
    rows : Series
        Their numbers, from 1 below the header.
    numbers : list of Measured or None, length T
        Values of each target as the table has them, and which are bounds; None where it has none.
    signs : list of ndarray or None, length T
        Censoring of each target, where its cells or a column of signs say it.
    quality, times, given, series, strata : list or None
        Where they are asked for.
    """

    rows: pl.Series
    numbers: list[Measured | None]
    signs: list[SignArray | None]
    quality: list[str] | None
    times: list[Any] | None
    given: list[str] | None
    series: list[Any] | None
    strata: list[str] | None


class Reading:
    """Reads sources one by one and collects what is wrong with all of them.

    Parameters
    ----------
    wanted : Wanted
        What is read.
    faults : Faults
        What is wrong.

    Attributes
    ----------
    faulty : set of str
        Tasks that have a fault of their own.
    """

    def __init__(self, wanted: Wanted, faults: Faults) -> None:
        self.wanted = wanted
        self.faults = faults
        self.faulty: set[str] = set()
        self._tasks = tuple(wanted.config.target_columns)
        self._labels = np.zeros(len(self._tasks), dtype=np.int64)
        self._sources = self._counted = 0

    def source(self, source: SourceConfig) -> MoleculeTable | None:
        """Return the table of one source; None where it has faults."""
        before = len(self.faults)
        self._sources += 1
        table = _read_source(source, self.wanted, self._tasks)
        source, frame, where = table.source, table.frame, table.where
        self._require(table)
        # Where every row must be right, cells are looked at before minutes of parsing.
        every = np.arange(frame.height)
        cells = self._cells(table, every) if self.wanted.strict else None
        self._count(cells)
        wrong = len(self.faults) > before
        if source.smiles_column not in table.header or (wrong and frame.height > _QUICK):
            return None
        cache = cache_folder(self.wanted.config.cache_dir)
        identified = self._identified(table, cache)
        if identified is None:
            return None
        smiles, found = identified
        with self.faults.catching():
            _check_smiles(found, source.smiles_column, where, self.wanted.on_bad_smiles)
        parsed = found.parsed
        if not len(parsed):
            return None
        if cells is None:
            cells = self._cells(table, parsed)
            self._count(cells)
        targets = self._converted(table, cells, found.masses)
        if len(self.faults) > before:
            return None
        seen = self._seen(smiles, found, cache)
        read = _molecules(table, smiles, found, cells, targets, self._tasks, seen)
        return replace(read, scales=self.wanted.config.scales)

    def _identified(
        self, table: _Table, cache: Path | None
    ) -> tuple[Sequence[str | None], Identities] | None:
        """Return the SMILES and what they are; None where their column is none of text."""
        how = self.wanted.config.standardize
        found: tuple[Sequence[str | None], Identities] | None = None
        with self.faults.catching():
            if self.wanted.counted:
                found = identify_parts(table.parts(self.wanted.read), cache, how)
            else:
                found = table.smiles, identify(table.smiles, cache, how=how)
        return found

    def _seen(
        self, smiles: Sequence[str | None], found: Identities, cache: Path | None
    ) -> list[str] | None:
        """Return the structure of each row that models see; None where it is as given."""
        how = self.wanted.config.structure
        if how == "given" or self.wanted.counted:
            return None
        if how != self.wanted.config.standardize:
            found = identify(smiles, cache, how=how)
        # What had nothing to be changed is as written: as one text it is one molecule to a model.
        texts = [text or "" for text in smiles]
        as_given = [i for i, text in enumerate(texts) if found.structures[i] == text]
        written = canonical_smiles([texts[i] for i in as_given])
        return _replaced(found.structures, as_given, written)

    def _count(self, cells: _Cells | None) -> None:
        if cells is not None:
            counts = [0 if n is None else n.values.count() for n in cells.numbers]
            self._labels += np.array(counts, dtype=np.int64)
        self._counted += cells is not None

    def check_labels(self) -> None:
        """Note the tasks with too few labels, of which nothing else is wrong."""
        if self._counted < self._sources:
            return  # nobody knows what the others have
        least = self.wanted.min_labels
        for name, n in zip(self._tasks, self._labels.tolist(), strict=True):
            if n < least and name not in self.faulty:
                self.faults.take(_too_few(name, n, least))
                self.faulty.add(name)

    @contextmanager
    def _of_task(self, task: str) -> Iterator[None]:
        """Take the faults of what the block raises, and know whose they are."""
        before = len(self.faults)
        with self.faults.catching():
            yield
        if len(self.faults) > before:
            self.faulty.add(task)

    def _require(self, table: _Table) -> None:
        """Note the columns that are missing; a mistyped name is the most common fault."""
        source, header, where = table.source, table.header, table.where
        keys = {"data.smiles_column": source.smiles_column, "data.id_column": source.id_column}
        for key, name in keys.items():
            if name is not None:
                with self.faults.catching():
                    require_columns(header, [name], key=key, where=where)
        for task, column in zip(self._tasks, table.columns, strict=True):
            if column is not None:
                with self._of_task(task):
                    key = self.wanted.target_key
                    require_columns(header, [column.column], key=key, where=where)

    def _cells(self, table: _Table, at: IntArray) -> _Cells:
        """Read the cells of rows, by position, and note which are wrong."""
        part = table.frame[at] if len(at) < table.frame.height else table.frame
        rows = pl.Series(at + 1)  # the first row below the header is 1
        quality = times = given = series = strata = None
        with self.faults.catching():
            quality = read_quality(part, table.source, self.wanted, rows, table.where)
        with self.faults.catching():
            times = read_times(part, table.source, self.wanted, rows, table.where)
        with self.faults.catching():
            given = split_cells(part, table.source, self.wanted.config, rows, table.where)
        with self.faults.catching():
            series = series_cells(part, table.source, self.wanted.config, table.where)
        with self.faults.catching():
            strata = read_strata(part, self.wanted, table.where)
        numbers = self._numbers(part, table, rows)
        signs = self._signs(part, table, numbers, rows)
        return _Cells(rows, numbers, signs, quality, times, given, series, strata)

    def _numbers(self, part: pl.DataFrame, table: _Table, rows: pl.Series) -> list[Measured | None]:
        found: list[Measured | None] = [None] * len(self._tasks)
        for t, (task, column) in enumerate(zip(self._tasks, table.columns, strict=True)):
            if column is not None and column.column in part.columns:
                with self._of_task(task):
                    found[t] = measured_column(part, column.column, where=table.where, rows=rows)
        return found

    def _signs(
        self,
        part: pl.DataFrame,
        table: _Table,
        numbers: Sequence[Measured | None],
        rows: pl.Series,
    ) -> list[SignArray | None]:
        in_cells = [None if one is None or not one.signs.any() else one.signs for one in numbers]
        found: list[SignArray | None] = list(in_cells)
        modifiers: list[str | None] = [None] * len(self._tasks)
        with self.faults.catching():
            modifiers = _modifiers(table)
        for t, (task, column) in enumerate(zip(self._tasks, table.columns, strict=True)):
            if column is not None and (modifier := modifiers[t]) is not None:
                with self._of_task(task):
                    signs = read_signs(part, modifier, where=table.where, rows=rows)
                    found[t] = _both(signs, in_cells[t], column.column, modifier, table, rows)
            # A conversion that falls turns an upper bound into a lower one.
            if column is not None and (own := found[t]) is not None:
                found[t] = -own if reverses_order(column.transform) else own
        return found

    def _converted(self, table: _Table, cells: _Cells, masses: FloatArray) -> FloatArray:
        """Return the targets [N, T] of the rows of `cells`; notes where a conversion fails."""
        of_rows = masses[cells.rows.to_numpy() - 1]
        # A row without a structure is a fault of its own, and its label none.
        of_rows = np.where(np.isnan(of_rows), 1.0, of_rows)
        targets = np.full((len(cells.rows), len(self._tasks)), np.nan)
        for t, (column, numbers) in enumerate(zip(table.columns, cells.numbers, strict=True)):
            if column is None or numbers is None:
                continue
            with self._of_task(self._tasks[t]):
                targets[:, t] = transform(
                    numbers.values.fill_null(np.nan).to_numpy(),
                    [*column.transform, *self._scale(t)],
                    molar_mass=of_rows,
                    name=column.column,
                    where=table.where,
                    rows=cells.rows,
                )
        return targets

    def _scale(self, t: int) -> list[Step]:
        scale = self.wanted.config.transform.get(self._tasks[t], "none")
        return [] if scale == "none" else [scale]


def _molecules(
    table: _Table,
    smiles: Sequence[str | None],
    found: Identities,
    cells: _Cells,
    targets: FloatArray,
    tasks: tuple[str, ...],
    seen: list[str] | None,
) -> MoleculeTable:
    """Return the rows that parse as molecules, the others listed."""
    parsed, ids, where = found.parsed, table.ids, table.where
    rejected = [(bad.row + 1, ids[bad.row], where, bad.smiles, bad.reason) for bad in found.bad]
    return MoleculeTable(
        task_names=tasks,
        smiles=_of_rows(smiles, parsed),
        groups=found.groups(),
        targets=targets,
        quality=cells.quality,
        times=cells.times,
        hold_out=np.full(len(parsed), table.source.hold_out),
        origin=_origin(ids, where, parsed),
        dropped=rejected_rows(rejected),
        censoring=_censoring(cells, targets.shape),
        structures=_of_rows(found.structures, parsed),
        model_smiles=None if seen is None else [seen[i] for i in parsed.tolist()],
        series=cells.series,
        given=cells.given,
        n_as_given=len(found.as_given),
        columns=tuple(table.header),
        units_of_tasks=tuple(
            _unit(*pair) for pair in zip(table.columns, cells.numbers, strict=True)
        ),
        strata=cells.strata,
        notes=(*table.notes, *_interpreted(table, cells)),
    )


def _of_rows(texts: Sequence[str | None], rows: IntArray) -> Sequence[str]:
    """Return the texts of some rows, held as all are."""
    some = (texts[i] or "" for i in rows.tolist())
    if not isinstance(texts, StoredTexts):
        return list(some)
    return texts if len(rows) == len(texts) else StoredTexts(some)


def _origin(ids: pl.Series, where: str, rows: IntArray) -> pl.DataFrame:
    return pl.DataFrame({"id": ids.gather(rows), "row": rows + 1}).select(
        "id", pl.lit(where).alias("source"), "row"
    )


def _replaced(texts: Sequence[str], at: list[int], new: list[str]) -> list[str]:
    found = list(texts)
    for i, text in zip(at, new, strict=True):
        found[i] = text
    return found


def _unit(column: ColumnSource | None, numbers: Measured | None) -> str | None:
    if column is None or numbers is None or numbers.unit is None:
        return None
    return converted_unit(numbers.unit, column.transform)


def _interpreted(table: _Table, cells: _Cells) -> list[str]:
    """Return what of the targets' cells was no plain number, counted."""
    return [
        f"{column.column}: {note}."
        for column, numbers in zip(table.columns, cells.numbers, strict=True)
        if column is not None and numbers is not None
        for note in numbers.notes
    ]


def _both(
    signs: SignArray,
    in_cells: SignArray | None,
    column: str,
    modifier: str,
    table: _Table,
    rows: pl.Series,
) -> SignArray:
    """Return the censoring that cells and their column of signs say, which may not contradict."""
    if in_cells is None:
        return signs
    bad = np.flatnonzero(in_cells * signs < 0).tolist()
    if bad:
        raise InputError(
            f"column {modifier!r}",
            expected=f"the signs that stand in {column!r}",
            found=f"another in row {rows[bad[0]]}",
            where=table.where,
            hint=f"Rows: {listed([rows[i] for i in bad])}." if len(bad) > 1 else None,
        )
    return np.where(signs == 0, in_cells, signs).astype(np.int8)


def _modifiers(table: _Table) -> list[str | None]:
    """Return the column of signs of each target, None where there is none."""
    columns, frame, suffix = table.columns, table.frame, table.source.modifier_suffix
    named = [c.modifier for c in columns if c is not None and c.modifier is not None]
    require_columns(frame, named, key="data.modifier_columns", where=table.where)
    # Only some targets need have a column of signs; none at all means that the ending is mistyped.
    guesses = [None if c is None or suffix is None else c.column + suffix for c in columns]
    if suffix is not None and not any(guess in frame.columns for guess in guesses):
        wanted = next(guess for guess in guesses if guess is not None)
        raise InputError(
            "data.modifier_suffix",
            expected="an ending of columns of the table",
            found=f"{suffix!r}, and no column {wanted!r}",
            where=table.where,
            hint=did_you_mean(wanted, frame.columns),
        )
    return [
        c.modifier if c is not None and c.modifier else guess if guess in frame.columns else None
        for c, guess in zip(columns, guesses, strict=True)
    ]


def _censoring(cells: _Cells, shape: tuple[int, ...]) -> SignArray | None:
    if all(signs is None for signs in cells.signs):
        return None
    censoring = np.zeros(shape, dtype=np.int8)
    for t, signs in enumerate(cells.signs):
        if signs is not None:
            censoring[:, t] = signs
    return censoring


def refuse_bad_smiles(
    path: str | Path, column: str, read: ReadConfig | None = None, *, given: bool = True
) -> None:
    """Raise `InputError` where a SMILES of a table does not parse, naming the rows."""
    frame, where = read_table(path, read), Path(path).name
    column = smiles_column_of(frame.columns, column, given=given)
    require_columns(frame, [column], key="data.smiles_column", where=where)
    smiles = text_column(frame, column, where=where).to_list()
    raise_bad_smiles(parse_smiles(smiles).bad, len(smiles), column, where)


def raise_bad_smiles(bad: Sequence[BadSmiles], n: int, column: str, where: str) -> None:
    """Raise `InputError` of the SMILES that do not parse, of `n`; nothing where all do."""
    if not bad:
        return
    row, text, reason = bad[0]
    raise InputError(
        f"column {column!r}",
        expected="SMILES that RDKit parses",
        found=f"{'nothing' if text is None else repr(text)} in row {row + 1} ({reason})",
        where=where,
        hint=f"Rows: {listed([b.row + 1 for b in bad])} ({len(bad)} of {n}). "
        "--on-bad-smiles drop leaves them out, keep also lists them among predictions.",
    )


def _check_smiles(found: Identities, column: str, where: str, on_bad: OnBadSmiles) -> None:
    if on_bad == "error":
        raise_bad_smiles(found.bad, len(found.masses), column, where)
    if len(found.bad) == len(found.masses):
        raise InputError(
            f"column {column!r}", expected="SMILES", found="no row that parses", where=where
        )


def _read_source(source: SourceConfig, wanted: Wanted, tasks: Sequence[str]) -> _Table:
    """Return the table of a source, with the columns that are used."""
    columns = [source.column_for(task) for task in tasks]
    if source.dataset == DEMO:
        from molpool_pipelines.demo import build_demo

        frame = build_demo()
        return _Table(source, frame, frame.columns, DEMO, columns, [])
    path = _path(source)
    where = "standard input" if str(path) == "-" else path.name
    if not wanted.counted:
        frame, reading = open_table(path, wanted.read)
        source, said = _with_smiles(source, frame.columns)
        return _Table(source, frame, frame.columns, where, columns, [*said, *reading.sentences()])
    header = TableFiles.find([path], read=wanted.read).columns
    source, said = _with_smiles(source, header)
    used = _used(source, wanted, columns, header)
    frame, reading = open_table(path, wanted.read, names=used)
    return _Table(source, frame, header, where, columns, [*said, *reading.sentences()])


def _with_smiles(source: SourceConfig, header: Sequence[str]) -> tuple[SourceConfig, list[str]]:
    """Return a source with the column of SMILES that its table has, and a sentence of another."""
    own = source.smiles_column
    found = smiles_column_of(header, own, given=source.is_given("smiles_column"))
    if found == own:
        return source, []
    return source.model_copy(update={"smiles_column": found}), [f"SMILES: column {found!r}."]


def _used(
    source: SourceConfig,
    wanted: Wanted,
    columns: Sequence[ColumnSource | None],
    header: Sequence[str],
) -> list[str]:
    """Return the columns that are read besides that of SMILES; all where one is missing."""
    config, known = wanted.config, [c for c in columns if c is not None]
    needed = {source.id_column, *(c.column for c in known), *(c.modifier for c in known)}
    needed |= {wanted.strata_column, None if source.quality else wanted.quality_column}
    times = config.time_column if config.split_type == "time" else None
    # Rows that only train are never split.
    needed |= {config.split_column, config.group_column, times} if source.hold_out else set()
    suffix = source.modifier_suffix
    signs = set() if suffix is None else {c.column + suffix for c in known}.intersection(header)
    # A message names the nearest of all columns.
    missing = needed - {None, *header} or (suffix is not None and not signs)
    names = header if missing else needed | signs | {config.group_column}
    # Without any the number of rows would not be known.
    return [c for c in header if c in names and c != source.smiles_column] or [*header[:1]]


def _path(source: SourceConfig) -> Path:
    return Path(source.path) if source.path else locate(source.dataset or "", source.file)


def _too_few(name: str, n: int, least: int) -> InputError:
    return InputError(
        f"task {name!r}",
        expected=f"at least {'two' if least == 2 else least} labels",
        found="no label at all" if n == 0 else "one label" if n == 1 else f"{n} labels",
        hint="Leave it out of data.target_columns, or --data.unlabelled-tasks drop.",
    )
