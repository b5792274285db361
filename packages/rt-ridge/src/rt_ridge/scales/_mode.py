"""The posterior mode of the log scales (`map`), in coordinates that a search follows well."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray
from scipy.optimize import minimize
from scipy.stats import norm

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._linear_system import UnsolvableError
from rt_ridge.scales._posterior import TAIL, ScalePosterior

Objective = Callable[[FloatArray], tuple[float, FloatArray]]
GRADIENT_TOLERANCE = 1e-6
QUICK_TOLERANCE = 1e-3
"""Of candidates: scales are then off by a thousandth of their standard deviation."""

MAX_STEPS = 500
MAX_MOVE = 2.0
"""Of a logarithm, in one box."""

MAX_BOXES = 20
EDGE = 1e-9
"""How near a bound of its box a coordinate lies that was stopped there: scaling it rounds."""

MAX_CURVATURE = 200
"""Most scales whose curvature is measured, which takes two gradients each."""

RATIO = re.compile(r"tau_slope(\[|$)")
"""Names of spreads that enter the model over σ: those of pairs' slopes."""

SETTLING = 12
"""Most steps from where the line search stopped to the mode itself."""

SETTLED = 1e-11
"""Last of these steps, in a logarithm."""

OFFSET_DRAWS = 32
"""Draws of the offsets of log σ; each is taken with both signs."""

OFFSET_NODES = 7
"""Nodes of the normal about the mode of each offset, where covariates are standardised."""

WELL_TOLD = 4.0
"""Precision of a group's log σ by its rows, over its prior's, from which on they tell it."""


def find_map(hierarchy: Hierarchy) -> ScalePosterior:
    """Climb to the mode; intervals are normal in the logarithms.

    Notes
    -----
    The mode is that of the logarithms, so a scale never collapses to 0 as it may in `reml`: where
    the data say nothing of it, it stays near its prior's scale. Where σ differs by group, the
    offsets of log σ are averaged over a normal about their mode: a group of few rows knows little
    of its σ, and an interval at the most likely one is too narrow.
    """
    return with_intervals(hierarchy, mode(hierarchy))


def find_mode(
    hierarchy: Hierarchy, like: ScalePosterior | None = None
) -> tuple[ScalePosterior, Optimum]:
    """Climb to about the mode, for candidates of which most are not taken: no intervals.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.
    like : ScalePosterior or None
        Scales of another model of the same rows, from which those of the same names start.
    """
    start = hierarchy.layout.start()
    if like is not None:
        start = _started(hierarchy, start, dict(zip(like.names, like.mean.tolist(), strict=True)))
    best = mode(hierarchy, QUICK_TOLERANCE, start)
    nothing = np.full(len(best.at), np.nan)
    return _posterior(hierarchy, best, nothing, nothing), best


def _started(hierarchy: Hierarchy, start: FloatArray, known: dict[str, float]) -> FloatArray:
    """Return a point to start from, with the scales that are known of another model."""
    found, n = start.copy(), hierarchy.layout.n_free
    for place, name in enumerate(hierarchy.layout.names):
        # One spread of all covariates stands for that of each.
        value = known.get(name, known.get(name.partition("[")[0]))
        if value is not None:
            # A scale that stood at 0 has no slope there to leave it by.
            ends = (start[place] / 10, start[place] * 10) if place < n else (value, value)
            found[place] = np.clip(value, *ends)
    return found


@dataclass(frozen=True)
class Near:
    """A mode of about the same model.

    Parameters
    ----------
    at : ndarray, [size]
        In unconstrained coordinates.
    cov : ndarray, [size, size]
        Inverse of the curvature there.
    start : ndarray, [size]
        Where the search for it started.
    """

    at: FloatArray
    cov: FloatArray
    start: FloatArray


