"""The posterior mode of the log scales (`map`): restricted likelihood times the priors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from rt_ridge.hierarchy import Hierarchy
from rt_ridge.scales.optimum import Optimum, curvature, maximise, spread
from rt_ridge.scales.posterior import TAIL, ScalePosterior

FloatArray = npt.NDArray[np.float64]

MAX_CURVATURE = 200
"""Most scales whose curvature is measured, which takes two gradients each."""


def find(hierarchy: Hierarchy) -> ScalePosterior:
    """Climb to the mode; intervals are normal in the logarithms.

    Notes
    -----
    The mode is that of the logarithms, so a scale never collapses to 0 as it may in `reml`: where
    the data say nothing of it, it stays near its prior's scale.
    """
    best = mode(hierarchy)
    size = len(best.at)
    half = np.full(size, np.nan)
    if 0 < size <= MAX_CURVATURE:
        cov = spread(curvature(hierarchy.log_posterior, best.at))
        half = norm.isf(TAIL) * np.sqrt(np.diagonal(cov))
    point = hierarchy.natural(best.at)
    return ScalePosterior(
        names=hierarchy.layout.names,
        points=point[None],
        weights=np.ones(1),
        low=hierarchy.natural(best.at - half),
        high=hierarchy.natural(best.at + half),
        log_likelihood=hierarchy.state(point).log_likelihood,
        diagnostics={"steps": float(best.steps), "gradient": best.slope},
        notes=tuple(hierarchy.structure.notes),
    )


def mode(hierarchy: Hierarchy) -> Optimum:
    """Return the mode of the log posterior of the unconstrained coordinates."""
    start = hierarchy.unconstrained(hierarchy.layout.start())
    return maximise(hierarchy.log_posterior, start, hierarchy.layout.steps())
