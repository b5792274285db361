"""How far a prediction may be off, as a product of powers of what is known of the molecule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common._errors import InputError

_POWERS = (0.0, 0.5, 1.0)
_MISCOVERAGE = (0.2, 0.05)
_LEAST_ROWS = 50
"""Rows of a task below which its widths say nothing about powers."""


@dataclass(frozen=True)
class Difficulty:
    """The scale u of an error: the product of features, each to a power.

    Parameters
    ----------
    names : tuple of str, length D
        What the features are: ``sd``, ``distance``.
    powers : tuple of float, length D
        0 leaves a feature out; without features u is 1.
    floors : tuple of float, length D
        Smallest value that a feature counts with, since an ensemble that happens to agree is not
        sure without end.
    """

    names: tuple[str, ...] = ()
    powers: tuple[float, ...] = ()
    floors: tuple[float, ...] = ()

    @classmethod
    def choose(cls, errors: FloatArray, features: FloatArray, names: Sequence[str]) -> Difficulty:
        """Return the powers whose intervals are shortest for what they cover.

        Parameters
        ----------
        errors : ndarray [N, T]
            ``|y - prediction|`` on rows that the model has not seen; NaN without label.
        features : ndarray [N, T, D]
            Non-negative, larger where predictions are worse.
        names : sequence of str, length D
            Of the features.

        Returns
        -------
        Difficulty
            One for all tasks, since most have too few labels to choose: by the mean interval score
            (Gneiting and Raftery 2007) at 80 and 95 %, in relation to that of equal widths. A
            feature that does not shorten them by more than one standard error over tasks and rows
            is left out.
        """
        floors = _floors(features)
        raised = np.maximum(features, floors)
        tasks = [t for t in range(errors.shape[1]) if _labelled(errors, t).sum() >= _LEAST_ROWS]
        plain = cls(tuple(names), (0.0,) * len(names), tuple(floors))
        if not tasks:
            return plain
        base = _interval_scores(errors, np.ones(errors.shape), tasks)
        best, gain = plain, 0.0
        for powers in product(_POWERS, repeat=len(names)):
            scale = np.prod(raised ** np.array(powers), axis=2)
            difference = base - _interval_scores(errors, scale, tasks)
            mean = float(difference.mean())
            error = float(difference.std() / np.sqrt(len(difference)))
            if mean > max(gain, error):
                best, gain = cls(tuple(names), powers, tuple(floors)), mean
        return best

    def scale(self, features: FloatArray | None, shape: tuple[int, int]) -> FloatArray:
        """Return u [N, T] of features [N, T, D]; ones where there is no feature with a power.

        Raises
        ------
        InputError
            If features are needed and not given, or are of another number.
        """
        if not any(self.powers):
            return np.ones(shape)
        if features is None or features.shape != (*shape, len(self.names)):
            raise InputError(
                "features",
                expected=f"{', '.join(self.names)} of each row and task",
                found="none" if features is None else f"an array of shape {features.shape}",
            )
        raised = np.maximum(features, np.array(self.floors))
        return np.asarray(np.prod(raised ** np.array(self.powers), axis=2))


def _floors(features: FloatArray) -> FloatArray:
    # A hundredth of the usual value: far below it, the ratio is chance.
    with np.errstate(all="ignore"):
        usual = np.array(
            [
                np.median(column[np.isfinite(column)]) if np.isfinite(column).any() else 0.0
                for column in features.reshape(-1, features.shape[2]).T
            ]
        )
    return np.where(usual > 0, usual / 100, 1e-12)


def _labelled(errors: FloatArray, t: int) -> np.ndarray:
    return np.isfinite(errors[:, t])


def _interval_scores(errors: FloatArray, scale: FloatArray, tasks: Sequence[int]) -> FloatArray:
    """Return the interval score of each labelled row, over the task's mean of equal widths."""
    parts = []
    for t in tasks:
        rows = _labelled(errors, t)
        error, u = errors[rows, t], scale[rows, t]
        score = np.zeros(len(error))
        usual = np.zeros(len(error))
        for alpha in _MISCOVERAGE:
            score += _interval_score(error, u, alpha)
            usual += _interval_score(error, np.ones(len(error)), alpha)
        # A constant feature or a task predicted without error has nothing to compare.
        parts.append(score / usual.mean() if usual.mean() > 0 else np.ones(len(error)))
    return np.concatenate(parts)


def _interval_score(error: FloatArray, u: FloatArray, alpha: float) -> FloatArray:
    half = u * np.quantile(error / u, 1 - alpha, method="higher")
    return np.asarray(2 * half + 2 / alpha * np.maximum(error - half, 0))
