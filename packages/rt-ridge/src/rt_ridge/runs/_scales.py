"""Scales of a model with effects of runs: all at once, by the likelihood of runs and rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from molpool_common import FloatArray
from scipy.stats import norm

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._linear_system import UnsolvableError
from rt_ridge.hierarchy._structure import data_units
from rt_ridge.runs._cells import RunCells
from rt_ridge.runs._system import solve_runs
from rt_ridge.scales._mode import curvature, maximise, spread
from rt_ridge.scales._posterior import TAIL, ScalePosterior

TAU_RUN = "tau_run"
STEP = 1e-4
"""Of central differences, in logarithms."""

NEGLIGIBLE = 1e-4
"""Of a standard deviation over σ below which it is said to be 0."""


def find_with_runs(hierarchy: Hierarchy, cells: RunCells, start: ScalePosterior) -> ScalePosterior:
    """Return the mode of the log scales, `TAU_RUN` the last, with intervals normal in them.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model of all else.
    cells : RunCells
        Of its rows.
    start : ScalePosterior
        Scales without effects of runs.
    """
    search = _Search(hierarchy, cells)
    point = start.mean[: hierarchy.layout.size]
    n, sigma = hierarchy.layout.n_free, float(hierarchy.layout.full(point)[0])
    # A scale that stood at 0 has no logarithm; it starts small.
    point = np.concatenate([np.maximum(point[:n], 0.01 * sigma), point[n:]])
    first = np.append(hierarchy.unconstrained(point), np.log(0.5 * sigma))
    # The curvature of a logarithm is about twice what informs it.
    steps = np.append(hierarchy.layout.steps(), 1 / np.sqrt(2 * cells.n_runs))
    best = maximise(search.slope, first, steps)
    phi = best.at
    half = norm.isf(TAIL) * np.sqrt(np.diagonal(spread(curvature(search.slope, phi, 1e-3))))
    natural = [search.natural(at) for at in (phi, phi - half, phi + half)]
    names = (*start.names, TAU_RUN)
    notes = [
        f"{name} estimated at 0"
        for name, value in zip((*names[:n], TAU_RUN), natural[0][[*range(n), -1]], strict=True)
        if value < NEGLIGIBLE * sigma
    ]
    return replace(
        start,
        names=names,
        points=natural[0][None],
        weights=np.ones(1),
        low=natural[1],
        high=natural[2],
        log_likelihood=search.log_likelihood(phi),
        diagnostics={"steps": float(best.steps), "gradient": best.slope},
        notes=(*start.notes, *notes),
    )


class _Search:
    """Coordinates [those of the hierarchy, log τ of runs]."""

    def __init__(self, hierarchy: Hierarchy, cells: RunCells) -> None:
        self.hierarchy, self.cells = hierarchy, cells
        stats = hierarchy.stats
        self.with_priors = hierarchy.config.method == "map"
        # What runs shift is a part of what varies within pairs.
        self.unit = data_units(stats, standardised=True).slope

    def natural(self, phi: FloatArray) -> FloatArray:
        """Return standard deviations, offsets, and τ."""
        return np.append(self.hierarchy.natural(phi[:-1]), np.exp(phi[-1]))

    def log_likelihood(self, phi: FloatArray) -> float:
        """Return the marginal log likelihood."""
        point = self.hierarchy.natural(phi[:-1])
        state = self.hierarchy.state(point)
        tau = float(np.exp(phi[-1]))
        return solve_runs(self.hierarchy, state, self.cells, tau).log_likelihood

    def value(self, phi: FloatArray) -> float:
        """Return the log posterior, or the likelihood alone."""
        try:
            value = self.log_likelihood(phi)
        except (UnsolvableError, np.linalg.LinAlgError):
            return -np.inf
        if not self.with_priors:
            return value
        scale = self.hierarchy.config.priors.intercept
        value += self.hierarchy.layout.log_prior(self.hierarchy.natural(phi[:-1]))[0]
        density = scale.log_density(np.exp(phi[-1:]), self.unit)[0]
        return value + float(density[0] + phi[-1])

    def slope(self, phi: FloatArray) -> tuple[float, FloatArray]:
        """Return the value and its gradient by central differences."""
        gradient = np.empty(len(phi))
        for j in range(len(phi)):
            shift = np.zeros(len(phi))
            shift[j] = STEP
            gradient[j] = (self.value(phi + shift) - self.value(phi - shift)) / (2 * STEP)
        return self.value(phi), gradient
