"""Peers that compute row distributions from the definition, one row at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest

Floats = npt.NDArray[np.float64]
Peer = Callable[..., Floats]


def multiplicative(
    targets: Floats,
    alpha: float | None,
    quality: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    *,
    normalize: bool = False,
) -> Floats:
    n_labels = [sum(not math.isnan(row[t]) for row in targets) for t in range(targets.shape[1])]
    labelled = [any(not math.isnan(v) for v in row) for row in targets]
    w = []
    for i, row in enumerate(targets):
        counts = [n_labels[t] for t in range(len(row)) if not math.isnan(row[t])]
        if not counts:
            w.append(0.0)
            continue
        value = 1.0 if alpha is None else (min(counts) + 1e-6) ** -alpha
        if quality is not None and weights is not None:
            value *= weights[quality[i]]
            if normalize:
                value /= sum(q == quality[i] for q, on in zip(quality, labelled, strict=True) if on)
        w.append(value)
    return np.array(w) / math.fsum(w)


def hierarchical(
    targets: Floats,
    alpha: float,
    quality: Sequence[str] | None = None,
    weights: Mapping[str, float] | None = None,
    *,
    normalize: bool = False,
) -> Floats:
    quality = quality or ["any"] * len(targets)
    weights = weights or {"any": 1.0}
    p = np.zeros(len(targets))
    tasks = {}
    for t in range(targets.shape[1]):
        rows = [i for i in range(len(targets)) if not math.isnan(targets[i, t])]
        row_weights = np.array([weights[quality[i]] for i in rows])
        if normalize:
            row_weights /= np.array([sum(quality[j] == quality[i] for j in rows) for i in rows])
        if row_weights.sum() > 0:
            tasks[t] = rows, row_weights / row_weights.sum()
    total = math.fsum(len(rows) ** -alpha for rows, _ in tasks.values())
    for rows, within in tasks.values():
        p[rows] += len(rows) ** -alpha / total * within
    return p


@pytest.fixture(scope="session")
def dense_peers() -> dict[str, Peer]:
    return {"multiplicative": multiplicative, "hierarchical": hierarchical}
