"""How far errors reach, from rows that come in chunks, in memory that does not grow with them.

Sizes of errors are counted in cells whose edges grow by a constant factor, so that every quantile
is known to that factor (Masson et al. 2019, doi:10.14778/3352063.3352135). Counts add: neither the
order of the rows nor the chunks matter, and nothing is drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import SUPPORT_EDGES, IntervalCalibration
from rt_ridge.reach import LEAST_ROWS, Extrapolation, reach_of

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
        # Of each part: a row a bin of support, and one of rows whose readings lie beyond.
        self._counts: dict[int, IntArray] = {}
        self._largest = MOST

    @property
    def n_rows(self) -> int:
        """Rows counted, those with a prediction."""
        return int(sum(counts.sum() for counts in self._counts.values()))

    def update(
        self,
        z: FloatArray,
        support: IntArray,
        parts: IntArray | None = None,
        far: BoolArray | None = None,
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        z : ndarray, [N]
            Errors over their predictive standard deviations; NaN is left out.
        support : ndarray of int, [N]
            Rows of the pair that the prediction was trained on.
        parts : ndarray of int, [N], or None
            Part of the runs that each row is of, from 0 on; see `rt_ridge.reach.reach_of`.
        far : ndarray of bool, [N], or None
            Rows whose readings lie beyond those of the training.
        """
        there = ~np.isnan(z)
        size = np.abs(z[there])
        shape = (len(self.edges) + 2, len(_CELLS) + 1)
        bins = np.searchsorted(self.edges, support[there], side="right")
        if far is not None:
            bins = np.where(far[there], shape[0] - 1, bins)
        place = bins * shape[1] + np.searchsorted(_CELLS, size)
        part = np.zeros(len(size), dtype=np.int64) if parts is None else parts[there]
        for number in np.unique(part).tolist():
            counts = self._counts.setdefault(number, np.zeros(shape, dtype=np.int64))
            found = np.bincount(place[part == number], minlength=counts.size)
            counts += found.reshape(shape)
        self._largest = max(self._largest, float(size.max(initial=0.0)))

    def calibration(self, ends: tuple[FloatArray, FloatArray] | None = None) -> IntervalCalibration:
        """Return the calibration of all rows so far; see `IntervalCalibration.fit`.

        Parameters
        ----------
        ends : tuple of ndarray, [P] each, or None
            Lowest and highest training reading of each covariate; None: nothing is said of rows
            beyond them, which then count as others.

        Raises
        ------
        RTRidgeError
            If too few rows have a prediction.
        """
        none = np.zeros((1, len(self.edges) + 2, len(_CELLS) + 1), dtype=np.int64)
        counts = np.stack(list(self._counts.values())) if self._counts else none
        values = np.append(_CELLS, self._largest)
        inside, outside = counts[:, :-1], counts[:, -1]
        if ends is None or inside.sum() < LEAST_ROWS:
            # Too few to tell apart: all are then taken as pairs with rows.
            inside = inside.copy()
            inside[:, -1] += outside
            outside = np.zeros_like(outside)

        def reach(chosen: BoolArray) -> FloatArray:
            return reach_of(values, inside[:, chosen].sum(axis=1))

        found = IntervalCalibration.of_bins(inside.sum(axis=(0, 2)), reach, self.edges)
        if ends is None:
            return found
        return replace(found, extrapolation=Extrapolation.fit(*ends, values, outside))
