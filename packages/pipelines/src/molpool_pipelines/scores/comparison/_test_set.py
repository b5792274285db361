"""Models on one test set: a paired bootstrap over its molecules, and Holm's p-values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from molpool_common import (
    IN_UNITS,
    N_RESAMPLES,
    FloatArray,
    Interval,
    Metric,
    UndefinedMetricError,
    mean_over_tasks,
    metrics_by_task,
    percentile_interval,
    resampled_scores,
)

from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores.comparison._comparison import (
    Pair,
    Value,
    practical_verdict,
    winner_of,
)
from molpool_pipelines.scores.comparison._paired import PairedRows

LEAST_OF_CLASS = 5
"""Fewest positives, and negatives, on which differences are tested."""


@dataclass(frozen=True)
class Settings:
    """How differences are tested.

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
        Fewest labels of a task in a test set on which differences are tested.
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
    data: PairedRows, metrics: Sequence[Metric], settings: Settings
) -> tuple[list[Value], list[Pair]]:
    """Compare each pair of models on each task, and on the mean over tasks.

    Every model is scored on the same resamples of the molecules, and so is every task: a resample
    draws whole rows.

    Parameters
    ----------
    data : PairedRows
        Rows of all models.
    metrics : sequence of Metric
        Each is used on the tasks of its type.
    settings : Settings
        How differences are tested.
    """
    scored = _score_tasks(data, metrics, settings)
    values = [v for s in scored for v in _values(s, data.models, settings)]
    pairs = [p for s in scored for p in _pairs(s, data.models, settings)]
    return values, pairs


def _score_tasks(data: PairedRows, metrics: Sequence[Metric], settings: Settings) -> list[_Scored]:
    """Score the rows and their resamples, task by task and then the mean over tasks."""
    by_task = metrics_by_task(metrics, data.task_types, data.scales)
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
            # Each resample is drawn once for all models: their differences are paired, and what
            # makes a molecule hard for all cancels.
            y, resampled = data.y_true[rows, t], drawn[t][metric.name][None]
            values, reason = plain_values(metric, y, data.y_pred[:, rows, t])
            few = _too_few(metric, y, settings.min_labels)
            scored.append(
                _Scored(task, metric.name, len(rows), values, resampled, reason or few, bool(few))
            )
    return [*scored, *_means(scored, metrics)]


def _too_few(metric: Metric, y: FloatArray, least: int) -> str | None:
    """Return why labels are too few for resamples to say how far a score could move, if so.

    Resamples of a handful of rows repeat them: intervals are too narrow and p-values too small.
    """
    if len(y) < least:
        return f"{len(y)} {'label' if len(y) == 1 else 'labels'}, fewer than {least}"
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
        # One set of tasks for all models: a mean over each model's own tasks would reward failing
        # on the hard ones.
        defined = [s for s in of if np.isfinite(s.values).all() and not s.few]
        if metric.name in IN_UNITS or len(of) < 2 or not defined:
            continue
        values = np.mean([s.values for s in defined], axis=0)
        # By task rather than averaged: a resample may leave one task undefined, which
        # `mean_over_tasks` handles.
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
        enough = defined and not scored.few
        interval = percentile_interval(each[:, m], settings.level) if enough else None
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
        # The difference first and then the mean over tasks, so that a resample counts only where
        # both models have a score.
        gaps = scored.resampled[..., i] - scored.resampled[..., j]
        tested = difference_test(mean_over_tasks(gaps), settings.level)
        if not np.isfinite(difference):
            pair = replace(pair, reason=scored.reason or "undefined")
        elif scored.few:
            pair = replace(pair, difference=difference, reason=scored.reason)
        elif tested is None:
            pair = replace(pair, difference=difference, reason="undefined on all resamples")
        else:
            interval, p = tested
            pair = replace(
                pair,
                difference=difference,
                low=interval.low,
                high=interval.high,
                p=p,
                dropped=interval.dropped,
                practical=practical_verdict(interval.low, interval.high, threshold),
            )
        pairs.append(pair)
    return _adjusted(pairs, settings)


def _adjusted(pairs: Sequence[Pair], settings: Settings) -> list[Pair]:
    """Return one family of pairs with Holm's p-values and the verdicts that follow."""
    p = holm([np.nan if pair.p is None else pair.p for pair in pairs])
    family = []
    for pair, value in zip(pairs, p.tolist(), strict=True):
        if pair.p is None or pair.difference is None:
            family.append(pair)
            continue
        significant = value <= 1 - settings.level
        winner = winner_of(pair.metric, pair.a, pair.b, pair.difference, significant)
        family.append(replace(pair, p_adjusted=value, winner=winner))
    return family


def difference_test(differences: FloatArray, level: float) -> tuple[Interval, float] | None:
    """Return interval and p-value of resampled differences [R], or None if none is defined.

    The p-value is the two-sided level at which that interval would just reach 0: twice the smaller
    share of resamples on either side of it, each share with one resample added, so that it is
    never 0 (Davison and Hinkley, "Bootstrap Methods and their Application" (1997), sections 4.2
    and 5.3; Efron and Tibshirani (1993), section 15.4).
    """
    interval = percentile_interval(differences, level)
    if interval is None:
        return None
    # Ties at 0 count on both sides, so that models that agree everywhere have p = 1.
    rarer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return interval, min(1.0, 2 * (rarer + 1) / (interval.n + 1))


def holm(p: Sequence[float] | FloatArray) -> FloatArray:
    """Return Holm's step-down adjusted p-values.

    Rejecting where they are at most α keeps the chance of any false rejection in the family at α
    or below, however the tests depend on one another.

    Parameters
    ----------
    p : sequence of float [m]
        NaN where a test has no result; such a test is not of the family.

    Returns
    -------
    ndarray [m]
        NaN where `p` is.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979) 65-70.
    """
    raw = np.asarray(p, dtype=np.float64)
    adjusted = np.full(raw.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(raw))
    order = tested[np.argsort(raw[tested], kind="stable")]
    # The smallest p is multiplied by the number of tests, the next by one less; the running maximum
    # keeps adjusted values in the order of the raw ones.
    steps = np.arange(len(order), 0, -1) * raw[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
