"""Rows in the order of a value, sorted once for all resamples of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from molpool_common._arrays import FloatArray


@dataclass(frozen=True)
class Order:
    """Rows in rising order of a value, ties together.

    Parameters
    ----------
    rows : ndarray of int [n]
        Positions, in this order.
    first, last : ndarray of int [n]
        Of each place in the order, the first and last place of equal value.
    """

    rows: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]

    @classmethod
    def of(cls, x: FloatArray) -> Order:
        """Sort once."""
        rows = np.argsort(x, kind="stable")
        _, start, group, size = np.unique(
            x[rows], return_index=True, return_inverse=True, return_counts=True
        )
        return cls(rows, start[group], (start + size - 1)[group])

    def ranks(self, c: FloatArray) -> FloatArray:
        """Return the mean rank [R, n] of each row among the rows of each resample."""
        before, upto = self.counted(c)
        ranks = np.empty_like(c)
        ranks[:, self.rows] = (before + 1 + upto) / 2
        return ranks

    def counted(self, c: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return how many rows of each resample [R, n] stand before a place, and up to its ties.

        Parameters
        ----------
        c : ndarray [R, n]
            How often each resample holds each row.
        """
        upto = np.zeros((len(c), len(self.rows) + 1))
        np.cumsum(c[:, self.rows], axis=1, out=upto[:, 1:])
        return upto[:, self.first], upto[:, self.last + 1]
