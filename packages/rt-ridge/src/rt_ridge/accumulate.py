"""The one pass over the rows."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.errors import RTRidgeError
from rt_ridge.features import FeatureMap
from rt_ridge.parents import GroupParents
from rt_ridge.rows import Columns, read_rows
from rt_ridge.scatter import Moments, Spare, merge_moments, moments_of
from rt_ridge.streaming import Chunk

T = TypeVar("T")
R = TypeVar("R")


def accumulate(
    chunks: Iterable[Chunk],
    columns: Columns,
    features: FeatureMap | None = None,
    threads: int | None = None,
) -> tuple[Moments, GroupParents | None]:
    """Return the moments of [covariates, target] by pair, and the groups' supercategories.

    Parameters
    ----------
    chunks : iterable of Chunk
        Rows; read one by one, so that memory does not grow with their number.
    columns : Columns
        What to make of them.
    features : FeatureMap or None
        Turns the covariates into regressors, whose moments are then returned.
    threads : int or None
        Chunks at work at a time; None: one a processor, at most 4. The result does not depend
        on it, to the last bit.

    Raises
    ------
    RTRidgeError
        For rows that are not good, or none at all.
    """
    threads = min(4, os.cpu_count() or 1) if threads is None else threads
    if threads < 1:
        raise RTRidgeError(f"threads: expected at least 1; found {threads}")
    if features is not None and features.names != columns.covariates:
        raise RTRidgeError(
            f"features: expected a map of the covariates {list(columns.covariates)};"
            f" found one of {list(features.names)}"
        )
    import polars as pl

    parents: list[IntArray] = []
    scratch, spare = _Scratch(len(columns.covariates) + 1), Spare()

    def summarise(chunk: Chunk) -> tuple[Moments, IntArray | None]:
        out = scratch.rows(chunk.frame.height)
        rows = read_rows(chunk.frame, columns, chunk.where, chunk.first_row, out=out)
        pairs = None if rows.parents is None else pl.Series(rows.parents).unique().to_numpy()
        values = rows.values
        if features is not None:
            values = np.column_stack([features.transform(values[:, :-1]), values[:, -1]])
        return moments_of(rows.keys, values, spare), pairs

    def moments() -> Iterator[Moments]:
        for result, pairs in _in_order(summarise, chunks, threads):
            if pairs is not None:
                parents[:] = [np.unique(np.concatenate([*parents, pairs]))]
            yield result

    every = moments()
    first = next(every, None)
    if first is None:
        raise RTRidgeError("table: expected at least one row; found none")
    merged = merge_moments(_chain(first, every), spare)
    if columns.parent is None:
        return merged, None
    return merged, GroupParents.from_pairs(parents, (columns.group, columns.parent))


class _Scratch(threading.local):
    """Memory for the rows of a chunk, one a thread, used again for the next chunk.

    The first touch of memory costs more than the sums.

    Parameters
    ----------
    n_columns : int
        Numbers a row.
    """

    def __init__(self, n_columns: int) -> None:
        self._memory: FloatArray = np.empty((0, n_columns))

    def rows(self, n: int) -> FloatArray:
        """Return room for at least `n` rows."""
        if len(self._memory) < n:
            self._memory = np.empty((n, self._memory.shape[1]))
        return self._memory


def _chain(first: T, rest: Iterator[T]) -> Iterator[T]:
    yield first
    yield from rest


def _in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield work(item) in the order of the items, `threads` of them at work ahead."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # After an error the rest need not be computed.
            for future in waiting:
                future.cancel()
