"""From the scales to the artefact: the exact Gaussian at each point, averaged over the points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.hierarchy._hierarchy import Hierarchy, MeanCov, State
from rt_ridge.hierarchy._linear_system import CROSSED, Factor
from rt_ridge.hierarchy._messages import Messages
from rt_ridge.posterior._nodes import Node, NodeTables, Share
from rt_ridge.prediction._backoff import CoefficientPredictor, CompoundEffect, NoiseVariance
from rt_ridge.prediction._effects import BackoffLevel, ClassEffect, ClassTable, DescriptorEffect
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.tables._compounds import CompoundClasses, Standardised
from rt_ridge.tables._features import FeatureMap

JITTER = 1e-12
"""Added to a covariance's diagonal, relative to it: a slope that cannot vary has none."""


def summarise(
    hierarchy: Hierarchy, scales: ScalePosterior, features: FeatureMap
) -> Stage1CoeffSummaries:
    """Average the exact posterior of the locations over the points of the scales.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.
    scales : ScalePosterior
        Where its scales are.
    features : FeatureMap
        From covariates to the regressors of the statistics.
    """
    average = _Average(hierarchy)
    points, weights = scales.thinned(hierarchy.config.sampling.location_draws)
    for weight, point in zip(weights, points, strict=True):
        average.add(weight, hierarchy.state(point))
    stats = hierarchy.stats
    mean, cov = average.pairs.moments()
    predictor = CoefficientPredictor(
        keys=stats.keys,
        mean=mean,
        cov=_definite(cov),
        levels=average.levels(),
        compound=average.compound(),
        parents=stats.parents,
        descriptors=average.descriptors(),
        classes=average.classes(),
    )
    return Stage1CoeffSummaries(
        group_col=stats.group_col,
        features=features,
        coefficients=predictor,
        noise=average.noise(),
        n=stats.n,
        method=hierarchy.config.method,
        priors=() if hierarchy.config.method in ("ml", "reml") else hierarchy.layout.described(),
    )


