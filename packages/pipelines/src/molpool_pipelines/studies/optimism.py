"""How good the chosen trial is on rows that no trial has seen, and how much better it looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from molpool_common import FloatArray

from molpool_pipelines.studies.objective import Direction
from molpool_pipelines.studies.scoring import (
    Interval,
    MacroScore,
    difference_interval,
    score_interval,
)


@dataclass(frozen=True)
class OuterScore:
    """A model on the outer test, beside its score on the inner folds.

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
    interval : Interval or None
        Its 95 % interval: other test rows drawn.
    by_task : mapping of str to float
        The metric of each task on the outer test.
    optimism : float or None
        How much better the inner score looks than the outer: above 0 means too good.
    optimism_interval : Interval or None
        Of the same, by the rows of the outer test.
    gain : float or None
        How much better than this model the best trial is on the outer test; 0 or more is better
        whatever the direction of the score.
    gain_interval : Interval or None
        Of the same, on the same resampled rows.
    """

    name: str
    inner: float | None
    folds: tuple[float, ...]
    outer: float | None
    interval: Interval | None
    by_task: Mapping[str, float]
    optimism: float | None
    optimism_interval: Interval | None
    gain: float | None = None
    gain_interval: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Contender:
    """A model that has predicted the outer test.

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
    seed: int,
    n: int = 1000,
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
    seed : int
        Of the resamples, which are the same for every model.
    n : int
        Resamples.
    """
    return [_outer_score(c, contenders[0], labels, tasks, score, seed, n) for c in contenders]


def _outer_score(
    one: Contender,
    best: Contender,
    labels: FloatArray,
    tasks: Sequence[str],
    score: MacroScore,
    seed: int,
    n: int,
) -> OuterScore:
    inner = float(np.mean(one.folds)) if one.folds else None
    outer = score(labels, one.predictions)
    rng = np.random.default_rng(seed)
    interval = score_interval(score, labels, one.predictions, rng=rng, n=n)
    by_task = score.by_task(labels, one.predictions)
    gain, gain_interval = None, None
    if one is not best:
        first = score(labels, best.predictions)
        gain = _better(first, outer, score.direction)
        pair = (best.predictions, one.predictions)
        rng = np.random.default_rng(seed)
        difference = difference_interval(score, labels, pair, rng=rng, n=n)
        gain_interval = _oriented(difference, score.direction)
    return OuterScore(
        name=one.name,
        inner=inner,
        folds=one.folds,
        outer=outer,
        interval=interval,
        by_task={n: v for n, v in zip(tasks, by_task, strict=True) if v is not None},
        optimism=_better(inner, outer, score.direction),
        optimism_interval=_optimism_interval(inner, interval, score.direction),
        gain=gain,
        gain_interval=gain_interval,
    )


def _better(one: float | None, other: float | None, direction: Direction) -> float | None:
    """Return how much better the first is."""
    if one is None or other is None:
        return None
    return one - other if direction == "maximize" else other - one


def _oriented(interval: Interval | None, direction: Direction) -> Interval | None:
    if interval is None or direction == "maximize":
        return interval
    return Interval(-interval.high, -interval.low)


def _optimism_interval(
    inner: float | None, outer: Interval | None, direction: Direction
) -> Interval | None:
    if inner is None or outer is None:
        return None
    return _oriented(Interval(inner - outer.high, inner - outer.low), direction)
