"""Weight classes: rows that share a weight.

A cell is a list of rows that share one weight. To draw a cell, then a row of it uniformly, is the
row distribution exactly, and a change of weights touches the cells alone. Each
draw takes one word of 64 random bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray
from numpy.typing import NDArray

Codes = NDArray[np.signedinteger]
"""Row numbers, cells or labels as integers no wider than they need to be."""

Words = NDArray[np.uint64]

Entries = Callable[[], Iterator[tuple[Codes, IntArray]]]
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

    rows: Codes
    offsets: IntArray
    n_rows: int
    disjoint: bool

    @property
    def sizes(self) -> IntArray:
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
    rows: Codes,
    cursor: IntArray,
    cells: Codes,
    numbers: IntArray,
) -> None:
    """Append each chunk's rows to their cells, and move the cells' cursors on."""
    # A stable sort of 16-bit keys is a radix sort, hence linear.
    order = np.argsort(cells, kind="stable")
    counts = np.bincount(cells, minlength=len(cursor))
    target = np.repeat(cursor - (np.cumsum(counts) - counts), counts)
    target += np.arange(len(target))
    rows[target] = numbers[order]
    cursor += counts


_BUCKET_BITS = 12
_WITHIN_BITS = np.uint64(64 - _BUCKET_BITS)
_WITHIN = np.uint64((1 << (64 - _BUCKET_BITS)) - 1)
_ONE = np.uint64(0x3FF << 52)
"""Bits of 1.0: with 52 random bits for its fraction, a double is uniform in [1, 2)."""


class CellDraws:
    """Draws of rows from cells of given probability, in constant time each.

    Parameters
    ----------
    cells : CellRows
        The cells.
    probabilities : ndarray of float, (cells,)
        Probability of each cell, summing to 1; 0 where a cell is empty.

    Notes
    -----
    A table of 4096 equal buckets says which cell covers a word's upper 12 bits (the indexed
    search of Chen and Asau, 1974), and the lower 52 pick the row. Only in a bucket that an edge
    between two cells falls into the word is searched for among the edges, and its place between
    the two bounds picks the row. Cells of probability 0 are left out, so no rounding hits one.
    """

    def __init__(self, cells: CellRows, probabilities: FloatArray) -> None:
        held = np.flatnonzero(probabilities > 0)
        self._rows = cells.rows
        self._starts = cells.offsets[:-1][held]
        self._sizes = cells.sizes[held].astype(np.float64)
        self._edges = _edges(probabilities[held])
        covers, has_edge = _buckets(self._edges)
        # Size 0 marks a bucket with an edge in it.
        self._bucket_starts = self._starts[covers]
        self._bucket_sizes = np.where(has_edge, 0.0, self._sizes[covers])

    def rows(self, words: Words) -> Codes:
        """Return one row for each word of 64 uniform bits (n,)."""
        bucket = (words >> _WITHIN_BITS).view(np.int64)
        sizes = self._bucket_sizes.take(bucket)
        fraction = words & _WITHIN
        fraction |= _ONE
        uniform = fraction.view(np.float64)
        uniform -= 1.0
        uniform *= sizes
        # Truncation stays below the size: below a product's exact value 1 - 2^-52 times an
        # integer there is a double to round to.
        place = uniform.astype(np.int64)
        place += self._bucket_starts.take(bucket)
        split = np.flatnonzero(sizes == 0.0)
        place[split] = self._search(words[split])
        # Every index is in range; a mode other than "raise" spares the check.
        return self._rows.take(place, mode="wrap")

    def _search(self, words: Words) -> IntArray:
        """Return places for words in buckets that several cells share."""
        cell = np.searchsorted(self._edges, words, side="right")
        # Bounds of the part of the bucket that belongs to the cell, both inclusive.
        low = np.maximum(np.append(np.uint64(0), self._edges)[cell], words & ~_WITHIN)
        last = np.append(self._edges - np.uint64(1), ~np.uint64(0))[cell]
        high = np.minimum(last, words | _WITHIN)
        share = (words - low) / ((high - low) + 1.0)
        within = np.minimum(share * self._sizes[cell], self._sizes[cell] - 1.0)
        place: IntArray = within.astype(np.int64)
        place += self._starts[cell]
        return place


def _edges(probabilities: FloatArray) -> Words:
    """Return the first word of each cell but the first one, of 2^64."""
    cumulative = np.cumsum(probabilities)
    # An edge that rounds up to 1 would not fit a word.
    inner = np.minimum(cumulative[:-1] / cumulative[-1], 1.0 - 2.0**-53)
    edges: Words = np.ldexp(inner, 64).astype(np.uint64)
    return edges


def _buckets(edges: Words) -> tuple[IntArray, BoolArray]:
    """Return for each bucket the cell that it starts in, and whether an edge lies in it."""
    owners = (edges >> _WITHIN_BITS).astype(np.int64)
    edges_in = np.bincount(owners, minlength=1 << _BUCKET_BITS)
    return np.cumsum(edges_in) - edges_in, edges_in > 0


@dataclass(frozen=True)
class WeightStatistics:
    """Summary of the probabilities of all rows.

    Attributes
    ----------
    min, max : float
        Smallest and largest probability of a row; `min` is 0 where some row cannot be drawn.
    entropy : float
        -Σ p log p, in nats.
    effective_samples : float
        1 / Σ p² (Kish): as many equally likely rows would collide as often.
    n_rows, n_drawable : int
        Rows of the table, and those with a probability above 0.
    """

    min: float
    max: float
    entropy: float
    effective_samples: float
    n_rows: int
    n_drawable: int

    def as_dict(self) -> dict[str, float]:
        """Return the figures by name."""
        return asdict(self)


def statistics_of_cells(cells: CellRows, probabilities: FloatArray) -> WeightStatistics:
    """Summarise the row distribution that cells of given probability imply.

    Disjoint cells are summed over as they stand; a row in several cells needs the probabilities
    of all rows, (n_rows,) float64.
    """
    if cells.disjoint:
        held = probabilities > 0
        sizes = cells.sizes[held]
        return _summary(probabilities[held] / sizes, sizes, cells.n_rows)
    by_row = cells.row_probabilities(probabilities)
    by_row = by_row[by_row > 0]
    return _summary(by_row, np.ones(len(by_row), dtype=np.int8), cells.n_rows)


def statistics_of_weights(weights: FloatArray, sizes: IntArray) -> WeightStatistics:
    """Summarise rows in proportion to a weight that is one for each of some groups of `sizes`."""
    held = (weights > 0) & (sizes > 0)
    p = weights[held] / (weights * sizes).sum()
    return _summary(p, sizes[held], int(sizes.sum()))


def _summary(p: FloatArray, times: Codes | IntArray, n_rows: int) -> WeightStatistics:
    """Summarise the probabilities `p` > 0, each of them that of `times` rows."""
    n_drawable = int(times.sum())
    return WeightStatistics(
        min=float(p.min()) if n_drawable == n_rows else 0.0,
        max=float(p.max()),
        entropy=float(-(times * p * np.log(p)).sum()),
        effective_samples=float(1.0 / (times * p * p).sum()),
        n_rows=n_rows,
        n_drawable=n_drawable,
    )