class _Average:
    """Everything the artefact holds, averaged over states as they come."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        self.hierarchy = hierarchy
        self.tables = NodeTables(hierarchy)
        self.pairs = Mixture()
        self._levels = {name: Mixture() for name in self.tables.level_names}
        self._compound, self._new_compound = Mixture(), Mixture()
        self._sigma2: list[tuple[float, FloatArray]] = []
        self._described: DescriptorTables | None = None
        if hierarchy.described is not None and hierarchy.pooled:
            self._described = DescriptorTables(hierarchy, self.tables, hierarchy.described)
        self._classes: ClassTables | None = None
        if hierarchy.classes is not None and hierarchy.pooled:
            self._classes = ClassTables(self.tables, hierarchy.classes)

    def add(self, weight: float, state: State) -> None:
        self.pairs.add(weight, pair_coefficients(self.hierarchy, state))
        for name, mixture in self._levels.items():
            mixture.add(weight, self.tables.level(name, state))
        if self._described is not None:
            self._described.add(weight, state)
        if self._classes is not None:
            self._classes.add(weight, state)
        effect = self.tables.compound(state)
        if effect is not None:
            self._compound.add(weight, effect[:2])
            self._new_compound.add(weight, (np.zeros((1, len(effect[2]))), effect[2][None]))
        of_group = self.hierarchy.layout.n_offsets > 0
        sigma2 = self.hierarchy.group_sigma2(state) if of_group else state.sigma2[:1]
        self._sigma2.append((weight, sigma2))

    def levels(self) -> tuple[BackoffLevel, ...]:
        return tuple(
            BackoffLevel(name, self.tables.ids(name), *mixture.moments())
            for name, mixture in self._levels.items()
        )

    def compound(self) -> CompoundEffect | None:
        if not self.tables.has_compounds:
            return None
        mean, cov = self._compound.moments()
        return CompoundEffect(self.tables.ids("compound"), mean, cov, self._new_cov())

    def descriptors(self) -> DescriptorEffect | None:
        return None if self._described is None else self._described.effect(self._new_cov())

    def classes(self) -> ClassEffect | None:
        return None if self._classes is None else self._classes.effect()

    def _new_cov(self) -> FloatArray:
        if not self.tables.has_compounds:
            size = 1 + self.hierarchy.stats.P
            return np.zeros((size, size))
        return np.asarray(self._new_compound.moments()[1][0])

    def noise(self) -> NoiseVariance:
        weights = np.array([weight for weight, _ in self._sigma2])
        mean = weights @ np.stack([sigma2 for _, sigma2 in self._sigma2]) / weights.sum()
        if not self.hierarchy.layout.n_offsets:
            return NoiseVariance(float(mean[0]))
        ids = np.unique(self.hierarchy.stats.group_ids)
        # Groups never seen take the mean over groups.
        return NoiseVariance(float(mean.mean()), ids, mean)


def _definite(cov: FloatArray) -> FloatArray:
    """Return covariances with a diagonal that rounding cannot take below zero."""
    diagonal = np.einsum("gii->gi", cov)
    floor = JITTER * np.maximum(diagonal.max(axis=1, keepdims=True), np.finfo(float).tiny / JITTER)
    widened = cov.copy()
    np.einsum("gii->gi", widened)[...] = diagonal + np.maximum(JITTER * diagonal, floor)
    return widened


class Mixture:
    """Mean and covariance of a mixture of normals, one component at a time.

    The covariance of a mixture is the mean covariance plus the covariance of the means.
    """

    def __init__(self) -> None:
        self._first: FloatArray | None = None
        self._mean: FloatArray = np.zeros(0)
        self._second: FloatArray = np.zeros(0)
        self._total = 0.0

    def add(self, weight: float, moments: MeanCov) -> None:
        """Add a component with mean [L, D] and covariance [L, D, D]."""
        mean, cov = moments
        if self._first is None:
            # Means are summed about the first: their spread may be far smaller than their size.
            self._first, self._mean = mean, np.zeros_like(mean)
            self._second = np.zeros_like(cov)
        off = mean - self._first
        self._mean += weight * off
        self._second += weight * (cov + off[:, :, None] * off[:, None, :])
        self._total += weight

    def moments(self) -> MeanCov:
        """Return mean [L, D] and covariance [L, D, D] of the mixture."""
        assert self._first is not None
        off = self._mean / self._total
        cov = self._second / self._total - off[:, :, None] * off[:, None, :]
        return self._first + off, (cov + cov.transpose(0, 2, 1)) / 2


def pair_coefficients(hierarchy: Hierarchy, state: State) -> MeanCov:
    """Return mean [G, 1 + P] and covariance [G, 1 + P, 1 + P] of [b, w] of each pair.

    Notes
    -----
    Given its location v = [η, m] a pair's coefficients are normal with a mean linear in v; the
    location's own mean and covariance then pass through that line. Every term stays finite where
    a variance is exactly 0.
    """
    messages = state.messages
    location, spread = hierarchy.pair_locations(state)
    mean, cov, slope = given_location(messages)
    if messages.with_head:
        mean += np.einsum("gij,gj->gi", slope, location)
        cov += np.matmul(slope, np.matmul(spread, slope.transpose(0, 2, 1)))
    else:
        mean += slope[:, :, 0] * location
        cov += slope[:, :, :1] * slope[:, None, :, 0] * spread
    mean[:, 0] += hierarchy.offset
    return mean, (cov + cov.transpose(0, 2, 1)) / 2


def given_location(messages: Messages) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return mean, covariance and slope of [b, w] in the location, at location 0."""
    s, sp = messages.shrunk, messages.shrunk.spectra
    n_pairs, size = sp.d.shape
    sigma2 = messages.sigma2
    drift = (s.psi * sigma2)[:, None] * np.einsum("gpq,gq->gp", sp.dual, s.t * sp.h)  # Cov(w)·x̄
    if messages.tau2 is None:
        gain_b, gain_w = np.ones(n_pairs), np.zeros((n_pairs, size))
        cov_bb, cov_bw = messages.noise, -drift
    else:
        # The intercept takes the share τ² / (τ² + noise) of the residual.
        gain_b, gain_w = messages.tau2 * messages.p, messages.p[:, None] * drift
        cov_bb, cov_bw = gain_b * messages.noise, -gain_b[:, None] * drift
    mean = np.empty((n_pairs, 1 + size))
    mean[:, 0] = gain_b * s.r
    mean[:, 1:] = s.psi * np.einsum("gpq,gq->gp", sp.dual, s.t * sp.z) + gain_w * s.r[:, None]
    cov = np.empty((n_pairs, 1 + size, 1 + size))
    cov[:, 0, 0] = cov_bb
    cov[:, 0, 1:] = cov[:, 1:, 0] = cov_bw
    ridge = np.matmul(sp.dual * (s.psi * s.t)[:, None, :], sp.dual.transpose(0, 2, 1))
    cov[:, 1:, 1:] = sigma2[:, None, None] * ridge
    cov[:, 1:, 1:] -= gain_w[:, :, None] * drift[:, None, :]
    slope = np.zeros((n_pairs, 1 + size, messages.e.shape[1]))
    slope[:, 0, 0] = 1 - gain_b
    slope[:, 1:, 0] = -gain_w
    if messages.with_head:
        keep = np.matmul(sp.dual * s.t[:, None, :], sp.basis.transpose(0, 2, 1))
        slope[:, 0, 1:] = -gain_b[:, None] * s.a
        slope[:, 1:, 1:] = keep - gain_w[:, :, None] * s.a[:, None, :]
    return mean, cov, slope


