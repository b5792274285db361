"""Models on one test set: paired bootstrap over its molecules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from molpool_common import (
    IN_UNITS,
    METRICS,
    N_RESAMPLES,
    FloatArray,
    Metric,
    UndefinedMetricError,
    mean_over_tasks,
    percentile_interval,
    resampled_scores,
)

from molpool_pipelines.scores.comparison.aligned import Aligned
from molpool_pipelines.scores.comparison.differences import summarise
from molpool_pipelines.scores.comparison.multiple import holm
from molpool_pipelines.scores.comparison.result import MACRO, Pair, Value, judged, practical_side

LEAST_OF_CLASS = 5
"""Fewest positives, and negatives, on which a difference can be told."""


@dataclass(frozen=True)
class Settings:
    """How differences are judged.

    Parameters
    ----------
    level : float
        Of intervals; a family of tests errs at 1 - level.
    n_resamples : int
        Of the molecules.
    seed : int
        Of the resamples.
    practical : dict of str to float
        Thresholds by metric.
    guard : bool
        Whether a win on folds needs the corrected t-test too.
    min_labels : int
        Fewest labels of a task in a test set on which a difference can be told.
    """

    level: float
    n_resamples: int
    seed: int
    practical: dict[str, float]
    guard: bool = True
    min_labels: int = 20


@dataclass(frozen=True)
class _Scored:
    """Values [M] and resampled values [K, R, M] of one metric of one task, or of K in a mean.

    `few`: too few labels.
    """

    task: str
    metric: str
    n: int
    values: FloatArray
    resampled: FloatArray
    reason: str | None = None
    few: bool = False


def compare_on_test_set(
    data: Aligned, metrics: Sequence[Metric], settings: Settings
) -> tuple[list[Value], list[Pair]]:
    """Compare each pair of models on each task, and on the mean over tasks.

    Every model is scored on the same resamples of the molecules, and so is every task: a resample
    draws whole rows.

    Parameters
    ----------
    data : Aligned
        Rows of all models.
    metrics : sequence of Metric
        Each is used on the tasks of its type.
    settings : Settings
        How differences are judged.
    """
    scored = score_tasks(data, metrics, settings)
    values = [v for s in scored for v in _values(s, data.models, settings)]
    pairs = [p for s in scored for p in _pairs(s, data.models, settings)]
    return values, pairs


def score_tasks(data: Aligned, metrics: Sequence[Metric], settings: Settings) -> list[_Scored]:
    """Score the rows and their resamples, task by task and then the mean over tasks."""
    by_task = [[m for m in metrics if m.task_type == kind] for kind in data.task_types]
    drawn = resampled_scores(
        data.y_true,
        data.y_pred,
        by_task,
        keys=data.keys,
        n=settings.n_resamples,
        seed=settings.seed,
    )
    scored = []
    for t, task in enumerate(data.tasks):
        rows = np.flatnonzero(~np.isnan(data.y_true[:, t]))
        for metric in by_task[t]:
            y, resampled = data.y_true[rows, t], drawn[t][metric.name][None]
            values, reason = plain_values(metric, y, data.y_pred[:, rows, t])
            few = too_few(metric, y, settings.min_labels)
            scored.append(
                _Scored(task, metric.name, len(rows), values, resampled, reason or few, bool(few))
            )
    return [*scored, *_means(scored, metrics)]


def too_few(metric: Metric, y: FloatArray, least: int) -> str | None:
    """Return why labels are too few for resamples to say how far a score could move, if so.

    Resamples of a handful of rows repeat them: intervals are too narrow and p-values too small.
    """
    if len(y) < least:
        return f"{len(y)} labels, fewer than {least}"
    if metric.task_type == "classification":
        rarer = int(min(y.sum(), (1 - y).sum()))
        if rarer < LEAST_OF_CLASS:
            return f"{rarer} labels of the rarer class, fewer than {LEAST_OF_CLASS}"
    return None


def plain_values(metric: Metric, y: FloatArray, p: FloatArray) -> tuple[FloatArray, str | None]:
    """Return values [M] of predictions [M, n], NaN where undefined, and why."""
    values, reason = np.full(len(p), np.nan), None
    for m, one in enumerate(p):
        try:
            values[m] = metric(y, one)
        except UndefinedMetricError as undefined:
            reason = str(undefined)
    return values, reason


def _means(scored: Sequence[_Scored], metrics: Sequence[Metric]) -> list[_Scored]:
    """Return the means over the tasks with labels enough that define a metric for all models."""
    means = []
    for metric in metrics:
        of = [s for s in scored if s.metric == metric.name]
        defined = [s for s in of if np.isfinite(s.values).all() and not s.few]
        if metric.name in IN_UNITS or len(of) < 2 or not defined:
            continue
        values = np.mean([s.values for s in defined], axis=0)
        resampled = np.concatenate([s.resampled for s in defined])
        n = sum(s.n for s in defined)
        means.append(_Scored(MACRO, metric.name, n, values, resampled))
    return means


def _values(scored: _Scored, models: Sequence[str], settings: Settings) -> list[Value]:
    found = []
    # As many as everywhere: a value has one interval, however many the p-values of pairs take.
    each = mean_over_tasks(scored.resampled[:, :N_RESAMPLES])
    for m, model in enumerate(models):
        value = float(scored.values[m])
        defined = np.isfinite(value)
        told = defined and not scored.few
        interval = percentile_interval(each[:, m], settings.level) if told else None
        found.append(
            Value(
                scored.task,
                scored.metric,
                model,
                value if defined else None,
                interval.low if interval else None,
                interval.high if interval else None,
                scored.n,
            )
        )
    return found


def _pairs(scored: _Scored, models: Sequence[str], settings: Settings) -> list[Pair]:
    threshold = settings.practical.get(scored.metric)
    pairs = []
    for i, j in combinations(range(len(models)), 2):
        pair = Pair(scored.task, scored.metric, models[i], models[j], n=scored.n)
        difference = float(scored.values[i] - scored.values[j])
        gaps = scored.resampled[..., i] - scored.resampled[..., j]
        found = summarise(mean_over_tasks(gaps), settings.level)
        if not np.isfinite(difference):
            pair = replace(pair, reason=scored.reason or "undefined")
        elif scored.few:
            pair = replace(pair, difference=difference, reason=scored.reason)
        elif found is None:
            pair = replace(pair, difference=difference, reason="undefined on all resamples")
        else:
            pair = replace(
                pair,
                difference=difference,
                low=found.low,
                high=found.high,
                p=found.p,
                dropped=found.dropped,
                practical=practical_side(found.low, found.high, threshold),
            )
        pairs.append(pair)
    return adjusted(pairs, settings)


def adjusted(pairs: Sequence[Pair], settings: Settings) -> list[Pair]:
    """Return one family of pairs with Holm's p-values and the verdicts that follow."""
    p = holm([np.nan if pair.p is None else pair.p for pair in pairs])
    judged_pairs = []
    for pair, value in zip(pairs, p.tolist(), strict=True):
        if pair.p is None or pair.difference is None:
            judged_pairs.append(pair)
            continue
        told = value <= 1 - settings.level
        winner = judged(pair.metric, pair.a, pair.b, pair.difference, told)
        judged_pairs.append(replace(pair, p_adjusted=value, winner=winner))
    return judged_pairs


def named_metrics(names: Sequence[str]) -> list[Metric]:
    """Return metrics by name; see `METRICS`."""
    return [METRICS[name] for name in names]
