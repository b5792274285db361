"""What `score` finds, and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl
from molpool_common import Interval

from molpool_pipelines.scores.classes import ClassScores
from molpool_pipelines.scores.uncertainty import Uncertainty

ALL = "all rows"
MACRO = "mean over tasks"


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


@dataclass(frozen=True)
class Stratum:
    """Scores of some of the rows, or of some of the tasks.

    Parameters
    ----------
    kind : str
        What rows are told apart by: ``quality``, ``scaffold``, ``similarity``, ``labels``.
    name : str
        Which of them.
    n : int
        Rows, or for ``labels`` tasks.
    scores : tuple of Scored
        Of each task and metric.
    """

    kind: str
    name: str
    n: int
    scores: tuple[Scored, ...]


@dataclass(frozen=True)
class Scores:
    """Everything found of one model's predictions.

    Parameters
    ----------
    name : str
        Of the model.
    side : str
        The side that was scored.
    n : int
        Rows.
    overall : tuple of Scored
        Each task and metric, and the means over tasks.
    uncertainty : mapping of str to Uncertainty
        By task, where there is any.
    classes : mapping of str to ClassScores
        By classification task.
    strata : tuple of Stratum
        By what, in order.
    notes : tuple of str
        What was left out.
    level : float
        Of the intervals.
    """

    name: str
    side: str
    n: int
    overall: tuple[Scored, ...]
    uncertainty: Mapping[str, Uncertainty] = field(default_factory=dict)
    classes: Mapping[str, ClassScores] = field(default_factory=dict)
    strata: tuple[Stratum, ...] = ()
    notes: tuple[str, ...] = ()
    level: float = 0.95

    def of(self, task: str, metric: str) -> Scored | None:
        """Return one of the overall scores, if it is there."""
        return next((s for s in self.overall if (s.task, s.metric) == (task, metric)), None)

    def to_frame(self) -> pl.DataFrame:
        """Return a row a number: ``stratum_of, stratum, task, metric, value, low, high, n``."""
        return pl.DataFrame(
            list(self._rows()),
            schema={
                "stratum_of": pl.String,
                "stratum": pl.String,
                "task": pl.String,
                "metric": pl.String,
                "value": pl.Float64,
                "low": pl.Float64,
                "high": pl.Float64,
                "n": pl.Int64,
                "note": pl.String,
            },
            orient="row",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "name": self.name,
            "side": self.side,
            "n": self.n,
            "level": self.level,
            "metrics": _by_task(self.overall),
            "uncertainty": {task: u.to_dict() for task, u in self.uncertainty.items()},
            "classes": {task: c.to_dict() for task, c in self.classes.items()},
            "strata": [
                {"of": s.kind, "name": s.name, "n": s.n, "metrics": _by_task(s.scores)}
                for s in self.strata
            ],
            "notes": list(self.notes),
        }

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for s in self.overall:
            yield _row(None, ALL, s)
        for task, u in self.uncertainty.items():
            for name, value in u.numbers().items():
                yield (None, ALL, task, name, value, None, None, u.n, None)
        for task, c in self.classes.items():
            for name, value in c.numbers().items():
                yield (None, ALL, task, name, value, None, None, c.n, None)
        for stratum in self.strata:
            for s in stratum.scores:
                yield _row(stratum.kind, stratum.name, s)


def _row(kind: str | None, stratum: str, s: Scored) -> tuple[Any, ...]:
    low, high = (None, None) if s.interval is None else s.interval
    return (kind, stratum, s.task, s.metric, s.value, low, high, s.n, s.reason)


def _by_task(scores: Sequence[Scored]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for s in scores:
        entry: dict[str, Any] = {"value": s.value, "n": s.n}
        if s.interval is not None:
            entry |= {"low": s.interval.low, "high": s.interval.high}
        if s.reason is not None:
            entry["note"] = s.reason
        found.setdefault(s.task, {})[s.metric] = entry
    return found
