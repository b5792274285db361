"""Scores over tasks, and the decision thresholds that validation data choose."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from molpool_common import (
    FloatArray,
    UndefinedMetricError,
    average_precision,
    did_you_mean,
    listed,
    ma_rae,
)
from numpy.typing import ArrayLike

from mil_attn._errors import MILError

ThresholdMetric = Literal["f1", "accuracy", "balanced_accuracy", "mcc"]


@dataclass(frozen=True)
class APScores:
    """Average precision of each task, and over tasks.

    Parameters
    ----------
    by_task : dict of str to float or None
        None where it is undefined: no positive, or no label at all.
    macro, worst : float or None
        Mean and least over the tasks that have one; None where none has.
    """

    by_task: dict[str, float | None]
    macro: float | None
    worst: float | None

    @property
    def left_out(self) -> tuple[str, ...]:
        """Tasks without a positive, which count in neither mean nor least."""
        return tuple(name for name, value in self.by_task.items() if value is None)


def average_precisions(
    labels: ArrayLike, scores: ArrayLike, task_names: Sequence[str], *, warn: bool = True
) -> APScores:
    """Return average precision by task, its mean and its least.

    A task without a positive has none: it is left out, never counted as 0.

    Parameters
    ----------
    labels : array_like [N, T]
        0 or 1, NaN where missing.
    scores : array_like [N, T]
        Logits or probabilities.
    task_names : sequence of str
        Names of the T tasks.
    warn : bool
        Whether to warn of tasks left out.

    Returns
    -------
    APScores

    Raises
    ------
    MILError
        If shapes disagree.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.ndim != 2 or y.shape != p.shape or y.shape[1] != len(task_names):
        raise MILError(
            f"labels, scores: expected shape [N, {len(task_names)}] of both; "
            f"found {list(y.shape)} and {list(p.shape)}."
        )
    by_task = {name: _average_precision(y[:, t], p[:, t]) for t, name in enumerate(task_names)}
    defined = [value for value in by_task.values() if value is not None]
    result = APScores(
        by_task,
        macro=float(np.mean(defined)) if defined else None,
        worst=min(defined) if defined else None,
    )
    if warn and result.left_out:
        names = listed([repr(name) for name in result.left_out])
        warnings.warn(
            f"no positive label of {names}: average precision is undefined there, "
            "left out of the mean and the least over tasks",
            stacklevel=2,
        )
    return result


def _average_precision(y: np.ndarray, p: np.ndarray) -> float | None:
    there = ~np.isnan(y)
    try:
        return average_precision(y[there], p[there])
    except UndefinedMetricError:
        return None


def macro_ma_rae(values: ArrayLike, predictions: ArrayLike) -> float | None:
    """Return the mean over tasks of MAE over the mean absolute deviation of the truth.

    Parameters
    ----------
    values : array_like [N, T]
        NaN where missing.
    predictions : array_like [N, T]
        In the same unit.

    Returns
    -------
    float or None
        A task that has no label, or a single value, is left out; None where all are.
    """
    y, p = np.asarray(values, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    each = []
    for t in range(y.shape[1]):
        there = ~np.isnan(y[:, t])
        with suppress(UndefinedMetricError):
            each.append(ma_rae(y[there, t], p[there, t]))
    return float(np.mean(each)) if each else None


def fold_score(macro_ap: float, min_ap: float, min_w: float) -> float:
    """Return (1 - min_w) · macro_ap + min_w · min_ap.

    Parameters
    ----------
    macro_ap, min_ap : float
        Mean and least average precision over tasks.
    min_w : float
        Weight of the worst task, 0 to 1.

    Raises
    ------
    MILError
        If the weight is out of range.
    """
    if not 0 <= min_w <= 1:
        raise MILError(f"min_w: expected 0 to 1; found {min_w:g}.")
    return (1 - min_w) * macro_ap + min_w * min_ap


def _f1(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray) -> FloatArray:
    return 2 * tp / (2 * tp + fp + fn)


def _accuracy(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray) -> FloatArray:
    return (tp + tn) / (tp + fp + fn + tn)


def _balanced_accuracy(
    tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray
) -> FloatArray:
    return (tp / (tp + fn) + tn / (tn + fp)) / 2


def _mcc(tp: FloatArray, fp: FloatArray, fn: FloatArray, tn: FloatArray) -> FloatArray:
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    # The convention for an empty margin is 0: the numerator is 0 there too.
    return (tp * tn - fp * fn) / np.sqrt(np.where(product > 0, product, 1.0))


_METRICS: dict[str, Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
}


def decision_thresholds(
    labels: ArrayLike, probabilities: ArrayLike, metric: str = "f1", *, least: int = 1
) -> FloatArray:
    """Return, for each task, the probability from which a bag counts as positive.

    Of all cuts between distinct probabilities the one at which the metric is largest, halfway
    between its neighbours; of several the one nearest to 0.5. A task with fewer than `least`
    positives or negatives keeps 0.5.

    Parameters
    ----------
    labels : array_like [N, T]
        Of validation data: 0 or 1, NaN where missing.
    probabilities : array_like [N, T]
        Predictions for the same bags.
    metric : {"f1", "accuracy", "balanced_accuracy", "mcc"}
        What to maximise.
    least : int
        Labels of either class that it takes to choose.

    Returns
    -------
    ndarray [T]

    Raises
    ------
    MILError
        If the metric is unknown or shapes differ.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    if metric not in _METRICS:
        raise MILError(
            f"metric: expected the name of a metric; found {metric!r}. "
            + did_you_mean(metric, get_args(ThresholdMetric))
        )
    if y.ndim != 2 or y.shape != p.shape:
        raise MILError(
            "labels, probabilities: expected one shape [N, T]; "
            f"found {list(y.shape)} and {list(p.shape)}."
        )
    there = ~np.isnan(y)
    columns = [(y[there[:, t], t], p[there[:, t], t]) for t in range(y.shape[1])]
    return np.array([_threshold(a, b, _METRICS[metric], least) for a, b in columns])


def _threshold(
    y: FloatArray,
    p: FloatArray,
    metric: Callable[[FloatArray, FloatArray, FloatArray, FloatArray], FloatArray],
    least: int,
) -> float:
    if min((y == 1).sum(), (y == 0).sum()) < max(least, 1):
        return 0.5
    values, which = np.unique(p, return_inverse=True)
    positives = np.bincount(which, weights=y)[::-1].cumsum()[::-1]
    # Counts of all cuts by one reversed cumulative sum, O(N log N) for the sort.
    called = np.bincount(which)[::-1].cumsum()[::-1].astype(np.float64)
    # Cut c calls positive what is at least values[c]; the last cut calls nothing positive.
    tp, called = np.append(positives, 0.0), np.append(called, 0.0)
    score = metric(tp, called - tp, y.sum() - tp, len(y) - y.sum() - called + tp)
    # Logits may lie outside [0, 1], so the outer bounds follow the values there.
    bounds = np.concatenate([[min(0.0, values[0])], values, [max(1.0, values[-1])]])
    cuts = (bounds[:-1] + bounds[1:]) / 2
    # Between neighbours, or at 1, rounding must not bring a cut down to what it should exclude.
    cuts[1:] = np.maximum(cuts[1:], np.nextafter(values, np.inf))
    # Scores of one confusion ratio may differ in the last bits; they are ties.
    best = np.flatnonzero(score >= score.max() - 1e-12)
    return float(cuts[best[np.abs(cuts[best] - 0.5).argmin()]])
