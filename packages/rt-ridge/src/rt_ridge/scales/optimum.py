"""Maxima of smooth functions of the scales, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

FloatArray = npt.NDArray[np.float64]
Objective = Callable[[FloatArray], tuple[float, FloatArray]]

GRADIENT_TOLERANCE = 1e-6
MAX_STEPS = 500


@dataclass(frozen=True)
class Optimum:
    """Where a function is largest, its value, the largest slope left and the steps taken."""

    at: FloatArray
    value: float
    slope: float
    steps: int


def maximise(objective: Objective, start: FloatArray, lower: FloatArray | None = None) -> Optimum:
    """Climb from `start` by L-BFGS-B, above `lower` where given.

    Parameters
    ----------
    objective : callable
        Returns value and gradient.
    start : ndarray, [size]
        First point.
    lower : ndarray, [size], or None
        Bounds, -inf where there is none.
    """
    if not len(start):
        return Optimum(start, objective(start)[0], 0.0, 0)
    first = objective(start)[0]

    def descend(x: FloatArray) -> tuple[float, FloatArray]:
        # About the first value: relative tolerances then refer to what can be gained.
        value, gradient = objective(x)
        return first - value, -gradient

    bounds = None if lower is None else [(None if b == -np.inf else b, None) for b in lower]
    options: Any = {"maxiter": MAX_STEPS, "gtol": GRADIENT_TOLERANCE, "ftol": 1e-13, "maxcor": 20}
    found: Any = minimize(
        descend, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    gradient = np.asarray(found.jac)
    if lower is not None:
        gradient = np.where((found.x <= lower) & (gradient > 0), 0.0, gradient)
    return Optimum(found.x, first - float(found.fun), float(np.abs(gradient).max()), found.nit)


def curvature(objective: Objective, at: FloatArray, step: float = 1e-4) -> FloatArray:
    """Return the negative Hessian at a maximum, by central differences of the gradient."""
    size = len(at)
    H = np.empty((size, size))
    for j in range(size):
        shift = np.zeros(size)
        shift[j] = step
        H[j] = (objective(at - shift)[1] - objective(at + shift)[1]) / (2 * step)
    return (H + H.T) / 2


def spread(H: FloatArray, widest: float = 4.0) -> FloatArray:
    """Return the covariance that a negative Hessian stands for.

    Directions in which it is flat or wrongly curved get the standard deviation `widest`.
    """
    values, vectors = np.linalg.eigh(H)
    variance = np.where(values > widest**-2, 1 / np.maximum(values, widest**-2), widest**2)
    return np.asarray((vectors * variance) @ vectors.T)
