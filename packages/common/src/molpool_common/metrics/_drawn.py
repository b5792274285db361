"""Truth, prediction and resamples of one task and model, with what its metrics share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from molpool_common._arrays import BoolArray, FloatArray, IntArray
from molpool_common.metrics._order import Order, running


@dataclass(frozen=True)
class Drawn:
    """Rows of one task, and how often each resample holds them.

    Parameters
    ----------
    y, p : ndarray [n]
        Truth and prediction, n at least 1.
    c : ndarray [R, n]
        Counts, whole numbers from 0.
    """

    y: FloatArray
    p: FloatArray
    c: FloatArray

    @cached_property
    def size(self) -> FloatArray:
        """Rows of each resample, [R]."""
        return np.asarray(self.c.sum(axis=1))

    @cached_property
    def positives(self) -> FloatArray:
        """Rows of class 1 in each resample, [R]."""
        return total(self.c, self.y)

    @cached_property
    def y_order(self) -> Order:
        """Rows by rising truth."""
        return Order.of(self.y)

    @cached_property
    def p_order(self) -> Order:
        """Rows by rising prediction."""
        return Order.of(self.p)

    @cached_property
    def by_y(self) -> FloatArray:
        """Counts [R, n] in the order of the truth."""
        return self.y_order.of_rows(self.c)

    @cached_property
    def by_p(self) -> FloatArray:
        """Counts [R, n] in the order of the prediction."""
        return self.p_order.of_rows(self.c)

    @cached_property
    def running(self) -> FloatArray:
        """Rows [R, n + 1] of lower prediction than each place, and all."""
        return running(self.by_p)

    @cached_property
    def ranked(self) -> Ranked:
        """Where positives stand in the order of the prediction."""
        return Ranked.of(self)

    @cached_property
    def y_ends(self) -> FloatArray:
        """Least and greatest truth of each resample, [R, 2]."""
        low, high = self.y.min(), self.y.max()
        lowest, highest = self.y == low, self.y == high
        if not (lowest | highest).all():
            return _ends(self.y[self.y_order.rows], self.by_y)
        # Two values, as of classes.
        least = np.where(total(self.c, lowest) > 0, low, high)
        return np.stack([least, np.where(total(self.c, highest) > 0, high, low)], axis=1)

    @cached_property
    def p_ends(self) -> FloatArray:
        """Least and greatest prediction of each resample, [R, 2]."""
        return _ends(self.p[self.p_order.rows], self.by_p)


@dataclass(frozen=True)
class Ranked:
    """Of K positives by rising prediction, rows below each and up to its ties.

    Parameters
    ----------
    at : ndarray of int [K]
        Places of the positives.
    first, after : ndarray of int [K]
        Place where ties with each begin, and the one after them.
    own : ndarray [R, K]
        How often resamples hold the positive.
    owned : ndarray [R, K + 1]
        Positives of lower places, and all.
    before, upto : ndarray [R, K]
        Rows below each, and those with its ties.
    """

    at: IntArray
    first: IntArray
    after: IntArray
    own: FloatArray
    owned: FloatArray
    before: FloatArray
    upto: FloatArray

    @classmethod
    def of(cls, drawn: Drawn) -> Ranked:
        """Find them."""
        order = drawn.p_order
        at = np.flatnonzero(drawn.y[order.rows])
        first, after = order.first[at], order.last[at] + 1
        own = np.take(drawn.by_p, at, axis=1)
        before, upto = (np.take(drawn.running, place, axis=1) for place in (first, after))
        return cls(at, first, after, own, running(own), before, upto)

    def positives_before(self, place: IntArray) -> FloatArray:
        """Return the positives [R, k] that stand before some places [k]."""
        return np.take(self.owned, np.searchsorted(self.at, place), axis=1)


def total(c: FloatArray, v: FloatArray | BoolArray) -> FloatArray:
    """Return sums [R] over the rows that resamples hold.

    Not `c @ v`: BLAS adds in an order that depends on how many resamples there are at a time.
    """
    return np.asarray(np.einsum("rn,n->r", c, v))


def _ends(ordered: FloatArray, counts: FloatArray) -> FloatArray:
    """Return the first and last value [R, 2] of those [n] that resamples [R, n] hold."""
    there = counts > 0
    last = len(ordered) - 1 - there[:, ::-1].argmax(axis=1)
    return np.asarray(ordered[np.stack([there.argmax(axis=1), last], axis=1)])
