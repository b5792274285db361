"""What is expected of pairs never seen, at given scales: the tables of the back-off levels.

A node is a group, a supercategory, a compound, ..., whose location is a sum of effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from molpool_common import FloatArray, IntArray
from scipy.sparse import csr_array

from rt_ridge.hierarchy._hierarchy import Hierarchy, MeanCov, State
from rt_ridge.hierarchy._linear_system import (
    CROSSED,
    Arrangement,
    Factor,
    LinearSystem,
    Solution,
    dense_scales,
)

_CHUNK_ENTRIES = 2**24


class NodeTables:
    """Locations of groups, supercategories, compounds and the grand mean, widened for what is new.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.

    Notes
    -----
    Locations of groups and above are given at the mean of the compounds seen, and compounds about
    that mean: the two are then nearly independent, where about the grand mean they would share
    all the uncertainty of the compounds' level.
    """

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.factors = {f.name: f for f in hierarchy.structure.factors}
        self.parent_of_group = self._parents()

    @property
    def level_names(self) -> tuple[str, ...]:
        """Back-off levels, nearest first; none under flat intercepts."""
        if not self.hierarchy.pooled:
            return ()
        return tuple(name for name in ("group", "parent", "global") if name in self.factors)

    @property
    def has_compounds(self) -> bool:
        """Whether compounds have effects of their own."""
        return self.hierarchy.pooled and "compound" in self.factors

    def ids(self, name: str) -> IntArray:
        """Return the ids of a level's nodes, ascending."""
        return self.factors[name].ids

    def level(self, name: str, state: State) -> MeanCov:
        """Return mean [L, 1 + P] and covariance of [b, w] of a new pair below each node."""
        factor = self.factors[name]
        chain = {name: np.arange(factor.n_levels)}
        if name == "group" and "parent" in self.factors and self.parent_of_group is not None:
            chain["parent"] = self.parent_of_group
        chain["global"] = np.zeros(factor.n_levels, dtype=np.int64)
        # What all compounds share belongs to the levels; see the notes of the class.
        shares = [*self.mean_compound(factor.n_levels, 1.0), *self.mean_class(factor.n_levels, 1.0)]
        parents = chain.get("parent", self.parent_of_group if name == "group" else None)
        if CROSSED in self.factors and parents is not None:
            shares.append(self.mean_of_parent(parents, 1.0))
        mean, cov = self.moments(state, self.node(factor.n_levels, chain, shares))
        mean[:, 0] += self.hierarchy.offset
        cov[:, range(cov.shape[1]), range(cov.shape[1])] += self._new_below(name, state)
        return mean, cov

    def compound(self, state: State) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Return mean, covariance and new covariance of compound effects about their mean.

        Slopes are about the mean over the compound's class, where classes have slopes.
        """
        if not self.has_compounds:
            return None
        factor = self.factors["compound"]
        size = factor.n_levels
        levels = {"compound": np.arange(size)}
        shares = self.mean_compound(size, -1.0, self.class_of_compound)
        node = self.node(size, levels, shares)
        if self.hierarchy.described is not None:
            # What their descriptors say is part of the effects of compounds seen.
            z = self.hierarchy.described.values(factor.ids)
            node.levels["global"] = np.zeros(size, dtype=np.int64)
            node.weights["global"] = self.along(z, "global")
            along = tuple(Share(name, self.along(z, name)) for name in self.heads)
            node = replace(node, shares=node.shares + along)
        mean, cov = self.moments(state, node)
        # A new effect is about the mean of those seen, which varies by 1 / their number; slopes are
        # about the mean of a class, which has fewer.
        means = np.full(len(mean[0]), 1 / size)
        if self.class_of_compound is not None:
            means[1:] *= self.factors["class"].n_levels
        return mean, cov, np.diag(self.effect_variance(factor, state)[0] * (1 + means))

    def moments(self, state: State, node: Node) -> MeanCov:
        """Return moments of sums of effects, widened to 1 + P entries."""
        P, D = self.hierarchy.stats.P, self.hierarchy.system.n_entries
        mean, cov = np.zeros((node.size, 1 + P)), np.zeros((node.size, 1 + P, 1 + P))
        mean[:, :D], cov[:, :D, :D] = self.located(state, node)
        return mean, cov

    def located(self, state: State, node: Node) -> MeanCov:
        """Return mean [N, E] and covariance [N, E, E] of the location of a node, chunk by chunk."""
        system = self.hierarchy.system
        E = node.n_entries or system.n_entries
        mean, cov = np.zeros((node.size, E)), np.zeros((node.size, E, E))
        for part in _parts(node.size, E * max(system.arrangement.n_dense, 1)):
            found = node_locations(system, state.solution, state.scales, node.part(part))
            mean[part], cov[part] = found
        return mean, cov

    def node(self, size: int, levels: dict[str, IntArray], shares: Sequence[Share]) -> Node:
        """Return sums of plain effects of some levels, and of means."""
        weights = {name: self.plain(name, size) for name in levels if name in self.factors}
        return Node(size, levels, weights, tuple(shares))

    def mean_compound(
        self, size: int, weight: float, of_class: IntArray | None = None
    ) -> list[Share]:
        """Return the mean over compounds; its slopes over those of a class [N], if given."""
        if "compound" not in self.factors:
            return []
        plain, slopes = weight * self.plain("compound", size), self.factors["compound"].rows > 0
        if of_class is None:
            return [Share("compound", plain)]
        over_class = Share("compound", plain * slopes, of_class, self.class_of_compound)
        return [Share("compound", plain * ~slopes), over_class]

    def mean_class(self, size: int, weight: float) -> list[Share]:
        """Return the mean over classes."""
        if "class" not in self.factors:
            return []
        return [Share("class", weight * self.plain("class", size))]

    def mean_of_parent(self, parents: IntArray, weight: float) -> Share:
        """Return the mean over the classes within a supercategory, of `parent_ids` [N]."""
        of_level = np.searchsorted(self.parent_ids, self.factors[CROSSED].ids >> 32)
        return Share(CROSSED, weight * self.plain(CROSSED, len(parents)), parents, of_level)

    @property
    def class_of_compound(self) -> IntArray | None:
        """Level of the class of each compound seen, None where classes have no effects."""
        classes = self.hierarchy.classes
        if classes is None or not {"class", "compound"} <= set(self.factors):
            return None
        of_compound = classes.of(self.factors["compound"].ids)
        return np.searchsorted(self.factors["class"].ids, of_compound)

    def plain(self, name: str, size: int) -> FloatArray:
        """Return weights [N, d] of all columns of a factor but those of descriptors."""
        return np.tile((~self.factors[name].described).astype(float), (size, 1))

    def along(self, z: FloatArray, name: str) -> FloatArray:
        """Return weights [N, d] of the descriptor columns of a factor, for descriptors [N, Q]."""
        # Place -1, of columns that no descriptor multiplies, is the last.
        return np.concatenate([z, np.zeros((len(z), 1))], axis=1)[:, self.factors[name].descriptor]

    @property
    def heads(self) -> tuple[str, ...]:
        """Levels at which descriptor coefficients deviate, nearest first."""
        there = [n for n in ("group", "parent") if n in self.factors]
        return tuple(n for n in there if self.factors[n].described.any())

    def _new_below(self, name: str, state: State) -> FloatArray:
        """Return the variance of what is new in a pair below each node, [L, 1 + P]."""
        layout, P = self.hierarchy.layout, self.hierarchy.stats.P
        variance = np.zeros((self.factors[name].n_levels, 1 + P))
        variance[:, 0] += state.scales[layout.place("tau_pair")] ** 2
        ratios = self.hierarchy.slope_ratios(state.scales)
        variance[:, 1:] += self._new_sigma2(name, state)[:, None] * ratios
        if name != "group" and "group" in self.factors:
            variance += self._group_variance(name, state)
        if name == "global" and "parent" in self.factors:
            variance += self.effect_variance(self.factors["parent"], state)[0]
        return variance

    def _new_sigma2(self, name: str, state: State) -> FloatArray:
        """Return σ² of a new pair below each node: of its group, else the mean over groups."""
        L = self.factors[name].n_levels
        if not self.hierarchy.layout.n_offsets:
            return np.full(L, state.sigma2[0])
        by_group = self.hierarchy.group_sigma2(state)
        return by_group if name == "group" else np.full(L, by_group.mean())

    def _group_variance(self, name: str, state: State) -> FloatArray:
        """Return the variance of a new group's effect below each node of a wider level."""
        variance = self.effect_variance(self.factors["group"], state)
        if name == "global" or self.parent_of_group is None:
            # A group of an unknown supercategory has the average spread.
            return np.asarray(variance.mean(axis=0, keepdims=True))
        # Groups of a supercategory share their spread: its first group stands for all.
        first = np.unique(self.parent_of_group, return_index=True)[1]
        return np.asarray(variance[first])

    def effect_variance(self, factor: Factor, state: State) -> FloatArray:
        """Return the prior variance that a factor's columns give [b, w], [L, 1 + P]."""
        variance = np.zeros((factor.n_levels, 1 + self.hierarchy.stats.P))
        for j, row in enumerate(factor.rows):
            if not factor.described[j]:
                variance[:, row] += state.scales[factor.scale[:, j]] ** 2
        return variance

    @property
    def parent_ids(self) -> IntArray:
        """Ids of the supercategories of the pairs, ascending."""
        known, stats = self.hierarchy.stats.parents, self.hierarchy.stats
        assert known is not None
        return np.unique(known.of(np.unique(stats.group_ids)))

    def _parents(self) -> IntArray | None:
        group, known = self.factors.get("group"), self.hierarchy.stats.parents
        if group is None or known is None:
            return None
        return np.searchsorted(self.parent_ids, known.of(group.ids))


