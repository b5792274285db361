"""Truth in a table of its own, joined to predictions by id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from molpool_common import InputError, listed, read_table, require_columns

from molpool_pipelines.runs import ColumnsConfig
from molpool_pipelines.scores.prediction_table import refuse_missing, refuse_repeated


def text_of(column: pl.Series) -> list[str]:
    """Return a column as text, empty where there is none."""
    return column.cast(pl.String).fill_null("").to_list()


def joined(frame: pl.DataFrame, name: str, path: Path, named: ColumnsConfig) -> pl.DataFrame:
    """Return the rows of a table of truth with their predictions under the usual names.

    Parameters
    ----------
    frame : DataFrame
        Predictions.
    name : str
        Of their model, for messages.
    path : Path
        The table of truth.
    named : ColumnsConfig
        How columns are called.

    Raises
    ------
    InputError
        If a column or a task is missing, ids repeat, or a row of the truth has no prediction.
    """
    truth = read_table(path)
    known = text_of(frame[named.id])
    column, ids = _truth_ids(truth, known, named, path.name)
    tasks = named.tasks or _shared(frame, truth, named, path.name)
    require_columns(truth, tasks, key="columns.tasks", where=path.name)
    refuse_repeated(ids, column, path.name)
    refuse_repeated(known, named.id, name)
    place = {text: row for row, text in enumerate(known)}
    refuse_missing([i for i in ids if i not in place], len(ids), named.id, name)
    rows = frame[[place[i] for i in ids]]
    renamed = {t: f"{t}{named.predicted}" for t in tasks}
    bare = {t: new for t, new in renamed.items() if new not in rows.columns}
    require_columns(rows, list(bare), key="columns.tasks", where=name)
    rows = rows.drop([t for t in tasks if t not in bare], strict=False).rename(bare)
    own = [t for t in tasks if t in truth.columns]
    extra = [
        c
        for c in (
            *(f"{t}{named.modifier}" for t in tasks),
            named.quality,
            named.smiles,
            named.split,
        )
        if c in truth.columns
    ]
    rows = rows.drop(extra, strict=False)
    return pl.concat([rows, truth.select([*own, *extra])], how="horizontal")


def _truth_ids(
    truth: pl.DataFrame, known: Sequence[str], named: ColumnsConfig, where: str
) -> tuple[str, list[str]]:
    """Return the column of ids and the ids; row numbers where the predictions have these."""
    if named.truth_id is not None:
        require_columns(truth, [named.truth_id], key="columns.truth_id", where=where)
    column = named.truth_id or named.id
    if column in truth.columns:
        return column, text_of(truth[column])
    if list(known) == [str(row + 1) for row in range(len(known))]:
        return "row", [str(row + 1) for row in range(truth.height)]
    raise InputError(
        "columns.truth_id",
        expected="the column of ids in data_path",
        found=f"no column {column!r}",
        where=where,
        hint=f"Columns: {listed(truth.columns)}.",
    )


def _shared(
    frame: pl.DataFrame, truth: pl.DataFrame, named: ColumnsConfig, where: str
) -> list[str]:
    predicted = [c.removesuffix(named.predicted) for c in frame.columns]
    other = {named.id, named.smiles, named.split, named.quality, named.repeat, named.fold, "row"}
    both = [t for t in dict.fromkeys(predicted) if t in truth.columns and t not in other]
    if not both:
        raise InputError(
            "columns.tasks",
            expected="tasks that both tables have",
            found="none",
            where=where,
            hint=f"Columns of the predictions: {listed(frame.columns)}.",
        )
    return both
