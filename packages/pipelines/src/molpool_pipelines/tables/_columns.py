"""Which columns of a table hold SMILES, names, quality and tasks, where the user did not say.

One rule for every command: the tasks are the columns of numbers, but for those that another key
names and those whose name tells that they number or divide the rows. Where names leave it open
whether a column is a measurement (an error beside a value, a descriptor of the structure), a
command that trains asks.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from molpool_common import (
    ConfigModel,
    Faults,
    InputError,
    listed,
    measured_column,
    open_table,
    read_cell,
    require_columns,
    smiles_column_of,
)

from molpool_pipelines.datasets import locate
from molpool_pipelines.demo import DEMO_TASKS
from molpool_pipelines.tables._roles import is_about_another, plain_name, role_by_name, roles
from molpool_pipelines.tables._table_config import DEMO

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


def choose_columns(
    frame: pl.DataFrame,
    columns: Columns,
    where: str,
    *,
    taken: Collection[str] = (),
    ask: bool = False,
) -> tuple[Columns, list[str]]:
    """Fill in the columns that the user did not name, and say which.

    Parameters
    ----------
    frame : DataFrame
        The table.
    columns : Columns
        What the user named.
    where : str
        What messages call the table.
    taken : collection of str
        Columns that are named as something else, and are no task.
    ask : bool
        Whether a table of which names leave open what is a task is refused; else the columns in
        doubt are left out, and said.

    Raises
    ------
    InputError
        If a column is not there, none has numbers, or it is open which are tasks.
    """
    return chosen_columns(LookedAt.of(frame), columns, where, taken=taken, ask=ask)


def chosen_columns(
    table: LookedAt,
    columns: Columns,
    where: str,
    *,
    taken: Collection[str] = (),
    ask: bool = False,
) -> tuple[Columns, list[str]]:
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
        known = {smiles, quality, columns.identity, *taken}
        others = [name for name in table.names if name not in known]
        # A row of units below the header, or of totals under it, has no structure.
        rows = table[smiles][smiles].is_not_null()
        found = _NumberColumns.of(table, others, rows, where)
        targets = found.choose(others, where, ask=ask)
        notes.append(found.note(targets))
    return Columns(smiles, columns.identity, quality, targets), notes


_DIVIDE = frozenset(("id", "fold", "split", "plate", "weight", "quality", "time"))
"""Roles by name of columns of numbers that are tasks only where they are named."""

_DESCRIPTORS = 3
"""Columns named as RDKit's descriptors from which on they are taken for such, not for tasks."""


@dataclass
class _NumberColumns:
    """The columns of numbers of a table, by what their names tell.

    Parameters
    ----------
    tasks : list of str
        Of which names tell nothing.
    dividing : list of str
        That number or divide the rows.
    doubtful : list of str
        That may be about another column, or computed of the structure.
    almost : list of str
        Sentences of those that hold something else besides.
    """

    tasks: list[str] = field(default_factory=list)
    dividing: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    almost: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, table: LookedAt, names: Sequence[str], rows: pl.Series, where: str
    ) -> _NumberColumns:
        """Look at columns in some rows."""
        found = cls()
        for name in names:
            numbers = _numbers(table[name], name, rows, where)
            if isinstance(numbers, str):
                found.almost.append(numbers)
            # A column of text with a single word is no task.
            if isinstance(numbers, pl.Series) and len(numbers):
                # A number that differs in every row, without a fraction, numbers the rows.
                is_index = len(numbers) == rows.sum() > 2 and numbers.n_unique() == len(numbers)
                found._add(name, is_index=is_index and bool((numbers % 1 == 0).all()))
        of_structure = [name for name in found.tasks if plain_name(name) in _descriptor_names()]
        if len(of_structure) >= _DESCRIPTORS:
            found.tasks = [name for name in found.tasks if name not in of_structure]
            found.doubtful += of_structure
        return found

    def _add(self, name: str, *, is_index: bool) -> None:
        if is_index or role_by_name(name) in _DIVIDE:
            self.dividing.append(name)
        else:
            (self.doubtful if is_about_another(name) else self.tasks).append(name)

    def choose(self, looked_at: Sequence[str], where: str, *, ask: bool) -> tuple[str, ...]:
        """Return the tasks; raise where there are none, or it is open which and `ask`."""
        if not self.tasks and not self.doubtful:
            numbering = [f"{name}: numbers the rows; name it to use it." for name in self.dividing]
            raise InputError(
                "--target-columns",
                expected="a column of numbers in the table",
                found=f"none among {listed(looked_at)}" if looked_at else "no other column",
                where=where,
                hint=" ".join([*numbering, *self.almost]) or None,
            )
        if self.doubtful and ask:
            flags = shlex.join(["--target-columns", *(self.tasks or self.doubtful)])
            raise InputError(
                "--target-columns",
                expected="the columns to predict, as some columns of numbers may be no "
                f"measurements: {listed(self.doubtful)}",
                found="none named",
                where=where,
                hint=f"The likeliest: {flags}",
            )
        return tuple(self.tasks or self.doubtful)

    def note(self, tasks: Sequence[str]) -> str:
        """Return what was found in a sentence, and what was left out in others."""
        what = "the column" if len(tasks) == 1 else f"all {len(tasks)} columns"
        note = f"Tasks are {what} of numbers, as no --target-columns were given"
        if self.dividing:
            number = "they number or divide the rows"
            note += f"; left out, because {number}: {listed(self.dividing)}"
        if open_ := [name for name in self.doubtful if name not in tasks]:
            note += f"; left out, as they may be no measurements: {listed(open_)}"
        return " ".join([f"{note}.", *self.almost])


