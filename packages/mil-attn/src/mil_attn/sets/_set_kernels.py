"""Kernels and distances between bags, from those between their instances, exact and in blocks.

Each product is of instances of some bags with those of others, a block at a time: no matrix of all
pairs of instances is ever in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from molpool_common import FloatArray, IntArray
from torch import Tensor

from mil_attn._bags import check_bounds
from mil_attn._errors import MILError

DistanceName = Literal["hausdorff", "mean_min"]

_ROWS = 1024
"""Instances of a block: its square of doubles stays in a core's cache, or nearly."""

_PAIRS = 1 << 22
"""Pairs of instances within bags at once."""


@dataclass(frozen=True, eq=False)
class Sets:
    """N sets of vectors, each with weights of its members.

    Parameters
    ----------
    instances : ndarray of float64 [M, F]
        The vectors, set after set.
    offsets : ndarray of int64 [N + 1]
        Set b holds the rows ``offsets[b]:offsets[b + 1]``.
    weights : ndarray of float64 [M] or None
        Not negative; None weighs the n members of a set by 1/n.

    Raises
    ------
    MILError
        If the offsets do not ascend from 0 to M, a set is empty, or a weight or a value is not
        finite.
    """

    instances: FloatArray
    offsets: IntArray
    weights: FloatArray | None = None

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.instances, dtype=np.float64)
        offsets = np.asarray(self.offsets, dtype=np.int64)
        check_bounds(offsets, len(values))
        sizes = np.diff(offsets)
        weights = np.repeat(1 / sizes, sizes) if self.weights is None else self.weights
        if weights.shape != (len(values),) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise MILError(
                f"weights: expected {len(values)} numbers from 0 on; found shape "
                f"{list(weights.shape)}, least {weights.min(initial=np.inf):g}."
            )
        if not np.isfinite(values).all():
            raise MILError("instances: expected finite numbers; found NaN or infinity.")
        for name, value in (("instances", values), ("offsets", offsets), ("weights", weights)):
            object.__setattr__(self, name, value)

    @classmethod
    def single(cls, vectors: FloatArray) -> Sets:
        """Return one set of one member for each row [N, K]."""
        return cls(vectors, np.arange(len(vectors) + 1))

    @property
    def sizes(self) -> IntArray:
        """Members of each set [N]."""
        return np.diff(self.offsets)

    @property
    def member_weights(self) -> FloatArray:
        """`weights`, which are there once the sets are made."""
        assert self.weights is not None
        return self.weights

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def bounded(self, limit: float) -> Sets:
        """Return them with values that come ever closer to `limit`, and never reach it."""
        return Sets(limit * np.tanh(self.instances / limit), self.offsets, self.weights)

    def take(self, rows: IntArray) -> Sets:
        """Return the sets at these positions, in this order."""
        sizes = self.sizes[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        at = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], sizes)
        return Sets(self.instances[at], offsets, self.member_weights[at])


def mean_kernel(a: Sets, b: Sets | None = None, *, gamma: float) -> FloatArray:
    """Return inner products of the sets' kernel mean embeddings.

    ``sum_ij w_i v_j exp(-gamma |a_i - b_j|^2)``, with weights of sum 1 the mean over pairs.

    Parameters
    ----------
    a, b : Sets
        N and L sets; without `b` those of `a` with one another, in half the time.
    gamma : float
        Of the RBF kernel of instances.

    Returns
    -------
    ndarray [N, L]
        Positive semidefinite where `b` is left out.

    References
    ----------
    Gärtner, Flach, Kowalczyk and Smola, "Multi-instance kernels" (ICML 2002).
    """
    return np.asarray(mean_kernels(a, b, gamma=gamma, n=1)[0])


def mean_kernels(a: Sets, b: Sets | None = None, *, gamma: float, n: int) -> FloatArray:
    """Return `mean_kernel` at `gamma`, 2 `gamma`, 4 `gamma`, ... [n, N, L].

    Each further one costs a square a pair of instances, not a product and an exponential.
    """
    other = a if b is None else b
    centre = other.instances.mean(axis=0)
    left, right = _factor(a, gamma, centre, left=True), _factor(other, gamma, centre, left=False)
    summed = _Sums(other, _rows(a))
    # Fresh memory of each block would cost as much as its sums.
    room = torch.empty(_rows(a) * _rows(other), dtype=torch.float64)
    found = np.empty((n, len(a), len(other)))
    for i in _blocks(a.offsets):
        of_a = _members(a, i)
        for j in _blocks(other.offsets):
            if b is None and j.stop <= i.start:
                continue
            of_b = _members(other, j)
            shape = of_a.stop - of_a.start, of_b.stop - of_b.start
            pairs = room[: shape[0] * shape[1]].view(shape)
            torch.mm(left[of_a], right[of_b].T, out=pairs).exp_()
            for k in range(n):
                if k:
                    pairs.square_()
                by_set = summed(pairs, j)
                by_set *= a.member_weights[of_a, None]
                found[k, i, j] = np.add.reduceat(by_set, _starts(a, i))
            if b is None:
                found[:, j, i] = found[:, i, j].transpose(0, 2, 1)
    return found


