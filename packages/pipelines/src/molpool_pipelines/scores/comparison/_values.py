"""Files of metrics: compared by the predictions they name, or else by their values alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from molpool_common import IN_UNITS, METRICS, InputError, checked, listed

from molpool_pipelines.runs import (
    MACRO,
    PREDICTIONS,
    MemberMetrics,
    read_metrics,
    reported_split,
)
from molpool_pipelines.scores._config import CompareConfig
from molpool_pipelines.scores.comparison._comparison import Comparison, Pair, Value


@dataclass(frozen=True)
class ResultFile:
    """Metrics of one model.

    Parameters
    ----------
    path : Path
        The file.
    metrics : MemberMetrics
        By task, and means over tasks.
    predictions : Path or None
        The rows that they are of, where they are still there.
    """

    path: Path
    metrics: MemberMetrics
    predictions: Path | None


def read_result(path: Path, split: str | None) -> ResultFile:
    """Read metrics from JSON: of training, of a score, or a table of metrics by task.

    Raises
    ------
    InputError
        If the file is missing, is no JSON or holds no metrics by task.
    """
    try:
        stored = json.loads(checked(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "result_files", expected="metrics as JSON", found=str(error), where=str(path)
        ) from None
    found = _metrics(path, stored, split)
    if found is None:
        keys = listed(list(stored)) if isinstance(stored, dict) else type(stored).__name__
        raise InputError(
            "result_files",
            expected="metrics by task, as molpool-evaluate score writes them",
            found=keys,
            where=str(path),
        )
    return ResultFile(path, found, _predictions(path, stored))


def _metrics(path: Path, stored: Any, split: str | None) -> MemberMetrics | None:
    if not isinstance(stored, dict):
        return None
    # A bare metric table, as notebooks write it; `metrics.json` has its tasks below a split.
    if isinstance(stored.get("tasks"), dict):
        return _of_table(stored)
    try:
        found = read_metrics(path)
    except InputError:
        return None
    # A score has the one split that was asked for then.
    wanted = split if found.kind != "score" else found.reported
    return found.splits.get(wanted or reported_split(found.splits))


def _of_table(stored: Mapping[str, Any]) -> MemberMetrics | None:
    """Return what `MetricTable.to_dict` holds."""
    try:
        tasks = {
            task: {
                "type": of["type"],
                "n": of.get("n") or 0,
                "metrics": {name: {"value": value} for name, value in of["metrics"].items()},
            }
            for task, of in stored["tasks"].items()
        }
        macro = {
            name: {"value": of.get("mean"), "n": of.get("n_tasks")}
            for name, of in stored.get("macro", {}).items()
        }
        return MemberMetrics.model_validate({"tasks": tasks, "macro": macro})
    except (KeyError, TypeError, AttributeError, ValueError):
        return None


def _predictions(path: Path, stored: dict[str, Any]) -> Path | None:
    named = stored.get("predictions")
    candidates = [path.parent / PREDICTIONS]
    if isinstance(named, str):
        # Beside the JSON first: folders are moved as a whole, and stored paths then point nowhere.
        candidates = [path.parent / named, Path(named), *candidates]
    return next((p for p in candidates if p.exists()), None)


def compare_values(
    files: Sequence[ResultFile], names: Sequence[str], config: CompareConfig
) -> Comparison:
    """Set values of several models beside one another; without rows no difference is tested.

    Raises
    ------
    InputError
        If the files are of different tasks.
    """
    _check_tasks(files, names)
    kinds = {task: of.type for task, of in files[0].metrics.tasks.items()}
    metrics = [m for m in dict.fromkeys(config.metrics) if METRICS[m].task_type in kinds.values()]
    places = [(t, m) for t in kinds for m in metrics if METRICS[m].task_type == kinds[t]]
    several = [m for m in metrics if sum(name == m for _, name in places) > 1]
    # The mean over tasks says something only where several tasks have the metric.
    places += [(MACRO, m) for m in several if m not in IN_UNITS]
    values = {
        (t, m): [_value(f, n, t, m) for f, n in zip(files, names, strict=True)] for t, m in places
    }
    return Comparison(
        models=tuple(names),
        tasks=tuple(kinds),
        metrics=tuple(metrics),
        design="values",
        level=config.level,
        n_rows=0,
        n_folds=0,
        n_resamples=0,
        guard=config.guard,
        practical=config.practical,
        values=tuple(v for of in values.values() for v in of),
        pairs=tuple(p for of in values.values() for p in _pairs(of)),
        notes=(
            "Values alone: without the predictions of the same molecules no difference can be "
            "distinguished from chance. Compare run folders or tables of predictions.",
        ),
    )


def _check_tasks(files: Sequence[ResultFile], names: Sequence[str]) -> None:
    first = set(files[0].metrics.tasks)
    for file, name in zip(files[1:], names[1:], strict=True):
        own = set(file.metrics.tasks)
        if own != first:
            only, more = sorted(first - own), sorted(own - first)
            parts = [f"only in {n}: {listed(t)}" for n, t in ((names[0], only), (name, more)) if t]
            raise InputError(
                "models", expected="the same tasks in all of them", found="; ".join(parts)
            )


def _value(file: ResultFile, model: str, task: str, metric: str) -> Value:
    if task == MACRO:
        found = file.metrics.macro.get(metric)
        n = (found.n if found else None) or 0
    else:
        found = file.metrics.tasks[task].metrics.get(metric)
        n = file.metrics.tasks[task].n
    return Value(task, metric, model, found.value if found else None, None, None, n)


def _pairs(values: Sequence[Value]) -> list[Pair]:
    pairs = []
    for a, b in combinations(values, 2):
        known = a.value is not None and b.value is not None
        difference = a.value - b.value if a.value is not None and b.value is not None else None
        why = "values alone" if known else "undefined"
        pairs.append(
            Pair(a.task, a.metric, a.model, b.model, difference, n=min(a.n, b.n), reason=why)
        )
    return pairs
