"""Weight classes and draws from them.

A cell is a list of rows that share one weight. A draw picks a cell, then a row of it uniformly,
which is the row distribution exactly, at a cost that does not depend on the number of rows.
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

_MIN_BUCKETS = 1 << 12
_MAX_BUCKETS = 1 << 16


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


class CellDraws:
    """Draws of rows from cells of given probability, in constant time each.

    Parameters
    ----------
    cells : CellRows
        The cells.
    probabilities : ndarray of float, (cells,)
        Probability of each cell; 0 where a cell is empty.

    Notes
    -----
    The cell of a uniform number is looked up in a table of equal buckets of [0, 1) (the indexed
    search of Chen and Asau, 1974); only buckets that an edge between two cells falls into need a
    binary search. Cells of probability 0 are left out of the table, so no rounding can hit one.
    """

    def __init__(self, cells: CellRows, probabilities: FloatArray) -> None:
        held = np.flatnonzero(probabilities > 0)
        cumulative = np.cumsum(probabilities[held])
        self._rows = cells.rows
        self._starts = cells.offsets[:-1][held]
        self._sizes = cells.sizes[held].astype(np.float64)
        # Only the edges between two cells count, so that the last cell ends at 1 exactly.
        self._edges = cumulative[:-1] / cumulative[-1]
        self._buckets = _bucket_count(len(held))
        self._guide = _guide(self._edges, self._buckets)

    def rows(self, uniforms: FloatArray) -> RowArray:
        """Return one row for each pair of uniform numbers in [0, 1) (n, 2)."""
        cells = self._cells(uniforms[:, 0])
        # Below the size even at the largest uniform 1 - 2^-53: the product rounds down there.
        within = (uniforms[:, 1] * self._sizes.take(cells)).astype(np.int64)
        within += self._starts.take(cells)
        # Every index is in range; a mode other than "raise" spares the check.
        return self._rows.take(within, mode="wrap")

    def _cells(self, uniform: FloatArray) -> npt.NDArray[np.int64]:
        cells = self._guide.take((uniform * self._buckets).astype(np.int64), mode="wrap")
        split = np.flatnonzero(cells < 0)
        if len(split):
            cells[split] = np.searchsorted(self._edges, uniform[split], side="right")
        return cells


def _bucket_count(n_cells: int) -> int:
    """Return a power of two that leaves few buckets with an edge in them."""
    wanted = 1 << (64 * n_cells).bit_length()
    return min(max(wanted, _MIN_BUCKETS), _MAX_BUCKETS)


def _guide(edges: FloatArray, buckets: int) -> npt.NDArray[np.int64]:
    """Return the cell that covers each bucket, -1 where an edge lies in it."""
    # Multiplying by a power of two is exact, so edge and draw fall into the same bucket; an
    # edge rounded up to 1 comes after every draw.
    inner = edges[edges < 1.0]
    in_bucket = np.bincount((inner * buckets).astype(np.int64), minlength=buckets)
    before = np.cumsum(in_bucket) - in_bucket
    return np.where(in_bucket == 0, before, -1).astype(np.int64)
