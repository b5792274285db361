"""How often prediction intervals hold, and how wide they are: over a task and within its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from molpool_common import BoolArray, FloatArray

from molpool_pipelines.scores._predictions import Predictions
from molpool_pipelines.scores._strata import range_names

_DECILES = 10
_LEAST = 10
"""Rows of a part: the share inside of fewer says nothing."""


@dataclass(frozen=True)
class CoveragePart:
    """Intervals of some rows of a task.

    Parameters
    ----------
    name : str
        Which they are.
    low, high : float
        Least and largest of what divides the rows: a prediction, a similarity.
    n : int
        Rows with a label and an interval.
    inside : float
        Share of their labels within.
    median_width : float
        Of their intervals.
    """

    name: str
    low: float
    high: float
    n: int
    inside: float
    median_width: float


@dataclass(frozen=True)
class Coverage:
    """Intervals of a regression task.

    Parameters
    ----------
    n : int
        Labels, bounds among them, with an interval.
    inside : float
        Share of them within; a bound is outside only where it proves that the value is.
    median_width : float
        Of the intervals.
    by_prediction : tuple of CoveragePart
        Tenths of the rows by prediction; fewer parts where they would have under ten rows.
    by_similarity : tuple of CoveragePart
        By similarity to the nearest training molecule, where that is known.
    level : float or None
        Share of labels that they shall cover, where it is known.
    further : tuple of Coverage
        Intervals of the same rows at other levels.
    """

    n: int
    inside: float
    median_width: float
    by_prediction: tuple[CoveragePart, ...] = ()
    by_similarity: tuple[CoveragePart, ...] = ()
    level: float | None = None
    further: tuple[Coverage, ...] = ()

    def numbers(self) -> dict[str, float | None]:
        """Return the single numbers by name, that of other levels with the level."""
        found: dict[str, float | None] = {}
        for of in (self, *self.further):
            percent = "" if of is self else f"_{100 * (of.level or 0):g}"
            found[f"interval_inside{percent}"] = of.inside
            found[f"interval_width{percent}"] = of.median_width
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return what ``metrics.json`` holds of it."""
        further = [of.to_dict() for of in self.further]
        return {
            "level": self.level,
            "n": self.n,
            "inside": self.inside,
            "median_width": self.median_width,
            **({"further": further} if further else {}),
        }


def score_coverage(
    found: Predictions, *, similarity_bins: Sequence[float] = (0.3, 0.5, 0.7)
) -> dict[str, Coverage]:
    """Return how often the intervals of each task hold; without those that have none.

    Parameters
    ----------
    found : Predictions
        Rows of the split.
    similarity_bins : sequence of float
        Ends of the bins of similarity.
    """
    first, *others = (_of_level(of, similarity_bins) for of in found.levels())
    return {
        task: replace(of, further=tuple(other[task] for other in others if task in other))
        for task, of in first.items()
    }


def _of_level(found: Predictions, similarity_bins: Sequence[float]) -> dict[str, Coverage]:
    if found.lower is None or found.upper is None:
        return {}
    known: dict[str, Coverage] = {}
    for t, task in enumerate(found.tasks):
        width = found.upper[:, t] - found.lower[:, t]
        labels, outside = _labels(found, t)
        rows = np.isfinite(labels) & np.isfinite(width)
        if found.task_types[t] == "classification" or not rows.any():
            continue
        inside, width, at = ~outside[rows], width[rows], found.y_pred[rows, t]
        near = None if found.similarity is None else found.similarity[rows]
        known[task] = Coverage(
            int(rows.sum()),
            float(inside.mean()),
            float(np.median(width)),
            _parts(at, inside, width, _tenths(at)),
            () if near is None else _parts(near, inside, width, _bins(near, similarity_bins)),
            found.level,
        )
    return known


def _labels(found: Predictions, t: int) -> tuple[FloatArray, BoolArray]:
    """Return labels [N], bounds among them, and which are proved to be outside."""
    assert found.lower is not None
    assert found.upper is not None
    every, all_signs = found.with_bounds
    labels, signs = every[:, t], all_signs[:, t]
    above = (labels > found.upper[:, t]) & (signs >= 0)
    below = (labels < found.lower[:, t]) & (signs <= 0)
    return labels, np.asarray(above | below)


def _tenths(values: FloatArray) -> dict[str, BoolArray]:
    """Return the rows of tenths by value; of fewer parts where they would be too small."""
    n = max(1, min(_DECILES, len(values) // _LEAST))
    parts = np.array_split(np.argsort(values, kind="stable"), n)
    every = np.arange(len(values))
    return {f"{k + 1} of {n}": np.isin(every, rows) for k, rows in enumerate(parts)}


def _bins(values: FloatArray, ends: Sequence[float]) -> dict[str, BoolArray]:
    place = np.searchsorted(ends, values, side="right")
    there = np.isfinite(values)
    return {name: (place == k) & there for k, name in enumerate(range_names(ends, closed=1.0))}


def _parts(
    values: FloatArray, inside: BoolArray, width: FloatArray, parts: Mapping[str, BoolArray]
) -> tuple[CoveragePart, ...]:
    return tuple(
        CoveragePart(
            name,
            float(values[rows].min()),
            float(values[rows].max()),
            int(rows.sum()),
            float(inside[rows].mean()),
            float(np.median(width[rows])),
        )
        for name, rows in parts.items()
        if rows.any()
    )
