"""Weight classes: rows that share a weight.

A cell is a list of rows that share one weight. To draw a cell, then a row of it uniformly, is the
row distribution exactly, and a change of weights touches the cells alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.int64]
RowArray = npt.NDArray[np.signedinteger]

Entries = Callable[[], Iterator[tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.int64]]]]
"""Starts a pass over (cell, row) pairs, given in chunks; cell -1 belongs to no cell."""


def normalized(weights: FloatArray) -> FloatArray:
    """Return weights >= 0, not all of them 0, scaled to sum to 1."""
    total: np.float64 = weights.sum()
    return weights / total


@dataclass(frozen=True, eq=False)
class CellRows:
    """Rows grouped by cell.

    Attributes
    ----------
    rows : ndarray of int, (entries,)
        Row numbers, cell after cell; int32 while they fit.
    offsets : ndarray of int64, (cells + 1,)
        Cell c holds `rows[offsets[c]:offsets[c + 1]]`.
    n_rows : int
        Rows of the table, drawable or not.
    disjoint : bool
        Whether each row is in one cell at most.
    """

    rows: RowArray
    offsets: Offsets
    n_rows: int
    disjoint: bool

    @property
    def sizes(self) -> Offsets:
        """Rows in each cell."""
        return np.diff(self.offsets)

    def row_probabilities(self, cell_probabilities: FloatArray) -> FloatArray:
        """Return the probability of each row (n_rows,), summed over the cells that hold it."""
        by_row = np.zeros(self.n_rows)
        for cell in np.flatnonzero(cell_probabilities):
            start, stop = self.offsets[cell : cell + 2]
            # Rows of one cell are distinct, so the indexed sum counts each of them.
            by_row[self.rows[start:stop]] += cell_probabilities[cell] / (stop - start)
        return by_row


def group_rows(entries: Entries, n_cells: int, n_rows: int, *, disjoint: bool) -> CellRows:
    """Sort rows into cells by counting, in two passes and without a full-size temporary.

    Parameters
    ----------
    entries : callable
        Starts a pass over chunks of (cell, row) pairs; called twice.
    n_cells : int
        Number of cells.
    n_rows : int
        Rows of the table.
    disjoint : bool
        Whether a row comes at most once.

    Returns
    -------
    CellRows
        Within a cell, rows stand in the order in which they came.
    """
    offsets = np.zeros(n_cells + 1, dtype=np.int64)
    for cells, _ in entries():
        offsets[1:] += np.bincount(cells[cells >= 0], minlength=n_cells)
    np.cumsum(offsets, out=offsets)
    dtype = np.int32 if n_rows <= np.iinfo(np.int32).max else np.int64
    rows = np.empty(offsets[-1], dtype=dtype)
    cursor = offsets[:-1].copy()
    for cells, numbers in entries():
        held = cells >= 0
        _place(rows, cursor, cells[held], numbers[held])
    return CellRows(rows, offsets, n_rows, disjoint)


def _place(
    rows: RowArray,
    cursor: Offsets,
    cells: npt.NDArray[np.signedinteger],
    numbers: npt.NDArray[np.int64],
) -> None:
    """Append each chunk's rows to their cells, and move the cells' cursors on."""
    # A stable sort of 16-bit keys is a radix sort, hence linear.
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=len(cursor))
    target = np.repeat(cursor - (np.cumsum(counts) - counts), counts)
    target += np.arange(len(target))
    rows[target] = numbers[order]
    cursor += counts
