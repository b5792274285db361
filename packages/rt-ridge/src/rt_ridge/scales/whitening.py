"""Coordinates in which the posterior of the scales is nearly standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray

from rt_ridge.block_algebra import UnsolvableError
from rt_ridge.hierarchy import Hierarchy
from rt_ridge.scales.map_ import mode
from rt_ridge.scales.optimum import curvature, spread

MAX_CURVATURE = 200
"""Most coordinates whose curvature is measured; offsets of log σ beyond it are left as they are."""


@dataclass(frozen=True)
class Whitening:
    """φ = centre + root·u for the leading coordinates, φ = centre + u for the rest.

    Parameters
    ----------
    hierarchy : Hierarchy
        Whose log posterior is meant.
    centre : ndarray, [size]
        Its mode, in unconstrained coordinates.
    root : ndarray, [m, m]
        Triangular root of the covariance that the curvature at the mode stands for.
    """

    hierarchy: Hierarchy
    centre: FloatArray
    root: FloatArray

    @classmethod
    def at_mode(cls, hierarchy: Hierarchy) -> Whitening:
        """Climb to the mode and measure the curvature there."""
        centre = mode(hierarchy).at
        size = len(centre) if len(centre) <= MAX_CURVATURE else hierarchy.layout.n_free

        def leading(head: FloatArray) -> tuple[float, FloatArray]:
            value, gradient = hierarchy.log_posterior(np.concatenate([head, centre[size:]]))
            return value, gradient[:size]

        cov = spread(curvature(leading, centre[:size])) if size else np.zeros((0, 0))
        return cls(hierarchy, centre, np.asarray(np.linalg.cholesky(cov), dtype=np.float64))

    @property
    def complete(self) -> bool:
        """Whether all coordinates are whitened."""
        return len(self.root) == len(self.centre)

    @property
    def log_volume(self) -> float:
        """Log determinant of φ by u."""
        return float(np.log(np.diagonal(self.root)).sum())

    def phi(self, u: FloatArray) -> FloatArray:
        """Return the unconstrained coordinates of u, [size] or [S, size]."""
        size = len(self.root)
        step = np.concatenate([u[..., :size] @ self.root.T, u[..., size:]], axis=-1)
        return np.asarray(self.centre + step)

    def log_density(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Return the log posterior density of u, up to the evidence, and its gradient.

        -inf where scales are so far apart that the density cannot be computed.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            try:
                value, gradient = self.hierarchy.log_posterior(self.phi(u))
            except UnsolvableError:
                return -np.inf, np.zeros(len(u))
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return -np.inf, np.zeros(len(u))
        size = len(self.root)
        by_u = np.concatenate([gradient[:size] @ self.root, gradient[size:]])
        return value + self.log_volume, by_u
