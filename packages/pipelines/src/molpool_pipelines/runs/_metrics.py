"""`metrics.json`: one schema of every command, and a reader for those that earlier ones left.

Training, scoring and retraining write one file with the same fields, so that what reads one of them
reads all. `schema_version` rises when a field changes its meaning or goes; a field more is no other
version. Files of 2026 had no version and four layouts, which `read_metrics` tells by their keys.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from molpool_common import ConfigModel, InputError, Interval, MetricTable, checked
from pydantic import Field

from molpool_pipelines.runs._columns import SPLITS
from molpool_pipelines.runs._folder import METRICS, REPORT

SCHEMA_VERSION = 2
"""Files without a version are those of version 1."""

MACRO = "mean over tasks"

Kind = Literal["chemprop", "mil", "tabular", "score", "retraining"]


class MetricValue(ConfigModel):
    """One metric."""

    value: float | None = Field(description="none where it is undefined")
    low: float | None = Field(None, description="lower end of its interval, where it has one")
    high: float | None = Field(None, description="upper end")
    n: int | None = Field(None, description="of a mean over tasks: tasks in it")
    n_left_out: int | None = Field(
        None, description="of a mean over tasks: tasks on which it is undefined, where counted"
    )
    note: str | None = Field(None, description="why there is no value, or what a mean leaves out")


class TaskMetrics(ConfigModel):
    """The metrics of one task, of exact labels alone."""

    type: Literal["regression", "classification"] = Field(description="kind of the task")
    n: int = Field(description="labels")
    unit: str | None = Field(None, description="of its values, where the table says it")
    metrics: dict[str, MetricValue] = Field(description="by name of the metric")


class MemberMetrics(ConfigModel):
    """The metrics of one model."""

    tasks: dict[str, TaskMetrics] = Field(default_factory=dict, description="by task")
    macro: dict[str, MetricValue] = Field(
        default_factory=dict, description="means over tasks, by metric; each task counts once"
    )


class Stratum(MemberMetrics):
    """The metrics of some of the rows, or of some of the tasks."""

    of: str = Field(
        description="what tells rows apart: quality, time, scaffold, similarity, labels, a column"
    )
    name: str = Field(description="which of them")
    n: int = Field(description="rows, or for labels tasks")


Verdict = Literal["better", "not distinguishable", "worse"]
_VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_SPOKEN = 24
"""Tasks of which a screen says one by one how the model compares."""


class BaselineSet(ConfigModel):
    """Simple models, trained on the rows of the run's own, beside it."""

    trained_on: int = Field(description="training rows")
    rows: str = Field(description="digest of the training rows")
    models: dict[str, MemberMetrics] = Field(description="metrics by model")
    sentences: list[str] = Field(
        default_factory=list, description="of each task, the model against the best of them"
    )
    verdicts: dict[str, Verdict] = Field(
        default_factory=dict, description="the same in a word, by task"
    )

    def spoken(self) -> list[str]:
        """Return what a screen says: a sentence a task, or of very many one for all."""
        return [self.counted()] if len(self.verdicts) > _SPOKEN else list(self.sentences)

    def counted(self) -> str:
        """Return on how many tasks the model is better than the best of them, in a sentence."""
        counts = Counter(self.verdicts.values())
        among = [f"{verdict} on {counts[verdict]}" for verdict in _VERDICTS if counts[verdict]]
        return f"Against the best simple model of each task: {', '.join(among)}."


class LearningPoint(MemberMetrics):
    """The metrics of the model trained on a part of the training rows."""

    share: float = Field(description="of the training molecules")
    n: int = Field(description="training rows")


