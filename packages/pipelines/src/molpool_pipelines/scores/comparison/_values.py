"""Files of metrics: compared by the predictions they name, or else by their values alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from molpool_common import IN_UNITS, METRICS, InputError, listed

from molpool_pipelines.runs import PREDICTIONS
from molpool_pipelines.scores._config import CompareConfig
from molpool_pipelines.scores._metrics import MACRO
from molpool_pipelines.scores.comparison._comparison import Comparison, Pair, Value

SPLITS = ("test", "val", "train", "all")


@dataclass(frozen=True)
class ResultFile:
    """Metrics of one model.

    Parameters
    ----------
    path : Path
        The file.
    tasks : dict
        By task, as `MetricTable.to_dict` has them.
    macro : dict
        Means over tasks by metric.
    predictions : Path or None
        The rows that they are of, where they are still there.
    """

    path: Path
    tasks: dict[str, Any]
    macro: dict[str, Any]
    predictions: Path | None


def read_result(path: Path, split: str | None) -> ResultFile:
    """Read metrics from JSON.

    Raises
    ------
    InputError
        If the file is missing, is no JSON or holds no metrics by task.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "result_files", expected="metrics as JSON", found=str(error), where=str(path)
        ) from None
    found = _scores(stored, split)
    if found is None:
        keys = listed(list(stored)) if isinstance(stored, dict) else type(stored).__name__
        raise InputError(
            "result_files",
            expected="metrics by task, as molpool-evaluate score writes them",
            found=keys,
            where=str(path),
        )
    return ResultFile(path, found["tasks"], found.get("macro", {}), _predictions(path, stored))


def _scores(stored: Any, split: str | None) -> dict[str, Any] | None:
    if not isinstance(stored, dict):
        return None
    if isinstance(stored.get("tasks"), dict):
        return stored
    if isinstance(stored.get("metrics"), dict):
        return _of_score(stored["metrics"])
    for key in (split,) if split else SPLITS:
        found = _scores(stored.get(key), None)
        if found is not None:
            return found
    return None


def _of_score(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return what `molpool-evaluate score` writes as a run writes it."""
    tasks: dict[str, Any] = {}
    for task, by_name in metrics.items():
        known = {name: of for name, of in by_name.items() if name in METRICS}
        if known and task != MACRO:
            kind = METRICS[next(iter(known))].task_type
            values = {name: of.get("value") for name, of in known.items()}
            n = max(of.get("n") or 0 for of in known.values())
            tasks[task] = {"type": kind, "n": n, "metrics": values}
    macro = {
        name: {"mean": of.get("value"), "n_tasks": of.get("n")}
        for name, of in metrics.get(MACRO, {}).items()
    }
    return {"tasks": tasks, "macro": macro}


def _predictions(path: Path, stored: dict[str, Any]) -> Path | None:
    named = stored.get("predictions")
    candidates = [path.parent / PREDICTIONS]
    if isinstance(named, str):
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
    tasks = list(files[0].tasks)
    kinds = {files[0].tasks[t]["type"] for t in tasks}
    metrics = [m for m in dict.fromkeys(config.metrics) if METRICS[m].task_type in kinds]
    places = [
        (t, m) for t in tasks for m in metrics if METRICS[m].task_type == files[0].tasks[t]["type"]
    ]
    several = [m for m in metrics if sum(name == m for _, name in places) > 1]
    places += [(MACRO, m) for m in several if m not in IN_UNITS]
    values = {
        (t, m): [_value(f, n, t, m) for f, n in zip(files, names, strict=True)] for t, m in places
    }
    return Comparison(
        models=tuple(names),
        tasks=tuple(tasks),
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
    first = set(files[0].tasks)
    for file, name in zip(files[1:], names[1:], strict=True):
        if set(file.tasks) != first:
            only, more = sorted(first - set(file.tasks)), sorted(set(file.tasks) - first)
            parts = [f"only in {n}: {listed(t)}" for n, t in ((names[0], only), (name, more)) if t]
            raise InputError(
                "models", expected="the same tasks in all of them", found="; ".join(parts)
            )


def _value(file: ResultFile, model: str, task: str, metric: str) -> Value:
    if task == MACRO:
        mean = file.macro.get(metric) or {}
        return Value(task, metric, model, mean.get("mean"), None, None, mean.get("n_tasks") or 0)
    of = file.tasks[task]
    value = of["metrics"].get(metric)
    return Value(task, metric, model, value, None, None, of.get("n") or 0)


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
