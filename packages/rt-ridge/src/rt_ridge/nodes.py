"""What is expected of pairs never seen, at given scales: the tables of the back-off levels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from rt_ridge.hierarchy import Hierarchy, State
from rt_ridge.levels import Factor
from rt_ridge.locations import MeanCov, Node, node_locations

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_CHUNK_ENTRIES = 2**24


class NodeTables:
    """Locations of groups, supercategories, compounds and the whole, widened for what is new.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.

    Notes
    -----
    Locations of groups and above are told at the mean of the compounds seen, and compounds about
    that mean: the two are then nearly independent, where about the grand mean they would share
    the whole uncertainty of the compounds' level.
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
        mean, cov = self._moments(state, chain, 1.0)
        mean[:, 0] += self.hierarchy.offset
        cov[:, range(cov.shape[1]), range(cov.shape[1])] += self._new_below(name, state)
        return mean, cov

    def compound(self, state: State) -> tuple[FloatArray, FloatArray, FloatArray] | None:
        """Return mean, covariance and new covariance of compound effects about their mean."""
        if not self.has_compounds:
            return None
        factor = self.factors["compound"]
        levels = {"compound": np.arange(factor.n_levels)}
        if self.hierarchy.described is not None:
            # What their descriptors say is part of the effects of compounds seen.
            levels["global"] = np.zeros(factor.n_levels, dtype=np.int64)
        mean, cov = self._moments(state, levels, -1.0)
        new = self._effect_variance(factor, state)[0] * (1 + 1 / factor.n_levels)
        return mean, cov, np.diag(new)

    def _moments(self, state: State, levels: dict[str, IntArray], share: float) -> MeanCov:
        """Return moments of sums of effects, widened to 1 + P entries, a chunk at a time.

        `share` is the weight of the mean compound in them.
        """
        size = len(next(iter(levels.values())))
        P, system = self.hierarchy.stats.P, self.hierarchy.system
        mean, cov = np.zeros((size, 1 + P)), np.zeros((size, 1 + P, 1 + P))
        D = system.n_entries
        for part in _parts(size, D * max(system.arrangement.n_dense, 1)):
            chosen = {name: level[part] for name, level in levels.items()}
            node = self._node(len(mean[part]), chosen, share)
            found = node_locations(system, state.solution, state.scales, node)
            mean[part, :D], cov[part, :D, :D] = found
        return mean, cov

    def _node(self, size: int, levels: dict[str, IntArray], share: float) -> Node:
        weights = {name: self.plain(name, size) for name in levels if name in self.factors}
        shares = {"compound": share * self.plain("compound", size)} if self.has_compounds else {}
        described = self.hierarchy.described
        if "compound" in levels and described is not None:
            z = described.values(self.factors["compound"].ids[levels["compound"]])
            weights["global"] = self.along(z, "global")
            shares.update({name: self.along(z, name) for name in self.heads})
        return Node(size, levels, weights, shares)

    def plain(self, name: str, size: int) -> FloatArray:
        """Return weights [N, d] of all columns of a factor but those of descriptors."""
        return np.tile((~self.factors[name].described).astype(float), (size, 1))

    def along(self, z: FloatArray, name: str) -> FloatArray:
        """Return weights [N, d] of the descriptor columns of a factor, for descriptors [N, Q]."""
        described = self.factors[name].described
        weights = np.zeros((len(z), len(described)))
        weights[:, described] = z
        return weights

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
        psi = self.hierarchy.psi(state.scales)
        variance[:, 1:] += self._new_sigma2(name, state)[:, None] * (
            psi / self.hierarchy.precision_pattern()
        )
        if name != "group" and "group" in self.factors:
            variance += self._group_variance(name, state)
        if name == "global" and "parent" in self.factors:
            variance += self._effect_variance(self.factors["parent"], state)[0]
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
        variance = self._effect_variance(self.factors["group"], state)
        if name == "global" or self.parent_of_group is None:
            return np.asarray(variance.mean(axis=0, keepdims=True))
        first = np.unique(self.parent_of_group, return_index=True)[1]
        return np.asarray(variance[first])

    def _effect_variance(self, factor: Factor, state: State) -> FloatArray:
        """Return the prior variance that a factor's columns give [b, w], [L, 1 + P]."""
        variance = np.zeros((factor.n_levels, 1 + self.hierarchy.stats.P))
        for j, row in enumerate(factor.rows):
            if not factor.described[j]:
                variance[:, row] += state.scales[factor.scale[:, j]] ** 2
        return variance

    def _parents(self) -> IntArray | None:
        group, parent = self.factors.get("group"), self.factors.get("parent")
        if group is None or self.hierarchy.stats.parents is None:
            return None
        known = self.hierarchy.stats.parents
        ids = known.parent[np.searchsorted(known.group, group.ids)]
        return np.searchsorted(np.unique(ids) if parent is None else parent.ids, ids)


def _parts(size: int, width: int) -> Iterator[slice]:
    step = max(1, _CHUNK_ENTRIES // width)
    for start in range(0, size, step):
        yield slice(start, start + step)