class SplitMetrics(MemberMetrics):
    """What was found on one split."""

    n: int | None = Field(None, description="rows")
    members: list[MemberMetrics] = Field(
        default_factory=list, description="each member of an ensemble alone, in their order"
    )
    fold_score: float | None = Field(
        None, description="mil: (1 - min_w) · mean AP + min_w · least AP over tasks"
    )
    decisions: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="mil: threshold, counts, precision and recall by task"
    )
    uncertainty: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="score: calibration by task of standard deviations, or of intervals taken as "
        "normal where there are calibrated ones",
    )
    intervals: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="prediction intervals by task: level, n (labels), inside (share of them) and "
        "median_width; further, the same at other levels, where a scored table has several",
    )
    bounds: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="tasks with bounds among their labels: n, n_bounds, mae (a bound counts where "
        "the prediction contradicts it), contradicted (share of bounds) and concordance",
    )
    limits: list[dict[str, Any]] = Field(
        default_factory=list,
        description="score: how right the probability is that an assay reports its floor or "
        "ceiling: task, side, limit, n (labels), share that stands there, mean probability, brier "
        "and calibration by tenths of the probability",
    )
    classes: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="score: decisions and calibration of classes by task"
    )
    baselines: BaselineSet | None = Field(None, description="what the model is held against")
    learning_curve: list[LearningPoint] = Field(
        default_factory=list, description="metrics of the model trained on fewer rows"
    )
    more_data: str | None = Field(None, description="whether more data would help")
    strata: list[Stratum] = Field(default_factory=list, description="score: metrics by stratum")


class Metrics(ConfigModel):
    """All of ``metrics.json``."""

    schema_version: int = Field(SCHEMA_VERSION, description="of this layout")
    kind: Kind = Field(description="what wrote it")
    name: str | None = Field(None, description="of the model")
    level: float = Field(0.95, description="nominal coverage of the intervals")
    reported: str | None = Field(None, description="the split that counts")
    splits: dict[str, SplitMetrics] = Field(
        default_factory=dict, description="train, val, test or, where rows are of none, all"
    )
    notes: list[str] = Field(default_factory=list, description="what was left out")
    retraining: dict[str, Any] | None = Field(
        None,
        description="retraining: study, metric, direction, trials, trials_complete, "
        "outer_test_rows, outer_test_scored_before, and models with their inner and outer scores",
    )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without fields that say nothing."""
        # The version is written also where it is the default: its absence means version 1.
        return {
            "schema_version": self.schema_version,
            **self.model_dump(mode="json", exclude_defaults=True),
            "level": self.level,
        }

    @property
    def of_reported(self) -> SplitMetrics:
        """The metrics that count."""
        return self.splits[self.reported or reported_split(self.splits)]


def reported_split(splits: Any) -> str:
    """Return the split that counts among those that have rows: test, else val, else train."""
    # Test first: SPLITS are in the order in which they are used.
    return next((s for s in reversed(SPLITS) if s in splits), "all")


def member_metrics(
    table: MetricTable,
    intervals: Mapping[tuple[str, str], Interval] | None = None,
    units: Mapping[str, str | None] | None = None,
) -> MemberMetrics:
    """Return a table of metrics as `metrics.json` has it.

    Parameters
    ----------
    table : MetricTable
        Values by task.
    intervals : mapping of (str, str) to Interval, optional
        By task and metric; those of means under `MACRO`.
    units : mapping of str to (str or None), optional
        Of the tasks.
    """
    known = intervals or {}

    def value(task: str, name: str, found: float | None, **more: Any) -> MetricValue:
        interval = known.get((task, name))
        ends = {} if interval is None else {"low": interval.low, "high": interval.high}
        return MetricValue(value=found, **ends, **more)

    return MemberMetrics(
        tasks={
            t.task: TaskMetrics(
                type=t.task_type,
                n=t.n,
                unit=(units or {}).get(t.task),
                metrics={
                    name: value(t.task, name, found, note=t.undefined.get(name))
                    for name, found in t.values.items()
                },
            )
            for t in table.tasks
        },
        macro={
            name: value(MACRO, name, m.mean, n=m.n_tasks, n_left_out=m.left_out)
            for name, m in table.macro().items()
        },
    )


def run_summary(run: Path) -> dict[str, Any]:
    """Return folder, page and metrics of a run, for the answer of a command."""
    page = run / REPORT
    return {
        "run": run,
        "report": page if page.is_file() else None,
        "metrics": read_metrics(run).model_dump(mode="json", exclude_defaults=True),
    }


def read_metrics(path: str | Path) -> Metrics:
    """Read ``metrics.json`` of a run, a score or a retraining, written today or earlier.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds it.

    Raises
    ------
    InputError
        If there is none, or it is another file.
    """
    path = Path(path)
    file = checked(path / METRICS if path.is_dir() else path)
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if "model" in data and "target" in data:
            raise ValueError("those of molpool-rt fit")
        return Metrics.model_validate(data if "schema_version" in data else _of_earlier(data))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            METRICS, expected="metrics of a run, a score or a retraining", found=str(error)
        ) from None


def _of_earlier(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file of version 1 in the layout of today."""
    # Only retraining had it at the top; scores had the split; runs had splits as keys.
    if "models" in data:
        return {"kind": "retraining", "reported": "test", "retraining": dict(data)}
    if "side" in data:
        return _of_earlier_score(data)
    # Chemprop runs never had a fold score.
    kind = "mil" if any("fold_score" in of for of in data.values()) else "chemprop"
    splits = {name: _of_earlier_split(of) for name, of in data.items()}
    return {"kind": kind, "reported": reported_split(splits), "splits": splits}


