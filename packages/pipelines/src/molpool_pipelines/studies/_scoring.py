"""One number for predictions of several tasks, and how good the chosen trial is on unseen rows.

Intervals are of the same resamples as those of `molpool-evaluate score` and of a run's page, so
that a study and they say the same of the same predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from molpool_common import (
    METRICS,
    N_RESAMPLES,
    FloatArray,
    UndefinedMetricError,
    percentile_interval,
    resampled_scores,
)

from molpool_pipelines.studies._trials import Direction


class Ends(NamedTuple):
    """The ends of a 95 % interval."""

    low: float
    high: float

    @classmethod
    def of(cls, resamples: FloatArray) -> Ends | None:
        """Return those of resampled values [R]; None where all are undefined."""
        interval = percentile_interval(resamples)
        return None if interval is None else cls(interval.low, interval.high)


@dataclass(frozen=True)
class MacroScore:
    """Mean of a metric over tasks, mixed with the worst task's.

    Parameters
    ----------
    metrics : tuple of str or None [T]
        Name in `molpool_common.METRICS` for each task; None leaves a task out. All of one
        direction.
    min_w : float
        Weight of the worst task, 0 for the plain mean.
    """

    metrics: tuple[str | None, ...]
    min_w: float = 0.0

    @property
    def direction(self) -> Direction:
        """Which scores are better."""
        # All metrics of a score are of one task type, and so of one direction.
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
        return float(self._mix(np.array(found))) if found else None

    def resampled(
        self,
        labels: FloatArray,
        predictions: FloatArray,
        *,
        keys: Sequence[Any] | None = None,
        n: int = N_RESAMPLES,
        seed: int = 0,
    ) -> FloatArray:
        """Return the score [R, M] of models on the same resamples of the rows.

        A task that is undefined on a resample is left out of its mean, as it is on the rows
        themselves.

        Parameters
        ----------
        labels : ndarray [N, T]
            NaN where missing.
        predictions : ndarray [M, N, T]
            Of M models.
        keys : sequence of N, optional
            Distinct names of the rows, by which they are put in order first.
        n : int
            Resamples R.
        seed : int
            Of the resamples.
        """
        metrics = [[] if name is None else [METRICS[name]] for name in self.metrics]
        by_task = resampled_scores(labels, predictions, metrics, keys=keys, n=n, seed=seed)
        return self._mix(np.stack([values for task in by_task for values in task.values()]))

    def _mix(self, values: FloatArray) -> FloatArray:
        """Return the score [...] of task values [T, ...], NaN where undefined."""
        there = ~np.isnan(values)
        count = there.sum(axis=0)
        mean = np.where(there, values, 0).sum(axis=0) / np.maximum(count, 1)
        best = np.inf if self.direction == "maximize" else -np.inf
        # Undefined tasks take no part in the worst.
        filled = np.where(there, values, best)
        worst = filled.min(axis=0) if self.direction == "maximize" else filled.max(axis=0)
        with np.errstate(invalid="ignore"):
            # The term is dropped rather than multiplied by 0: an infinite worst would give NaN.
            mixed = (1 - self.min_w) * mean + (self.min_w * worst if self.min_w else 0.0)
        return np.where(count > 0, mixed, np.nan)


def _one(name: str, y: FloatArray, p: FloatArray) -> float | None:
    there = ~np.isnan(y)
    try:
        return METRICS[name](y[there], p[there])
    except UndefinedMetricError:
        return None


@dataclass(frozen=True)
class OuterScore:
    """A model on the outer test split, beside its score on the inner folds.

    Parameters
    ----------
    name : str
        Of the model.
    inner : float or None
        Mean over the inner folds; None where the model was not scored there.
    folds : tuple of float
        The inner score of each fold.
    outer : float or None
        Score on the outer test; None where it is undefined.
    interval : Ends or None
        Its 95 % interval over resampled test rows.
    by_task : mapping of str to float
        The metric of each task on the outer test.
    optimism : float or None
        How much better the inner score looks than the outer: above 0 means too good.
    optimism_interval : Ends or None
        Of the same, by the rows of the outer test.
    gain : float or None
        How much better than this model the best trial is on the outer test; 0 or more is better
        whatever the direction of the score.
    gain_interval : Ends or None
        Of the same, on the same resampled rows.
    """

    name: str
    inner: float | None
    folds: tuple[float, ...]
    outer: float | None
    interval: Ends | None
    by_task: Mapping[str, float]
    optimism: float | None
    optimism_interval: Ends | None
    gain: float | None = None
    gain_interval: Ends | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Contender:
    """A model that has predicted the outer test split.

    Parameters
    ----------
    name : str
        For tables.
    predictions : ndarray [N, T]
        Of the outer test.
    folds : tuple of float
        Its scores on the inner folds; empty where it has none.
    """

    name: str
    predictions: FloatArray
    folds: tuple[float, ...] = ()


def outer_scores(
    contenders: Sequence[Contender],
    labels: FloatArray,
    tasks: Sequence[str],
    score: MacroScore,
    *,
    keys: Sequence[Any] | None = None,
    n: int = N_RESAMPLES,
    seed: int = 0,
) -> list[OuterScore]:
    """Score models on the outer test; the first is the one the others are compared with.

    Parameters
    ----------
    contenders : sequence of Contender
        The best trial first.
    labels : ndarray [N, T]
        NaN where missing.
    tasks : sequence of str [T]
        Their names.
    score : MacroScore
        The study's.
    keys : sequence of N, optional
        Distinct names of the rows; see `MacroScore.resampled`.
    n : int
        Resamples.
    seed : int
        Of the resamples, which are the same for every model.
    """
    predictions = np.stack([c.predictions for c in contenders])
    resamples = score.resampled(labels, predictions, keys=keys, n=n, seed=seed)
    # Times the sign, more is better.
    sign = 1 if score.direction == "maximize" else -1
    best = score(labels, contenders[0].predictions)
    scores = []
    for i, model in enumerate(contenders):
        inner = float(np.mean(model.folds)) if model.folds else None
        outer = score(labels, model.predictions)
        by_task = score.by_task(labels, model.predictions)
        optimism, optimism_interval, gain, gain_interval = None, None, None, None
        if inner is not None and outer is not None:
            optimism = sign * (inner - outer)
            # The inner score is taken as fixed: how far it would move with other folds is not in
            # these resamples.
            optimism_interval = Ends.of(sign * (inner - resamples[:, i]))
        if i and best is not None and outer is not None:
            gain = sign * (best - outer)
            # Of the difference on the same resamples: two overlapping intervals say nothing about
            # it.
            gain_interval = Ends.of(sign * (resamples[:, 0] - resamples[:, i]))
        scores.append(
            OuterScore(
                name=model.name,
                inner=inner,
                folds=model.folds,
                outer=outer,
                interval=None if outer is None else Ends.of(resamples[:, i]),
                by_task={t: v for t, v in zip(tasks, by_task, strict=True) if v is not None},
                optimism=optimism,
                optimism_interval=optimism_interval,
                gain=gain,
                gain_interval=gain_interval,
            )
        )
    return scores
