"""Probability that an assay reports its floor or its ceiling, learnt from rows not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from molpool_common import ClassCalibration, FloatArray, IntArray, SignArray

from molpool_pipelines.runs import AT_CEILING, AT_FLOOR

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
    knots : ndarray [K, G]
        Predictions times the side, ascending.
    p : ndarray [K, G]
        The probability there; NaN where no row calibrates.
    """

    tasks: IntArray
    sides: IntArray
    knots: FloatArray
    p: FloatArray

    @classmethod
    def none(cls) -> Self:
        """Return those of no limit."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, np.empty((0, _KNOTS)), np.empty((0, _KNOTS)))

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
        found = [
            (t, side, *_knots(side * mean[:, t], _stands(y[:, t], signs[:, t], side, limit)))
            for t, side, limit in _each(limits)
        ]
        if not found:
            return cls.none()
        tasks, sides, knots, p = (np.array(column) for column in zip(*found, strict=True))
        return cls(tasks, sides, knots, p)

    def of(self, mean: FloatArray) -> dict[int, dict[str, FloatArray]]:
        """Return probabilities [N] of predictions [N, T], by task and the ending of its column."""
        found: dict[int, dict[str, FloatArray]] = {}
        for t, side, knots, p in zip(
            self.tasks.tolist(), self.sides.tolist(), self.knots, self.p, strict=True
        ):
            ending = AT_CEILING if side > 0 else AT_FLOOR
            found.setdefault(t, {})[ending] = np.interp(side * mean[:, t], knots, p)
        return found

    def to_arrays(self) -> dict[str, Any]:
        """Return arrays that hold all of it."""
        return {f"limit_odds.{name}": getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return what `to_arrays` stored; of an earlier version, that of no limit."""
        if "limit_odds.tasks" not in arrays:
            return cls.none()
        return cls(*(arrays[f"limit_odds.{name}"] for name in cls.__dataclass_fields__))


def _each(limits: AssayLimits) -> Iterator[tuple[int, int, float]]:
    for t, pair in enumerate(zip(limits.floor.tolist(), limits.ceiling.tolist(), strict=True)):
        for side, limit in zip((-1, 1), pair, strict=True):
            if np.isfinite(limit):
                yield t, side, limit


def _stands(y: FloatArray, signs: SignArray, side: int, limit: float) -> FloatArray:
    """Return whether labels [N] stand at a limit; NaN where there is none, or a bound leaves it."""
    beyond = side * y >= side * limit
    # Of a bound away from the limit the truth is on this side of it, if the bound is.
    known = np.isfinite(y) & np.where(signs == side, beyond, (signs == 0) | ~beyond)
    return np.where(known, beyond, np.nan)


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
