"""Metrics of several tasks with missing labels, and their means over tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from molpool_common._arrays import FloatArray
from molpool_common._errors import InputError, did_you_mean, listed
from molpool_common.metrics._metric import METRICS, TaskType, UndefinedMetricError, check_binary
from molpool_common.tables._settings import ScaleName

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class TaskScore:
    """The metrics of one task.

    Parameters
    ----------
    task : str
        Its name.
    task_type : {"regression", "classification"}
        Which metrics it has.
    n : int
        Labelled rows.
    values : mapping of str to float or None
        By metric; None where undefined.
    undefined : mapping of str to str
        The reason of each None.
    """

    task: str
    task_type: TaskType
    n: int
    values: Mapping[str, float | None]
    undefined: Mapping[str, str]


@dataclass(frozen=True)
class MacroMean:
    """A metric's mean over the tasks that define it.

    Parameters
    ----------
    mean : float or None
        None where no task defines it.
    n_tasks : int
        Tasks in the mean.
    left_out : int
        Tasks of the metric's type on which it is undefined.
    """

    mean: float | None
    n_tasks: int
    left_out: int


@dataclass(frozen=True)
class MetricTable:
    """One row per task, as `task_metrics` makes it.

    Parameters
    ----------
    tasks : tuple of TaskScore
        In the order of the columns.
    """

    tasks: tuple[TaskScore, ...]

    def macro(self) -> dict[str, MacroMean]:
        """Return the mean over tasks of each metric that any task has, each task counting once."""
        return {name: self._mean(name) for name in self._metric_names()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: `tasks` by name and `macro` by metric, None where undefined."""
        return {
            "tasks": {
                t.task: {
                    "type": t.task_type,
                    "n": t.n,
                    "metrics": dict(t.values),
                    "undefined": dict(t.undefined),
                }
                for t in self.tasks
            },
            "macro": {
                name: {"mean": m.mean, "n_tasks": m.n_tasks, "left_out": m.left_out}
                for name, m in self.macro().items()
            },
        }

    def to_frame(self) -> pl.DataFrame:
        """Return columns `task`, `type`, `n` and one a metric, null where undefined or not had."""
        import polars as pl

        names = self._metric_names()
        return pl.DataFrame(
            [[t.task, t.task_type, t.n, *(t.values.get(m) for m in names)] for t in self.tasks],
            schema={"task": pl.String, "type": pl.String, "n": pl.Int64}
            | dict.fromkeys(names, pl.Float64),
            orient="row",
        )

    def _metric_names(self) -> list[str]:
        return [name for name in METRICS if any(name in t.values for t in self.tasks)]

    def _mean(self, metric: str) -> MacroMean:
        values = [t.values[metric] for t in self.tasks if metric in t.values]
        defined = [v for v in values if v is not None]
        mean = float(np.mean(defined)) if defined else None
        return MacroMean(mean, len(defined), len(values) - len(defined))


def task_metrics(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    task_names: Sequence[str],
    task_types: Sequence[TaskType] | None = None,
    scales: Sequence[ScaleName] = (),
) -> MetricTable:
    """Score each task on its labelled rows.

    Parameters
    ----------
    y_true : array_like [N, T]
        NaN = no label.
    y_pred : array_like [N, T]
        Finite wherever there is a label; what stands elsewhere is not looked at. For a
        classification task, a score that rises with the probability of 1.
    task_names : sequence of str, length T
        Distinct.
    task_types : sequence of {"regression", "classification"}, length T, or None
        None: all regression.
    scales : sequence of str, length T, optional
        On which the models learnt the tasks; see `Metric.on`.

    Returns
    -------
    MetricTable
        A metric that is undefined on a task (no labels, one label, constant truth, a single class)
        is None, with the reason.

    Raises
    ------
    InputError
        If shapes differ, a name repeats, a type is unknown, a class label is not 0 or 1, or a
        labelled cell has no finite prediction.
    """
    y = np.asarray(y_true, dtype=np.float64)
    p = np.asarray(y_pred, dtype=np.float64)
    types: Sequence[str] = ["regression"] * len(task_names) if task_types is None else task_types
    _check_shapes(y, p, task_names, types)
    return MetricTable(
        tuple(
            _score(name, kind, y[:, t], p[:, t], scales[t] if scales else "none")
            for t, (name, kind) in enumerate(zip(task_names, types, strict=True))
        )
    )


def _check_shapes(y: FloatArray, p: FloatArray, names: Sequence[str], types: Sequence[str]) -> None:
    if y.ndim != 2 or y.shape != p.shape:
        raise InputError(
            "y_pred",
            expected="y_true and y_pred of one shape [N, T]",
            found=f"{y.shape}, {p.shape}",
        )
    for parameter, given in (("task_names", names), ("task_types", types)):
        if len(given) != y.shape[1]:
            raise InputError(
                parameter, expected=f"one for each of {y.shape[1]} columns", found=f"{len(given)}"
            )
    repeated = sorted({n for n in names if list(names).count(n) > 1})
    if repeated:
        raise InputError("task_names", expected="distinct names", found=listed(repeated))


def _score(
    name: str, kind: str, y: FloatArray, p: FloatArray, scale: ScaleName = "none"
) -> TaskScore:
    task_type = _task_type(kind, name)
    labelled = ~np.isnan(y)
    _check_finite("y_true", name, np.isinf(y), y)
    # Predictions of unlabelled cells may be anything; they are not scored.
    _check_finite("y_pred", name, labelled & ~np.isfinite(p), p)
    y, p = y[labelled], p[labelled]
    if task_type == "classification":
        check_binary(y, where=f"task {name!r}")
    values: dict[str, float | None] = {}
    undefined: dict[str, str] = {}
    for metric in METRICS.values():
        if metric.task_type != task_type:
            continue
        try:
            values[metric.name] = metric.on(scale)(y, p)
        except UndefinedMetricError as reason:
            values[metric.name] = None
            undefined[metric.name] = str(reason)
    return TaskScore(name, task_type, int(labelled.sum()), values, undefined)


def _task_type(kind: str, task: str) -> TaskType:
    for valid in get_args(TaskType):
        if kind == valid:
            return valid  # type: ignore[no-any-return]
    raise InputError(
        "task_types",
        expected=listed(get_args(TaskType)),
        found=repr(kind),
        where=f"task {task!r}",
        hint=did_you_mean(kind, get_args(TaskType)),
    )


def _check_finite(
    parameter: str, task: str, wrong: np.ndarray[Any, Any], values: FloatArray
) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        raise InputError(
            parameter,
            expected="a finite number in every labelled cell",
            found=listed(values[rows].tolist(), limit=3),
            where=f"task {task!r}, rows {listed(rows.tolist())}",
        )
