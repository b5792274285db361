"""Predictions from disk: a run folder, or a table of ours or of another tool.

The truth stands beside them, or in a table of its own, to which they are joined by id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    ReadConfig,
    ScaleName,
    Standardize,
    TaskType,
    did_you_mean,
    folders_inside,
    listed,
    measured_column,
    number_column,
    read_table,
    require_columns,
    table_metadata,
)
from numpy.typing import NDArray

from molpool_pipelines.runs import (
    AT_CEILING,
    AT_FLOOR,
    EARLIER_PREDICTED,
    METRICS,
    PREDICTIONS,
    STRATUM,
    ColumnsConfig,
    in_memory,
    level_of_file,
    limits_of_file,
    read_metrics,
    scales_of_file,
    truth_column_of,
    types_of_file,
    with_split,
)
from molpool_pipelines.scores._config import Join
from molpool_pipelines.scores._joining import Joining, text_of
from molpool_pipelines.scores._predictions import (
    Predictions,
    Texts,
    refuse_missing,
    refuse_repeated,
    repeated,
)
from molpool_pipelines.tables import OnBadSmiles, exact_labels, read_signs


def read_predictions(
    path: str | Path,
    *,
    columns: ColumnsConfig | None = None,
    truth: str | Path | None = None,
    task_types: Mapping[str, TaskType] | None = None,
    model_types: Mapping[str, TaskType] | None = None,
    join: Join = "auto",
    on_bad_smiles: OnBadSmiles = "error",
    read: ReadConfig | None = None,
    standardize: Standardize = "parent",
) -> Predictions:
    """Read predictions and the truth of the same rows.

    Parameters
    ----------
    path : str or Path
        A run folder of `molpool-train`, or a Parquet, CSV or TSV file.
    columns : ColumnsConfig, optional
        How columns are called.
    truth : str or Path, optional
        Table with the truth, every row of which must have a prediction. Tasks are then columns
        that both tables have, in the predictions with or without the ending of predictions. By
        default the truth stands beside the predictions.
    task_types : mapping of str to {"regression", "classification"}, optional
        Kind of single tasks, before what the model says.
    model_types : mapping of str to {"regression", "classification"}, optional
        What the model says; by default as the run folder has it. Of a table that no run comes
        with, classification where all truth is 0 or 1, which is noted.
    join : {"auto", "id", "structure", "row"}
        What tells the rows of `truth`; auto: ids where both tables have them, else structures.
    on_bad_smiles : {"error", "drop", "keep"}
        What becomes of rows of `truth` whose SMILES do not parse, where structures tell rows.
    read : ReadConfig, optional
        What is known of the files.
    standardize : {"none", "parent", "tautomer"}
        By which structure rows of `truth` are joined that have no prediction of their own.

    Raises
    ------
    InputError
        If a file or column is missing, rows lack a prediction or ids repeat (counts, first ids),
        or a value is no number.
    """
    named = columns or ColumnsConfig()
    file, name = _located(Path(path))
    said = table_metadata(file)
    frame = read_table(file, read)
    # Another ending than ours is another tool's, or one that the user knows.
    if named.predicted == EARLIER_PREDICTED:
        frame = in_memory(frame, said)
    frame = with_split(frame, named.split)
    require_columns(frame, [named.id], key="columns.id", where=name)
    own = types_of_run(Path(path)) or types_of_file(said)
    known = dict(own if model_types is None else model_types)
    joined = None
    if truth is not None:
        joining = Joining(named, join, on_bad_smiles, read, standardize)
        joined = joining.join(frame, name, Path(truth))
        frame = joined.frame
    found = predictions_of(
        frame,
        name,
        columns=named,
        task_types=task_types,
        model_types=known,
        scales=scales_of_file(said),
        limits=limits_of_file(said),
    )
    if not found.further:
        found = replace(found, level=level_of_run(Path(path)) or level_of_file(said))
    if joined is None:
        return found
    notes = (*joined.notes, *found.notes)
    return replace(found, notes=notes, rejected=joined.rejected)


def types_of_run(path: Path) -> dict[str, TaskType]:
    """Return the kinds of the tasks of a run folder; empty of what is none."""
    # Of a retraining the members are runs.
    for folder in (path, path / "member-000"):
        if (folder / METRICS).is_file():
            metrics = read_metrics(folder)
            if metrics.splits:
                return {task: of.type for task, of in metrics.of_reported.tasks.items()}
    return {}


def level_of_run(path: Path) -> float | None:
    """Return the share that the intervals of a run folder shall cover, where it says so."""
    if not (path / METRICS).is_file():
        return None
    metrics = read_metrics(path)
    known = metrics.of_reported.intervals if metrics.splits else {}
    return next((of.get("level") for of in known.values()), None)


def predictions_of(
    frame: pl.DataFrame,
    name: str,
    *,
    columns: ColumnsConfig | None = None,
    task_types: Mapping[str, TaskType] | None = None,
    model_types: Mapping[str, TaskType] | None = None,
    scales: Mapping[str, ScaleName] | None = None,
    limits: Mapping[str, tuple[float, float]] | None = None,
) -> Predictions:
    """Return the predictions of a table in memory; see `read_predictions`.

    Parameters
    ----------
    frame : DataFrame
        As a run writes it, with the truth.
    name : str
        Of the model.
    scales : mapping of str to str, optional
        On which it learnt tasks.
    limits : mapping of str to (float, float), optional
        Floor and ceiling of tasks whose assay has one, NaN for the other.
    """
    named = columns or ColumnsConfig()
    frame = with_split(frame, named.split)
    tasks = _tasks(frame, named, name)
    y, in_cells = _truth(frame, _truths(frame, tasks), name)
    signs = _signs(frame, tasks, named, name)
    signs = in_cells if signs is None else np.where(signs == 0, in_cells, signs)
    # Bounds become missing labels: a metric of "< 5" against 4.2 would be arbitrary. Only their
    # count stays.
    exact = exact_labels(y, signs)
    bounded = np.isfinite(y) & ~np.isfinite(exact)
    kinds, notes = _kinds(exact, tasks, task_types or {}, model_types or {})
    found = _at_levels(frame, tasks, named)
    level = next(iter(found), None)
    lower, upper = found.pop(level, (None, None))
    read = Predictions(
        name=name,
        ids=_ids(frame, named, name),
        tasks=tuple(tasks),
        task_types=tuple(kinds),
        y_true=exact,
        y_pred=_matrix(frame, [f"{t}{named.predicted}" for t in tasks], name),
        sd=_some(frame, [f"{t}{named.sd}" for t in tasks], name),
        decisions=_decisions(frame, [f"{t}{named.decision}" for t in tasks], name),
        split=_texts(frame, named.split),
        quality=_texts(frame, named.quality),
        smiles=_texts(frame, named.smiles),
        repeat=_numbers(frame, named.repeat, name),
        fold=_numbers(frame, named.fold, name),
        n_bounds=bounded.sum(axis=0),
        lower=lower,
        upper=upper,
        level=level,
        further={at: ends for at, ends in found.items() if at is not None},
        bounds=np.where(bounded, y, np.nan) if bounded.any() else None,
        signs=np.where(bounded, signs, 0).astype(np.int8) if bounded.any() else None,
        times=None if named.time in tasks else _texts(frame, named.time),
        similarity=_similarity(frame, named.similarity, name),
        at_limits=_at_limits(frame, tasks, name),
        limits=np.array([limits.get(t, (np.nan, np.nan)) for t in tasks]) if limits else None,
        strata=_strata(frame, named, name),
        scales=tuple((scales or {}).get(task, "none") for task in tasks),
        notes=tuple(notes),
        noun="molecule" if named.smiles in frame.columns else "row",
    )
    refuse_repeated(_plain(read), named.id, name)
    _refuse_unpredicted(read, named)
    return read


def _plain(found: Predictions) -> Sequence[object]:
    """Return the keys that identify rows, as short as a message may have them."""
    keyed = found.repeat is not None or found.fold is not None
    return found.keys if keyed else found.ids.tolist()


def _located(path: Path) -> tuple[Path, str]:
    """Return the file of predictions and the name of their model."""
    if not path.is_dir():
        return path, path.stem
    if (path / PREDICTIONS).is_file():
        # absolute(), as the name of "." is empty.
        return path / PREDICTIONS, path.absolute().name
    raise InputError(
        "predictions",
        expected=f"a run folder with {PREDICTIONS}, or a file",
        found=f"the folder {str(path)!r} without it",
        hint=folders_inside(path, PREDICTIONS, "A run writes its predictions when it ends."),
    )


def _tasks(frame: pl.DataFrame, named: ColumnsConfig, name: str) -> list[str]:
    """Return the tasks: those asked for, or those that have predictions."""
    ending = named.predicted
    found = [c[: -len(ending)] for c in frame.columns if ending and c.endswith(ending)]
    if not found and not named.tasks:
        raise InputError(
            "columns.predicted",
            expected=f"columns that end in {ending!r}",
            found=f"columns {listed(frame.columns)}",
            where=name,
        )
    columns = set(frame.columns)
    for task in named.tasks:
        if f"{task}{ending}" not in columns:
            raise InputError(
                "columns.tasks",
                expected=f"a column {f'{task}{ending}'!r} of predictions",
                found="none",
                where=name,
                hint=did_you_mean(task, found) if found else None,
            )
    tasks = named.tasks or found
    require_columns(frame, _truths(frame, tasks), key="columns.tasks", where=name)
    return list(tasks)


def _truths(frame: pl.DataFrame, tasks: Sequence[str]) -> list[str]:
    columns = set(frame.columns)
    return [truth_column_of(task, columns) for task in tasks]


def _ids(frame: pl.DataFrame, named: ColumnsConfig, name: str) -> Texts:
    """Return ids; where a run's table has one twice, with the source and row it stands in."""
    ids = text_of(frame[named.id])
    # Ids need not be unique over the sources of a run; the line of the file always is.
    if {"source", "row"} <= set(frame.columns) and repeated(ids):
        places = zip(ids, text_of(frame["source"]), text_of(frame["row"]), strict=True)
        ids = [f"{i} ({source} row {row})" for i, source, row in places]
    return np.array(ids, dtype=object)


