"""Paired bootstrap over molecules: how far a difference of two models could move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray, Metric, resampled

_CELLS = 2_000_000
"""Rows times resamples held at once: 16 MB an array."""


@dataclass(frozen=True)
class Difference:
    """A difference of two models, and what resampled molecules make of it.

    Parameters
    ----------
    low, high : float
        Percentile interval, of this pair alone.
    p : float
        Two-sided level at which that interval would just reach 0, of this pair alone.
    n : int
        Resamples on which it was defined.
    dropped : int
        Resamples on which it was not.
    """

    low: float
    high: float
    p: float
    n: int
    dropped: int


def draw_counts(n_rows: int, n: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Draw `n` resamples of the rows, as counts [r, N], some at a time."""
    chunk = max(1, _CELLS // max(n_rows, 1))
    for start in range(0, n, chunk):
        r = min(chunk, n - start)
        drawn = rng.integers(n_rows, size=(r, n_rows)) + n_rows * np.arange(r)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=r * n_rows)
        yield counts.reshape(r, n_rows).astype(np.float64)


def resampled_scores(
    y_true: FloatArray,
    y_pred: FloatArray,
    metrics: list[list[Metric]],
    n: int,
    rng: np.random.Generator,
) -> list[dict[str, FloatArray]]:
    """Score every model and task on the same resamples of the molecules.

    Parameters
    ----------
    y_true : ndarray [N, T]
        NaN where there is no label.
    y_pred : ndarray [M, N, T]
        Finite wherever there is a label.
    metrics : list of list of Metric
        Of each task.
    n : int
        Resamples R.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    list of dict of str to ndarray [R, M]
        By task and metric; NaN where undefined. A resample draws whole rows, so that models stay
        paired and so do tasks.
    """
    labelled = [np.flatnonzero(~np.isnan(y)) for y in y_true.T]
    found: list[dict[str, list[FloatArray]]] = [{m.name: [] for m in ms} for ms in metrics]
    for counts in draw_counts(len(y_true), n, rng):
        for t, rows in enumerate(labelled):
            c, y = counts[:, rows], y_true[rows, t]
            for metric in metrics[t]:
                values = [resampled(metric, y, p[rows, t], c) for p in y_pred]
                found[t][metric.name].append(np.stack(values, axis=1))
    return [{name: np.concatenate(v) for name, v in by_name.items()} for by_name in found]


def summarise(differences: FloatArray, level: float) -> Difference | None:
    """Return interval and p-value of resampled differences [R], or None if none is defined.

    The p-value is twice the smaller share of resamples on either side of 0, each share with one
    resample added, so that it is never 0 (Davison and Hinkley, "Bootstrap Methods and their
    Application" (1997), sections 4.2 and 5.3; Efron and Tibshirani (1993), section 15.4).
    """
    d = differences[~np.isnan(differences)]
    if d.size == 0:
        return None
    low, high = np.quantile(d, [(1 - level) / 2, (1 + level) / 2])
    side = min(int((d <= 0).sum()), int((d >= 0).sum()))
    p = min(1.0, 2 * (side + 1) / (d.size + 1))
    return Difference(float(low), float(high), p, d.size, differences.size - d.size)
