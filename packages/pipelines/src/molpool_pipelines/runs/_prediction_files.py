"""Files of predictions: the names of their columns, and a description that says what each is.

In a file the prediction of ``TASK`` is ``TASK``, beside it ``TASK_sd``, ``TASK_lower``,
``TASK_upper``, ``TASK_at_floor``, ``TASK_at_ceiling``, ``TASK_class`` and, where it was measured,
``TASK_measured`` and ``TASK_modifier``.
Where one of these names is itself a task, the other column yields (``x sd`` beside the tasks ``x``
and ``x_sd``), and the description in the file's metadata says which column is what. In memory the
names are those of `molpool_pipelines.runs._columns`, which files had until 2026.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molpool_common import (
    RunFolder,
    ScaleName,
    TaskType,
    checked,
    table_metadata,
    table_reading,
    unit_of,
    write_table,
)

from molpool_pipelines.runs._columns import (
    AT_CEILING,
    AT_FLOOR,
    OUTSIDE,
    OWN_COLUMNS,
    SPLIT,
    truth_column,
    with_split,
)
from molpool_pipelines.runs._folder import PREDICTIONS

if TYPE_CHECKING:
    import polars as pl

MEASURED = "_measured"
"""Ending of the column of measured values."""

EARLIER_PREDICTED = " predicted"
"""Ending of predictions in memory, and in files until 2026."""

_OF_ROWS = {"similarity", "nearest", OUTSIDE, "error"}
"""Columns that prediction writes of each row, whatever the tasks."""

_IN_MEMORY = {
    "predicted": EARLIER_PREDICTED,
    "sd": "_sd",
    "lower": "_lower",
    "upper": "_upper",
    "at_floor": AT_FLOOR,
    "at_ceiling": AT_CEILING,
    "class": " decision",
    "modifier": " modifier",
}
"""Endings in memory by what a column is; that of measured values is `truth_column`."""


def file_columns(
    tasks: Sequence[str], roles: Iterable[str], others: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """Return the names of the columns of a file, by task and by what they are.

    Parameters
    ----------
    tasks : sequence of str
        All tasks of the file.
    roles : iterable of str
        What there is of each: ``predicted``, ``sd``, ``lower``, ``upper_80``, ``class``,
        ``measured``, ``modifier``.
    others : collection of str
        Columns that are of no task, and keep their names.
    """
    free = {*OWN_COLUMNS, *others}
    # Tasks first: what is called like a task is that task, whatever else it could be.
    found = {task: {"predicted": f"{task} predicted" if task in free else task} for task in tasks}
    taken = free | {of["predicted"] for of in found.values()}
    for task in tasks:
        for role in roles:
            if role != "predicted":
                name = next(n for n in _candidates(task, role) if n not in taken)
                found[task][role] = name
                taken.add(name)
    return found


def _candidates(task: str, role: str) -> Iterable[str]:
    yield f"{task}_{role}"
    name = f"{task} {role}"
    while True:
        yield name
        name += "_"


def described(
    columns: Mapping[str, Mapping[str, str]],
    types: Mapping[str, TaskType],
    *,
    id_column: str | None = "id",
    smiles_column: str | None = "SMILES",
    of_tasks: Mapping[str, Mapping[str, Any]] | None = None,
    **about: Any,
) -> dict[str, Any]:
    """Return the description of a file, as its metadata holds it.

    Parameters
    ----------
    columns : mapping
        Of `file_columns`.
    types : mapping of str to {"regression", "classification"}
        What the tasks are, as far as is known.
    id_column, smiles_column : str or None
        Columns that name rows and hold structures.
    of_tasks : mapping of str to mapping, optional
        What else is known of each task: ``unit``, ``transform``, ``threshold``.
    **about
        What else there is to say: ``levels``, ``calibration``, ``models``.
    """
    tasks = {}
    for task, names in columns.items():
        kind = {"type": types[task]} if task in types else {}
        tasks[task] = {**kind, **(of_tasks or {}).get(task, {}), "columns": dict(names)}
    named = {"id_column": id_column, "smiles_column": smiles_column}
    return {"predictions": 1, **named, **about, "tasks": tasks}


def about_tasks(
    tasks: Sequence[str], scales: Mapping[str, ScaleName] | None = None
) -> dict[str, dict[str, Any]]:
    """Return unit, as the task's name has it, and scale of each task, where there are such."""
    found: dict[str, dict[str, Any]] = {}
    for task in tasks:
        unit, scale = unit_of(task), (scales or {}).get(task, "none")
        said = {"unit": unit, "transform": None if scale == "none" else scale}
        found[task] = {key: value for key, value in said.items() if value is not None}
    return found