def _texts(frame: pl.DataFrame, column: str) -> Texts | None:
    # A column of nulls alone says as much as none: runs write one where a table had no values.
    if column not in frame.columns or frame[column].null_count() == frame.height:
        return None
    return np.array(frame[column].cast(pl.String).to_list(), dtype=object)


def _numbers(frame: pl.DataFrame, column: str, where: str) -> IntArray | None:
    if column not in frame.columns or frame[column].null_count() == frame.height:
        return None
    numbers = number_column(frame, column, where=where).fill_null(-1)
    return numbers.cast(pl.Int64).to_numpy()


def _at_levels(
    frame: pl.DataFrame, tasks: Sequence[str], named: ColumnsConfig
) -> dict[float | None, tuple[FloatArray, FloatArray]]:
    """Return lower and upper ends by level, as the columns are in order; None: it is not said."""
    levels: dict[str, float | None] = {"": None}
    own, ends = set(tasks), re.compile(rf"(.+){re.escape(named.lower)}(_([\d.]+))", re.DOTALL)
    read = [m for c in frame.columns if (m := ends.fullmatch(c)) and m[1] in own]
    levels |= {m[2]: float(m[3]) / 100 for m in read}
    found: dict[float | None, tuple[FloatArray, FloatArray]] = {}
    for percent, level in levels.items():
        lower = _ends(frame, [f"{t}{named.lower}{percent}" for t in tasks])
        upper = _ends(frame, [f"{t}{named.upper}{percent}" for t in tasks])
        if lower is not None and upper is not None:
            found[level] = (lower, upper)
    return found


