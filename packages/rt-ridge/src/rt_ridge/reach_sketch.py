"""How far errors reach, from rows that come in chunks, in memory that does not grow with them.

Sizes of errors are counted in cells whose edges grow by a constant factor, so that every quantile
is known to that factor (Masson et al. 2019, doi:10.14778/3352063.3352135). Counts add: neither the
order of the rows nor the chunks matter, and nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import SUPPORT_EDGES, IntervalCalibration, levels_of

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ACCURACY = 1e-3
"""Relative width of a cell: quantiles are too wide by at most as much, and never too narrow."""

LEAST, MOST = 1e-4, 1e8
"""Ends of the cells, in standard deviations: below lies one cell, above the largest error."""

_CELLS = np.exp(np.arange(np.log(LEAST), np.log(MOST) + ACCURACY, np.log1p(ACCURACY)))


class ReachSketch:
    """Counts of held-out rows by training rows of their pair and by size of their error.

    Parameters
    ----------
    edges : sequence of int
        Least support of each bin, ascending from 1; pairs never seen have a bin of their own.

    Raises
    ------
    RTRidgeError
        If the edges do not ascend from 1.

    Examples
    --------
    >>> import numpy as np
    >>> from rt_ridge import ReachSketch
    >>> sketch = ReachSketch()
    >>> for chunk in np.random.default_rng(0).normal(size=(10, 1_000)):
    ...     sketch.update(chunk, np.full(1_000, 30))
    >>> half = sketch.calibration().half_width(np.ones(1), np.array([30]), 0.95)
    >>> bool(abs(half[0] - 1.96) < 0.05)
    True
    """

    def __init__(self, edges: Sequence[int] = SUPPORT_EDGES) -> None:
        if not edges or edges[0] != 1 or any(np.diff(edges) <= 0):
            raise RTRidgeError(f"edges: expected ascending from 1; found {list(edges)}")
        self.edges = tuple(int(edge) for edge in edges)
        self._counts = np.zeros((len(self.edges) + 1, len(_CELLS) + 1), dtype=np.int64)
        self._largest = MOST

    @property
    def n_rows(self) -> int:
        """Rows counted, those with a prediction."""
        return int(self._counts.sum())

    def update(self, z: FloatArray, support: IntArray) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        z : ndarray, [N]
            Errors over their predictive standard deviations; NaN is left out.
        support : ndarray of int, [N]
            Rows of the pair that the prediction was trained on.
        """
        there = ~np.isnan(z)
        size = np.abs(z[there])
        bins = np.searchsorted(self.edges, support[there], side="right")
        place = bins * self._counts.shape[1] + np.searchsorted(_CELLS, size)
        self._counts += np.bincount(place, minlength=self._counts.size).reshape(self._counts.shape)
        self._largest = max(self._largest, float(size.max(initial=0.0)))

    def calibration(self) -> IntervalCalibration:
        """Return the calibration of all rows so far; see `IntervalCalibration.fit`.

        Raises
        ------
        RTRidgeError
            If too few rows have a prediction.
        """
        return IntervalCalibration.of_bins(self._counts.sum(axis=1), self._reach, self.edges)

    def _reach(self, chosen: BoolArray) -> FloatArray:
        counts = self._counts[chosen].sum(axis=0)
        n = int(counts.sum())
        rank = np.ceil((n - 1) * levels_of(n))
        cell = np.searchsorted(np.cumsum(counts), rank, side="right")
        return np.append(_CELLS, self._largest)[cell]