def find_near(hierarchy: Hierarchy, near: Near | None) -> tuple[ScalePosterior, Near | None]:
    """Return about the mode of a model that differs little from one whose mode is known.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.
    near : Near or None
        The mode of the other, which a few steps lead away from; None: searched for.

    Returns
    -------
    ScalePosterior, Near or None
        Without intervals; where the next model may start, None where there are too many scales.
    """
    size, start = hierarchy.layout.size, hierarchy.unconstrained(hierarchy.layout.start())
    if near is None or len(near.at) != size:
        return _searched(hierarchy, mode(hierarchy, QUICK_TOLERANCE).at, start)
    # The noise moves most, by about what the scatter within pairs does.
    shift = np.zeros(size)
    shift[:1] = start[:1] - near.start[:1]
    near = replace(near, at=near.at + shift, start=start)
    moved = _beside(hierarchy, near)
    if moved is None:
        steps = np.sqrt(np.diagonal(near.cov))
        best = maximise(hierarchy.log_posterior, near.at, steps, tolerance=QUICK_TOLERANCE)
        return _searched(hierarchy, best.at, start)
    return _alone(hierarchy, moved), replace(near, at=moved)


def _searched(
    hierarchy: Hierarchy, at: FloatArray, start: FloatArray
) -> tuple[ScalePosterior, Near | None]:
    """Return a mode that was searched for, and its curvature; see `find_near`."""
    if not 0 < len(at) <= MAX_CURVATURE:
        return _alone(hierarchy, at), None
    cov = spread(curvature(hierarchy.log_posterior, at))
    at = settled(hierarchy, at, cov)
    return _alone(hierarchy, at), Near(at, cov, start)


def _alone(hierarchy: Hierarchy, at: FloatArray) -> ScalePosterior:
    """Return a mode without intervals."""
    nothing = np.full(len(at), np.nan)
    return _posterior(hierarchy, Optimum(at, 0.0, 0.0, 0), nothing, nothing)


def find_from(hierarchy: Hierarchy, near: Near) -> ScalePosterior:
    """Return the mode itself, from next to it, with intervals; see `find_map`."""
    at = settled(hierarchy, near.at, near.cov)
    slope = float(np.abs(hierarchy.log_posterior(at)[1] * hierarchy.layout.steps()).max())
    return with_intervals(hierarchy, Optimum(at, 0.0, slope, 0))


def _beside(hierarchy: Hierarchy, near: Near) -> FloatArray | None:
    """Return a mode by steps of the chord method, None where these do not lead there."""
    at, gradient = near.at, hierarchy.log_posterior(near.at)[1]
    left = float(gradient @ near.cov @ gradient)
    while left > QUICK_TOLERANCE**2:
        at, before = at + np.clip(near.cov @ gradient, -1.0, 1.0), left
        try:
            gradient = hierarchy.log_posterior(at)[1]
        except UnsolvableError:
            return None
        left = float(gradient @ near.cov @ gradient)
        if not left < before / 2:
            return None
    return at


def with_intervals(hierarchy: Hierarchy, best: Optimum) -> ScalePosterior:
    """Return the posterior about a mode; see `find_map`."""
    size = len(best.at)
    half = np.full(size, np.nan)
    if 0 < size <= MAX_CURVATURE:
        cov = spread(curvature(hierarchy.log_posterior, best.at))
        half = norm.isf(TAIL) * np.sqrt(np.diagonal(cov))
        # As it was, to the bit, where nothing is asked of other units.
        if hierarchy.config.standardise:
            best = replace(best, at=settled(hierarchy, best.at, cov))
    low, high = hierarchy.natural(best.at - half), hierarchy.natural(best.at + half)
    return _posterior(hierarchy, best, low, high)


def _posterior(
    hierarchy: Hierarchy, best: Optimum, low: FloatArray, high: FloatArray
) -> ScalePosterior:
    points, weights = _around(hierarchy, best.at)
    return ScalePosterior(
        names=hierarchy.layout.names,
        points=points,
        weights=weights,
        low=low,
        high=high,
        log_likelihood=hierarchy.state(hierarchy.natural(best.at)).log_likelihood,
        diagnostics={"steps": float(best.steps), "gradient": best.slope},
        notes=tuple(hierarchy.structure.notes),
    )


