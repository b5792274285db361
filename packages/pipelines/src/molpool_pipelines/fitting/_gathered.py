"""Simple models beside a cross-validation: what those of its folds say together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
import polars as pl
from molpool_common import TaskType

from molpool_pipelines.fitting._baselines import against_best, in_words
from molpool_pipelines.models import WORDS
from molpool_pipelines.runs import (
    BASELINE_MODELS,
    PREDICTIONS,
    SPLIT,
    BaselineSet,
    MemberMetrics,
    MetricValue,
    TaskMetrics,
    read_metrics,
    read_run_predictions,
)


def gathered_baselines(
    first: Sequence[Path], every: Sequence[Path], types: Mapping[str, TaskType], model: str
) -> BaselineSet | None:
    """Return the simple models of all folds as one set; None where a fold has none.

    Parameters
    ----------
    first : sequence of Path
        Runs of the first repeat, whose rows each stand there once: differences are tested on them.
    every : sequence of Path
        Runs of all folds and repeats, over which metrics are means.
    types : mapping of str to {"regression", "classification"}
        Of the tasks.
    model : str
        What sentences call the runs' own model.
    """
    sets = [read_metrics(path).splits["test"].baselines for path in every]
    known = [of for of in sets if of is not None]
    if len(known) < len(every):
        return None
    names = [name for name in known[0].models if all(name in of.models for of in known)]
    words: dict[str, str] = {**WORDS}  # type: ignore[dict-item]  # names are of members
    files = [path / BASELINE_MODELS / name / PREDICTIONS for name in names for path in first]
    pairs = []
    if all(file.is_file() for file in files):
        own = pl.concat([_tested(path) for path in first], how="diagonal_relaxed")
        others = {
            words.get(name, name): pl.concat(
                [_tested(path / BASELINE_MODELS / name) for path in first],
                how="diagonal_relaxed",
            )
            for name in names
        }
        pairs = against_best(own, others, types, model)
    return BaselineSet(
        trained_on=round(float(np.mean([of.trained_on for of in known]))),
        rows=blake2b("".join(of.rows for of in known).encode(), digest_size=16).hexdigest(),
        models={name: _mean([of.models[name] for of in known]) for name in names},
        **in_words(pairs),
    )


def _tested(folder: Path) -> pl.DataFrame:
    return read_run_predictions(folder).filter(pl.col(SPLIT) == "test")


def _mean(folds: Sequence[MemberMetrics]) -> MemberMetrics:
    """Return means over folds, of those on which a metric is defined."""
    tasks = {}
    for task, of in folds[0].tasks.items():
        each = [fold.tasks[task] for fold in folds if task in fold.tasks]
        metrics = {
            name: _mean_value([one.metrics.get(name) for one in each]) for name in of.metrics
        }
        tasks[task] = TaskMetrics(type=of.type, n=sum(one.n for one in each), metrics=metrics)
    macro = {name: _mean_value([fold.macro.get(name) for fold in folds]) for name in folds[0].macro}
    return MemberMetrics(tasks=tasks, macro=macro)


def _mean_value(values: Sequence[MetricValue | None]) -> MetricValue:
    defined = [v.value for v in values if v is not None and v.value is not None]
    return MetricValue(value=float(np.mean(defined)) if defined else None)
