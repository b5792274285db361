"""All that scoring finds of one model's predictions, and its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from molpool_common import METRICS, FloatArray

from molpool_pipelines.runs import Metrics, SplitMetrics, scores_by_task
from molpool_pipelines.runs import Stratum as StratumMetrics
from molpool_pipelines.scores._bounds import BoundScores, score_bounds
from molpool_pipelines.scores._calibration import (
    ClassScores,
    Uncertainty,
    score_classes,
    score_uncertainty,
)
from molpool_pipelines.scores._config import ScoreConfig
from molpool_pipelines.scores._coverage import Coverage, score_coverage
from molpool_pipelines.scores._limits import LimitScores, score_limits
from molpool_pipelines.scores._metrics import Resampling, Scored, score_tasks
from molpool_pipelines.scores._predictions import Predictions
from molpool_pipelines.scores._strata import Stratum, TrainingSet, score_strata

ALL = "all rows"


@dataclass(frozen=True)
class Scores:
    """Everything found of one model's predictions.

    Parameters
    ----------
    name : str
        Of the model.
    split : str
        That was scored.
    n : int
        Rows.
    overall : tuple of Scored
        Each task and metric, and the means over tasks.
    uncertainty : mapping of str to Uncertainty
        By task, where there is any.
    classes : mapping of str to ClassScores
        By classification task.
    intervals : mapping of str to Coverage
        How often prediction intervals hold, by task that has any.
    bounds : mapping of str to BoundScores
        By regression task with bounds among its labels.
    limits : tuple of LimitScores
        Of the probabilities that an assay reports its floor or ceiling.
    strata : tuple of Stratum
        By what, in order.
    notes : tuple of str
        What was left out.
    level : float
        Of the intervals.
    """

    name: str
    split: str
    n: int
    overall: tuple[Scored, ...]
    uncertainty: Mapping[str, Uncertainty] = field(default_factory=dict)
    classes: Mapping[str, ClassScores] = field(default_factory=dict)
    intervals: Mapping[str, Coverage] = field(default_factory=dict)
    bounds: Mapping[str, BoundScores] = field(default_factory=dict)
    limits: tuple[LimitScores, ...] = ()
    strata: tuple[Stratum, ...] = ()
    notes: tuple[str, ...] = ()
    level: float = 0.95

    def of(self, task: str, metric: str) -> Scored | None:
        """Return one of the overall scores, if it is there."""
        return next((s for s in self.overall if (s.task, s.metric) == (task, metric)), None)

    def to_frame(self) -> pl.DataFrame:
        """Return a row per number: ``stratum_of, stratum, task, metric, value, low, high, n``."""
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

    def to_metrics(self) -> Metrics:
        """Return what ``metrics.json`` holds."""
        split = SplitMetrics(
            n=self.n,
            **_by_task(self.overall),
            uncertainty={task: u.to_dict() for task, u in self.uncertainty.items()},
            classes={task: c.to_dict() for task, c in self.classes.items()},
            intervals={task: c.to_dict() for task, c in self.intervals.items()},
            bounds={task: b.to_dict() for task, b in self.bounds.items()},
            limits=[limit.to_dict() for limit in self.limits],
            strata=[
                StratumMetrics(of=s.kind, name=s.name, n=s.n, **_by_task(s.scores))
                for s in self.strata
            ],
        )
        return Metrics(
            kind="score",
            name=self.name,
            level=self.level,
            reported=self.split,
            splits={self.split: split},
            notes=list(self.notes),
        )

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        for s in self.overall:
            yield _row(None, ALL, s)
        numbers = [(t, u.n, u.numbers()) for t, u in self.uncertainty.items()]
        numbers += [(t, c.n, c.numbers()) for t, c in self.classes.items()]
        numbers += [(t, i.n, i.numbers()) for t, i in self.intervals.items()]
        numbers += [(t, b.n, b.numbers()) for t, b in self.bounds.items()]
        numbers += [(of.task, of.classes.n, of.numbers()) for of in self.limits]
        for task, n, by_name in numbers:
            for name, value in by_name.items():
                yield (None, ALL, task, name, value, None, None, n, None)
        for stratum in self.strata:
            for s in stratum.scores:
                yield _row(stratum.kind, stratum.name, s)


def score(found: Predictions, known: TrainingSet, config: ScoreConfig, split: str) -> Scores:
    """Return all scores of rows.

    Parameters
    ----------
    found : Predictions
        The rows.
    known : TrainingSet
        What was trained on.
    config : ScoreConfig
        Intervals and bins.
    split : str
        That the rows are of, for the record.
    """
    # The same for strata as overall; a stratum's resamples are of its own rows.
    resampling = Resampling(config.n_bootstrap, config.level, config.seed)
    strata, notes = score_strata(
        found,
        known,
        similarity_bins=config.similarity_bins,
        label_bins=config.label_bins,
        resampling=resampling,
        min_rows=config.min_rows,
    )
    columns = range(len(found.tasks))
    of_kind = {k: [t for t in columns if found.task_types[t] == k] for k in found.task_types}
    stated, of_intervals = stated_sd(found)
    uncertain = {
        found.tasks[t]: score_uncertainty(found.y_true[:, t], found.y_pred[:, t], stated[:, t])
        for t in of_kind.get("regression", [])
        # A sd beside a probability is the spread of an ensemble and no scale of an error.
        if stated is not None
    }
    calls = found.decisions
    classes = {
        found.tasks[t]: score_classes(
            found.y_true[:, t], found.y_pred[:, t], None if calls is None else calls[:, t]
        )
        for t in of_kind.get("classification", [])
    }
    return Scores(
        name=found.name,
        split=split,
        n=len(found),
        overall=score_tasks(found, resampling),
        uncertainty={task: u for task, u in uncertain.items() if u is not None},
        classes={task: c for task, c in classes.items() if c is not None},
        intervals=score_coverage(found, similarity_bins=config.similarity_bins),
        bounds=bounds_by_task(found),
        limits=score_limits(found),
        strata=tuple(strata),
        notes=(*found.notes, *_bounds_note(found), *of_intervals, *notes),
        level=config.level,
    )


def stated_sd(found: Predictions) -> tuple[FloatArray | None, list[str]]:
    """Return how large predictions say that errors are [N, T], as standard deviations, and a note.

    Calibrated intervals say it. A column of standard deviations beside them holds how much models
    disagree, which for models that agree by chance is next to nothing.
    """
    if found.lower is None or found.upper is None or found.level is None:
        return found.sd, []
    from scipy.stats import norm

    # An interval that ends at the assay's limit is cut on one side.
    half = np.fmax(found.upper - found.y_pred, found.y_pred - found.lower)
    stated = np.where(np.isfinite(half), half / norm.ppf((1 + found.level) / 2), np.nan)
    if not np.isfinite(stated).any():
        return found.sd, []
    note = (
        f"Uncertainty is scored by the intervals of {100 * found.level:g} %, taken as normal"
        f"{'' if found.sd is None else ', not by TASK_sd, which says how much models disagree'}."
    )
    return stated, [note]


def bounds_by_task(found: Predictions) -> dict[str, BoundScores]:
    """Return the scores of each regression task that has bounds among its labels."""
    if found.bounds is None or found.signs is None:
        return {}
    scored = {
        task: score_bounds(
            found.y_true[:, t], found.bounds[:, t], found.signs[:, t], found.y_pred[:, t]
        )
        for t, task in enumerate(found.tasks)
        if found.task_types[t] == "regression"
    }
    return {task: of for task, of in scored.items() if of is not None}


def _bounds_note(found: Predictions) -> list[str]:
    # `n_bounds` is counted before the split is taken and cannot be attributed to it.
    total = int(found.n_bounds.sum())
    said = "are bounds (<, >): metrics leave them out, those with bounds count them."
    return [f"{total} labels of all splits {said}"] if total else []


def _row(kind: str | None, stratum: str, s: Scored) -> tuple[Any, ...]:
    low, high = (None, None) if s.interval is None else s.interval
    return (kind, stratum, s.task, s.metric, s.value, low, high, s.n, s.reason)


def _by_task(scores: Sequence[Scored]) -> dict[str, Any]:
    found = scores_by_task(scores, {s.task: METRICS[s.metric].task_type for s in scores})
    return {"tasks": found.tasks, "macro": found.macro}
