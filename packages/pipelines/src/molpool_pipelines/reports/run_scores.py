"""Metrics of a run's predictions, with intervals, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from molpool_common import (
    IN_UNITS,
    LABELS,
    METRICS,
    Cell,
    Interval,
    MetricTable,
    Table,
    task_metrics,
)

from molpool_pipelines.scores import Predictions, score_tasks
from molpool_pipelines.scores import Resampling as Scheme

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
    if found.split is None:
        return {"all": found}
    return {split: found.of_split(split) for split in SIDES if split in found.splits}


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
    intervals = _intervals(found, names, with_intervals) if with_intervals else {}
    rows: list[list[Cell]] = []
    for of in scores.tasks:
        row: list[Cell] = [of.task, of.n]
        for name in names:
            row.append(of.values.get(name))
            if with_intervals:
                ends = intervals.get((of.task, name))
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


def _intervals(
    found: Predictions, names: Sequence[str], how: Resampling
) -> dict[tuple[str, str], Interval | None]:
    """Return intervals by task and metric, none of tasks with few labels."""
    scored = score_tasks(found, Scheme(how.n, how.level, how.seed), names=names)
    return {(s.task, s.metric): s.interval for s in scored if s.n >= LEAST}
