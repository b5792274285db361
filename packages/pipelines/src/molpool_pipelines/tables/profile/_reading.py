"""The table to describe: its columns chosen, its molecules read."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import (
    ConfigModel,
    Faults,
    InputError,
    MoleculeTable,
    ReadConfig,
    Standardize,
    listed,
    measured_column,
    missing_words,
    open_table,
    read_cell,
    read_yaml,
    require_columns,
    smiles_column_of,
    table_reading,
    validate_config,
)
from pydantic import ConfigDict, Field
from sampling_core import JointSamplingConfig

from molpool_pipelines.datasets import locate, registry
from molpool_pipelines.demo import DEMO_NOTICE, DEMO_TASKS, build_demo
from molpool_pipelines.tables._cells import Wanted
from molpool_pipelines.tables._molecules import DEMO, load_sources
from molpool_pipelines.tables._roles import roles_note
from molpool_pipelines.tables._table_config import DataConfig, OnBadSmiles, SourceConfig
from molpool_pipelines.tables._table_files import TableFiles
from molpool_pipelines.tables._training_check import TrainingCheck, check_training
from molpool_pipelines.tables._values import describe_signs

_OF_ROWS = {
    *("fold", "split", "weight", "weights", "plate", "batch", "index", "row", "year", "date"),
}
"""Names of columns of numbers that are tasks only where they are named."""

QUALITY = "Quality"
"""Column of quality labels that is used where it is there and none is named."""


@dataclass(frozen=True)
class Columns:
    """What the user said about the columns.

    Parameters
    ----------
    smiles, identity, quality : str or None
        Columns of SMILES, molecule names and quality labels.
    targets : tuple of str
        Tasks; empty for all columns of numbers.
    """

    smiles: str | None = None
    identity: str | None = None
    quality: str | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """A table to describe.

    Parameters
    ----------
    name : str
        What the page calls it.
    table : MoleculeTable
        Rows whose SMILES parse.
    notes : list of str
        What was chosen for the user.
    training : TrainingCheck or None
        What training would say of it.
    facts : dict of str to str
        Format, encoding and marks of the file, and how it writes missing values.
    """

    name: str
    table: MoleculeTable
    notes: list[str]
    training: TrainingCheck | None = None
    facts: dict[str, str] = field(default_factory=dict)


class _RunFile(ConfigModel):
    """What of a training configuration concerns its table."""

    model_config = ConfigDict(extra="ignore")

    data_path: str | None = None
    read: ReadConfig = Field(default_factory=ReadConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)


def read_configured(
    config: Path,
    quality: str | None,
    on_bad_smiles: OnBadSmiles = "drop",
    standardize: Standardize | None = None,
) -> Described:
    """Read the tables of the ``data`` section of a training configuration.

    Parameters
    ----------
    config : Path
        The YAML file; keys other than ``data_path``, ``data`` and ``joint_sampling`` are not looked
        at.
    quality : str or None
        Column of quality labels for sources that do not give one label for all their rows; by
        default that of the curriculum, where it is on.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows whose SMILES do not parse.
    standardize : {"none", "parent", "tautomer"}, optional
        By which structure rows are one molecule; by default that of the section.

    Raises
    ------
    InputError
        For anything wrong in the section or in the tables.
    """
    run = validate_config(_RunFile, read_yaml(config))
    data = run.data
    sources = data.tables(run.data_path)
    curriculum = run.joint_sampling.curriculum
    # Quality is read only where it is used: a table without the column is described too.
    tiered = all(source.quality is not None for source in sources)
    if quality is None and (tiered or (run.joint_sampling.enabled and curriculum.enabled)):
        quality = curriculum.quality_col
    # Times are for splitting, which nothing here does.
    compared = {"standardize": standardize or data.standardize}
    unsplit = data.model_copy(update={"split_type": "random", **compared})
    # The loader of training, so that a profile counts what would be trained on.
    command = ["molpool-train", "chemprop", "--config", str(config)]
    wanted = Wanted(unsplit, quality, on_bad_smiles=on_bad_smiles, read=run.read, counted=True)
    table, training = _checked(sources, wanted, command)
    notes = [f"The data section of {config.name}, units converted.", *table.notes]
    notes.append(roles_note(run, table.columns))
    if table.censoring is not None:
        bounds = describe_signs(table.targets, table.censoring, table.task_names)
        notes.append(f"Labels that are bounds, and count as labels here: {bounds or 'none'}.")
    if any(source.dataset == DEMO for source in sources):
        notes.append(DEMO_NOTICE)
    return Described(config.name, table, notes, training)


def read_named(
    table: str,
    file: str | None,
    columns: Columns,
    on_bad_smiles: OnBadSmiles = "drop",
    read: ReadConfig | None = None,
    standardize: Standardize = "parent",
) -> Described:
    """Read a file, a data set of the registry, or the demo.

    Parameters
    ----------
    table : str
        A file, or a name where there is no such file.
    file : str or None
        Which file of the data set.
    columns : Columns
        What is in it.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows whose SMILES do not parse.
    read : ReadConfig, optional
        What is known of the file.
    standardize : {"none", "parent", "tautomer"}
        By which structure rows are one molecule.

    Raises
    ------
    InputError
        For anything wrong in the table, a column that is not there, or no column of numbers.
    """
    source_name, where, looked_at = _open(table, file, read)
    if source_name == DEMO:
        columns = replace(columns, targets=columns.targets or DEMO_TASKS)
    chosen, notes = chosen_columns(looked_at, columns, where)
    if source_name == DEMO:
        notes.append(DEMO_NOTICE)
    source = SourceConfig(
        path=None if source_name == DEMO else source_name,
        dataset=DEMO if source_name == DEMO else None,
        smiles_column=chosen.smiles or "",
        id_column=chosen.identity,
        columns={name: name for name in chosen.targets},
    )
    data = DataConfig(target_columns=list(chosen.targets), standardize=standardize)
    place = ["--data.dataset", source_name] if source_name == DEMO else ["--data-path", source_name]
    command = ["molpool-train", "chemprop", *place]
    for flag, name, default in (
        ("--smiles-column", chosen.smiles, "SMILES"),
        ("--data.id-column", chosen.identity, None),
    ):
        command += [flag, name] if name is not None and name != default else []
    command += [] if read is None else read.flags()
    wanted = Wanted(
        data,
        chosen.quality,
        on_bad_smiles=on_bad_smiles,
        target_key="--target-columns",
        read=read,
        counted=True,
    )
    facts = {} if source_name == DEMO else _facts(source_name, looked_at, chosen, read)
    loaded, training = _checked([source], wanted, command)
    return Described(where, loaded, [*loaded.notes, *notes], training, facts)


def _checked(
    sources: Sequence[SourceConfig], wanted: Wanted, command: Sequence[str]
) -> tuple[MoleculeTable, TrainingCheck]:
    """Return the table, and what training would say of it; raises all that it says."""
    try:
        table = load_sources(sources, wanted)
    except InputError as error:
        raise check_training(sources, wanted, command).refuse(error) from None
    return table, check_training(sources, wanted, command, table)


_CELLS = 20_000_000
"""Of a table that are in memory together while its columns are chosen."""


@dataclass
class LookedAt:
    """A table whose columns are looked at, some in memory at a time.

    Parameters
    ----------
    names : list of str
        Of its columns.
    some : callable
        Reads columns.
    """

    names: list[str]
    some: Callable[[Sequence[str]], pl.DataFrame]
    height: int = 0
    held: pl.DataFrame = field(default_factory=pl.DataFrame)

    @classmethod
    def of(cls, frame: pl.DataFrame) -> LookedAt:
        """Return one that is in memory already."""
        return cls(frame.columns, frame.select)

    def __getitem__(self, name: str) -> pl.DataFrame:
        """Return a column, read with as many after it as memory may hold."""
        if name not in self.held.columns:
            self.held = pl.DataFrame()
            at = self.names.index(name)
            most = max(1, _CELLS // self.height) if self.height else 1
            self.held = self.some(self.names[at : at + most])
            self.height = self.held.height
        return self.held.select(name)


def _open(table: str, file: str | None, read: ReadConfig | None) -> tuple[str, str, LookedAt]:
    """Return the path of the table, what messages call it, and its columns (of the demo, a few)."""
    # A file takes precedence over a data set of the same name; an unknown name is a file that is
    # missing.
    if os.path.lexists(table) or (table != DEMO and table not in registry()):
        if file is not None:
            raise InputError(
                "--file", expected="a data set of several files beside it", found=f"{table!r}"
            )
        key = "TABLE"
        names = TableFiles.find([table], key, read=read).columns
        return table, Path(table).name, LookedAt(names, _reads(table, read, key))
    if table == DEMO:
        # Only its columns are looked at here, and all of it takes seconds to build.
        return DEMO, DEMO, LookedAt.of(build_demo(n=100))
    path = locate(table, file)
    names = TableFiles.find([path], read=read).columns
    return str(path), path.name, LookedAt(names, _reads(path, read, "data_path"))


def _reads(
    path: str | Path, read: ReadConfig | None, key: str
) -> Callable[[Sequence[str]], pl.DataFrame]:
    return lambda names: open_table(path, read, key=key, names=names)[0]


def _facts(
    source: str, table: LookedAt, columns: Columns, read: ReadConfig | None
) -> dict[str, str]:
    """Return how a table is read; how often columns that are used have no value, and its words."""
    named = (columns.smiles, columns.quality, *columns.targets)
    used = [name for name in table.names if name in named]
    files = TableFiles.find([source], read=read)
    gaps: Counter[str] = Counter()
    for chunk in files.chunks(used):
        gaps.update({name: chunk.frame[name].null_count() for name in used})
    facts = table_reading(files.files[0], read).facts()
    gaps = +gaps
    if not gaps:
        return facts
    words: dict[str, Counter[str]] = {name: Counter() for name in gaps}
    for file in files.files:
        for name, counts in missing_words(file, list(gaps), read).items():
            words[name].update(counts)
    parts = []
    for name, n in gaps.items():
        written = words[name]
        empty = n - sum(written.values())
        said = [f"{count:,} {word!r}" for word, count in written.items()]
        parts.append(f"{name}: " + ", ".join([*said, *([f"{empty:,} empty"] if empty else [])]))
    return {**facts, "Missing values": listed(parts)}


def choose_columns(frame: pl.DataFrame, columns: Columns, where: str) -> tuple[Columns, list[str]]:
    """Fill in the columns that the user did not name, and say which.

    Parameters
    ----------
    frame : DataFrame
        The table.
    columns : Columns
        What the user named.
    where : str
        What messages call the table.

    Raises
    ------
    InputError
        If a column is not there, or none has numbers.
    """
    return chosen_columns(LookedAt.of(frame), columns, where)


def chosen_columns(table: LookedAt, columns: Columns, where: str) -> tuple[Columns, list[str]]:
    """Fill in the columns that the user did not name; see `choose_columns`."""
    notes = []
    smiles = columns.smiles or smiles_column_of(table.names, "SMILES", given=False)
    faults = Faults(where)
    for key, name in (
        ("--smiles-column", smiles),
        ("--id-column", columns.identity),
        ("--quality-column", columns.quality),
    ):
        with faults.catching():
            named = [name] if name is not None else []
            require_columns(table.names, named, key=key, where=where)
    faults.check()
    quality = columns.quality
    if quality is None and QUALITY in table.names:
        missing = table[QUALITY][QUALITY].null_count()
        quality = None if missing else QUALITY
        if missing:
            notes.append(f"Column {QUALITY} not used: {missing} rows have no label in it.")
    targets = columns.targets
    if not targets:
        others = [c for c in table.names if c not in (smiles, quality, columns.identity)]
        # A row of units below the header, or of totals under it, has no structure.
        rows = table[smiles][smiles].is_not_null()
        targets, note = _number_columns(table, others, rows, where)
        notes.append(note)
    return Columns(smiles, columns.identity, quality, targets), notes


def _number_columns(
    table: LookedAt, names: Sequence[str], rows: pl.Series, where: str
) -> tuple[tuple[str, ...], str]:
    """Return which columns can be tasks by the numbers in some rows, and a sentence about it."""
    tasks: list[str] = []
    counted: list[str] = []
    almost: list[str] = []
    for name in names:
        numbers = _numbers(table[name], name, rows, where)
        if isinstance(numbers, str):
            almost.append(numbers)
        # A column of text with a single word is no task.
        if not isinstance(numbers, pl.Series) or numbers.is_empty():
            continue
        # A number that differs in every row, without a fraction, numbers the rows.
        if name.casefold() in _OF_ROWS:
            counted.append(name)
            continue
        is_index = len(numbers) == rows.sum() > 2 and numbers.n_unique() == len(numbers)
        (counted if is_index and (numbers % 1 == 0).all() else tasks).append(name)
    if not tasks:
        raise InputError(
            "--target-columns",
            expected="a column of numbers in the table",
            found=f"none among {listed(names)}" if names else "no other column",
            where=where,
            hint=" ".join(
                [*(f"{name}: numbers the rows; name it to use it." for name in counted), *almost]
            )
            or None,
        )
    what = "the column" if len(tasks) == 1 else f"all {len(tasks)} columns"
    note = f"Tasks are {what} of numbers, as no --target-columns were given"
    if counted:
        note += f"; left out, because they number or divide the rows: {listed(counted)}"
    return tuple(tasks), " ".join([f"{note}.", *almost])


_MOSTLY = 0.8
"""Share of a column's cells that are numbers from which on the others are taken for mistakes."""


def _numbers(frame: pl.DataFrame, name: str, rows: pl.Series, where: str) -> pl.Series | str | None:
    """Return the numbers of a column without gaps, what is wrong with it if most are, or None."""
    at = (rows & frame[name].is_not_null()).arg_true()
    column = frame[name].gather(at)
    try:
        # Most columns of text are told by their first cells.
        for cells in (column.head(100), column):
            numbers = measured_column(cells.to_frame(), name, where=where, rows=at + 1).values
        return numbers.drop_nulls()
    except InputError as error:
        if column.dtype != pl.String:
            return None
        share = np.mean([read_cell(text) is not None for text in column.head(1000)])
        return f"Left out: {error}" if share >= _MOSTLY else None
