"""Probabilities that are calibrated, and sets of classes that hold for each class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from molpool_common._arrays import BoolArray, FloatArray
from molpool_common._errors import InputError
from molpool_common.conformal._quantiles import ROUNDING, check_level

_DISTINCT = 2_000
"""Distinct scores above which they are rounded to three digits: what tells nearer ones apart
is noise."""


@dataclass(frozen=True)
class ClassCalibration:
    """Probabilities of class 1 and true classes of T tasks, on rows that the model has not seen.

    Parameters
    ----------
    probabilities : tuple of ndarray [n_t]
        Of each task.
    classes : tuple of ndarray [n_t]
        0 or 1.
    """

    probabilities: tuple[FloatArray, ...]
    classes: tuple[FloatArray, ...]

    @classmethod
    def fit(cls, y: FloatArray, p: FloatArray) -> Self:
        """Return the calibration of labels [N, T], NaN for none, and probabilities [N, T].

        Raises
        ------
        InputError
            If shapes differ, or a label is neither 0 nor 1.
        """
        if y.shape != p.shape or y.ndim != 2:
            raise InputError("p", expected=f"shape {y.shape}", found=f"{p.shape}")
        there = np.isfinite(y) & np.isfinite(p)
        if not np.isin(y[there], (0, 1)).all():
            raise InputError("y", expected="classes 0 and 1", found="other values")
        columns = range(y.shape[1])
        return cls(
            tuple(p[there[:, t], t] for t in columns), tuple(y[there[:, t], t] for t in columns)
        )

    def venn_abers(self, p: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return two calibrated probabilities of class 1 per prediction, one of which is exact.

        Parameters
        ----------
        p : ndarray [M, T]
            Probabilities of the model.

        Returns
        -------
        p0, p1 : ndarray [M, T]
            With the new row counted as class 0 and as class 1. Tasks without labels of both classes
            keep the model's probability.

        References
        ----------
        Vovk and Petej, "Venn-Abers predictors" (UAI 2014).
        """
        low, high = p.copy(), p.copy()
        for t, (scores, classes) in enumerate(zip(self.probabilities, self.classes, strict=True)):
            rows = np.isfinite(p[:, t])
            if 0 < classes.sum() < len(classes):
                low[rows, t], high[rows, t] = _venn_abers(scores, classes, p[rows, t])
        return low, high

    def calibrated(self, p: FloatArray) -> FloatArray:
        """Return one probability per prediction: p1 / (1 - p0 + p1), which minimises regret."""
        low, high = self.venn_abers(p)
        both = np.array([0 < c.sum() < len(c) for c in self.classes])
        return np.where(both, high / (1 - low + high), p)

    def sets(self, p: FloatArray, level: float) -> tuple[BoolArray, BoolArray]:
        """Return whether class 0 and class 1 belong to the set of each prediction.

        Parameters
        ----------
        p : ndarray [M, T]
            Probabilities of the model.
        level : float
            Share of the rows of each class whose set has it.

        Returns
        -------
        zero, one : ndarray of bool [M, T]
            Both are in the set where a class has too few calibration rows for the level.
        """
        check_level(level)
        return self._members(p, 0, level), self._members(p, 1, level)

    def _members(self, p: FloatArray, of_class: int, level: float) -> BoolArray:
        from molpool_common.conformal._crepes import ConformalClassifier

        result = np.ones(p.shape, dtype=bool)
        for t, (scores, classes) in enumerate(zip(self.probabilities, self.classes, strict=True)):
            own = scores[classes == of_class]
            if not len(own):
                continue
            # Non-conformity is the probability of the other class (crepes calls it hinge).
            odd, new = (own, p[:, t]) if of_class == 0 else (1 - own, 1 - p[:, t])
            fitted = ConformalClassifier().fit(odd)
            value = fitted.predict_p(new[:, None], smoothing=False)[:, 0]
            result[:, t] = value > 1 - level + ROUNDING
        return result

    def to_arrays(self) -> dict[str, Any]:
        """Return arrays that hold all of it, for an npz file without pickle."""
        return {
            "lengths": np.array([len(c) for c in self.classes], dtype=np.int64),
            "probabilities": np.concatenate([*self.probabilities, np.empty(0)]),
            "classes": np.concatenate([*self.classes, np.empty(0)]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """Return what `to_arrays` stored.

        Raises
        ------
        InputError
            If an array is missing or of another length.
        """
        missing = {"lengths", "probabilities", "classes"} - set(arrays)
        if missing:
            raise InputError("calibration", expected=f"arrays {sorted(missing)}", found="none")
        lengths = np.asarray(arrays["lengths"], dtype=np.int64)
        p, y = (np.asarray(arrays[k], dtype=np.float64) for k in ("probabilities", "classes"))
        if len(p) != len(y) or len(p) != lengths.sum() or not np.isin(y, (0, 1)).all():
            raise InputError(
                "calibration", expected=f"{lengths.sum()} classes", found=f"{len(y)} numbers"
            )
        cuts = np.cumsum(lengths)[:-1]
        return cls(tuple(np.split(p, cuts)), tuple(np.split(y, cuts)))


def _venn_abers(
    scores: FloatArray, classes: FloatArray, new: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return p0 and p1 of new scores: isotonic fits with the new row as class 0 and as class 1."""
    if len(np.unique(scores)) > _DISTINCT:
        scores, new = scores.round(3), new.round(3)
    values, place = np.unique(scores, return_inverse=True)
    counts = np.bincount(place).astype(np.float64)
    ones = np.asarray(np.bincount(place, weights=classes), dtype=np.float64)
    # New rows of one score share both fits.
    distinct, of = np.unique(new, return_inverse=True)
    left, right = _blocks(ones, counts, 1), _blocks(ones[::-1], counts[::-1], -1)
    fits = np.empty((len(distinct), 2))
    for row, (score, at) in enumerate(
        zip(distinct.tolist(), np.searchsorted(values, distinct).tolist(), strict=True)
    ):
        known = at < len(values) and values[at] == score
        n, sums = (float(counts[at]), float(ones[at])) if known else (0.0, 0.0)
        beyond = len(values) - at - known
        fits[row] = [_fit(sums + label, n + 1, left, at, right, beyond) for label in (0.0, 1.0)]
    return fits[of, 0], fits[of, 1]


_Block = tuple[float, float, int]
"""Sum and number of labels that an isotonic fit makes one, and values before its first."""


def _blocks(ones: FloatArray, counts: FloatArray, sign: int) -> list[_Block]:
    """Return the last block of the isotonic fit of the first 1, 2, ... values.

    Those before it are the last block of as many values as stand before its first, and so on.
    `sign` is -1 where the values are in falling order.
    """
    found: list[_Block] = []
    for place, (total, n) in enumerate(zip(ones.tolist(), counts.tolist(), strict=True)):
        first = place
        while first and sign * found[first - 1][0] * n >= sign * total * found[first - 1][1]:
            more, by, first = found[first - 1]
            total, n = total + more, n + by
        found.append((total, n, first))
    return found


def _fit(
    total: float, n: float, left: list[_Block], below: int, right: list[_Block], above: int
) -> float:
    """Return the isotonic fit of a value between those below and those above it.

    It swallows the blocks beside it that are out of order; theirs else stay as they are.
    """
    before = None
    while before != n:
        before = n
        while below and left[below - 1][0] * n >= total * left[below - 1][1]:
            more, by, below = left[below - 1]
            total, n = total + more, n + by
        while above and right[above - 1][0] * n <= total * right[above - 1][1]:
            more, by, above = right[above - 1]
            total, n = total + more, n + by
    return total / n