def _parts(size: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK_ENTRIES // width)
    for start in range(0, size, step):
        yield slice(start, start + step)


@dataclass(frozen=True)
class Share:
    """A mean over levels of a factor, which is part of the location of a node.

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
    """Locations of interest: sums of effects of some factors.

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
        Entry [d] of the result that each column adds to; by default its entry of the location.
    n_entries : int or None
        Number of entries of the result; None: as of a location.
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
    # Columns are standardised: an effect is scale times column.
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

    Given the dense columns its effects are independent between levels: each enters as its own
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
        # Products of the weights of two means serve every pair of columns.
        self._both: dict[tuple[int, int], tuple[csr_array, IntArray]] = {}

    def add(self, on_dense: FloatArray, mean: FloatArray, own: FloatArray) -> None:
        """Add means, own covariances, and what falls on the dense columns, in place."""
        if self.level is None and not self.shares:
            return
        for i, row in enumerate(self.rows):
            expected = self.sd[:, i] * self.solution.level_mean[:, i]
            if self.level is not None and self.weights is not None:
                weight = self.weights[:, i]
                mean[:, row] += weight * expected[self.level]
                # The level falls by its gain as the dense columns rise.
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
        if (p, q) not in self._both:
            size = self.means[q].shape[0]
            code = self.shares[p].at * size + self.shares[q].at
            code, place = np.unique(code, return_inverse=True)
            both = self.means[p][code // size].multiply(self.means[q][code % size])
            self._both[p, q] = csr_array(both), place
        both, place = self._both[p, q]
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
