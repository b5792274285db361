"""How well a fold's validation rows are predicted: one metric, averaged over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import (
    IN_UNITS,
    LABELS,
    METRICS,
    InputError,
    Metric,
    UndefinedMetricError,
    did_you_mean,
    listed,
)
from numpy.typing import NDArray

from molpool_pipelines.studies.chemprop.data import InnerFold, StudyData
from molpool_pipelines.tables import TaskType, exact_labels

DEFAULTS: dict[TaskType, str] = {"regression": "ma_rae", "classification": "roc_auc"}
"""Metric by kind of task where ``study.metric`` names none."""


def choose_metric(name: str | None, task_types: Sequence[TaskType]) -> Metric:
    """Return the metric of a study.

    Parameters
    ----------
    name : str or None
        ``study.metric``; None: the default of the more frequent kind of task.
    task_types : sequence of {"regression", "classification"}
        Kind of each task.

    Raises
    ------
    InputError
        If there is no such metric, or no task that it is for.
    """
    if name is None:
        n_classes = sum(kind == "classification" for kind in task_types)
        return METRICS[
            DEFAULTS["classification" if 2 * n_classes > len(task_types) else "regression"]
        ]
    if name not in METRICS:
        raise InputError(
            "study.metric",
            expected=listed(list(METRICS)),
            found=repr(name),
            hint=did_you_mean(name, list(METRICS)),
        )
    metric = METRICS[name]
    if metric.task_type not in task_types:
        fitting = [other.name for other in METRICS.values() if other.task_type in task_types]
        raise InputError(
            "study.metric",
            expected=f"a metric of {task_types[0]}: {listed(fitting)}",
            found=f"{name!r}, of {metric.task_type}",
        )
    return metric


def label(metric: Metric, n_tasks: int) -> str:
    """Return the name of the score for readers."""
    return LABELS[metric.name] if n_tasks == 1 else f"macro {LABELS[metric.name]}"


@dataclass(frozen=True)
class _Task:
    name: str
    column: int
    rows: NDArray[np.int64]
    truth: NDArray[np.float64]


class FoldScorer:
    """The metric on a fold's validation rows, exact labels alone, each task counting once.

    Parameters
    ----------
    metric : Metric
        Of one kind of task; tasks of the other kind are not scored.
    fold : InnerFold
        Rows of V molecules and their tasks.
    task_types : sequence of {"regression", "classification"}
        Kind of each task of the study.

    Attributes
    ----------
    left_out : dict of str to str
        Why a task of the fold is not scored whatever is predicted, by its name.
    """

    def __init__(self, metric: Metric, fold: InnerFold, task_types: Sequence[TaskType]) -> None:
        self.metric = metric
        self.left_out: dict[str, str] = {}
        self._tasks: list[_Task] = []
        exact = exact_labels(fold.val.targets, fold.val.censoring)
        for t, (name, column) in enumerate(zip(fold.val.task_names, fold.columns, strict=True)):
            if task_types[column] != metric.task_type:
                continue
            rows = np.flatnonzero(np.isfinite(exact[:, t]))
            truth = exact[rows, t]
            try:
                metric(truth, truth)
            except UndefinedMetricError as reason:
                self.left_out[name] = str(reason)
            else:
                self._tasks.append(_Task(name, t, rows, truth))

    def __len__(self) -> int:
        """Return the number of tasks that are scored."""
        return len(self._tasks)

    def __call__(self, predicted: NDArray[np.float64]) -> dict[str, float]:
        """Return the metric of each task.

        Parameters
        ----------
        predicted : ndarray [V, T]
            Of all tasks of the fold.
        """
        return {task.name: self._score(task, predicted) for task in self._tasks}

    def _score(self, task: _Task, predicted: NDArray[np.float64]) -> float:
        try:
            return self.metric(task.truth, predicted[task.rows, task.column])
        except UndefinedMetricError:
            # The truth allows it, so the prediction is constant: no correlation with anything. To
            # leave the task out would reward a model for giving up on it.
            return 0.0


def make_scorers(metric: Metric, data: StudyData) -> list[FoldScorer]:
    """Return the scorer of each fold.

    Raises
    ------
    InputError
        If a fold has no task on which the metric is defined.
    """
    scorers = [FoldScorer(metric, fold, data.task_types) for fold in data.folds]
    for number, scorer in enumerate(scorers, start=1):
        if not len(scorer):
            reasons = [f"{task} ({why})" for task, why in scorer.left_out.items()]
            raise InputError(
                "study.metric",
                expected="a metric that is defined for a task of every fold",
                found=f"{metric.name!r}, undefined in fold {number}: "
                f"{listed(reasons) or 'it trains no task of that kind'}",
                hint="Fewer study.n_folds, or another study.fold_type.",
            )
    return scorers


def scorer_notes(metric: Metric, data: StudyData, scorers: Sequence[FoldScorer]) -> list[str]:
    """Return what the score leaves out and what it means."""
    notes = []
    other = [
        name
        for name, kind in zip(data.task_names, data.task_types, strict=True)
        if kind != metric.task_type
    ]
    if other:
        notes.append(f"Trained but not scored by {LABELS[metric.name]}: {listed(other)}.")
    if metric.name in IN_UNITS and len(data.task_names) - len(other) > 1:
        notes.append(
            f"The mean of {LABELS[metric.name]} over tasks mixes their units; ma_rae does not."
        )
    for number, scorer in enumerate(scorers, start=1):
        if scorer.left_out:
            reasons = [f"{task} ({why})" for task, why in scorer.left_out.items()]
            notes.append(f"Fold {number} does not score {listed(reasons)}.")
    return notes
