"""Average precision over tasks, and the score of a fold."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from molpool_common import UndefinedMetricError, average_precision, listed, ma_rae
from numpy.typing import ArrayLike

from mil_attn.errors import MILError


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
    by_task = {name: _one(y[:, t], p[:, t]) for t, name in enumerate(task_names)}
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


def _one(y: np.ndarray, p: np.ndarray) -> float | None:
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
