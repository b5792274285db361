"""What is added to a regression line, with its variance: by class, and by descriptors."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray, IntArray

_CHUNK = 16_384
"""Rows at a time, so that memory does not grow with the table."""


class LineTable:
    """Means and covariances of coefficients, evaluated at the rows of a design.

    Parameters
    ----------
    mean : ndarray, [L, D]
        Coefficients.
    cov : ndarray, [L, D, D]
        Their covariances.
    """

    def __init__(self, mean: FloatArray, cov: FloatArray) -> None:
        self._mean = mean
        # Upper triangles, off-diagonals doubled: half the numbers to fetch for each row.
        self._i, self._j = np.triu_indices(cov.shape[-1])
        self._packed = cov[:, self._i, self._j] * np.where(self._i == self._j, 1.0, 2.0)

    def moments(self, design: FloatArray, place: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return x·m and x·Cx of each row of the design [N, D], of table rows `place` [N]."""
        mean, variance = np.empty(len(place)), np.empty(len(place))
        for start in range(0, len(place), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            x, at = design[chunk], place[chunk]
            mean[chunk] = np.einsum("nd,nd->n", x, self._mean[at])
            products = x[:, self._i] * x[:, self._j]
            variance[chunk] = np.einsum("nt,nt->n", products, self._packed[at])
        return mean, variance
