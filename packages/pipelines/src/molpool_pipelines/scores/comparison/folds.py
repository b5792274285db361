"""Models on repeated folds: Tukey's test over the folds, and a guard against their dependence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
from molpool_common import IN_UNITS, FloatArray, InputError, Metric

from molpool_pipelines.scores.comparison.aligned import Aligned
from molpool_pipelines.scores.comparison.assumptions import check_assumptions
from molpool_pipelines.scores.comparison.bootstrap import Settings, plain_values
from molpool_pipelines.scores.comparison.corrected_t import corrected_resampled_t
from molpool_pipelines.scores.comparison.multiple import holm
from molpool_pipelines.scores.comparison.result import (
    MACRO,
    Checks,
    Pair,
    Value,
    judged,
    practical_side,
)
from molpool_pipelines.scores.comparison.tukey import TukeyHSD, repeated_measures_tukey


@dataclass(frozen=True)
class FoldScores:
    """Scores of all models on the folds that define a metric.

    Parameters
    ----------
    task, metric : str
        Which; the task may be `MACRO`.
    scores : ndarray [K, M]
        One row a fold.
    ratio : float
        Test labels over training labels, the mean over folds.
    dropped : int
        Folds on which the metric is undefined.
    reason : str or None
        Why, on the last of them.
    """

    task: str
    metric: str
    scores: FloatArray
    ratio: float
    dropped: int
    reason: str | None = None


@dataclass(frozen=True)
class FoldFindings:
    """What all folds together say."""

    values: list[Value]
    pairs: list[Pair]
    checks: list[Checks]
    scores: list[FoldScores]


def compare_on_folds(data: Aligned, metrics: Sequence[Metric], settings: Settings) -> FoldFindings:
    """Compare each pair of models on each task, and on the mean over tasks.

    Parameters
    ----------
    data : Aligned
        Rows with repeat and fold.
    metrics : sequence of Metric
        Each is used on the tasks of its type.
    settings : Settings
        How differences are judged.
    """
    scored = fold_scores(data, metrics)
    found = FoldFindings([], [], [], scored)
    for one in scored:
        if len(one.scores) < 2:
            found.values.extend(_undefined_values(one, data.models))
            found.pairs.extend(_undefined_pairs(one, data.models))
            continue
        tukey = repeated_measures_tukey(one.scores, settings.level)
        found.values.extend(_values(one, tukey, data.models))
        found.pairs.extend(_pairs(one, tukey, data.models, settings))
        checks = asdict(check_assumptions(one.scores))
        found.checks.append(Checks(task=one.task, metric=one.metric, **checks))
    return found


def fold_scores(data: Aligned, metrics: Sequence[Metric]) -> list[FoldScores]:
    """Score each fold by itself; a mean over tasks is of the folds that define it for all tasks."""
    cells = data.cells
    rows = [data.rows_of(cell) for cell in cells]
    found: list[FoldScores] = []
    whole: dict[str, list[FloatArray]] = {}
    ratio = _ratio([len(r) for r in rows], cells)
    for t, (task, kind) in enumerate(zip(data.tasks, data.task_types, strict=True)):
        labelled = [r[~np.isnan(data.y_true[r, t])] for r in rows]
        own = _ratio([len(r) for r in labelled], cells)
        for metric in (m for m in metrics if m.task_type == kind):
            tables = [
                plain_values(metric, data.y_true[r, t], data.y_pred[:, r, t]) for r in labelled
            ]
            table = np.stack([values for values, _ in tables])
            whole.setdefault(metric.name, []).append(table)
            reason = next((why for _, why in reversed(tables) if why), None)
            found.append(_defined(task, metric.name, table, own, reason))
    for metric in metrics:
        of = [t for t in whole.get(metric.name, []) if np.isfinite(t).any()]
        if metric.name not in IN_UNITS and len(of) > 1:
            found.append(_defined(MACRO, metric.name, np.mean(of, axis=0), ratio, "of a task"))
    return found


def _defined(
    task: str, metric: str, table: FloatArray, ratio: float, reason: str | None
) -> FoldScores:
    there = np.isfinite(table).all(axis=1)
    why = None if there.all() else reason
    return FoldScores(task, metric, table[there], ratio, int((~there).sum()), why)


def _ratio(sizes: Sequence[int], cells: Sequence[tuple[int, int]]) -> float:
    """Return test over training labels; a fold is trained on the others of its repeat."""
    by_repeat: dict[int, int] = {}
    for (repeat, _), size in zip(cells, sizes, strict=True):
        by_repeat[repeat] = by_repeat.get(repeat, 0) + size
    test = [float(size) for size in sizes]
    train = [by_repeat[r] - size for (r, _), size in zip(cells, sizes, strict=True)]
    if sum(train) <= 0:
        raise InputError(
            "fold", expected="two folds or more in each repeat", found=f"{len(cells)} in all"
        )
    return float(np.sum(test) / np.sum(train))


def _values(one: FoldScores, tukey: TukeyHSD, models: Sequence[str]) -> list[Value]:
    means, half = one.scores.mean(axis=0), tukey.half_width / 2
    k = len(one.scores)
    return [
        Value(one.task, one.metric, model, float(m), float(m - half), float(m + half), k)
        for model, m in zip(models, means, strict=True)
    ]


def _pairs(
    one: FoldScores, tukey: TukeyHSD, models: Sequence[str], settings: Settings
) -> list[Pair]:
    threshold = settings.practical.get(one.metric)
    at = list(combinations(range(len(models)), 2))
    guards = holm(
        [corrected_resampled_t(one.scores[:, i] - one.scores[:, j], one.ratio).p for i, j in at]
    ).tolist()
    alpha = 1 - settings.level
    pairs = []
    for (i, j), guard in zip(at, guards, strict=True):
        low, high = float(tukey.low[i, j]), float(tukey.high[i, j])
        p, difference = float(tukey.p[i, j]), float(tukey.difference[i, j])
        told = p <= alpha and (guard <= alpha or not settings.guard)
        pair = Pair(
            one.task,
            one.metric,
            models[i],
            models[j],
            difference=difference,
            low=low,
            high=high,
            p_adjusted=p,
            p_guard=guard,
            n=len(one.scores),
            dropped=one.dropped,
            practical=practical_side(low, high, threshold),
        )
        winner = judged(one.metric, pair.a, pair.b, difference, told)
        why = "Tukey's test alone" if p <= alpha and not told else None
        pairs.append(replace(pair, winner=winner, reason=why))
    return pairs


def _undefined_values(one: FoldScores, models: Sequence[str]) -> list[Value]:
    return [Value(one.task, one.metric, model, None, None, None, 0) for model in models]


def _undefined_pairs(one: FoldScores, models: Sequence[str]) -> list[Pair]:
    why = f"defined on {len(one.scores)} of {len(one.scores) + one.dropped} folds: {one.reason}"
    return [
        Pair(one.task, one.metric, a, b, n=len(one.scores), dropped=one.dropped, reason=why)
        for a, b in combinations(models, 2)
    ]
