"""The scales' posterior as ArviZ knows it."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rt_ridge.scales.posterior import ScalePosterior

POINTS = 1000
"""Equally likely draws that weighted points are turned into."""


def import_arviz() -> ModuleType:
    """Import ArviZ without its notice of a coming refactoring, which is not the user's matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        import arviz

    module: ModuleType = arviz
    return module


def to_inference_data(scales: ScalePosterior, seed: int) -> Any:
    """Return an ArviZ InferenceData with one variable a scale.

    Parameters
    ----------
    scales : ScalePosterior
        Weighted points become equally likely draws; a single point stays one draw. A sampler's
        own trace is returned as it is.
    seed : int
        Of the resampling.
    """
    if scales.trace is not None:
        return scales.trace
    arviz = import_arviz()
    points = scales.points
    if len(points) > 1:
        rng = np.random.default_rng(seed)
        # Systematic resampling: as even as weights allow, in random order.
        places = (np.arange(POINTS) + rng.uniform()) / POINTS
        chosen = np.searchsorted(np.cumsum(scales.weights), places * scales.weights.sum())
        points = points[rng.permutation(np.minimum(chosen, len(points) - 1))]
    draws = {name: points[None, :, j] for j, name in enumerate(scales.names)}
    return arviz.from_dict(posterior=draws)
