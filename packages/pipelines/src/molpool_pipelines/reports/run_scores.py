"""Metrics of a run's predictions, with intervals, as tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import (
    IN_UNITS,
    LABELS,
    METRICS,
    Cell,
    Interval,
    MetricTable,
    Table,
    UndefinedMetricError,
    bootstrap_interval,
    task_metrics,
)

from molpool_pipelines.scores import Predictions

SIDES = {"test": "Test", "val": "Validation", "train": "Training", "all": "All"}
SHOWN = ("ma_rae", "mae", "rmse", "r2", "spearman", "average_precision", "roc_auc")
"""Metrics of the tables, in order."""

LEAST = 10
"""Labels from which a task has intervals: resamples of fewer say too little."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made."""

    level: float
    n: int
    seed: int


def sides_of(found: Predictions) -> dict[str, Predictions]:
    """Return the rows of each side, the one that counts first."""
    if found.side is None:
        return {"all": found}
    there = set(found.side.tolist())
    return {side: found.of_side(side) for side in SIDES if side in there}


def metrics_of(found: Predictions) -> MetricTable:
    """Score each task."""
    return task_metrics(found.y_true, found.y_pred, found.tasks, found.task_types)


def metric_table(side: str, found: Predictions, with_intervals: Resampling | None) -> Table:
    """Return a row a task, the mean over tasks last."""
    scores = metrics_of(found)
    names = [m for m in SHOWN if METRICS[m].task_type in found.task_types]
    heads = ["task", "labels"]
    for name in names:
        heads += [LABELS[name]] + (["from", "to"] if with_intervals else [])
    rows: list[list[Cell]] = []
    for t, of in enumerate(scores.tasks):
        row: list[Cell] = [of.task, of.n]
        for name in names:
            row.append(of.values.get(name))
            if with_intervals:
                ends = _interval(found, t, name, with_intervals)
                row += [ends.low, ends.high] if ends else [None, None]
        rows.append(row)
    macro = scores.macro()
    mean: list[Cell] = ["mean over tasks", sum(of.n for of in scores.tasks)]
    for name in names:
        value = macro[name].mean if name in macro and name not in IN_UNITS else None
        mean += [value] + ([None, None] if with_intervals else [])
    said = (
        f" From, to: {100 * with_intervals.level:g} % interval, percentile bootstrap over the "
        f"molecules, {with_intervals.n:,} resamples; none below {LEAST} labels."
        if with_intervals
        else ""
    )
    return Table(
        heads,
        [*rows, mean],
        caption=f"{SIDES[side]} rows. A dash: undefined there.{said}",
        totals=1,
    )


def _interval(found: Predictions, t: int, name: str, how: Resampling) -> Interval | None:
    if METRICS[name].task_type != found.task_types[t]:
        return None
    rows = np.isfinite(found.y_true[:, t])
    if rows.sum() < LEAST:
        return None
    rng = np.random.default_rng([how.seed, t])
    try:
        return bootstrap_interval(
            name, found.y_true[rows, t], found.y_pred[rows, t], how.n, how.level, rng=rng
        )
    except UndefinedMetricError:
        return None  # the value beside it is a dash