def settled(hierarchy: Hierarchy, at: FloatArray, cov: FloatArray) -> FloatArray:
    """Return a mode to rounding, from one that a line search stopped at.

    Where the search stops depends on its last digits, and so on the units of the table.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model.
    at : ndarray, [size]
        Near its mode, in unconstrained coordinates.
    cov : ndarray, [size, size]
        Inverse of the curvature there.
    """
    gradient = hierarchy.log_posterior(at)[1]
    for _ in range(SETTLING):
        step = cov @ gradient
        moved = at + step
        try:
            found = hierarchy.log_posterior(moved)[1]
        except UnsolvableError:
            # Where hardly anything curves a step may lead out of all reason.
            break
        # The chord method gains digits until only rounding is left.
        if not np.abs(found).max() < np.abs(gradient).max():
            break
        at, gradient = moved, found
        if np.abs(step).max() < SETTLED:
            break
    return at


def _around(hierarchy: Hierarchy, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mode, or where there are offsets of log σ, points that differ in them alone.

    The second array has the points' weights.
    """
    first, step = hierarchy.layout.n_free, 1e-3
    if not hierarchy.layout.n_offsets:
        return hierarchy.natural(centre)[None], np.ones(1)
    shift = np.zeros(len(centre))
    shift[first:] = step
    # One group's σ hardly depends on another's, so that all may move at once.
    slopes = [hierarchy.log_posterior(centre + sign * shift)[1][first:] for sign in (-1, 1)]
    # By the prior alone the curvature is about 1, so that less is an error of differences.
    sd = 1 / np.sqrt(np.maximum((slopes[0] - slopes[1]) / (2 * step), 1.0))
    if hierarchy.config.standardise:
        # The same nodes for all groups: no group's depend on how the others are called.
        nodes, weights = np.polynomial.hermite_e.hermegauss(OFFSET_NODES)
        offsets, weights = nodes[:, None] * sd, weights / weights.sum()
    else:
        draws = np.random.default_rng(hierarchy.config.seed).normal(size=(OFFSET_DRAWS, len(sd)))
        # Antithetic pairs: every odd moment of the offsets is exact.
        offsets = np.concatenate([draws, -draws]) * sd
        weights = np.full(len(offsets), 1 / len(offsets))
    points = np.tile(centre, (len(offsets), 1))
    points[:, first:] += offsets
    return np.array([hierarchy.natural(phi) for phi in points]), weights


def mode(
    hierarchy: Hierarchy, tolerance: float = GRADIENT_TOLERANCE, start: FloatArray | None = None
) -> Optimum:
    """Return the mode of the log posterior of the unconstrained coordinates."""
    point = hierarchy.layout.start() if start is None else start
    start, steps = hierarchy.unconstrained(point), hierarchy.layout.steps()
    if not hierarchy.config.standardise:
        return maximise(hierarchy.log_posterior, start, steps)
    ridge = Centred(hierarchy)
    best = maximise(ridge.objective, ridge.inward(start), ridge.steps(steps), tolerance=tolerance)
    return replace(best, at=ridge.outward(best.at))


@dataclass(frozen=True)
class Centred:
    """Coordinates in which σ of a group is moved by its own rows, and hardly by other scales.

    log σ_g for the offsets of log σ, and the spreads of slopes over σ for these spreads: where the
    offsets themselves are moved, σ, its spread and all offsets follow one narrow ridge together.
    Without groups' σ they are the coordinates as they are.

    Parameters
    ----------
    hierarchy : Hierarchy
        Whose log posterior is climbed.
    told : ndarray of bool, [n_offsets], or None
        Groups whose rows tell log σ_g; the others keep their offset. None: all.
    pivot : float
        1: log σ is taken about the mean of these groups' own and over their spread, which is
        what a sampler sees as one width at any spread; 0: as it is; in between for a share.
    """

    hierarchy: Hierarchy
    told: npt.NDArray[np.bool_] | None = None
    pivot: float = 0.0

    @classmethod
    def sampled(cls, hierarchy: Hierarchy, at: FloatArray) -> Centred:
        """Return coordinates for samplers.

        Parameters
        ----------
        hierarchy : Hierarchy
            As above.
        at : ndarray, [size]
            Its mode, in log scales and offsets.
        """
        if not hierarchy.layout.n_offsets:
            return cls(hierarchy)
        # Precision of log σ_g by n normal rows over that of its prior.
        told = 2 * hierarchy.rows_by_group * np.exp(2 * at[1]) > WELL_TOLD
        # About one group alone too: its own σ is known far better than the common one.
        return cls(hierarchy, told, float(told.any()))

    @property
    def _ratios(self) -> npt.NDArray[np.int64]:
        """Entries of spreads that stand over σ."""
        names = self.hierarchy.layout.names
        return np.array([j for j, name in enumerate(names) if RATIO.match(name)], dtype=np.int64)

    @cached_property
    def _own(self) -> npt.NDArray[np.int64]:
        """Entries of groups whose log σ_g is a coordinate."""
        layout = self.hierarchy.layout
        entries = np.arange(layout.n_free, layout.size)
        return entries if self.told is None else entries[self.told]

    def inward(self, phi: FloatArray) -> FloatArray:
        """Return the coordinates of a point that is given by log scales and offsets."""
        x = phi.copy()
        if self.hierarchy.layout.n_offsets:
            x[self._own] = phi[0] + np.exp(phi[1]) * phi[self._own]
            x[self._ratios] -= phi[0]
            if self.pivot:
                x[0] = (phi[0] - self.pivot * x[self._own].mean()) / np.exp(self.pivot * phi[1])
        return x

    def outward(self, x: FloatArray) -> FloatArray:
        """Return log scales and offsets, of one point or of [..., size]."""
        phi = x.copy()
        if self.hierarchy.layout.n_offsets:
            if self.pivot:
                about = self.pivot * x[..., self._own].mean(axis=-1)
                phi[..., 0] = about + np.exp(self.pivot * x[..., 1]) * x[..., 0]
            sigma = phi[..., :1]
            phi[..., self._own] = (x[..., self._own] - sigma) / np.exp(x[..., 1:2])
            phi[..., self._ratios] += sigma
        return phi

    def steps(self, steps: FloatArray) -> FloatArray:
        """Return about the posterior's width in each coordinate, from those of log scales."""
        moved = steps.copy()
        if self.hierarchy.layout.n_offsets:
            rows = self.hierarchy.rows_by_group
            moved[self._own] = 1 / np.sqrt(2 * rows[self._own - self.hierarchy.layout.n_free] + 1)
            # Given the groups' own, the common σ is known from as many of them.
            moved[0] = 1 / np.sqrt(2 * len(rows) + 1)
        return moved

    def objective(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the log posterior, as by log scales and offsets, and its gradient by x."""
        phi = self.outward(x)
        value, by_phi = self.hierarchy.log_posterior(phi)
        gradient = by_phi.copy()
        if self.hierarchy.layout.n_offsets:
            spread_, offsets = np.exp(x[1]), phi[self._own]
            gradient[self._own] = by_phi[self._own] / spread_
            gradient[0] += by_phi[self._ratios].sum() - gradient[self._own].sum()
            gradient[1] -= by_phi[self._own] @ offsets
            if self.pivot:
                by_sigma, size = gradient[0], np.exp(self.pivot * x[1])
                gradient[self._own] += by_sigma * self.pivot / len(self._own)
                gradient[1] += by_sigma * self.pivot * size * x[0]
                gradient[0] = by_sigma * size
        return value, gradient

    def density(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the log density of x itself, up to the evidence, and its gradient."""
        value, gradient = self.objective(x)
        if self.hierarchy.layout.n_offsets:
            gradient[1] += self._per_spread
        return value + float(self.log_volume(x)), gradient

    def log_volume(self, x: FloatArray) -> FloatArray:
        """Return the log determinant of log scales and offsets by x, of each point [..., size]."""
        if not self.hierarchy.layout.n_offsets:
            return np.zeros(x.shape[:-1])
        return np.asarray(self._per_spread * x[..., 1])

    @property
    def _per_spread(self) -> float:
        return self.pivot - len(self._own)


@dataclass(frozen=True)
class Optimum:
    """Where a function is largest, its value, the largest scaled slope left and the steps taken."""

    at: FloatArray
    value: float
    slope: float
    steps: int


def maximise(
    objective: Objective,
    start: FloatArray,
    steps: FloatArray,
    lower: FloatArray | None = None,
    *,
    tolerance: float = GRADIENT_TOLERANCE,
) -> Optimum:
    """Climb from `start` by L-BFGS-B, above `lower` where given.

    Parameters
    ----------
    objective : callable
        Returns value and gradient.
    start : ndarray, [size]
        First point.
    steps : ndarray, [size]
        What to scale the coordinates by: about the width of the maximum in each.
    lower : ndarray, [size], or None
        Bounds, -inf where there is none. Coordinates without are logarithms and move by at most
        `MAX_MOVE` at a time, since far from the maximum a quadratic model of them overshoots.
    tolerance : float
        Largest scaled slope at which the climb ends.
    """
    floor = np.full(len(start), -np.inf) if lower is None else lower
    best = Optimum(start, objective(start)[0], 0.0, 0)
    # The box follows the best point until no free coordinate is stopped by it.
    for _ in range(MAX_BOXES if len(start) else 0):
        free = np.isneginf(floor)
        low = np.where(free, best.at - MAX_MOVE, floor)
        high = np.where(free, best.at + MAX_MOVE, np.inf)
        found = _climb(objective, best, steps, (low, high), tolerance)
        best = Optimum(found.at, found.value, found.slope, best.steps + found.steps)
        stopped = (best.at <= low + EDGE) | (best.at >= high - EDGE)
        if not (free & stopped).any():
            break
    return best


def _climb(
    objective: Objective,
    start: Optimum,
    steps: FloatArray,
    box: tuple[FloatArray, FloatArray],
    tolerance: float,
) -> Optimum:
    """Climb within a box."""
    low, high = (bound / steps for bound in box)

    def descend(x: FloatArray) -> tuple[float, FloatArray]:
        # A line search may try what no number holds.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, gradient = objective(x * steps)
        # About the first value: relative tolerances then refer to what can be gained.
        return start.value - value, -gradient * steps

    bounds = [
        (None if a == -np.inf else a, None if b == np.inf else b)
        for a, b in zip(low, high, strict=True)
    ]
    options: Any = {"maxiter": MAX_STEPS, "gtol": tolerance, "ftol": 1e-13, "maxcor": 20}
    found: Any = minimize(
        descend, start.at / steps, jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    # At a lower bound a slope that points outwards is optimal (the KKT condition).
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
    # Differences leave rounding in H, and eigh would read one triangle only.
    return (H + H.T) / 2


def spread(H: FloatArray, widest: float = 4.0) -> FloatArray:
    """Return the covariance that a negative Hessian stands for.

    Directions in which it is flat or wrongly curved get the standard deviation `widest`.
    """
    # By eigenvalues, not Cholesky: H need not be positive definite where data say nothing.
    values, vectors = np.linalg.eigh(H)
    variance = np.where(values > widest**-2, 1 / np.maximum(values, widest**-2), widest**2)
    return np.asarray((vectors * variance) @ vectors.T)
