"""Coordinates of the scales in which their posterior is nearly standard normal."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from molpool_common import FloatArray

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._linear_system import UnsolvableError
from rt_ridge.scales._mode import (
    MAX_CURVATURE,
    QUICK_TOLERANCE,
    Centred,
    curvature,
    maximise,
    mode,
    spread,
)

MOST_INWARD = 4.0
"""By how much log of the spread of log σ may lie below its mode as a scale."""

FAR = 4.0
"""Standard deviations at which tails are made those of a normal."""

MOST_LOOKS = 8
"""Evaluations of a tail, or twice as many; most tails take one."""

ABOUT = 0.5
"""Difference from `FAR` over which a tail's length is found by proportion."""

NEAREST = 0.5
"""In standard deviations: no tail is taken for shorter."""

BEYOND = 1e3
"""In standard deviations, where the density cannot be computed."""

INVERSE_STEPS = 8
"""Of Newton's method, which converges from above."""


@dataclass(frozen=True)
class Whitening:
    """Coordinates u in which the posterior is nearly standard normal.

    x = centre + bent(y) with y = root·u, the x being those of `Centred`. The bend takes each tail
    where a normal's is: the logarithm of a scale that the data only say to be small has a long one
    below and a short one above.

    Parameters
    ----------
    coordinates : Centred
        Of the model whose log posterior is meant.
    centre : ndarray, [size]
        The mode, in these coordinates.
    root : ndarray, [m, m]
        Triangular root of the covariance of the leading ones, by the curvature there.
    rest : ndarray, [size - m]
        Standard deviation of each of the others.
    bend : ndarray, [2, size]
        How far each tail is bent, below and above the mode; see `_bent`.
    """

    coordinates: Centred
    centre: FloatArray
    root: FloatArray
    rest: FloatArray
    bend: FloatArray

    @classmethod
    def at_mode(cls, hierarchy: Hierarchy) -> Whitening:
        """Climb to the mode and measure the curvature there."""
        at = mode(hierarchy).at
        coordinates = Centred.sampled(hierarchy, at)
        centre, steps = coordinates.inward(at), coordinates.steps(hierarchy.layout.steps())
        if hierarchy.layout.n_offsets:
            centre = _inner_mode(coordinates, centre, steps)
        size = len(at) if len(at) <= MAX_CURVATURE else hierarchy.layout.n_free

        def leading(head: FloatArray) -> tuple[float, FloatArray]:
            value, gradient = coordinates.density(np.concatenate([head, centre[size:]]))
            return value, gradient[:size]

        cov = spread(curvature(leading, centre[:size])) if size else np.zeros((0, 0))
        root = np.asarray(np.linalg.cholesky(cov), dtype=np.float64)
        straight = cls(coordinates, centre, root, steps[size:], np.zeros((2, len(at))))
        return replace(straight, bend=straight._bends(cov))

    @property
    def hierarchy(self) -> Hierarchy:
        """The model."""
        return self.coordinates.hierarchy

    @property
    def complete(self) -> bool:
        """Whether all coordinates are whitened."""
        return len(self.root) == len(self.centre)

    @cached_property
    def _width(self) -> FloatArray:
        """Standard deviation of each y, [size]."""
        return np.concatenate([np.sqrt((self.root**2).sum(axis=1)), self.rest])

    def _bends(self, cov: FloatArray) -> FloatArray:
        """Return the bend of each tail below and above the mode, [2, size]."""
        bend = np.zeros((2, len(self.centre)))
        for j in range(len(cov)):
            for side, sign in enumerate((-1.0, 1.0)):
                reach = max(self._reach(cov[:, j] / cov[j, j], j, sign), NEAREST)
                bend[side, j] = (reach - FAR) / float(_bowed(np.asarray(min(reach, FAR)))[0])
        return bend

    def _reach(self, line: FloatArray, j: int, sign: float) -> float:
        """Return where a tail has fallen as a normal's has at `FAR`, in standard deviations.

        Parameters
        ----------
        line : ndarray, [m]
            How the leading coordinates follow the j-th on average.
        j : int
            The coordinate.
        sign : float
            Of the side.
        """
        known, reach = {0.0: 0.0}, FAR
        for _ in range(MOST_LOOKS):
            depth = self._depth(line, j, sign * reach)
            if abs(depth - FAR) < ABOUT:
                return reach * FAR / depth
            known[reach] = depth
            at = np.array(sorted(known))
            t = np.maximum.accumulate([known[a] for a in at])
            if t[-1] < FAR:
                reach = 2 * at[-1]
                continue
            first = int(np.searchsorted(t, FAR))
            near, far = at[first - 1], at[first]
            steep = t[first] > 2 * FAR
            reach = float((near + far) / 2 if steep else np.interp(FAR, t, at))
        return reach

    def _depth(self, line: FloatArray, j: int, reach: float) -> float:
        """Return at how many standard deviations a normal has fallen as much as the density has.

        Others follow on average, of a scale that falls to 0 by what is left of its square, or they
        stand still, whichever falls less.
        """
        moved = reach * self._width[j]
        of_scale = moved < 0 and j < self.hierarchy.layout.n_free
        depth = np.inf
        for follow in (np.expm1(2 * moved) / 2 if of_scale else moved, 0.0):
            step = np.zeros(len(self.centre))
            step[: len(line)] = line * follow
            step[j] = moved
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                try:
                    fall = self._top - self.coordinates.density(self.centre + step)[0]
                except UnsolvableError:
                    continue
            if np.isfinite(fall):
                depth = min(depth, float(np.sqrt(2 * max(fall, 0.0))))
            if depth < FAR:
                break
        # What cannot be computed counts as far beyond.
        return min(depth, BEYOND)

    @cached_property
    def _top(self) -> float:
        return self.coordinates.density(self.centre)[0]

    def _x(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return x, its derivative by y, and that of the derivative's logarithm."""
        size = len(self.root)
        y = np.concatenate([u[..., :size] @ self.root.T, u[..., size:] * self.rest], axis=-1)
        t = y / self._width
        moved, slope, curve = _bent(np.abs(t), np.where(t < 0, self.bend[0], self.bend[1]))
        sign = np.sign(t)
        return self.centre + self._width * moved * sign, slope, curve / slope * sign / self._width

    def log_volume(self, u: FloatArray) -> FloatArray:
        """Return the log determinant of φ by u, at each point [..., size]."""
        x, by_y, _ = self._x(u)
        return self._volume(by_y) + self.coordinates.log_volume(x)

    def _volume(self, by_y: FloatArray) -> FloatArray:
        """Return the log determinant of x by u."""
        constant = np.log(np.diagonal(self.root)).sum() + np.log(self.rest).sum()
        return np.asarray(constant + np.log(by_y).sum(axis=-1))

    def phi(self, u: FloatArray) -> FloatArray:
        """Return the unconstrained coordinates of u, [size] or [S, size]."""
        return self.coordinates.outward(self._x(u)[0])

    def log_density(self, u: FloatArray) -> tuple[float, FloatArray]:
        """Return the log posterior density of u, up to the evidence, and its gradient.

        -inf where scales are so far apart that the density cannot be computed.
        """
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            x, by_y, by_bend = self._x(u)
            try:
                value, gradient = self.coordinates.density(x)
            except UnsolvableError:
                return -np.inf, np.zeros(len(u))
            value += float(self._volume(by_y))
            gradient = gradient * by_y + by_bend
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return -np.inf, np.zeros(len(u))
        size = len(self.root)
        # Chain rule for y = L u: the gradient by u is Lᵀ times that by y.
        by_u = np.concatenate([gradient[:size] @ self.root, gradient[size:] * self.rest])
        return value, by_u


def _inner_mode(coordinates: Centred, at: FloatArray, steps: FloatArray) -> FloatArray:
    """Return the mode of the coordinates' own density, next to that of log scales and offsets."""
    found = maximise(coordinates.density, at, steps, tolerance=QUICK_TOLERANCE).at
    # Where all groups are alike the density of their log σ_g has no bound as the spread falls.
    return found if found[1] > at[1] - MOST_INWARD else at


def _bowed(t: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return t³ / (1 + t) of t ≥ 0, and its first two derivatives: nearly t² where t is large.

    Nothing of it is seen in the curvature at 0.
    """
    return (
        t**3 / (1 + t),
        t**2 * (3 + 2 * t) / (1 + t) ** 2,
        2 * t * (t**2 + 3 * t + 3) / (1 + t) ** 3,
    )


def _bent(t: FloatArray, bend: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return t ≥ 0 bent outwards, inwards where the bend is negative, and two derivatives by t."""
    bow, slope, curve = _bowed(t)
    found = t + bend * bow, 1 + bend * slope, bend * curve
    inwards = bend < 0
    if not inwards.any():
        return found
    # Inwards it is the inverse of a bend outwards, which Newton's steps find from above.
    size = np.where(inwards, -bend, 0.0)
    most = 2 * t / np.where(inwards, size, 1.0)
    s = np.minimum(t, np.maximum(np.sqrt(most), np.cbrt(most)))
    for _ in range(INVERSE_STEPS):
        bow, slope, curve = _bowed(s)
        s = s - (s + size * bow - t) / (1 + size * slope)
    bow, slope, curve = _bowed(s)
    by_t = 1 / (1 + size * slope)
    inverse = s, by_t, -size * curve * by_t**3
    moved, first, second = (np.where(inwards, b, a) for a, b in zip(found, inverse, strict=True))
    return moved, first, second
