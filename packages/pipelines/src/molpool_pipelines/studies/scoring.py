"""One number for predictions of several tasks, and how far it could move with other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from molpool_common import METRICS, FloatArray, UndefinedMetricError, resampled

from molpool_pipelines.studies.objective import Direction

_CELLS = 2_000_000
"""Rows times resamples held at once: 16 MB an array."""


class Interval(NamedTuple):
    """A percentile interval of the bootstrap over rows."""

    low: float
    high: float


@dataclass(frozen=True)
class MacroScore:
    """Mean of a metric over tasks, mixed with the worst task's.

    Parameters
    ----------
    metrics : tuple of str or None [T]
        Name in `molpool_common.metrics.METRICS` for each task; None leaves a task out. All of one
        direction.
    min_w : float
        Weight of the worst task, 0 for the plain mean.
    """

    metrics: tuple[str | None, ...]
    min_w: float = 0.0

    @property
    def direction(self) -> Direction:
        """Which scores are better."""
        better = next(METRICS[m].higher_is_better for m in self.metrics if m is not None)
        return "maximize" if better else "minimize"

    def by_task(self, labels: FloatArray, predictions: FloatArray) -> list[float | None]:
        """Return the metric of each task; None where it is undefined.

        Parameters
        ----------
        labels, predictions : ndarray [N, T]
            Labels NaN where missing.
        """
        return [
            None if name is None else _one(name, labels[:, t], predictions[:, t])
            for t, name in enumerate(self.metrics)
        ]

    def __call__(self, labels: FloatArray, predictions: FloatArray) -> float | None:
        """Return the score; None where no task defines it."""
        found = [v for v in self.by_task(labels, predictions) if v is not None]
        return float(self._mix(np.array(found)[:, None])[0]) if found else None

    def resampled(
        self, labels: FloatArray, predictions: FloatArray, counts: FloatArray
    ) -> FloatArray:
        """Return the score [R] of resamples, given by how often each holds each row.

        A task that is undefined on a resample is left out of its mean, as it is on the rows
        themselves.
        """
        columns = []
        for t, name in enumerate(self.metrics):
            there = ~np.isnan(labels[:, t])
            if name is None or not there.any():
                continue
            y, p = labels[there, t], predictions[there, t]
            columns.append(resampled(METRICS[name], y, p, counts[:, there]))
        return self._mix(np.stack(columns)) if columns else np.full(len(counts), np.nan)

    def _mix(self, values: FloatArray) -> FloatArray:
        """Return the score [R] of task values [T, R], NaN where undefined."""
        there = ~np.isnan(values)
        count = there.sum(axis=0)
        mean = np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1)
        best = np.inf if self.direction == "maximize" else -np.inf
        filled = np.where(there, values, best)
        worst = filled.min(axis=0) if self.direction == "maximize" else filled.max(axis=0)
        with np.errstate(invalid="ignore"):
            mixed = (1 - self.min_w) * mean + (self.min_w * worst if self.min_w else 0.0)
        return np.where(count > 0, mixed, np.nan)


def _one(name: str, y: FloatArray, p: FloatArray) -> float | None:
    there = ~np.isnan(y)
    try:
        return METRICS[name](y[there], p[there])
    except UndefinedMetricError:
        return None


def score_interval(
    score: MacroScore,
    labels: FloatArray,
    predictions: FloatArray,
    *,
    rng: np.random.Generator,
    n: int = 1000,
    level: float = 0.95,
) -> Interval | None:
    """Return the percentile bootstrap interval of a score; whole rows are drawn, with all tasks.

    Parameters
    ----------
    score : MacroScore
        What is scored.
    labels, predictions : ndarray [N, T]
        Labels NaN where missing.
    rng : numpy.random.Generator
        Draws the resamples.
    n : int
        Resamples.
    level : float
        Nominal coverage.

    Returns
    -------
    Interval or None
        None where the score is undefined on every resample.
    """
    return _interval(lambda c: score.resampled(labels, predictions, c), len(labels), rng, n, level)


def difference_interval(
    score: MacroScore,
    labels: FloatArray,
    predictions: Sequence[FloatArray],
    *,
    rng: np.random.Generator,
    n: int = 1000,
    level: float = 0.95,
) -> Interval | None:
    """Return the interval of the first predictions' score less the second's, on the same rows."""
    one, other = predictions

    def differences(counts: FloatArray) -> FloatArray:
        return score.resampled(labels, one, counts) - score.resampled(labels, other, counts)

    return _interval(differences, len(labels), rng, n, level)


def _interval(
    of: Callable[[FloatArray], FloatArray],
    rows: int,
    rng: np.random.Generator,
    n: int,
    level: float,
) -> Interval | None:
    if not rows:
        return None
    step = max(1, _CELLS // rows)
    parts = [
        of(rng.multinomial(rows, np.full(rows, 1 / rows), size=min(step, n - start)).astype(float))
        for start in range(0, n, step)
    ]
    values = np.concatenate(parts)
    defined = values[~np.isnan(values)]
    if not defined.size:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))
