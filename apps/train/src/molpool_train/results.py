"""What a trained model says of every row, and how well it says it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from chemprop_multitask import ChempropModel, MoleculeData
from molpool_common.holdout import SplitTables
from molpool_common.metrics import (
    Interval,
    MetricTable,
    UndefinedMetricError,
    bootstrap_interval,
    task_metrics,
)
from molpool_common.molecules import MoleculeTable
from numpy.typing import NDArray

from molpool_train.inputs import TaskType

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

IN_UNITS = frozenset({"mae", "rmse"})
"""Metrics in the unit of their task."""

LABELS = {
    "mae": "MAE",
    "ma_rae": "MA-RAE",
    "rmse": "RMSE",
    "r2": "R²",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "roc_auc": "ROC AUC",
    "average_precision": "AP",
}


@dataclass(frozen=True)
class Results:
    """Predictions of all rows and metrics of the held-out sides.

    Parameters
    ----------
    predictions : DataFrame
        A row a molecule: ``id, source, row, SMILES, side``, each target and ``TARGET predicted``.
    metrics : mapping of str to MetricTable
        By side; a side without rows is absent.
    intervals : mapping of str to mapping of str to Interval
        95 % intervals on the reported side, by task and metric; absent where undefined.
    """

    predictions: pl.DataFrame
    metrics: Mapping[str, MetricTable]
    intervals: Mapping[str, Mapping[str, Interval]]

    @property
    def reported_side(self) -> str:
        """The side that counts: test, or validation where nothing was kept for test."""
        return reported_side(self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Return metrics and intervals as plain JSON values."""
        sides: dict[str, Any] = {side: table.to_dict() for side, table in self.metrics.items()}
        sides[self.reported_side]["intervals"] = {
            task: {name: list(interval) for name, interval in by_metric.items()}
            for task, by_metric in self.intervals.items()
        }
        return sides


def reported_side(sides: Container[str]) -> str:
    """Return the side that counts among those that have rows."""
    return next(s for s in ("test", "val", "train") if s in sides)


def evaluate(
    model: ChempropModel, tables: SplitTables, data: Mapping[str, MoleculeData]
) -> Results:
    """Predict every row and score the held-out sides.

    Parameters
    ----------
    model : ChempropModel
        Trained.
    tables : SplitTables
        The rows.
    data : mapping of str to MoleculeData
        The featurised molecules of each side.
    """
    frames, metrics, predicted = [], {}, {}
    for side in SIDES:
        table: MoleculeTable = getattr(tables, side)
        if not len(table):
            continue
        predicted[side] = model.predict(data[side])
        frames.append(_frame(table, side, predicted[side]))
        metrics[side] = task_metrics(
            table.targets, predicted[side], table.task_names, list(model.task_types)
        )
    side = reported_side(metrics)
    reported: MoleculeTable = getattr(tables, side)
    intervals = _intervals(reported, predicted[side], model.task_types)
    return Results(pl.concat(frames), metrics, intervals)


def _intervals(
    table: MoleculeTable, predicted: NDArray[np.float64], types: Sequence[TaskType]
) -> dict[str, dict[str, Interval]]:
    rng = np.random.default_rng(0)
    found: dict[str, dict[str, Interval]] = {}
    for t, (task, kind) in enumerate(zip(table.task_names, types, strict=True)):
        labelled = np.isfinite(table.targets[:, t])
        y, p = table.targets[labelled, t], predicted[labelled, t]
        found[task] = {}
        for name in WITH_INTERVALS[kind]:
            try:
                found[task][name] = bootstrap_interval(name, y, p, RESAMPLES, rng=rng)
            except UndefinedMetricError:
                continue  # the metric table says why
    return found


def _frame(table: MoleculeTable, side: str, predicted: NDArray[np.float64]) -> pl.DataFrame:
    columns: list[pl.Series] = [
        *table.origin.get_columns(),
        pl.Series("SMILES", table.smiles),
        pl.Series("side", [side] * len(table)),
    ]
    for t, task in enumerate(table.task_names):
        columns.append(pl.Series(task, table.targets[:, t]).fill_nan(None))
        columns.append(pl.Series(f"{task} predicted", predicted[:, t]))
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
