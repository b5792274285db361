"""What a trained model says of every row, and how well it says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from chemprop_multitask import ChempropModel, MoleculeData
from molpool_common.holdout import SplitTables
from molpool_common.metrics import MetricTable, task_metrics
from molpool_common.molecules import MoleculeTable

from molpool_train.inputs import TaskType

SIDES = ("train", "val", "test")

SHOWN: Mapping[TaskType, tuple[str, ...]] = {
    "regression": ("mae", "ma_rae", "rmse", "r2", "spearman"),
    "classification": ("roc_auc", "average_precision"),
}
"""Metrics of the closing table, by task type; the files hold all."""

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
    """

    predictions: pl.DataFrame
    metrics: Mapping[str, MetricTable]

    @property
    def reported_side(self) -> str:
        """The side that counts: test, or validation where nothing was kept for test."""
        return next(s for s in ("test", "val", "train") if s in self.metrics)


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
    frames, metrics = [], {}
    types = [model.task_type] * len(model.task_names)
    for side in SIDES:
        table: MoleculeTable = getattr(tables, side)
        if not len(table):
            continue
        predicted = model.predict(data[side])
        frames.append(_frame(table, side, predicted))
        metrics[side] = task_metrics(table.targets, predicted, table.task_names, types)
    return Results(pl.concat(frames), metrics)


def _frame(table: MoleculeTable, side: str, predicted: np.ndarray[Any, Any]) -> pl.DataFrame:
    columns: list[pl.Series] = [
        *table.origin.get_columns(),
        pl.Series("SMILES", table.smiles),
        pl.Series("side", [side] * len(table)),
    ]
    for t, task in enumerate(table.task_names):
        columns.append(pl.Series(task, table.targets[:, t]).fill_nan(None))
        columns.append(pl.Series(f"{task} predicted", predicted[:, t]))
    return pl.DataFrame(columns)


def shown_rows(table: MetricTable, kind: TaskType) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows of the closing table, the mean over tasks last."""
    names = SHOWN[kind]
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
