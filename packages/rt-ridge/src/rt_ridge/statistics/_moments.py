"""Counts, means and scatter of the rows of each key: the one pass over the rows, and exact merging.

Rows are centred about the mean of their own key before anything is multiplied, and means are held
as an unevaluated sum of two floats, so that neither a large offset nor a fine division into
chunks costs digits. Merging is pairwise (Chan, Golub & LeVeque 1983,
doi:10.1080/00031305.1983.10483115).
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import TypeVar

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge._errors import RTRidgeError
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._keys import GroupParents
from rt_ridge.tables._rows import Chunk, Columns, read_rows

_BLOCK_FLOATS = 1 << 16
"""Numbers centred and multiplied, or merged, at a time: they stay in the processor's cache."""

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
        Chunks at work at a time; None: one per processor, at most 4. The result does not depend
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
    merged = merge_moments(chain([first], every), spare)
    if columns.parent is None:
        return merged, None
    return merged, GroupParents.from_pairs(parents, (columns.group, columns.parent))


class _Scratch(threading.local):
    """Memory for the rows of a chunk, one per thread, used again for the next chunk.

    The first touch of memory costs more than the sums.

    Parameters
    ----------
    n_columns : int
        Numbers per row.
    """

    def __init__(self, n_columns: int) -> None:
        self._memory: FloatArray = np.empty((0, n_columns))

    def rows(self, n: int) -> FloatArray:
        """Return room for at least `n` rows."""
        if len(self._memory) < n:
            self._memory = np.empty((n, self._memory.shape[1]))
        return self._memory


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


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of Q columns for each key.

    Parameters
    ----------
    keys : ndarray of int64, [G]
        Ascending.
    n : ndarray of int64, [G]
        Rows.
    mean, low : ndarray, [G, Q]
        The mean is mean + low, the second what rounding took off the first.
    scatter : ndarray, [G, Q, Q]
        Σ (z - z̄)(z - z̄)ᵀ.
    weight : ndarray, [G], or None
        Sum of the weights of the rows; None: each weighs 1.
    """

    keys: IntArray
    n: IntArray
    mean: FloatArray
    low: FloatArray
    scatter: FloatArray
    weight: FloatArray | None = None

    @property
    def mass(self) -> FloatArray:
        """What means are over, [G]."""
        return self.n.astype(np.float64) if self.weight is None else self.weight

    @classmethod
    def empty(cls, keys: IntArray, n_columns: int) -> Moments:
        """Return moments of no rows under `keys`."""
        shape = (len(keys), n_columns)
        scatter = np.zeros((*shape, n_columns))
        return cls(keys, np.zeros(len(keys), np.int64), np.zeros(shape), np.zeros(shape), scatter)


class Spare:
    """Moments that are done with, whose memory serves those of the next rows with as many keys."""

    def __init__(self) -> None:
        # Given by one thread and taken by others: both are atomic.
        self._spare: deque[Moments] = deque(maxlen=2)

    def give(self, moments: Moments) -> None:
        """Take moments that nobody reads any more."""
        self._spare.append(moments)

    def moments(self, keys: IntArray, n_columns: int) -> Moments:
        """Return moments under `keys` with anything in them."""
        with suppress(IndexError):
            old = self._spare.pop()
            if old.mean.shape == (len(keys), n_columns):
                return replace(old, keys=keys)
        return Moments.empty(keys, n_columns)


def moments_of(keys: IntArray, rows: FloatArray, spare: Spare | None = None) -> Moments:
    """Return the moments of rows.

    Parameters
    ----------
    keys : ndarray of int64, [N]
        Key of each row, in any order, not negative.
    rows : ndarray, [N, Q]
        Finite, C-contiguous for speed.
    spare : Spare or None
        Where memory comes from.
    """
    order, ascending = sorted_keys(keys)
    # A key begins where it differs from the one before, the first at 0.
    starts = np.flatnonzero(np.append(len(keys) > 0, ascending[1:] != ascending[:-1]))
    moments = (spare or Spare()).moments(ascending[starts], rows.shape[1])
    moments.n[:] = np.diff(starts, append=len(keys))
    block = max(1, _BLOCK_FLOATS // rows.shape[1])
    # One buffer for all blocks: fresh memory is zeroed by the kernel, at the price of the sums.
    buffer = np.empty((max(block, int(moments.n.max(initial=1))), rows.shape[1]))
    for count, at in alike(moments.n, block):
        place = order[(starts[at, None] + np.arange(count)).ravel()]
        # `clip` cannot clip here; the default mode would buffer `out`.
        z = rows.take(place, axis=0, out=buffer[: len(place)], mode="clip")
        _fill_in(moments, at, z.reshape(len(at), count, -1))
    return moments


def sorted_keys(keys: IntArray) -> tuple[IntArray, IntArray]:
    """Return the rows in ascending order of their keys, and the keys in that order."""
    bits = max(len(keys) - 1, 1).bit_length()
    if int(keys.max(initial=0)) >> (63 - bits):
        order = np.argsort(keys)
        return order, keys[order]
    # With its row in its last bits a key is sorted by value: a third of the time of an argsort.
    packed = keys << bits
    packed |= np.arange(len(keys))
    packed.sort()
    order = packed & ((1 << bits) - 1)
    packed >>= bits
    return order, packed


def alike(n: IntArray, block: int) -> Iterator[tuple[int, IntArray]]:
    """Yield row counts and keys that have as many, about `block` rows at a time."""
    by_count = np.argsort(n, kind="stable")
    counts, first = np.unique(n[by_count], return_index=True)
    for count, keys in zip(counts.tolist(), np.split(by_count, first[1:]), strict=True):
        step = max(1, block // count)
        for start in range(0, len(keys), step):
            yield count, keys[start : start + step]


def _fill_in(moments: Moments, at: IntArray, z: FloatArray) -> None:
    """Fill in the moments of the keys `at`, whose rows are `z` [., n, Q], which is overwritten."""
    count = z.shape[1]
    ones = np.ones(count)
    mean = np.matmul(ones, z) / count
    z -= mean[:, None]
    # The sum above rounds at the size of the offset, this one at that of the spread.
    low = np.matmul(ones, z) / count
    z -= low[:, None]
    moments.mean[at], moments.low[at] = two_sum(mean, low)
    moments.scatter[at] = np.matmul(z.transpose(0, 2, 1), z) if count > 1 else 0.0


def merge_moments(every: Iterable[Moments], spare: Spare | None = None) -> Moments:
    """Merge moments in the order given, at a cost near linear in their keys.

    Parameters
    ----------
    every : iterable of Moments
        At least one, all of the same columns; consumed one by one.
    spare : Spare or None
        Where memory of moments that were merged goes.
    """
    stack: list[Moments] = []
    spare = spare or Spare()

    def merge_last() -> None:
        last = stack.pop()
        stack[-1] = merge_two(stack[-1], last)
        spare.give(last)

    for moments in every:
        stack.append(moments)
        # A large sum waits until what came after is of its size, or all keys would be copied
        # for each chunk that brings a few new ones.
        while len(stack) > 1 and len(stack[-2].keys) <= 2 * len(stack[-1].keys):
            merge_last()
    while len(stack) > 1:
        merge_last()
    return stack[0]


def merge_two(a: Moments, b: Moments) -> Moments:
    """Return the moments of the rows of both; `a` is used up where it has all keys of `b`."""
    step = max(1, _BLOCK_FLOATS // max(1, a.mean.shape[1] ** 2))
    parts = [slice(first, first + step) for first in range(0, len(b.keys), step)]
    if np.array_equal(a.keys, b.keys):
        for part in parts:
            _add(a, part, b, part)
        return a
    merged = _widened(a, np.union1d(a.keys, b.keys))
    at = np.searchsorted(merged.keys, b.keys)
    for part in parts:
        _add(merged, at[part], b, part)
    return merged


def _widened(a: Moments, keys: IntArray) -> Moments:
    """Return moments under more keys, those of `a` themselves if it has them all."""
    if len(keys) == len(a.keys):
        return a
    wide = Moments.empty(keys, a.mean.shape[1])
    at = np.searchsorted(keys, a.keys)
    wide.n[at], wide.scatter[at] = a.n, a.scatter
    wide.mean[at], wide.low[at] = a.mean, a.low
    if a.weight is None:
        return wide
    weight = np.zeros(len(keys))
    weight[at] = a.weight
    return replace(wide, weight=weight)


def _add(merged: Moments, at: IntArray | slice, b: Moments, part: slice) -> None:
    """Add the keys `part` of `b` to the entries `at` of `merged`, which may hold no row yet."""
    n_a, n_b = merged.mass[at], b.mass[part]
    n = n_a + n_b
    mean, low = merged.mean[at], merged.low[at]
    fresh = (n_a == 0)[:, None]
    mean, low = np.where(fresh, b.mean[part], mean), np.where(fresh, b.low[part], low)
    delta = (b.mean[part] - mean) + (b.low[part] - low)
    merged.mean[at], merged.low[at] = two_sum(mean, low + delta * (n_b / n)[:, None])
    scaled = delta * np.sqrt(n_a * n_b / n)[:, None]
    between = scaled[:, :, None] * scaled[:, None, :]
    merged.scatter[at] += b.scatter[part] + between
    merged.n[at] += b.n[part]
    if merged.weight is not None:
        merged.weight[at] += b.mass[part]


def two_sum(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return a + b rounded and, exactly, what rounding took off (Knuth)."""
    total = a + b
    shift = total - a
    return total, (a - (total - shift)) + (b - shift)