class _Sums:
    """Weighted sums of columns over the members of each set."""

    def __init__(self, sets: Sets, rows: int) -> None:
        self._sets = sets
        weights, starts = sets.member_weights, sets.offsets[:-1]
        # Members that weigh the same are weighed once they are summed: that spares a pass over all
        # pairs, and the memory of it.
        self._even = np.array_equal(weights, np.repeat(weights[starts], sets.sizes))
        self._room = torch.empty(0 if self._even else rows * _rows(sets), dtype=torch.float64)

    def __call__(self, pairs: Tensor, block: slice) -> FloatArray:
        """Return the sums [R, sets of the block] of rows [R, members of the block]."""
        sets, members = self._sets, _members(self._sets, block)
        starts = _starts(sets, block)
        if self._even:
            found = np.add.reduceat(pairs.numpy(), starts, axis=1)
            found *= sets.member_weights[members.start + starts]
            return np.asarray(found)
        weights = torch.from_numpy(sets.member_weights[members])
        weighed = torch.mul(pairs, weights, out=self._room[: pairs.numel()].view(pairs.shape))
        return np.asarray(np.add.reduceat(weighed.numpy(), starts, axis=1))


def set_kernel(a: Sets, b: Sets | None = None, *, gamma: float) -> FloatArray:
    """Return the normalised set kernel: `mean_kernel` over the root of either set's own.

    Parameters
    ----------
    a, b : Sets
        N and L sets; without `b` those of `a` with one another.
    gamma : float
        Of the RBF kernel of instances.

    Returns
    -------
    ndarray [N, L]
        1 of a set with itself.
    """
    return np.asarray(set_kernels(a, b, gamma=gamma, n=1)[0])


def set_kernels(a: Sets, b: Sets | None = None, *, gamma: float, n: int) -> FloatArray:
    """Return `set_kernel` at `gamma`, 2 `gamma`, 4 `gamma`, ... [n, N, L]."""
    found = mean_kernels(a, b, gamma=gamma, n=n)
    for k in range(n):
        of_a, of_b = _own(a, b, found[k], gamma * 2**k)
        found[k] /= np.sqrt(np.outer(of_a, of_b))
    return found


def mmd_squared(a: Sets, b: Sets | None = None, *, gamma: float) -> FloatArray:
    """Return squared maximum mean discrepancies between sets [N, L].

    Parameters
    ----------
    a, b : Sets
        N and L sets, weights of sum 1; without `b` those of `a` with one another.
    gamma : float
        Of the RBF kernel of instances.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A kernel two-sample test", JMLR 13 (2012). A
    Gaussian of it is a kernel: Christmann and Steinwart, "Universal kernels on non-standard input
    spaces" (NIPS 2010).
    """
    found = mean_kernel(a, b, gamma=gamma)
    of_a, of_b = _own(a, b, found, gamma)
    return np.asarray(np.maximum(of_a[:, None] + of_b - 2 * found, 0.0))


def bag_distances(a: Sets, b: Sets | None = None, *, kind: DistanceName) -> FloatArray:
    """Return Euclidean distances between sets, which weights do not change.

    Parameters
    ----------
    a, b : Sets
        N and L sets; without `b` those of `a` with one another.
    kind : {"hausdorff", "mean_min"}
        Of the distances from each instance to the nearest of the other set, either way: the
        largest, or the mean of the two means.

    Returns
    -------
    ndarray [N, L]
        Symmetric. No inner product belongs to them: take them as features.

    References
    ----------
    Cheplygina, Tax and Loog, "Multiple instance learning with bag dissimilarities", Pattern
    Recognition 48 (2015), doi:10.1016/j.patcog.2014.07.022.
    """
    b = a if b is None else b
    found = np.empty((len(a), len(b)))
    for i in _blocks(a.offsets):
        of_a = a.instances[a.offsets[i.start] : a.offsets[i.stop]]
        for j in _blocks(b.offsets):
            of_b = b.instances[b.offsets[j.start] : b.offsets[j.stop]]
            distance = _distances(of_a, of_b)
            found[i, j] = _DISTANCES[kind](distance, _starts(a, i), _starts(b, j))
    return found


