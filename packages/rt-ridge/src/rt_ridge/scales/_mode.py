"""The posterior mode of the log scales (`map`), and integration about it (`laplace`).

For `laplace` the log posterior is expanded to second order at its mode; points are drawn from a
t distribution of that centre and covariance, evenly by a scrambled Sobol sequence, and weighted by
posterior over proposal, so that the result converges to the posterior itself and not to its
approximation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import chi2, norm
from scipy.stats.qmc import Sobol

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

NU = 8.0
"""Degrees of freedom of the proposal: tails wider than those of the posterior."""

ENOUGH = 0.1
"""Share of effective points below which the weights are said to be uneven."""


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
    ridge = _Centred(hierarchy)
    best = maximise(ridge.objective, ridge.inward(start), ridge.steps(steps), tolerance=tolerance)
    return replace(best, at=ridge.outward(best.at))


@dataclass(frozen=True)
class _Centred:
    """Coordinates in which σ of a group is moved by its own rows, and hardly by other scales.

    log σ_g for the offsets of log σ, and the spreads of slopes over σ for these spreads: where the
    offsets themselves are moved, σ, its spread and all offsets follow one narrow ridge together.
    Without groups' σ they are the coordinates as they are.

    Parameters
    ----------
    hierarchy : Hierarchy
        Whose log posterior is climbed.
    """

    hierarchy: Hierarchy

    @property
    def _ratios(self) -> npt.NDArray[np.int64]:
        """Entries of spreads that stand over σ."""
        names = self.hierarchy.layout.names
        return np.array([j for j, name in enumerate(names) if RATIO.match(name)], dtype=np.int64)

    @property
    def _first(self) -> int:
        return self.hierarchy.layout.n_free

    def inward(self, phi: FloatArray) -> FloatArray:
        """Return the coordinates of a point that is given by log scales and offsets."""
        x = phi.copy()
        if self.hierarchy.layout.n_offsets:
            x[self._first :] = phi[0] + np.exp(phi[1]) * phi[self._first :]
            x[self._ratios] -= phi[0]
        return x

    def outward(self, x: FloatArray) -> FloatArray:
        """Return log scales and offsets."""
        phi = x.copy()
        if self.hierarchy.layout.n_offsets:
            phi[self._first :] = (x[self._first :] - x[0]) / np.exp(x[1])
            phi[self._ratios] += x[0]
        return phi

    def steps(self, steps: FloatArray) -> FloatArray:
        """Return about the posterior's width in each coordinate, from those of log scales."""
        moved = steps.copy()
        if self.hierarchy.layout.n_offsets:
            rows = self.hierarchy.rows_by_group
            moved[self._first :] = 1 / np.sqrt(2 * rows + 1)
            # Given the groups' own, the common σ is known from as many of them.
            moved[0] = 1 / np.sqrt(2 * len(rows) + 1)
        return moved

    def objective(self, x: FloatArray) -> tuple[float, FloatArray]:
        """Return the log posterior, as by log scales and offsets, and its gradient by x."""
        phi = self.outward(x)
        value, by_phi = self.hierarchy.log_posterior(phi)
        gradient = by_phi.copy()
        if self.hierarchy.layout.n_offsets:
            spread_, offsets = np.exp(x[1]), phi[self._first :]
            gradient[self._first :] = by_phi[self._first :] / spread_
            gradient[0] += by_phi[self._ratios].sum() - gradient[self._first :].sum()
            gradient[1] -= by_phi[self._first :] @ offsets
        return value, gradient


def find_laplace(hierarchy: Hierarchy) -> ScalePosterior:
    """Return weighted points; `diagnostics` holds their effective number and the log evidence."""
    whitening = Whitening.at_mode(hierarchy)
    draws, seed = hierarchy.config.sampling.draws, hierarchy.config.seed
    u, log_proposal = _propose(hierarchy.layout.size, draws, seed)
    points = np.array([hierarchy.natural(phi) for phi in whitening.phi(u)])
    log_likelihood = np.array([hierarchy.state(point).log_likelihood for point in points])
    log_prior = np.array([hierarchy.layout.log_prior(point)[0] for point in points])
    log_ratio = log_likelihood + log_prior + whitening.log_volume - log_proposal
    # About the largest, so that `exp` stays in range.
    weights = np.exp(log_ratio - log_ratio.max())
    evidence = float(log_ratio.max() + np.log(weights.mean()))
    weights /= weights.sum()
    # Kish's effective sample size of normalised weights.
    effective = float(1 / (weights**2).sum())
    notes = list(hierarchy.structure.notes)
    if effective < ENOUGH * len(points):
        notes.append(
            f"laplace: {effective:.0f} of {len(points)} points are effective; the posterior of the "
            "scales is far from normal, nuts is the safer method"
        )
    return ScalePosterior.of_sample(
        hierarchy.layout.names,
        points,
        weights,
        log_likelihood=float(weights @ log_likelihood),
        diagnostics={"ess": effective, "log_evidence": evidence},
        notes=tuple(notes),
    )


def _propose(size: int, count: int, seed: int) -> tuple[FloatArray, FloatArray]:
    """Return standard t points [count, size] and their log densities; one point of no entries."""
    if not size:
        return np.zeros((1, 0)), np.zeros(1)
    # The last dimension is the chi-square of the t distribution.
    # Quasi-random points: few are needed where the proposal is close to the posterior.
    sobol = Sobol(size + 1, scramble=True, rng=np.random.default_rng(seed))
    # Sobol points are balanced in powers of two.
    uniform = sobol.random(2 ** int(np.ceil(np.log2(count))))[:count]
    # Quantiles of 0 and 1 are infinite.
    uniform = np.clip(uniform, 1e-12, 1 - 1e-12)
    t = norm.ppf(uniform[:, :size]) * np.sqrt(NU / chi2.ppf(uniform[:, size:], NU))
    log_density = gammaln((NU + size) / 2) - gammaln(NU / 2) - size / 2 * np.log(NU * np.pi)
    return t, log_density - (NU + size) / 2 * np.log1p((t**2).sum(axis=1) / NU)


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

        # Offsets of log σ left out are nearly standard normal by their prior.
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
        # Chain rule for φ = centre + L u: the gradient by u is Lᵀ times that by φ.
        by_u = np.concatenate([gradient[:size] @ self.root, gradient[size:]])
        return value + self.log_volume, by_u


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
        # About the first value: relative tolerances then refer to what can be gained.
        value, gradient = objective(x * steps)
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