def _ends(frame: pl.DataFrame, names: Sequence[str]) -> FloatArray | None:
    """Return ends of intervals [N, T], which may be infinite; None where there are none."""
    there = set(frame.columns)
    if not there & set(names):
        return None
    columns = [
        frame[c].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
        if c in there
        else np.full(frame.height, np.nan)
        for c in names
    ]
    found = np.stack(columns, axis=1)
    return None if np.isnan(found).all() else found


def _at_limits(frame: pl.DataFrame, tasks: Sequence[str], where: str) -> FloatArray | None:
    nothing = np.full((frame.height, len(tasks)), np.nan)
    each = [_some(frame, [t + end for t in tasks], where) for end in (AT_FLOOR, AT_CEILING)]
    if all(of is None for of in each):
        return None
    return np.stack([nothing if of is None else of for of in each], axis=2)


def _similarity(frame: pl.DataFrame, column: str, where: str) -> FloatArray | None:
    found = _some(frame, [column], where)
    return None if found is None else found[:, 0]


def _strata(frame: pl.DataFrame, named: ColumnsConfig, where: str) -> dict[str, Texts]:
    """Return what tells rows apart, by column: those asked for, or that of the run."""
    require_columns(frame, named.strata, key="--strata-column", where=where)
    wanted = named.strata or ([STRATUM] if STRATUM in frame.columns else [])
    read = {column: _texts(frame, column) for column in wanted}
    return {column: texts for column, texts in read.items() if texts is not None}