def as_file(
    frame: pl.DataFrame, types: Mapping[str, TaskType], **about: Any
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return predictions as files have them, and their description.

    Parameters
    ----------
    frame : DataFrame [N]
        With the names that predictions have in memory.
    types : mapping of str to {"regression", "classification"}
        All tasks, and what they are.
    **about
        Further words of the description; see `described`.
    """
    import polars as pl

    in_memory = {task: _names_in_memory(task, frame.columns) for task in types}
    of_tasks = {name for names in in_memory.values() for name in names.values()}
    others = [name for name in frame.columns if name not in of_tasks]
    roles = list(dict.fromkeys(role for names in in_memory.values() for role in names))
    wanted = file_columns(list(types), roles, others)
    present = {t: {r: wanted[t][r] for r in names} for t, names in in_memory.items()}
    renamed = {name: wanted[t][r] for t, of in in_memory.items() for r, name in of.items()}
    called = [of["class"] for of in present.values() if "class" in of]
    # A class is written as labels are.
    frame = frame.rename(renamed).with_columns(pl.col(called).cast(pl.Int8))
    ids = "id" if "id" in frame.columns else None
    smiles = "SMILES" if "SMILES" in frame.columns else None
    said = described(present, types, id_column=ids, smiles_column=smiles, **about)
    return frame, said


def _names_in_memory(task: str, columns: Collection[str]) -> dict[str, str]:
    """Return the columns of a task by what they are, those that are there."""
    found = {role: task + ending for role, ending in _IN_MEMORY.items()}
    ends = re.compile(re.escape(task) + r"_((?:lower|upper)_[\d.]+)")
    found |= {m[1]: name for name in columns if (m := ends.fullmatch(name))}
    there = {role: name for role, name in found.items() if name in columns}
    # Of a task that is called like another's prediction, never the other's column.
    truth = truth_column(task)
    return there | ({"measured": truth} if truth in columns else {})


def in_memory(frame: pl.DataFrame, said: Mapping[str, Any] | None = None) -> pl.DataFrame:
    """Return predictions with the names that they have in memory, however a file has them.

    Parameters
    ----------
    frame : DataFrame [N]
        A file's rows.
    said : mapping, optional
        The description of the file. Without one, tasks are those that have a column
        ``TASK_measured``.
    """
    names = _described_names(said)
    if names is None:
        if any(name.endswith(EARLIER_PREDICTED) for name in frame.columns):
            return frame  # written before 2026, or by another tool
        names = _guessed_names(frame.columns)
    renamed: dict[str, str] = {}
    for task, of in names.items():
        there = {role: name for role, name in of.items() if name in frame.columns}
        # Ends at several levels, ``lower_80``, have no other name in memory.
        kept = {r: task + _IN_MEMORY.get(r, f"_{r}") for r in there if r != "measured"}
        renamed |= {there[role]: new for role, new in kept.items()}
        if "measured" in there:
            renamed[there["measured"]] = truth_column(task)
    # What is in the way is a column of the user's that no reader of predictions asks for.
    in_the_way = set(renamed.values()) - set(renamed)
    frame = frame.drop([name for name in frame.columns if name in in_the_way]).rename(renamed)
    return _with_names(frame, said or {})


def _with_names(frame: pl.DataFrame, said: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows with columns ``id`` and ``SMILES``, whatever the user's are called."""
    import polars as pl

    wanted = {"id": said.get("id_column"), "SMILES": said.get("smiles_column")}
    there = {new: name for new, name in wanted.items() if name in frame.columns and name != new}
    return frame.with_columns(pl.col(name).alias(new) for new, name in there.items())


def _described_names(said: Mapping[str, Any] | None) -> dict[str, dict[str, str]] | None:
    if said is None or "predictions" not in said:
        return None
    return {task: dict(of["columns"]) for task, of in said["tasks"].items()}


def _guessed_names(columns: Sequence[str]) -> dict[str, dict[str, str]]:
    tasks = [name for name in columns if f"{name}{MEASURED}" in columns]
    roles = ("predicted", "measured", *(role for role in _IN_MEMORY if role != "predicted"))
    found = file_columns(tasks, roles)
    return {task: {r: n for r, n in of.items() if n in columns} for task, of in found.items()}


def earlier_predictions(
    columns: Sequence[str], said: Mapping[str, Any] | None, tasks: Collection[str]
) -> tuple[frozenset[str], dict[str, str]]:
    """Return what an earlier prediction of tasks left in a table that is predicted again.

    Parameters
    ----------
    columns : sequence of str
        Of the table.
    said : mapping or None
        The description of its file.
    tasks : collection of str
        That are predicted again.

    Returns
    -------
    replaced : set of str
        Columns that hold predictions, as the description says.
    measured : mapping of str to str
        Task of each column of measured values.
    """
    described = _described_names(said)
    names = _guessed_names(columns) if described is None else described
    own = {task: of for task, of in names.items() if task in tasks}
    measured = {of["measured"]: t for t, of in own.items() if of.get("measured") in columns}
    if described is None:
        return frozenset(), measured
    kept = {"measured", "modifier"}
    replaced = {name for of in own.values() for role, name in of.items() if role not in kept}
    if len(own) == len(described):
        replaced |= _OF_ROWS | ({"row"} if said and said.get("id_column") == "row" else set())
    return frozenset(replaced & set(columns)), measured


def types_of_file(said: Mapping[str, Any] | None) -> dict[str, TaskType]:
    """Return the kinds of tasks that the description of a file names."""
    if said is None or "predictions" not in said:
        return {}
    return {task: of["type"] for task, of in said["tasks"].items() if "type" in of}


def scales_of_file(said: Mapping[str, Any] | None) -> dict[str, ScaleName]:
    """Return the scale on which each task was learnt that the description of a file names."""
    if said is None or "predictions" not in said:
        return {}
    return {t: of["transform"] for t, of in said["tasks"].items() if of.get("transform")}


def limits_of_file(said: Mapping[str, Any] | None) -> dict[str, tuple[float, float]]:
    """Return floor and ceiling of the tasks of which the description of a file names one."""
    if said is None or "predictions" not in said:
        return {}
    of_tasks = said["tasks"].items()
    both = {t: (of.get("floor", math.nan), of.get("ceiling", math.nan)) for t, of in of_tasks}
    return {task: pair for task, pair in both.items() if not all(map(math.isnan, pair))}


def level_of_file(said: Mapping[str, Any] | None) -> float | None:
    """Return the level of the intervals that the description of a file names, where it is one."""
    levels = (said or {}).get("levels") or []
    return float(levels[0]) if len(levels) == 1 else None


def write_predictions(
    run: RunFolder,
    frame: pl.DataFrame,
    types: Mapping[str, TaskType],
    *names: str,
    **about: Any,
) -> list[Path]:
    """Write predictions into a run folder, with their description.

    Parameters
    ----------
    run : RunFolder
        Where.
    frame : DataFrame [N]
        With the names that predictions have in memory.
    types : mapping of str to {"regression", "classification"}
        All tasks, and what they are.
    *names : str
        Of the files, whose endings say their format; by default ``predictions.parquet``.
    **about
        Further words of the description; see `described`.
    """
    table, said = as_file(frame, types, **about)
    return [
        write_table(run.path / name, table, metadata=said, smiles=said["smiles_column"])
        for name in names or (PREDICTIONS,)
    ]


def read_run_predictions(folder: str | Path, name: str = PREDICTIONS) -> pl.DataFrame:
    """Return ``predictions.parquet`` of a run folder, written today or earlier.

    The names of its columns are those that predictions have in memory.
    """
    import polars as pl

    path = checked(Path(folder) / name)
    # Without the digests of its folder, the checksums of its pages are left.
    table_reading(path, key=name)
    frame = in_memory(pl.read_parquet(path), table_metadata(path))
    called = [c for c in frame.columns if c.endswith(" decision")]
    frame = frame.with_columns(pl.col(called).cast(pl.Boolean))
    return with_split(frame, SPLIT)
