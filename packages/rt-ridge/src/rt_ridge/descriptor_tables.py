"""What descriptors say of pairs never seen, at given scales and averaged over them."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.compound_descriptors import Standardised
from rt_ridge.descriptors import DescriptorEffect, HeadLevel
from rt_ridge.hierarchy import Hierarchy, State
from rt_ridge.levels import Factor
from rt_ridge.locations import MeanCov
from rt_ridge.mixture import Mixture
from rt_ridge.node_locations import Node, Share
from rt_ridge.nodes import NodeTables


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

    A coefficient is of a descriptor and an entry of [b, w], in this order: of the intercept alone,
    unless slopes are regressed on descriptors too.
    """

    def __init__(self, hierarchy: Hierarchy, tables: NodeTables, described: Standardised) -> None:
        self.hierarchy, self.tables, self.described = hierarchy, tables, described
        regressed = [f for f in tables.factors.values() if f.described.any()]
        sloped = any((f.rows[f.described] > 0).any() for f in regressed)
        self.n_entries = 1 + hierarchy.stats.P if sloped else 1
        self._back = np.kron(described.back, np.eye(self.n_entries))
        self.theta = Mixture()
        self.new = Mixture()
        self.heads = {name: Mixture() for name in tables.heads}

    def add(self, weight: float, state: State) -> None:
        """Add the coefficients at one point of the scales."""
        one = np.zeros(1, dtype=np.int64)
        self.theta.add(weight, self._coefficients(state, {"global": one}, 1, 1.0))
        size = self._back.shape[1]
        new = np.zeros(size)
        for name in self.heads:
            new += self._variance(name, state) * (1 + 1 / self.tables.factors[name].n_levels)
        self.new.add(weight, self._given((np.zeros((1, size)), np.diag(new)[None])))
        for name, mixture in self.heads.items():
            n_levels = self.tables.factors[name].n_levels
            levels: dict[str, IntArray] = {name: np.arange(n_levels)}
            parents = self.tables.parent_of_group
            if name == "group" and "parent" in self.heads and parents is not None:
                levels["parent"] = parents
            mean, cov = self._coefficients(state, levels, n_levels, -1.0)
            if name == "parent" and "group" in self.heads:
                wider = np.diag(self._variance("group", state))
                cov = cov + self._back @ wider @ self._back.T
            mixture.add(weight, (mean, cov))

    def effect(self, new_compound: FloatArray) -> DescriptorEffect:
        """Return what the artefact holds.

        Parameters
        ----------
        new_compound : ndarray, [D, D]
            Covariance of the effect of a new compound whose descriptors are known.
        """
        mean, cov = (part[0] for part in self.theta.moments())
        table, D = self.described.table, self.n_entries
        Q = len(table.names)
        spread = np.cov(table.values, rowvar=False, bias=True).reshape(Q, Q)
        theta, theta_cov = mean.reshape(Q, D), cov.reshape(Q, D, Q, D)
        blind = new_compound.copy()
        blind[:D, :D] += theta.T @ spread @ theta
        blind[:D, :D] += np.einsum("qr,qarb->ab", spread, theta_cov)
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

    def _entry(self, factor: Factor) -> IntArray:
        """Return the coefficient that each column of a factor is, 0 for other columns, [d]."""
        entry = factor.descriptor * self.n_entries + factor.rows
        return np.where(factor.described, entry, 0)

    def _variance(self, name: str, state: State) -> FloatArray:
        """Return the prior variance of a level's deviations, 0 where it has none."""
        factor = self.tables.factors[name]
        variance = np.zeros(self._back.shape[1])
        scale = state.scales[factor.scale[0, factor.described]]
        variance[self._entry(factor)[factor.described]] = scale**2
        return variance

    def _coefficients(
        self, state: State, levels: dict[str, IntArray], size: int, share: float
    ) -> MeanCov:
        """Return mean and covariance of coefficients, with a share of the mean deviation."""
        factors = {name: self.tables.factors[name] for name in (*levels, *self.heads)}
        one = {name: np.tile(f.described.astype(float), (size, 1)) for name, f in factors.items()}
        node = Node(
            size,
            levels,
            {name: one[name] for name in levels},
            tuple(Share(name, share * one[name]) for name in self.heads),
            entries={name: self._entry(f) for name, f in factors.items()},
            n_entries=self._back.shape[1],
        )
        return self._given(self.tables.located(state, node))

    def _given(self, moments: MeanCov) -> MeanCov:
        """Return moments of the coefficients of the descriptors as given."""
        mean, cov = moments
        return mean @ self._back.T, self._back @ cov @ self._back.T