def _matrix(frame: pl.DataFrame, names: Sequence[str], where: str) -> FloatArray:
    columns = [number_column(frame, c, where=where).fill_null(np.nan).to_numpy() for c in names]
    return np.stack(columns, axis=1) if columns else np.empty((frame.height, 0))


def _truth(
    frame: pl.DataFrame, names: Sequence[str], where: str
) -> tuple[FloatArray, NDArray[np.int8]]:
    """Return measured values [N, T] and which of them are bounds, as their cells say."""
    read = [measured_column(frame, c, where=where) for c in names]
    if not read:
        return np.empty((frame.height, 0)), np.empty((frame.height, 0), dtype=np.int8)
    values = [column.values.fill_null(np.nan).to_numpy() for column in read]
    return np.stack(values, axis=1), np.stack([column.signs for column in read], axis=1)


def _some(frame: pl.DataFrame, names: Sequence[str], where: str) -> FloatArray | None:
    """Return columns [N, T] with NaN for those that are not there; None if none is."""
    there = set(frame.columns)
    if not there & set(names):
        return None
    nothing = pl.lit(None, dtype=pl.Float64)
    absent = [nothing.alias(c) for c in names if c not in there]
    values = _matrix(frame.with_columns(absent), names, where)
    return values if np.isfinite(values).any() else None


def _decisions(frame: pl.DataFrame, names: Sequence[str], where: str) -> FloatArray | None:
    columns = set(frame.columns)
    there = [c for c in names if c in columns]
    flags = {"true": "1", "false": "0"}
    # Text files have True of pandas or true of polars, Parquet truth values.
    plain = [
        pl.col(c).cast(pl.String).str.to_lowercase().replace(flags) for c in there
    ]  # a CSV file has words
    return _some(frame.with_columns(plain), names, where)


def _signs(
    frame: pl.DataFrame, tasks: Sequence[str], named: ColumnsConfig, where: str
) -> NDArray[np.int8] | None:
    columns = set(frame.columns)
    there = [f"{t}{named.modifier}" in columns for t in tasks]
    if not any(there):
        return None
    signs = np.zeros((frame.height, len(tasks)), dtype=np.int8)
    rows = pl.Series(range(1, frame.height + 1))
    for t, task in enumerate(tasks):
        if there[t]:
            signs[:, t] = read_signs(frame, f"{task}{named.modifier}", where=where, rows=rows)
    return signs


def _kinds(
    y: FloatArray,
    tasks: Sequence[str],
    given: Mapping[str, TaskType],
    known: Mapping[str, TaskType],
) -> tuple[list[TaskType], list[str]]:
    """Return the kind of each task, and a note on those that only their values tell."""
    for task in given:
        if task not in tasks:
            raise InputError(
                "task_types",
                expected="tasks with predictions",
                found=repr(task),
                hint=did_you_mean(task, tasks),
            )
    kinds: list[TaskType] = []
    guessed: list[str] = []
    for t, task in enumerate(tasks):
        if (said := given.get(task, known.get(task))) is not None:
            kinds.append(said)
            continue
        labels = y[np.isfinite(y[:, t]), t]
        # A task without labels counts as regression: its metrics are undefined either way.
        classes = len(labels) > 0 and bool(np.isin(labels, (0.0, 1.0)).all())
        kinds.append("classification" if classes else "regression")
        guessed += [task] if classes else []
    if not guessed:
        return kinds, []
    return kinds, [
        f"Taken for classes, as all truth is 0 or 1 and no model says what they are: "
        f"{listed(guessed)}. --task-types TASK regression says otherwise."
    ]


def _refuse_unpredicted(found: Predictions, named: ColumnsConfig) -> None:
    """Stop at rows with a label and without a prediction of the same task."""
    lacking = np.isfinite(found.y_true) & ~np.isfinite(found.y_pred)
    for t, task in enumerate(found.tasks):
        rows = np.flatnonzero(lacking[:, t])
        if len(rows):
            refuse_missing(
                found.ids[rows].tolist(),
                int(np.isfinite(found.y_true[:, t]).sum()),
                f"{task}{named.predicted}",
                found.name,
            )
