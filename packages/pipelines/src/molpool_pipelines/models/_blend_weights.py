"""How much each member counts in each task, by predictions of rows that it has not seen."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray, IntArray, TaskType

_ROUNDS = 40
"""Members chosen one after the other, with replacement: weights are multiples of 1/40."""

_SHRINKAGE = 300.0
"""Labels at which a task's own weights and the common ones count the same."""


def blend_weights(
    y: FloatArray, predictions: FloatArray, task_types: tuple[TaskType, ...]
) -> FloatArray:
    """Return weights of M members in T tasks.

    Parameters
    ----------
    y : ndarray [N, T]
        Exact labels, NaN for none.
    predictions : ndarray [M, N, T]
        Out of fold; NaN where a row was never predicted.
    task_types : tuple of {"regression", "classification"}, length T
        What the tasks are: regression is judged by absolute error over that of the mean, classes by
        the squared error of probabilities.

    Returns
    -------
    ndarray [M, T]
        Not negative, columns sum to 1. Those of a task are shrunk to the weights that are best for
        all tasks together, by its number of labels.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models" (ICML
    2004): forward selection with replacement, which gives non-negative weights and overfits less
    than their least squares.
    """
    n_members, _, n_tasks = predictions.shape
    weights = np.full((n_members, n_tasks), 1 / n_members)
    rows = [
        np.flatnonzero(np.isfinite(y[:, t]) & np.isfinite(predictions[:, :, t]).all(axis=0))
        for t in range(n_tasks)
    ]
    learnt = [t for t in range(n_tasks) if len(rows[t]) > 1]
    if n_members == 1 or not learnt:
        return weights
    powers = [1 if kind == "regression" else 2 for kind in task_types]
    common = _selected(y, predictions, rows, learnt, powers)
    for t in range(n_tasks):
        weights[:, t] = common
    for t in learnt:
        own = _selected(y, predictions, rows, [t], powers)
        n = len(rows[t])
        weights[:, t] = (n * own + _SHRINKAGE * common) / (n + _SHRINKAGE)
    return weights


def _selected(
    y: FloatArray,
    predictions: FloatArray,
    rows: list[IntArray],
    tasks: list[int],
    powers: list[int],
) -> FloatArray:
    """Return the shares of the members that forward selection takes for some tasks together."""
    n_members = len(predictions)
    labels = [y[rows[t], t] for t in tasks]
    each = [predictions[:, rows[t], t] for t in tasks]
    # Over the error of the mean, so that tasks of all units count the same.
    scales = [
        max(float((np.abs(v - v.mean()) ** powers[t]).mean()), 1e-300)
        for t, v in zip(tasks, labels, strict=True)
    ]
    sums = [np.zeros(len(v)) for v in labels]
    counts = np.zeros(n_members)
    for step in range(1, _ROUNDS + 1):
        errors = np.zeros(n_members)
        for t, v, p, total, scale in zip(tasks, labels, each, sums, scales, strict=True):
            off = np.abs((total + p) / step - v) ** powers[t]
            # A task of few labels says little about the members: it counts by what it can tell.
            trust = len(v) / (len(v) + _SHRINKAGE)
            errors += trust * off.mean(axis=1) / scale
        best = int(errors.argmin())
        counts[best] += 1
        for total, p in zip(sums, each, strict=True):
            total += p[best]
    return np.asarray(counts / counts.sum())
