"""Probability that an assay reports its floor or its ceiling, learnt from rows not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from molpool_common import (
    ClassCalibration,
    FloatArray,
    IntArray,
    ScaleName,
    SignArray,
    from_scale,
)

from molpool_pipelines.runs import AT_CEILING, AT_FLOOR
from molpool_pipelines.scores import stands_at

if TYPE_CHECKING:
    from multitask_models import AssayLimits

_KNOTS = 100
"""Predictions at which the probability of a limit is kept; between them it is interpolated."""


@dataclass(frozen=True)
class LimitOdds:
    """Of K limits the probability that the assay reports it, by what a model predicts.

    Parameters
    ----------
    tasks : ndarray of int64 [K]
        Whose limit it is.
    sides : ndarray of int64 [K]
        -1 for a floor, 1 for a ceiling.
    limits : ndarray [K]
        Where it is; NaN of an earlier version.
    knots : ndarray [K, G]
        Predictions times the side, ascending.
    p : ndarray [K, G]
        The probability there; NaN where no row calibrates.
    """

    tasks: IntArray
    sides: IntArray
    limits: FloatArray
    knots: FloatArray
    p: FloatArray

    @classmethod
    def none(cls) -> Self:
        """Return those of no limit."""
        nothing = np.empty(0, dtype=np.int64)
        empty = np.empty((0, _KNOTS))
        return cls(nothing, nothing, np.empty(0), empty, empty)

    @classmethod
    def fit(cls, y: FloatArray, mean: FloatArray, signs: SignArray, limits: AssayLimits) -> Self:
        """Learn from rows that the model has not seen.

        Parameters
        ----------
        y, mean : ndarray [N, T]
            Labels, NaN for none, and predictions.
        signs : ndarray of int8 [N, T]
            -1 for labels that are upper bounds, +1 for lower ones.
        limits : AssayLimits
            Of the T tasks.
        """
        found = []
        for t, side, limit in _each(limits):
            stands = stands_at(y[:, t], signs[:, t], side, limit)
            found.append((t, side, limit, *_knots(side * mean[:, t], stands)))
        if not found:
            return cls.none()
        return cls(*(np.array(column) for column in zip(*found, strict=True)))

    def of(self, mean: FloatArray) -> dict[int, dict[str, FloatArray]]:
        """Return probabilities [N] of predictions [N, T], by task and the ending of its column."""
        found: dict[int, dict[str, FloatArray]] = {}
        for t, side, knots, p in zip(
            self.tasks.tolist(), self.sides.tolist(), self.knots, self.p, strict=True
        ):
            ending = AT_CEILING if side > 0 else AT_FLOOR
            found.setdefault(t, {})[ending] = np.interp(side * mean[:, t], knots, p)
        return found

    def where(
        self, tasks: Sequence[str], scales: Sequence[ScaleName]
    ) -> dict[str, dict[str, float]]:
        """Return floor and ceiling of each task, in units of the table, where they are known."""
        found: dict[str, dict[str, float]] = {}
        of_limits = zip(self.tasks.tolist(), self.sides.tolist(), self.limits.tolist(), strict=True)
        for t, side, limit in of_limits:
            if np.isfinite(limit):
                value = float(from_scale(np.array([[limit]]), [scales[t]])[0, 0])
                found.setdefault(tasks[t], {})["ceiling" if side > 0 else "floor"] = value
        return found

    def to_arrays(self) -> dict[str, Any]:
        """Return arrays that hold all of it."""
        return {f"limit_odds.{name}": getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return what `to_arrays` stored; of an earlier version, that of no limit."""
        if "limit_odds.tasks" not in arrays:
            return cls.none()
        unknown = np.full(len(arrays["limit_odds.tasks"]), np.nan)
        return cls(
            *(arrays.get(f"limit_odds.{name}", unknown) for name in cls.__dataclass_fields__)
        )


def _each(limits: AssayLimits) -> Iterator[tuple[int, int, float]]:
    for t, pair in enumerate(zip(limits.floor.tolist(), limits.ceiling.tolist(), strict=True)):
        for side, limit in zip((-1, 1), pair, strict=True):
            if np.isfinite(limit):
                yield t, side, limit


def _knots(score: FloatArray, stands: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return scores in order and the probability at each, by a Venn-Abers predictor."""
    rows = np.isfinite(score) & np.isfinite(stands)
    n, there = int(rows.sum()), float(stands[rows].sum())
    if not n:
        return np.linspace(0, 1, _KNOTS), np.full(_KNOTS, np.nan)
    knots = np.quantile(score[rows], np.linspace(0, 1, _KNOTS))
    if there in (0, n):
        return knots, np.full(_KNOTS, (there + 1) / (n + 2))
    fitted = ClassCalibration((score[rows],), (stands[rows],)).calibrated(knots[:, None])[:, 0]
    # Both fits rise; what is made of the two may dip.
    return knots, np.maximum.accumulate(fitted)
