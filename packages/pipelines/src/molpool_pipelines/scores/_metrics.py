"""Metrics of each task and their means, with bootstrap intervals over molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import (
    IN_UNITS,
    METRICS,
    N_RESAMPLES,
    FloatArray,
    Interval,
    Metric,
    UndefinedMetricError,
    mean_over_tasks,
    metrics_by_task,
    percentile_interval,
    resampled_scores,
)

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores._predictions import Predictions

NO_INTERVAL = frozenset({"kendall"})
"""Metrics that a thousand resamples would take minutes of."""


@dataclass(frozen=True)
class Resampling:
    """How intervals are made.

    Parameters
    ----------
    n : int
        Resamples; 0: no intervals.
    level : float
        Nominal coverage.
    seed : int
        Of the resamples.
    """

    n: int = N_RESAMPLES
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Scored:
    """One metric of one task, or its mean over tasks, on one set of rows.

    Parameters
    ----------
    task : str
        Or `MACRO`.
    metric : str
        Its name.
    value : float or None
        None where undefined.
    n : int
        Labels; of the mean, the tasks in it.
    interval : Interval or None
        None where there is none.
    reason : str or None
        Why there is no value, or which tasks the mean leaves out.
    """

    task: str
    metric: str
    value: float | None
    n: int
    interval: Interval | None = None
    reason: str | None = None


def score_tasks(
    found: Predictions,
    resampling: Resampling,
    *,
    names: Sequence[str] = tuple(METRICS),
    min_labels: int = 0,
) -> tuple[Scored, ...]:
    """Score each task and the mean over tasks.

    Parameters
    ----------
    found : Predictions
        N rows.
    resampling : Resampling
        How the percentile intervals are made: rows are drawn, the same for all tasks.
    names : sequence of str
        Metrics, each for the tasks of its type.
    min_labels : int
        Tasks with fewer labels are left out, with that as the reason.

    Returns
    -------
    tuple of Scored
        By task, then the means over the tasks that define a metric. Errors in the units of their
        tasks have no mean.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    metrics = [METRICS[name] for name in names]
    by_task = metrics_by_task(metrics, found.task_types, found.scales)
    # One set of resamples for all tasks: those of a mean over tasks are the means of the tasks'
    # resamples, so that correlation between tasks within a molecule is kept.
    resampled_by_task, level = _resampled(found, by_task, resampling), resampling.level
    scores: list[Scored] = []
    defined: dict[str, list[tuple[float, FloatArray | None]]] = {}
    for t, task in enumerate(found.tasks):
        rows = np.flatnonzero(np.isfinite(found.y_true[:, t]))
        for metric in by_task[t]:
            value, reason = _value(metric, found, t, rows, min_labels)
            resampled = resampled_by_task[t].get(metric.name)
            interval = (
                None
                if value is None or resampled is None
                else percentile_interval(resampled, level)
            )
            scores.append(Scored(task, metric.name, value, len(rows), interval, reason))
            if value is not None:
                defined.setdefault(metric.name, []).append((value, resampled))
    return (*scores, *_means(scores, defined, level, len(found.tasks)))


def _resampled(
    found: Predictions, by_task: list[list[Metric]], resampling: Resampling
) -> list[dict[str, FloatArray]]:
    if resampling.n == 0 or len(found) == 0:
        return [{} for _ in by_task]
    wanted = [[m for m in ms if m.name not in NO_INTERVAL] for ms in by_task]
    each = resampled_scores(
        found.y_true,
        found.y_pred[None],
        wanted,
        # Rows are drawn in the order of their keys, so that the same predictions in another row
        # order have the same interval.
        keys=found.keys,
        n=resampling.n,
        seed=resampling.seed,
    )
    return [{name: values[:, 0] for name, values in by_name.items()} for by_name in each]


def _value(
    metric: Metric, found: Predictions, t: int, rows: np.ndarray, min_labels: int
) -> tuple[float | None, str | None]:
    # A task without labels gets the metric's own reason, which says so.
    if 0 < len(rows) < min_labels:
        return None, f"fewer than {min_labels} labels"
    try:
        return metric(found.y_true[rows, t], found.y_pred[rows, t]), None
    except UndefinedMetricError as undefined:
        return None, str(undefined)


def _means(
    scores: Sequence[Scored],
    defined: dict[str, list[tuple[float, FloatArray | None]]],
    level: float,
    n_tasks: int,
) -> list[Scored]:
    means = []
    for name in dict.fromkeys(s.metric for s in scores):
        # Errors in different units do not average, and a mean over one task repeats it.
        if name in IN_UNITS or n_tasks < 2:
            continue
        undefined = [s.task for s in scores if s.metric == name and s.value is None]
        note = f"without {', '.join(undefined)}" if undefined else None
        values = defined.get(name, [])
        if not values:
            means.append(Scored(MACRO, name, None, 0, None, "undefined for every task"))
            continue
        each = [resampled for _, resampled in values if resampled is not None]
        # Over resamples of the molecules, with the tasks fixed: it does not say how another set of
        # tasks would do.
        interval = percentile_interval(mean_over_tasks(each), level) if each else None
        mean = float(np.mean([value for value, _ in values]))
        means.append(Scored(MACRO, name, mean, len(values), interval, note))
    return means
