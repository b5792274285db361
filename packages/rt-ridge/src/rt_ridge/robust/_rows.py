"""Rows that are read more than once: kept in memory where they fit, else read again each time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge.statistics._moments import alike, sorted_keys
from rt_ridge.tables._keys import find
from rt_ridge.tables._rows import Chunk, Columns, frame_chunks, read_rows

MOST_KEPT = 2**27
"""Numbers that are kept in memory, 1 GB; rows beyond are read again each time."""

BLOCK_ROWS = 2**13
"""Rows that are weighed together: few enough for the processor's own memory."""


@dataclass(frozen=True, eq=False)
class SortedRows:
    """Rows in ascending order of their pairs.

    Parameters
    ----------
    keys : ndarray of int64, [K]
        Pairs, ascending.
    n : ndarray of int64, [K]
        Rows of each.
    covariates : ndarray, [N, P]
        As the table has them.
    y : ndarray, [N]
        Retention times.
    run : ndarray of int64, [N], or None
        Number of each row's run, where it is known.
    """

    keys: IntArray
    n: IntArray
    covariates: FloatArray
    y: FloatArray
    run: IntArray | None = None

    @classmethod
    def sorted(cls, keys: IntArray, values: FloatArray, run: IntArray | None = None) -> SortedRows:
        """Sort rows [N, P + 1], the target last, by their keys [N]."""
        order, ascending = sorted_keys(keys)
        starts = np.flatnonzero(np.append(len(keys) > 0, ascending[1:] != ascending[:-1]))
        n = np.diff(starts, append=len(keys))
        sorted_values = values[order]
        x, y = np.ascontiguousarray(sorted_values[:, :-1]), sorted_values[:, -1].copy()
        return cls(ascending[starts], n, x, y, None if run is None else run[order])

    def of(self, pairs: BoolArray) -> SortedRows:
        """Return the rows of some pairs, given as a mask [K]."""
        if pairs.all():
            return self
        rows = np.repeat(pairs, self.n)
        run = None if self.run is None else self.run[rows]
        parts = (self.covariates[rows], self.y[rows], run)
        return SortedRows(self.keys[pairs], self.n[pairs], *parts)

    def blocks(self) -> Iterator[SortedRows]:
        """Yield pairs of as many rows each, some thousand rows at a time."""
        starts = np.cumsum(self.n) - self.n
        if not len(starts):
            return
        for count, pairs in alike(self.n, BLOCK_ROWS):
            first, last = int(starts[pairs[0]]), int(starts[pairs[-1]]) + count
            together = last - first == count * len(pairs)
            rows: Any = slice(first, last)
            if not together:
                rows = (starts[pairs, None] + np.arange(count)).ravel()
            run = None if self.run is None else self.run[rows]
            yield SortedRows(
                self.keys[pairs], self.n[pairs], self.covariates[rows], self.y[rows], run
            )

    def take(self, rows: BoolArray) -> SortedRows:
        """Return some rows, given as a mask [N]."""
        each = np.repeat(np.arange(len(self.keys)), self.n)[rows]
        n = np.bincount(each, minlength=len(self.keys))
        run = None if self.run is None else self.run[rows]
        there = n > 0
        return SortedRows(self.keys[there], n[there], self.covariates[rows], self.y[rows], run)


class StoredRows:
    """The rows that sufficient statistics were made of, to be gone through again.

    Parameters
    ----------
    parts : callable
        Returns the rows from the first on, always in the same order; called once for each pass.
    """

    def __init__(self, parts: Callable[[], Iterable[SortedRows]]) -> None:
        self._parts = parts
        self._kept: list[SortedRows] | None = None

    @classmethod
    def of_chunks(
        cls, chunks: Callable[[], Iterable[Chunk]], columns: Columns, run: str | None = None
    ) -> StoredRows:
        """Return the rows of chunks.

        Parameters
        ----------
        chunks : callable
            Returns the rows from the first on.
        columns : Columns
            What is read of them.
        run : str or None
            Column of the number of each row's run.
        """

        def parts() -> Iterator[SortedRows]:
            for chunk in chunks():
                rows = read_rows(chunk.frame, columns, chunk.where, chunk.first_row)
                numbers = None if run is None else chunk.frame[run].to_numpy().astype(np.int64)
                yield SortedRows.sorted(rows.keys, rows.values, numbers)

        return cls(parts)

    @classmethod
    def of_frame(cls, frame: object, columns: Columns, runs: IntArray | None = None) -> StoredRows:
        """Return the rows of a polars or pandas frame, and the number of each one's run."""
        if runs is None:
            return cls.of_chunks(lambda: frame_chunks(frame, columns), columns)

        def parts() -> Iterator[SortedRows]:
            for chunk in frame_chunks(frame, columns):
                rows = read_rows(chunk.frame, columns, chunk.where, chunk.first_row)
                first = chunk.first_row - 1
                yield SortedRows.sorted(
                    rows.keys, rows.values, runs[first : first + chunk.frame.height]
                )

        return cls(parts)

    def of(self, keys: IntArray) -> StoredRows:
        """Return the rows of some pairs, given by their keys in ascending order."""
        return self.where(lambda part: part.of(find(keys, part.keys) >= 0))

    def where(self, some: Callable[[SortedRows], SortedRows]) -> StoredRows:
        """Return some of the rows, part by part."""

        def parts() -> Iterator[SortedRows]:
            # Past what this keeps in memory: some rows are kept by themselves.
            for part in self._parts() if self._kept is None else self._kept:
                yield some(part)

        return StoredRows(parts)

    def __iter__(self) -> Iterator[SortedRows]:
        """Yield the rows, part by part."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[SortedRows] | None = []
        size = 0
        for part in self._parts():
            size += part.covariates.size + 2 * part.y.size
            if kept is not None:
                kept.append(part)
            if size > MOST_KEPT:
                kept = None
            yield part
        self._kept = kept
