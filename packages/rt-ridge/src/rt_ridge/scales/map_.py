"""The posterior mode of the log scales (`map`): restricted likelihood times the priors."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray
from scipy.stats import norm

from rt_ridge.hierarchy import Hierarchy
from rt_ridge.scales.optimum import Optimum, curvature, maximise, spread
from rt_ridge.scales.posterior import TAIL, ScalePosterior

MAX_CURVATURE = 200
"""Most scales whose curvature is measured, which takes two gradients each."""
OFFSET_DRAWS = 32
"""Draws of the offsets of log σ; each is taken with both signs."""


def find_map(hierarchy: Hierarchy) -> ScalePosterior:
    """Climb to the mode; intervals are normal in the logarithms.

    Notes
    -----
    The mode is that of the logarithms, so a scale never collapses to 0 as it may in `reml`: where
    the data say nothing of it, it stays near its prior's scale. Where σ differs by group, the
    offsets of log σ are averaged over a normal about their mode: a group of few rows knows little
    of its σ, and an interval at the most likely one is too narrow.
    """
    best = mode(hierarchy)
    size = len(best.at)
    half = np.full(size, np.nan)
    if 0 < size <= MAX_CURVATURE:
        cov = spread(curvature(hierarchy.log_posterior, best.at))
        half = norm.isf(TAIL) * np.sqrt(np.diagonal(cov))
    point = hierarchy.natural(best.at)
    points = _around(hierarchy, best.at)
    return ScalePosterior(
        names=hierarchy.layout.names,
        points=points,
        weights=np.full(len(points), 1 / len(points)),
        low=hierarchy.natural(best.at - half),
        high=hierarchy.natural(best.at + half),
        log_likelihood=hierarchy.state(point).log_likelihood,
        diagnostics={"steps": float(best.steps), "gradient": best.slope},
        notes=tuple(hierarchy.structure.notes),
    )


def _around(hierarchy: Hierarchy, centre: FloatArray) -> FloatArray:
    """Return the mode, or where there are offsets of log σ, points that differ in them alone."""
    first, step = hierarchy.layout.n_free, 1e-3
    if not hierarchy.layout.n_offsets:
        return hierarchy.natural(centre)[None]
    shift = np.zeros(len(centre))
    shift[first:] = step
    # One group's σ hardly tells of another's, so that all may move at once.
    slopes = [hierarchy.log_posterior(centre + sign * shift)[1][first:] for sign in (-1, 1)]
    sd = 1 / np.sqrt(np.maximum((slopes[0] - slopes[1]) / (2 * step), 1.0))
    draws = np.random.default_rng(hierarchy.config.seed).normal(size=(OFFSET_DRAWS, len(sd)))
    offsets = np.concatenate([draws, -draws]) * sd
    points = np.tile(centre, (len(offsets), 1))
    points[:, first:] += offsets
    return np.array([hierarchy.natural(phi) for phi in points])


def mode(hierarchy: Hierarchy) -> Optimum:
    """Return the mode of the log posterior of the unconstrained coordinates."""
    start = hierarchy.unconstrained(hierarchy.layout.start())
    return maximise(hierarchy.log_posterior, start, hierarchy.layout.steps())
