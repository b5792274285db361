"""From the scales to the artefact: the exact Gaussian at each point, averaged over the points."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from rt_ridge.backoff import BackoffLevel, CoefficientPredictor, CompoundEffect
from rt_ridge.class_tables import ClassTables
from rt_ridge.classes import ClassEffect
from rt_ridge.coefficients import pair_coefficients
from rt_ridge.descriptor_tables import DescriptorTables
from rt_ridge.descriptors import DescriptorEffect
from rt_ridge.features import FeatureMap
from rt_ridge.hierarchy import Hierarchy, State
from rt_ridge.mixture import Mixture
from rt_ridge.nodes import NodeTables
from rt_ridge.scales.posterior import ScalePosterior
from rt_ridge.summaries import NoiseVariance, Stage1CoeffSummaries

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
        return NoiseVariance(float(mean.mean()), ids, mean)


def _definite(cov: FloatArray) -> FloatArray:
    """Return covariances with a diagonal that rounding cannot take below zero."""
    diagonal = np.einsum("gii->gi", cov)
    floor = JITTER * np.maximum(diagonal.max(axis=1, keepdims=True), np.finfo(float).tiny / JITTER)
    widened = cov.copy()
    np.einsum("gii->gi", widened)[...] = diagonal + np.maximum(JITTER * diagonal, floor)
    return widened
