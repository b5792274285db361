"""Posterior moments of nodes of the upper levels: of any sum of their effects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from molpool_common import FloatArray, IntArray
from scipy.sparse import csr_array

from rt_ridge.levels import Arrangement, Factor
from rt_ridge.locations import MeanCov
from rt_ridge.system import LinearSystem, Solution, dense_scales


@dataclass(frozen=True)
class Share:
    """A mean over levels of a factor, which is part of what a node tells.

    Parameters
    ----------
    name : str
        Of the factor.
    weights : ndarray, [N, d]
        How much of the mean of each column.
    node, level : ndarray of int64, [N] and [L], or None
        The mean at a node is over the levels with the same number; None: over all.
    """

    name: str
    weights: FloatArray
    node: IntArray | None = None
    level: IntArray | None = None

    def means(self, n_levels: int) -> csr_array:
        """Return the matrix [B, L] that averages over the levels of each number."""
        level = np.zeros(n_levels, dtype=np.int64) if self.level is None else self.level
        each = 1.0 / np.bincount(level)[level]
        return csr_array((each, (level, np.arange(n_levels))))

    def part_of(self, level: IntArray, n_levels: int) -> FloatArray:
        """Return the weight of one level of each node in the mean there, [N]."""
        if self.level is None:
            return np.full(len(level), 1.0 / n_levels)
        count = np.bincount(self.level)[self.at]
        return np.where(self.level[level] == self.at, 1.0 / count, 0.0)

    @property
    def at(self) -> IntArray:
        """Row of `means` of each node, [N]."""
        return np.zeros(len(self.weights), dtype=np.int64) if self.node is None else self.node


@dataclass(frozen=True)
class Node:
    """Locations to be told of: sums of effects of some factors.

    Parameters
    ----------
    size : int
        How many there are, N.
    levels : dict
        Level [N] of each factor that counts, by its name.
    weights : dict
        Weights [N, d] of each of those factors' columns.
    shares : tuple of Share
        Means over levels that are added.
    entries : dict
        Entry [d] of what is told that each column adds to; by default its entry of the location.
    n_entries : int or None
        Number of entries of what is told; None: as of a location.
    """

    size: int
    levels: dict[str, IntArray]
    weights: dict[str, FloatArray]
    shares: tuple[Share, ...] = ()
    entries: dict[str, IntArray] = field(default_factory=dict)
    n_entries: int | None = None

    def rows_of(self, factor: Factor) -> IntArray:
        """Return the entry that each column of a factor adds to, [d]."""
        return self.entries.get(factor.name, factor.rows)

    def part(self, rows: slice) -> Node:
        """Return some of the nodes."""
        shares = (
            replace(s, weights=s.weights[rows], node=None if s.node is None else s.node[rows])
            for s in self.shares
        )
        return replace(
            self,
            size=len(range(self.size)[rows]),
            levels={name: value[rows] for name, value in self.levels.items()},
            weights={name: value[rows] for name, value in self.weights.items()},
            shares=tuple(shares),
        )


def node_locations(
    system: LinearSystem, solution: Solution, scales: FloatArray, node: Node
) -> MeanCov:
    """Return mean [N, D] and covariance [N, D, D] of each location of `node`."""
    at = system.arrangement
    N, D, R = node.size, node.n_entries or system.n_entries, at.n_dense
    on_dense = np.zeros((N, D, R))
    for factor in at.dense:
        _dense_part(on_dense, factor, at, node)
    on_dense *= dense_scales(at, scales)
    mean = on_dense @ solution.dense_mean
    own = np.zeros((N, D, D))
    if at.eliminated is not None:
        _LevelPart(system, solution, scales, node).add(on_dense, mean, own)
    half = (on_dense.reshape(-1, R) @ solution.dense_cov).reshape(N, D, R)
    return mean, own + np.matmul(half, on_dense.transpose(0, 2, 1))


def _dense_part(on_dense: FloatArray, factor: Factor, at: Arrangement, node: Node) -> None:
    columns = at.columns[factor.name]
    every = np.arange(len(on_dense))
    if factor.name in node.levels:
        weights = node.weights[factor.name]
        for j, row in enumerate(node.rows_of(factor)):
            on_dense[every, row, columns[node.levels[factor.name], j]] += weights[:, j]
    for share in node.shares:
        if share.name == factor.name:
            means = share.means(factor.n_levels).toarray()[share.at]
            for j, row in enumerate(node.rows_of(factor)):
                on_dense[:, row, columns[:, j]] += share.weights[:, j, None] * means


class _LevelPart:
    """What nodes owe to the eliminated factor.

    Given the dense columns its effects are independent between levels: each is told as its own
    scatter, and as a fall where the dense columns rise.
    """

    def __init__(
        self, system: LinearSystem, solution: Solution, scales: FloatArray, node: Node
    ) -> None:
        e = system.arrangement.eliminated
        assert e is not None
        self.system, self.solution = system, solution
        self.sd, self.rows = scales[e.scale], node.rows_of(e)
        self.level, self.weights = node.levels.get(e.name), node.weights.get(e.name)
        self.shares = [share for share in node.shares if share.name == e.name]
        self.means = [share.means(e.n_levels) for share in self.shares]

    def add(self, on_dense: FloatArray, mean: FloatArray, own: FloatArray) -> None:
        """Add means, own covariances, and what falls on the dense columns, in place."""
        if self.level is None and not self.shares:
            return
        for i, row in enumerate(self.rows):
            expected = self.sd[:, i] * self.solution.level_mean[:, i]
            if self.level is not None and self.weights is not None:
                weight = self.weights[:, i]
                mean[:, row] += weight * expected[self.level]
                fall = weight * self.sd[self.level, i]
                on_dense[:, row] -= fall[:, None] * self._gain(i, self.level)
            for share, means in zip(self.shares, self.means, strict=True):
                if share.weights[:, i].any():
                    mean[:, row] += share.weights[:, i] * (means @ expected)[share.at]
                    fall = self._mean_gain(csr_array(means * self.sd[:, i]), i)[share.at]
                    on_dense[:, row] -= share.weights[:, i, None] * fall
            for j, column in enumerate(self.rows):
                own[:, row, column] += self._scatter(i, j)

    def _scatter(self, i: int, j: int) -> FloatArray:
        """Return the covariance of the parts of two columns given the dense ones, [N]."""
        inverse = self.solution.level_inverse[:, i, j] * self.sd[:, i] * self.sd[:, j]
        total: FloatArray = np.zeros(1)
        if self.level is not None and self.weights is not None:
            one, other = self.weights[:, i], self.weights[:, j]
            total = one * other * inverse[self.level]
            for share in self.shares:
                both = one * share.weights[:, j] + other * share.weights[:, i]
                total = total + both * share.part_of(self.level, len(inverse)) * inverse[self.level]
        for p, first in enumerate(self.shares):
            for q, second in enumerate(self.shares):
                weight = first.weights[:, i] * second.weights[:, j]
                if weight.any():
                    total = total + weight * self._overlap(p, q, inverse)
        return total

    def _overlap(self, p: int, q: int, inverse: FloatArray) -> FloatArray:
        """Return the sum over levels of two means' weights times `inverse`, [N]."""
        size = self.means[q].shape[0]
        code, place = np.unique(self.shares[p].at * size + self.shares[q].at, return_inverse=True)
        both = self.means[p][code // size].multiply(self.means[q][code % size])
        return np.asarray((both @ inverse)[place])

    def _gain(self, i: int, level: IntArray) -> FloatArray:
        """Return the gain of column i of some levels on all dense columns, [N, R]."""
        at, gain = self.system.arrangement, self.solution.gain[level, i]
        if not at.nested:
            return np.asarray(gain)
        rows = np.zeros((len(level), at.n_dense))
        columns = at.cell_columns[self.system.level_cell[level]]
        rows[np.arange(len(level))[:, None], columns] = gain
        return rows

    def _mean_gain(self, means: csr_array, i: int) -> FloatArray:
        """Return means over levels of the gain of column i on all dense columns, [B, R]."""
        at, gain = self.system.arrangement, self.solution.gain[:, i]
        if not at.nested:
            return np.asarray(means @ gain)
        columns = at.cell_columns[self.system.level_cell]
        starts = np.arange(len(gain) + 1) * columns.shape[1]
        shape = (len(gain), at.n_dense)
        return np.asarray(
            (means @ csr_array((gain.ravel(), columns.ravel(), starts), shape)).toarray()
        )
