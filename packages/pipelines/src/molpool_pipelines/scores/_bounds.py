"""Scores that know of bounds: labels such as ``> 100`` say something too, if not how much.

Metrics are of exact labels alone, as an error against a bound is arbitrary. What a bound does say
is on which side of it the value lies, and hence how it ranks against others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import FloatArray
from numpy.typing import NDArray

_MOST = 20_000
"""Labels whose pairs take about a second; of more, evenly spaced ones."""

_BLOCK = 512


@dataclass(frozen=True)
class BoundScores:
    """One regression task with bounds among its labels.

    Parameters
    ----------
    n, n_bounds : int
        Labels, and how many of them are bounds.
    mae : float
        Mean absolute error in which a bound counts by how far the prediction is on its wrong side,
        0 where it is on the right one.
    contradicted : float
        Share of the bounds on whose wrong side the prediction is.
    concordance : float or None
        Share of the pairs of labels whose order is known that predictions have in that order, ties
        half: 0.5 is chance. None where no pair has an order.

    References
    ----------
    Harrell, Califf, Pryor, Lee and Rosati, "Evaluating the Yield of Medical Tests", JAMA 247 (1982)
    2543-2546 (concordance of censored values).
    """

    n: int
    n_bounds: int
    mae: float
    contradicted: float
    concordance: float | None

    def numbers(self) -> dict[str, float | None]:
        """Return the single numbers by name."""
        return {
            "mae_with_bounds": self.mae,
            "contradicted_bounds": self.contradicted,
            "concordance": self.concordance,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "n": self.n,
            "n_bounds": self.n_bounds,
            "mae": self.mae,
            "contradicted": self.contradicted,
            "concordance": self.concordance,
        }


def score_bounds(
    y_true: FloatArray, bounds: FloatArray, signs: NDArray[np.int8], y_pred: FloatArray
) -> BoundScores | None:
    """Score one task with bounds.

    Parameters
    ----------
    y_true : ndarray [N]
        Exact labels, NaN where there is none.
    bounds : ndarray [N]
        Labels that are bounds, NaN where there are none.
    signs : ndarray of int8 [N]
        -1 where a bound is an upper one, +1 where it is a lower one.
    y_pred : ndarray [N]
        Predictions.

    Returns
    -------
    BoundScores or None
        None without a bound that has a prediction.
    """
    exact = np.isfinite(y_true) & np.isfinite(y_pred)
    bounded = np.isfinite(bounds) & np.isfinite(y_pred)
    if not bounded.any():
        return None
    wrong = np.maximum(0.0, (bounds - y_pred)[bounded] * signs[bounded])
    error = np.concatenate([np.abs(y_pred - y_true)[exact], wrong])
    rows = np.flatnonzero(exact | bounded)
    value = np.where(bounded, bounds, y_true)[rows]
    sign = np.where(bounded, signs, 0)[rows]
    return BoundScores(
        n=len(rows),
        n_bounds=int(bounded.sum()),
        mae=float(error.mean()),
        contradicted=float((wrong > 0).mean()),
        concordance=concordance(value, sign, y_pred[rows]),
    )


def concordance(
    values: FloatArray, signs: NDArray[np.integer[Any]], predicted: FloatArray
) -> float | None:
    """Return the share of ordered pairs that predictions have in their order, ties half.

    Parameters
    ----------
    values : ndarray [N]
        Labels and bounds.
    signs : ndarray of int [N]
        -1, 0 or +1: upper bound, exact, lower bound.
    predicted : ndarray [N]
        Predictions.

    Returns
    -------
    float or None
        None where no two labels have a known order.
    """
    if len(values) > _MOST:
        some = np.linspace(0, len(values) - 1, _MOST).round().astype(np.int64)
        values, signs, predicted = values[some], signs[some], predicted[some]
    # Each label is an interval that holds the value; two have an order where these are apart.
    low = np.where(signs < 0, -np.inf, values)
    high = np.where(signs > 0, np.inf, values)
    right = pairs = 0.0
    for start in range(0, len(values), _BLOCK):
        block = slice(start, start + _BLOCK)
        less = high[block, None] < low[None]
        # `> 5` is more than 5 itself.
        open_ = (signs[block, None] < 0) | (signs[None] > 0)
        less |= open_ & (high[block, None] == low[None])
        gap = predicted[None] - predicted[block, None]
        pairs += float(less.sum())
        right += float((less & (gap > 0)).sum()) + 0.5 * float((less & (gap == 0)).sum())
    return right / pairs if pairs else None
