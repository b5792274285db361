"""What descriptors say of pairs never seen, at given scales and averaged over them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rt_ridge.compound_descriptors import Standardised
from rt_ridge.descriptors import DescriptorEffect, HeadLevel
from rt_ridge.hierarchy import Hierarchy, State
from rt_ridge.locations import MeanCov, Node, node_locations
from rt_ridge.mixture import Mixture
from rt_ridge.nodes import NodeTables

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class DescriptorTables:
    """Coefficients of descriptors: θ, and its deviations by supercategory and group.

    Parameters
    ----------
    hierarchy : Hierarchy
        A model with descriptors.
    tables : NodeTables
        Of the same model.
    described : Standardised
        The descriptors; coefficients are told per unit of the descriptors as given.

    Notes
    -----
    As compounds are about their mean, deviations are about the mean over the levels seen, which
    θ takes in: the two are then nearly independent and may be added as if they were.
    """

    def __init__(self, hierarchy: Hierarchy, tables: NodeTables, described: Standardised) -> None:
        self.hierarchy, self.tables, self.described = hierarchy, tables, described
        self.theta = Mixture()
        self.new = Mixture()
        self.heads = {name: Mixture() for name in tables.heads}

    def add(self, weight: float, state: State) -> None:
        """Add the coefficients at one point of the scales."""
        one = np.zeros(1, dtype=np.int64)
        self.theta.add(weight, self._coefficients(state, {"global": one}, 1, 1.0))
        Q = len(self.described.scale)
        variance = sum(
            self._variance(name, state) * (1 + 1 / self.tables.factors[name].n_levels)
            for name in self.heads
        )
        new = np.broadcast_to(np.diag(variance / self.described.scale**2), (1, Q, Q))
        self.new.add(weight, (np.zeros((1, Q)), np.asarray(new)))
        for name, mixture in self.heads.items():
            size = self.tables.factors[name].n_levels
            levels: dict[str, IntArray] = {name: np.arange(size)}
            parents = self.tables.parent_of_group
            if name == "group" and "parent" in self.heads and parents is not None:
                levels["parent"] = parents
            mean, cov = self._coefficients(state, levels, size, -1.0)
            if name == "parent" and "group" in self.heads:
                wider = self._variance("group", state) / self.described.scale**2
                cov = cov + np.diag(wider)
            mixture.add(weight, (mean, cov))

    def effect(self, new_compound: FloatArray) -> DescriptorEffect:
        """Return what the artefact holds.

        Parameters
        ----------
        new_compound : ndarray, [D, D]
            Covariance of the effect of a new compound whose descriptors are known.
        """
        mean, cov = (part[0] for part in self.theta.moments())
        table = self.described.table
        spread = np.cov(table.values, rowvar=False, bias=True).reshape(len(mean), len(mean))
        blind = new_compound.copy()
        blind[0, 0] += float(mean @ spread @ mean + np.sum(spread * cov))
        heads = [
            HeadLevel(name, self.tables.ids(name), *mixture.moments())
            for name, mixture in self.heads.items()
        ]
        if heads:
            heads.append(HeadLevel("global", np.zeros(1, dtype=np.int64), *self.new.moments()))
        return DescriptorEffect(
            names=table.names,
            center=self.described.center,
            ids=table.ids,
            values=table.values,
            mean=mean,
            cov=cov,
            blind_cov=blind,
            heads=tuple(heads),
        )

    def _variance(self, name: str, state: State) -> float:
        """Return the prior variance of a level's deviations."""
        factor = self.tables.factors[name]
        return float(state.scales[factor.scale[0, int(np.argmax(factor.described))]] ** 2)

    def _coefficients(
        self, state: State, levels: dict[str, IntArray], size: int, share: float
    ) -> MeanCov:
        """Return mean [N, Q] and covariance [N, Q, Q], from variances of sums of two."""
        scale = self.described.scale
        Q = len(scale)
        mean, cov = np.zeros((size, Q)), np.zeros((size, Q, Q))
        axes = np.eye(Q)
        for i in range(Q):
            mean[:, i], cov[:, i, i] = self._line(state, levels, np.tile(axes[i], (size, 1)), share)
        for i in range(Q):
            for j in range(i):
                z = np.tile(axes[i] + axes[j], (size, 1))
                both = self._line(state, levels, z, share)[1]
                cov[:, i, j] = cov[:, j, i] = (both - cov[:, i, i] - cov[:, j, j]) / 2
        return mean / scale, cov / (scale[:, None] * scale)

    def _line(
        self, state: State, levels: dict[str, IntArray], z: FloatArray, share: float
    ) -> MeanCov:
        """Return mean and variance [N] of z·coefficients, with a share of the mean deviation."""
        weights = {name: self.tables.along(z, name) for name in levels}
        shares = {name: self.tables.along(share * z, name) for name in self.heads}
        node = Node(len(z), levels, weights, shares)
        mean, cov = node_locations(self.hierarchy.system, state.solution, state.scales, node)
        return mean[:, 0], cov[:, 0, 0]
