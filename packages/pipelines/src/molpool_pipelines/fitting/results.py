"""What a trained model says of every row, and how well it says it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    IN_UNITS,
    LABELS,
    Interval,
    MetricTable,
    UndefinedMetricError,
    bootstrap_interval,
    task_metrics,
)
from numpy.typing import NDArray

from molpool_pipelines.fitting.inputs import Inputs
from molpool_pipelines.fitting.predicting import Predicted, parts_of, predict_part
from molpool_pipelines.fitting.trainees import Trainee
from molpool_pipelines.tables import TaskType

SIDES = ("train", "val", "test")

SHOWN: Mapping[TaskType, tuple[str, ...]] = {
    "regression": ("mae", "ma_rae", "rmse", "r2", "spearman"),
    "classification": ("roc_auc", "average_precision"),
}
"""Metrics of the closing table, by task type; the files hold all."""

WITH_INTERVALS: Mapping[TaskType, tuple[str, ...]] = {
    "regression": ("mae", "ma_rae"),
    "classification": ("roc_auc", "average_precision"),
}
"""Metrics that get a bootstrap interval, by task type."""

RESAMPLES = 1000

SIGNS = {-1: "<", 0: "=", 1: ">"}


@dataclass(frozen=True)
class Results:
    """Predictions of all rows and metrics of the held-out sides.

    Parameters
    ----------
    predictions : DataFrame
        A row a molecule: ``id, source, row, SMILES, side``, where it is used ``quality``, with
        folds ``fold``, and of each target ``TARGET``, with modifiers ``TARGET modifier``,
        ``TARGET predicted`` and of ensembles ``TARGET_sd``.
    metrics : mapping of str to MetricTable
        By side, of exact labels; a side without rows is absent. Those of an ensemble are of the
        mean of its members.
    intervals : mapping of str to mapping of str to Interval
        95 % intervals on the reported side, by task and metric; absent where undefined.
    by_member : list of MetricTable
        Metrics of each member alone on the reported side; empty for a single model, and where
        members predict different rows of it.
    """

    predictions: pl.DataFrame
    metrics: Mapping[str, MetricTable]
    intervals: Mapping[str, Mapping[str, Interval]]
    by_member: Sequence[MetricTable] = ()

    @property
    def reported_side(self) -> str:
        """The side that counts: test, or validation where nothing was kept for test."""
        return reported_side(self.metrics)

    @property
    def is_ensemble(self) -> bool:
        """Whether predictions are means of several models."""
        return any(name.endswith("_sd") for name in self.predictions.columns)

    def to_dict(self) -> dict[str, Any]:
        """Return metrics and intervals as plain JSON values."""
        sides: dict[str, Any] = {side: table.to_dict() for side, table in self.metrics.items()}
        sides[self.reported_side]["intervals"] = {
            task: {name: list(interval) for name, interval in by_metric.items()}
            for task, by_metric in self.intervals.items()
        }
        if self.by_member:
            sides[self.reported_side]["members"] = [m.to_dict() for m in self.by_member]
        return sides


def reported_side(sides: Container[str]) -> str:
    """Return the side that counts among those that have rows."""
    return next(s for s in ("test", "val", "train") if s in sides)


def evaluate(inputs: Inputs, trainees: Sequence[Trainee]) -> Results:
    """Predict every row and score the held-out sides, bounds left out.

    Parameters
    ----------
    inputs : Inputs
        The rows.
    trainees : sequence of Trainee
        Trained.
    """
    parts = [predict_part(part, trainees, inputs.graphs) for part in parts_of(inputs, trainees)]
    kinds, tasks = inputs.task_types, inputs.table.task_names
    metrics = {}
    for side in SIDES:
        of_side = [p for p in parts if p.side == side]
        if of_side:
            exact = np.concatenate([p.exact for p in of_side])
            mean = np.concatenate([p.mean for p in of_side])
            metrics[side] = task_metrics(exact, mean, tasks, list(kinds))
    reported = [p for p in parts if p.side == reported_side(metrics)]
    alone = reported[0].each if len(reported) == 1 and len(reported[0].each) > 1 else ()
    return Results(
        pl.concat([_frame(part) for part in parts]),
        metrics,
        _intervals(
            tasks,
            kinds,
            np.concatenate([p.exact for p in reported]),
            np.concatenate([p.mean for p in reported]),
        ),
        [task_metrics(reported[0].exact, one, tasks, list(kinds)) for one in alone],
    )


def _intervals(
    tasks: Sequence[str],
    types: Sequence[TaskType],
    targets: NDArray[np.float64],
    predicted: NDArray[np.float64],
) -> dict[str, dict[str, Interval]]:
    found: dict[str, dict[str, Interval]] = {}
    for t, (task, kind) in enumerate(zip(tasks, types, strict=True)):
        y, p = targets[:, t], predicted[:, t]
        found[task] = {}
        for name in WITH_INTERVALS[kind]:
            try:
                found[task][name] = bootstrap_interval(name, y, p, RESAMPLES)
            except UndefinedMetricError:
                continue  # the metric table says why
    return found


def _frame(part: Predicted) -> pl.DataFrame:
    table = part.table
    columns: list[pl.Series] = [
        *table.origin.get_columns(),
        pl.Series("SMILES", table.smiles),
        pl.Series("side", [part.side] * len(table)),
    ]
    if table.quality is not None:
        columns.append(pl.Series("quality", table.quality))
    if part.with_folds:
        fold = None if part.fold is None else part.fold + 1
        columns.append(pl.Series("fold", [fold] * len(table), dtype=pl.Int64))
    for t, task in enumerate(table.task_names):
        columns.append(pl.Series(task, table.targets[:, t]).fill_nan(None))
        if table.censoring is not None:
            signs = [SIGNS[code] for code in table.censoring[:, t].tolist()]
            columns.append(pl.Series(f"{task} modifier", signs))
        columns.append(pl.Series(f"{task} predicted", part.mean[:, t]))
        if part.sd is not None:
            columns.append(pl.Series(f"{task}_sd", part.sd[:, t]).fill_nan(None))
    return pl.DataFrame(columns)


def shown_rows(table: MetricTable) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows of the closing table, the mean over tasks last."""
    kinds = {score.task_type for score in table.tasks}
    names = [name for kind, shown in SHOWN.items() if kind in kinds for name in shown]
    rows: list[list[Any]] = [
        [score.task, score.n, *(score.values.get(name) for name in names)] for score in table.tasks
    ]
    rows.append(mean_row(table, names))
    return ["task", "labels", *(LABELS[n] for n in names)], rows


def mean_row(table: MetricTable, names: Sequence[str]) -> list[Any]:
    """Return the row of means over tasks; those of errors in the tasks' own units mean nothing."""
    macro = table.macro()
    means = [macro[n].mean if n in macro and n not in IN_UNITS else None for n in names]
    return ["mean over tasks", sum(score.n for score in table.tasks), *means]