def clique_weights(sets: Sets) -> Sets:
    """Return the sets with members weighted down by how many of their set are like them.

    Like are those nearer than the mean distance of all pairs of the set; a member weighs one over
    their number, itself among them, and weights sum to 1.

    References
    ----------
    Zhou, Sun and Li, "Multi-instance learning by treating instances as non-i.i.d. samples" (ICML
    2009), whose miGraph is `set_kernel` with these weights.
    """
    weights = np.empty(len(sets.instances))
    for rows, distance in _within(sets):
        like = distance <= distance.mean(axis=(1, 2), keepdims=True)
        each = 1 / like.sum(axis=2)
        weights[rows] = each / each.sum(axis=1, keepdims=True)
    return Sets(sets.instances, sets.offsets, weights)


def own_kernel(sets: Sets, *, gamma: float) -> FloatArray:
    """Return `mean_kernel` of each set with itself, [N]."""
    found = np.empty(len(sets))
    first = {start: n for n, start in enumerate(sets.offsets[:-1].tolist())}
    for rows, distance in _within(sets):
        weights = sets.member_weights[rows]
        similar = np.exp(-gamma * distance**2)
        own = (weights[:, None, :] @ similar @ weights[:, :, None])[:, 0, 0]
        found[[first[start] for start in rows[:, 0].tolist()]] = own
    return found


def _own(a: Sets, b: Sets | None, found: FloatArray, gamma: float) -> tuple[FloatArray, FloatArray]:
    if b is None:
        return np.diagonal(found), np.diagonal(found)
    return own_kernel(a, gamma=gamma), own_kernel(b, gamma=gamma)


def _within(sets: Sets) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield rows [n, s] of sets of one size and the distances within each [n, s, s]."""
    sizes = sets.sizes
    for size in np.unique(sizes).tolist():
        of_size = np.flatnonzero(sizes == size)
        step = max(1, _PAIRS // size**2)
        for start in range(0, len(of_size), step):
            rows = sets.offsets[of_size[start : start + step]][:, None] + np.arange(size)
            x = sets.instances[rows]
            yield rows, _distances(x, x)


def _distances(x: FloatArray, y: FloatArray) -> FloatArray:
    # Without products: their rounding would leave an instance apart from itself by its root.
    mode = "donot_use_mm_for_euclid_dist"
    found = torch.cdist(torch.from_numpy(x), torch.from_numpy(y), compute_mode=mode)
    return np.asarray(found.numpy())


def _factor(sets: Sets, gamma: float, centre: FloatArray, *, left: bool) -> Tensor:
    """Return rows whose products with those of the other side are ``-gamma |a - b|^2``."""
    # About a common centre, so that the squares hold no digits that cancel.
    x = (sets.instances - centre) * np.sqrt(2 * gamma)
    own = -0.5 * (x**2).sum(axis=1, keepdims=True)
    one = np.ones_like(own)
    return torch.from_numpy(np.hstack((x, own, one) if left else (x, one, own)))


def _starts(sets: Sets, block: slice) -> IntArray:
    """Return where each set of a block begins in it."""
    return np.asarray(sets.offsets[block] - sets.offsets[block.start])


def _members(sets: Sets, block: slice) -> slice:
    """Return the instances of a block of sets."""
    return slice(int(sets.offsets[block.start]), int(sets.offsets[block.stop]))


def _rows(sets: Sets) -> int:
    """Return the most instances of a block."""
    return max(int(sets.offsets[k.stop] - sets.offsets[k.start]) for k in _blocks(sets.offsets))


def _blocks(offsets: IntArray) -> list[slice]:
    """Return runs of sets of about as many instances as fit into a block, at least one set each."""
    blocks, start = [], 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + _ROWS, side="right")) - 1
        stop = max(stop, start + 1)
        blocks.append(slice(start, stop))
        start = stop
    return blocks


def _hausdorff(distance: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    there = np.maximum.reduceat(np.minimum.reduceat(distance, columns, axis=1), rows)
    back = np.maximum.reduceat(np.minimum.reduceat(distance, rows), columns, axis=1)
    return np.asarray(np.maximum(there, back))


def _mean_min(distance: FloatArray, rows: IntArray, columns: IntArray) -> FloatArray:
    there = np.minimum.reduceat(distance, columns, axis=1)
    back = np.minimum.reduceat(distance, rows)
    n_rows = np.diff(rows, append=len(distance))[:, None]
    n_columns = np.diff(columns, append=distance.shape[1])
    mean_there = np.add.reduceat(there, rows) / n_rows
    mean_back = np.add.reduceat(back, columns, axis=1) / n_columns
    return np.asarray((mean_there + mean_back) / 2)


_DISTANCES: dict[str, Callable[[FloatArray, IntArray, IntArray], FloatArray]] = {
    "hausdorff": _hausdorff,
    "mean_min": _mean_min,
}
