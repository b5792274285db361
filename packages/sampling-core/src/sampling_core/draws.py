"""Draws of rows from cells of given probability, one 64-bit word each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sampling_core.cells import CellRows, FloatArray, RowArray

Words = npt.NDArray[np.uint64]

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

    def rows(self, words: Words) -> RowArray:
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

    def _search(self, words: Words) -> npt.NDArray[np.int64]:
        """Return places for words in buckets that several cells share."""
        cell = np.searchsorted(self._edges, words, side="right")
        # Bounds of the part of the bucket that belongs to the cell, both inclusive.
        low = np.maximum(np.append(np.uint64(0), self._edges)[cell], words & ~_WITHIN)
        last = np.append(self._edges - np.uint64(1), ~np.uint64(0))[cell]
        high = np.minimum(last, words | _WITHIN)
        share = (words - low) / ((high - low) + 1.0)
        within = np.minimum(share * self._sizes[cell], self._sizes[cell] - 1.0)
        place: npt.NDArray[np.int64] = within.astype(np.int64)
        place += self._starts[cell]
        return place


def _edges(probabilities: FloatArray) -> Words:
    """Return the first word of each cell but the first one, of 2^64."""
    cumulative = np.cumsum(probabilities)
    # An edge that rounds up to 1 would not fit a word.
    inner = np.minimum(cumulative[:-1] / cumulative[-1], 1.0 - 2.0**-53)
    edges: Words = np.ldexp(inner, 64).astype(np.uint64)
    return edges


def _buckets(edges: Words) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return for each bucket the cell that it starts in, and whether an edge lies in it."""
    owners = (edges >> _WITHIN_BITS).astype(np.int64)
    edges_in = np.bincount(owners, minlength=1 << _BUCKET_BITS)
    return np.cumsum(edges_in) - edges_in, edges_in > 0
