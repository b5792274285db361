"""Pairs of tasks by affinity, each with its error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

CLEAR = 2.0
"""Standard errors beyond which two affinities, or one and zero, count as different."""


@dataclass(frozen=True)
class Pair:
    """What one task receives from another; of a symmetric affinity, what they share.

    Parameters
    ----------
    rank : int
        From 1, the highest affinity first.
    receiver, giver : str
        The tasks.
    affinity, error : float
        Affinity and its standard error over batches, NaN where a single batch had the pair.
    batches : int
        Measured batches that had labels of both.
    """

    rank: int
    receiver: str
    giver: str
    affinity: float
    error: float
    batches: int

    @property
    def reading(self) -> str:
        """Whether it is clear of zero: agree, conflict, or unclear."""
        if not abs(self.affinity) > CLEAR * self.error:
            return "unclear"
        return "agree" if self.affinity > 0 else "conflict"


def ranked(
    names: Sequence[str],
    matrix: NDArray[np.float64],
    errors: NDArray[np.float64],
    counts: NDArray[np.integer[Any]],
    *,
    symmetric: bool,
    limit: int | None = None,
) -> list[Pair]:
    """Return the pairs of tasks, the highest affinity first.

    Parameters
    ----------
    names : sequence of str
        The T tasks.
    matrix, errors, counts : ndarray [T, T]
        Affinities, their standard errors and batches; row i receives from column j. Pairs without
        an affinity are left out.
    symmetric : bool
        Whether both directions are one pair.
    limit : int, optional
        Return only this many from each end.
    """
    square = np.ones(matrix.shape, dtype=bool)
    wanted = np.triu(square, 1) if symmetric else square & ~np.eye(len(matrix), dtype=bool)
    rows, columns = np.nonzero(wanted & np.isfinite(matrix))
    order = np.argsort(-matrix[rows, columns], kind="stable")
    whole = limit is None or len(order) <= 2 * limit
    places = np.arange(len(order))
    kept = places if whole else np.concatenate([places[:limit], places[-(limit or 0) :]])
    return [
        Pair(
            place + 1,
            names[rows[k]],
            names[columns[k]],
            float(matrix[rows[k], columns[k]]),
            float(errors[rows[k], columns[k]]),
            int(counts[rows[k], columns[k]]),
        )
        for place, k in zip(kept.tolist(), order[kept].tolist(), strict=True)
    ]
