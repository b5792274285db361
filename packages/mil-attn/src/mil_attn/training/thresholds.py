"""Decision thresholds, chosen on validation data only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from molpool_common import did_you_mean
from numpy.typing import ArrayLike, NDArray

from mil_attn.errors import MILError

Counts = NDArray[np.float64]
ThresholdMetric = Literal["f1", "accuracy", "balanced_accuracy", "mcc"]


def _f1(tp: Counts, fp: Counts, fn: Counts, tn: Counts) -> Counts:
    return 2 * tp / (2 * tp + fp + fn)


def _accuracy(tp: Counts, fp: Counts, fn: Counts, tn: Counts) -> Counts:
    return (tp + tn) / (tp + fp + fn + tn)


def _balanced_accuracy(tp: Counts, fp: Counts, fn: Counts, tn: Counts) -> Counts:
    return (tp / (tp + fn) + tn / (tn + fp)) / 2


def _mcc(tp: Counts, fp: Counts, fn: Counts, tn: Counts) -> Counts:
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    return (tp * tn - fp * fn) / np.sqrt(np.where(product > 0, product, 1.0))


_METRICS: dict[str, Callable[[Counts, Counts, Counts, Counts], Counts]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "mcc": _mcc,
}


def decision_thresholds(
    labels: ArrayLike, probabilities: ArrayLike, metric: str = "f1"
) -> NDArray[np.float64]:
    """Return, for each task, the probability from which a bag counts as positive.

    Of all cuts between distinct probabilities the one at which the metric is largest, halfway
    between its neighbours; of several the one nearest to 0.5. A task without a positive or without
    a negative keeps 0.5.

    Parameters
    ----------
    labels : array_like [N, T]
        Of validation data: 0 or 1, NaN where missing.
    probabilities : array_like [N, T]
        Predictions for the same bags.
    metric : {"f1", "accuracy", "balanced_accuracy", "mcc"}
        What to maximise.

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
    return np.array([_one(a, b, _METRICS[metric]) for a, b in columns])


def _one(
    y: NDArray[np.float64],
    p: NDArray[np.float64],
    metric: Callable[[Counts, Counts, Counts, Counts], Counts],
) -> float:
    if len(np.unique(y)) < 2:
        return 0.5
    values, which = np.unique(p, return_inverse=True)
    positives = np.bincount(which, weights=y)[::-1].cumsum()[::-1]
    called = np.bincount(which)[::-1].cumsum()[::-1].astype(np.float64)
    # Cut c calls positive what is at least values[c]; the last cut calls nothing positive.
    tp, called = np.append(positives, 0.0), np.append(called, 0.0)
    score = metric(tp, called - tp, y.sum() - tp, len(y) - y.sum() - called + tp)
    bounds = np.concatenate([[min(0.0, values[0])], values, [max(1.0, values[-1])]])
    cuts = (bounds[:-1] + bounds[1:]) / 2
    # Between neighbours, or at 1, rounding must not bring a cut down to what it should exclude.
    cuts[1:] = np.maximum(cuts[1:], np.nextafter(values, np.inf))
    best = np.flatnonzero(score >= score.max() - 1e-12)
    return float(cuts[best[np.abs(cuts[best] - 0.5).argmin()]])