@cache
def _descriptor_names() -> frozenset[str]:
    # Takes a while to import, and few tables come here.
    from rdkit.Chem import Descriptors

    return frozenset(plain_name(name) for name, _ in Descriptors.descList)


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


ConfigT = TypeVar("ConfigT", bound=ConfigModel)


def with_tasks(config: ConfigT) -> tuple[ConfigT, list[str]]:
    """Return the configuration of a command that trains with its tasks, found where none are named.

    Parameters
    ----------
    config : ConfigModel
        With ``data_path``, ``data`` and ``read``: of molecules, or of bags made of SMILES. Where
        it names tasks, or several tables, it is returned as it is; so are bags of other kinds,
        whose columns of numbers may be features.

    Returns
    -------
    config : ConfigModel
    notes : list of str
        Which were found.

    Raises
    ------
    InputError
        If the table has no column of SMILES or none of numbers, or it is open which are tasks.
    """
    section: Any = getattr(config, "data", None)
    if section is None:  # a study of something else than tables
        return config, []
    named = section.target_columns or getattr(config, "tasks", None)
    if named or getattr(section, "sources", None) or getattr(section, "kind", "smiles") != "smiles":
        return config, []
    if section.is_given("target_columns"):
        raise InputError(
            "--target-columns",
            expected="columns to predict, or no such flag: then all that look like tasks",
            found="none behind it",
        )
    path, dataset = getattr(config, "data_path", None), getattr(section, "dataset", None)
    if dataset == DEMO and path is None:
        found = section.model_copy(update={"target_columns": list(DEMO_TASKS)})
        return config.model_copy(update={"data": found}), []
    if (path is None) == (dataset is None):
        return config, []  # what reads the table says what is missing
    file = Path(path) if path is not None else locate(str(dataset), section.file)
    frame, _ = open_table(file, getattr(config, "read", None))
    smiles = section.smiles_column if section.is_given("smiles_column") else None
    taken = [name for name, of in roles(config, frame.columns).items() if of.is_named]
    columns, notes = choose_columns(
        frame, Columns(smiles, section.id_column), file.name, taken=taken, ask=True
    )
    tasks = list(columns.targets)
    update = {"smiles_column": columns.smiles, "target_columns": tasks}
    if hasattr(section, "unlabelled_tasks") and not section.is_given("unlabelled_tasks"):
        # What nobody asked for by name is no fault of the table.
        update["unlabelled_tasks"] = "drop"
    data = section.model_copy(update=update)
    return config.model_copy(update={"data": data}), [*notes, f"Tasks: {listed(tasks, 20)}."]