class ClassTables:
    """Slopes of classes, and of classes within supercategories.

    Parameters
    ----------
    tables : NodeTables
        Of the model.
    classes : CompoundClasses
        Of the compounds.

    Notes
    -----
    As compounds are about the mean of their class, classes are about the mean over all, and what
    a supercategory adds is about the mean over the classes seen there; the levels above take the
    means in. A class within a supercategory is given with the class itself: the two may be far from
    independent.
    """

    def __init__(self, tables: NodeTables, classes: CompoundClasses) -> None:
        self.tables, self.classes = tables, classes
        names = [name for name in ("class", CROSSED) if name in tables.factors]
        self._known = {name: Mixture() for name in names}
        self._new = {name: Mixture() for name in names}

    def add(self, weight: float, state: State) -> None:
        """Add the effects at one point of the scales."""
        for name, mixture in self._known.items():
            mixture.add(weight, self._moments(name, state))
            variance = self.tables.effect_variance(self.tables.factors[name], state)[0]
            # About the mean of the classes seen, which is not certain either.
            new = np.diag(variance * (1 + 1 / self._size(name)))[None]
            self._new[name].add(weight, (np.zeros(new.shape[:2]), new))

    def effect(self) -> ClassEffect | None:
        """Return what the artefact holds, None if no class has an effect."""
        found = {
            name: ClassTable(
                self.tables.ids(name), *mixture.moments(), self._new[name].moments()[1][0]
            )
            for name, mixture in self._known.items()
        }
        if not found:
            return None
        known = (self.classes.ids, self.classes.classes)
        return ClassEffect(*known, found.get("class"), found.get(CROSSED))

    def _moments(self, name: str, state: State) -> MeanCov:
        tables = self.tables
        factor = tables.factors[name]
        size, place = factor.n_levels, np.arange(factor.n_levels)
        levels, shares = {name: place}, list[Share]()
        if name == CROSSED:
            parents = np.searchsorted(tables.parent_ids, factor.ids >> 32)
            shares.append(tables.mean_of_parent(parents, -1.0))
        if "class" in tables.factors:
            levels["class"] = np.searchsorted(tables.ids("class"), factor.ids & 0xFFFFFFFF)
            shares += tables.mean_class(size, -1.0)
            if tables.class_of_compound is not None:
                # What its compounds have in common is part of the class.
                slopes = tables.mean_compound(size, 1.0, levels["class"])[1]
                shares += [slopes, replace(slopes, weights=-slopes.weights, node=None, level=None)]
        return tables.moments(state, tables.node(size, levels, shares))

    def _size(self, name: str) -> float:
        """Return the number of effects that a mean is over: of the classes in one place."""
        ids = self.tables.factors[name].ids
        return len(ids) / len(np.unique(ids >> 32)) if name == CROSSED else len(ids)


class DescriptorTables:
    """Coefficients of descriptors: θ, and its deviations by supercategory and group.

    Parameters
    ----------
    hierarchy : Hierarchy
        A model with descriptors.
    tables : NodeTables
        Of the same model.
    described : Standardised
        The descriptors; coefficients are per unit of the descriptors as given.

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
        # Unknown descriptors scatter as those of the table do:
        # Var(z·θ) = E[θ]ᵀ Cov(z) E[θ] + tr(Cov(z) Cov(θ)).
        blind = new_compound.copy()
        blind[:D, :D] += theta.T @ spread @ theta
        blind[:D, :D] += np.einsum("qr,qarb->ab", spread, theta_cov)
        heads = [
            BackoffLevel(name, self.tables.ids(name), *mixture.moments())
            for name, mixture in self.heads.items()
        ]
        if heads:
            heads.append(BackoffLevel("global", np.zeros(1, dtype=np.int64), *self.new.moments()))
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
