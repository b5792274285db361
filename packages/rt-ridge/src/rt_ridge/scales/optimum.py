"""Maxima of smooth functions of the scales, and the curvature there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import FloatArray
from scipy.optimize import minimize

Objective = Callable[[FloatArray], tuple[float, FloatArray]]

GRADIENT_TOLERANCE = 1e-6
MAX_STEPS = 500
REACH = 2.0
"""Of a logarithm, in one go."""
MAX_BOXES = 20
EDGE = 1e-9
"""How near a side of its box a coordinate lies that was stopped there: scaling it rounds."""


@dataclass(frozen=True)
class Optimum:
    """Where a function is largest, its value, the largest scaled slope left and the steps taken."""

    at: FloatArray
    value: float
    slope: float
    steps: int


def maximise(
    objective: Objective, start: FloatArray, steps: FloatArray, lower: FloatArray | None = None
) -> Optimum:
    """Climb from `start` by L-BFGS-B, above `lower` where given.

    Parameters
    ----------
    objective : callable
        Returns value and gradient.
    start : ndarray, [size]
        First point.
    steps : ndarray, [size]
        What to scale the coordinates by: about how far the maximum reaches in each.
    lower : ndarray, [size], or None
        Bounds, -inf where there is none. Coordinates without are logarithms and move by at most
        `REACH` at a time, since far from the maximum a quadratic model of them overshoots.
    """
    floor = np.full(len(start), -np.inf) if lower is None else lower
    best = Optimum(start, objective(start)[0], 0.0, 0)
    for _ in range(MAX_BOXES if len(start) else 0):
        free = np.isneginf(floor)
        low = np.where(free, best.at - REACH, floor)
        high = np.where(free, best.at + REACH, np.inf)
        found = _climb(objective, best, steps, (low, high))
        best = Optimum(found.at, found.value, found.slope, best.steps + found.steps)
        stopped = (best.at <= low + EDGE) | (best.at >= high - EDGE)
        if not (free & stopped).any():
            break
    return best


def _climb(
    objective: Objective, start: Optimum, steps: FloatArray, box: tuple[FloatArray, FloatArray]
) -> Optimum:
    """Climb within a box."""
    low, high = (side / steps for side in box)

    def descend(x: FloatArray) -> tuple[float, FloatArray]:
        # About the first value: relative tolerances then refer to what can be gained.
        value, gradient = objective(x * steps)
        return start.value - value, -gradient * steps

    bounds = [
        (None if a == -np.inf else a, None if b == np.inf else b)
        for a, b in zip(low, high, strict=True)
    ]
    options: Any = {"maxiter": MAX_STEPS, "gtol": GRADIENT_TOLERANCE, "ftol": 1e-13, "maxcor": 20}
    found: Any = minimize(
        descend, start.at / steps, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    gradient = np.where((found.x <= low) & (found.jac > 0), 0.0, found.jac)
    return Optimum(
        np.clip(found.x * steps, *box),
        start.value - float(found.fun),
        float(np.abs(gradient).max()),
        found.nit,
    )


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
