"""One artefact of several models: means and covariances of the mixture of their posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.posterior._artefact import Mixture
from rt_ridge.prediction._backoff import CoefficientPredictor, CompoundEffect, NoiseVariance
from rt_ridge.prediction._effects import BackoffLevel, ClassEffect, DescriptorEffect
from rt_ridge.prediction._summaries import Stage1CoeffSummaries
from rt_ridge.tables._keys import GroupParents, find

LEVEL_ORDER = ("group", "parent", "global")


def mixed(artefacts: Sequence[Stage1CoeffSummaries], weights: FloatArray) -> Stage1CoeffSummaries:
    """Return the artefact whose predictions have the mean and variance of the mixture.

    Parameters
    ----------
    artefacts : sequence of Stage1CoeffSummaries
        Fits of the same rows in the same units.
    weights : ndarray, [M]
        Of each; they sum to 1.

    Notes
    -----
    Exact for pairs seen: a line is linear in its coefficients, so that the mixture's mean and
    covariance give mean and variance anywhere. Of pairs never seen, levels and effects of compounds
    are mixed one by one, as they are added as if independent.
    """
    if len(artefacts) == 1:
        return artefacts[0]
    first, parts = artefacts[0], [a.coefficients for a in artefacts]
    mean, cov = _moments([(p.mean, p.cov) for p in parts], weights)
    predictor = CoefficientPredictor(
        keys=first.keys,
        mean=mean,
        cov=cov,
        levels=_levels(parts, weights),
        compound=_compound(parts, weights),
        parents=parts[0].parents,
        descriptors=_descriptors([p.descriptors for p in parts], weights),
        classes=_classes([p.classes for p in parts]),
    )
    return replace(first, coefficients=predictor, noise=_noise(artefacts, weights))


def _moments(
    parts: Sequence[tuple[FloatArray, FloatArray]], weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    mixture = Mixture()
    for weight, moments in zip(weights, parts, strict=True):
        mixture.add(float(weight), moments)
    return mixture.moments()


def _levels(parts: Sequence[CoefficientPredictor], weights: FloatArray) -> tuple[BackoffLevel, ...]:
    """Mix levels by name; a model without one takes the next wider for it."""
    found = []
    for name in LEVEL_ORDER:
        ids = next((level.ids for p in parts for level in p.levels if level.name == name), None)
        if ids is not None:
            tables = [_level(p, name, ids) for p in parts]
            found.append(BackoffLevel(name, ids, *_moments(tables, weights)))
    return tuple(found)


def _level(part: CoefficientPredictor, name: str, ids: IntArray) -> tuple[FloatArray, FloatArray]:
    nodes = {name: ids, "global": np.zeros_like(ids)}
    if name == "group":
        nodes["parent"] = _parents(part.parents, ids)
    for level in part.levels:
        if level.name in nodes:
            place = find(level.ids, nodes[level.name])
            if (place >= 0).all():
                return level.mean[place], level.cov[place]
    raise AssertionError("a model of pooled intercepts has a global level")


def _parents(parents: GroupParents | None, groups: IntArray) -> IntArray:
    return np.full(len(groups), -1) if parents is None else parents.of(groups)


def _compound(parts: Sequence[CoefficientPredictor], weights: FloatArray) -> CompoundEffect | None:
    effects = [p.compound for p in parts]
    there = next((e for e in effects if e is not None), None)
    if there is None:
        return None
    none = (np.zeros_like(there.mean), np.zeros_like(there.cov))
    mean, cov = _moments([none if e is None else (e.mean, e.cov) for e in effects], weights)
    zero = np.zeros_like(there.new_cov)
    new = [zero if e is None else e.new_cov for e in effects]
    return CompoundEffect(there.ids, mean, cov, np.einsum("m,mde->de", weights, np.stack(new)))


def _noise(artefacts: Sequence[Stage1CoeffSummaries], weights: FloatArray) -> NoiseVariance:
    noises = [a.noise for a in artefacts]
    mean = float(weights @ [n.mean for n in noises])
    ids = next((n.group_ids for n in noises if len(n.group_ids)), noises[0].group_ids)
    return NoiseVariance(mean, ids, weights @ np.stack([n.of(ids) for n in noises]))


def _descriptors(
    effects: Sequence[DescriptorEffect | None], weights: FloatArray
) -> DescriptorEffect | None:
    """Return the effect of descriptors; all candidates have the same coefficients of them."""
    there = [e for e in effects if e is not None]
    if not there:
        return None
    mean, cov = _moments([(e.mean[None], e.cov[None]) for e in there], weights)
    blind = np.einsum("m,mde->de", weights, np.stack([e.blind_cov for e in there]))
    heads = tuple(
        BackoffLevel(
            head.name,
            head.ids,
            *_moments([(e.heads[i].mean, e.heads[i].cov) for e in there], weights),
        )
        for i, head in enumerate(there[0].heads)
    )
    return replace(there[0], mean=mean[0], cov=cov[0], blind_cov=blind, heads=heads)


def _classes(effects: Sequence[ClassEffect | None]) -> ClassEffect | None:
    """Return the effect of classes, which no candidates differ by."""
    return next((e for e in effects if e is not None), None)