def _of_earlier_split(of: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        (task, name): {"low": ends[0], "high": ends[1]}
        for task, by_metric in of.get("intervals", {}).items()
        for name, ends in by_metric.items()
    }
    found = _of_earlier_table(of, known)
    if "members" in of:
        found["members"] = [_of_earlier_table(member, {}) for member in of["members"]]
    return found | {key: of[key] for key in ("fold_score", "decisions") if key in of}


def _of_earlier_table(
    of: Mapping[str, Any], ends: Mapping[tuple[str, str], Mapping[str, float]]
) -> dict[str, Any]:
    tasks = {
        task: {
            "type": values["type"],
            "n": values["n"],
            "metrics": {
                name: {
                    "value": value,
                    "note": values["undefined"].get(name),
                    **ends.get((task, name), {}),
                }
                for name, value in values["metrics"].items()
            },
        }
        for task, values in of["tasks"].items()
    }
    macro = {
        name: {"value": m["mean"], "n": m["n_tasks"], "n_left_out": m["left_out"]}
        for name, m in of["macro"].items()
    }
    return {"tasks": tasks, "macro": macro}


def _of_earlier_score(data: Mapping[str, Any]) -> dict[str, Any]:
    strata = [
        {"of": s["of"], "name": s["name"], "n": s["n"], **_by_task(s["metrics"])}
        for s in data["strata"]
    ]
    split = {
        "n": data["n"],
        **_by_task(data["metrics"]),
        **{key: data[key] for key in ("uncertainty", "classes")},
        "strata": strata,
    }
    facts = {key: data[key] for key in ("name", "level", "notes")}
    return {"kind": "score", "reported": data["side"], "splits": {data["side"]: split}, **facts}


def _by_task(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return scores by task as tasks and means; the kind of a task shows in its metrics."""
    tasks = {}
    for task, metrics in scores.items():
        if task == MACRO:
            continue
        tasks[task] = {
            # Files of version 1 stored no kind; every classification score had this metric, defined
            # or not.
            "type": "classification" if "average_precision" in metrics else "regression",
            "n": max((m["n"] for m in metrics.values()), default=0),
            "metrics": {
                name: {key: value for key, value in m.items() if key != "n"}
                for name, m in metrics.items()
            },
        }
    return {"tasks": tasks, "macro": dict(scores.get(MACRO, {}))}


def scores_by_task(scored: Sequence[Any], types: Mapping[str, str]) -> MemberMetrics:
    """Return scores as `metrics.json` has them.

    Parameters
    ----------
    scored : sequence
        With ``task, metric, value, n, interval, reason``; `MACRO` stands for the mean over tasks.
    types : mapping of str to str
        Kind of each task.
    """
    found = MemberMetrics()
    for s in scored:
        ends = {} if s.interval is None else {"low": s.interval.low, "high": s.interval.high}
        value = MetricValue(value=s.value, note=s.reason, **ends)
        if s.task == MACRO:
            found.macro[s.metric] = value.model_copy(update={"n": s.n})
            continue
        kind: Any = types[s.task]
        task = found.tasks.setdefault(s.task, TaskMetrics(type=kind, n=s.n, metrics={}))
        task.metrics[s.metric] = value
    return found
