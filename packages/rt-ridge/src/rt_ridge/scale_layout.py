"""Names, priors and units of the standard deviations of a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge.priors import ScalePrior


@dataclass(frozen=True)
class Scale:
    """One standard deviation.

    Parameters
    ----------
    name : str
        Such as ``sigma``, ``tau_pair`` or ``tau_group[3]``.
    prior : ScalePrior
        Used by all methods but `ml` and `reml`.
    unit : float
        What a relative prior's scale of 1 stands for.
    count : int
        About how many terms tell of it; their logarithm's curvature is twice that.
    fixed : float or None
        Its value where it is known.
    start : float or None
        Where to start looking for it.
    """

    name: str
    prior: ScalePrior
    unit: float
    count: int = 1
    fixed: float | None = None
    start: float | None = None


@dataclass
class ScaleLayout:
    """The scales of a model in order, and the group offsets of log σ after them.

    A point is a vector: the standard deviations that are not known, then, where σ differs by
    group, one standard normal offset a group, σ_g = σ exp(spread · offset_g).

    Parameters
    ----------
    scales : list of Scale
        All of them, known or not.
    n_offsets : int
        Groups with their own σ, or 0.
    """

    scales: list[Scale] = field(default_factory=list)
    n_offsets: int = 0

    def add(self, scale: Scale) -> int:
        """Append a scale and return its place."""
        self.scales.append(scale)
        return len(self.scales) - 1

    def place(self, name: str) -> int | None:
        """Return the place of a scale, None where the model has none of that name."""
        names = [scale.name for scale in self.scales]
        return names.index(name) if name in names else None

    @property
    def free(self) -> npt.NDArray[np.int64]:
        """Places of the scales that are not known."""
        return np.flatnonzero([scale.fixed is None for scale in self.scales])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the entries of a point."""
        offsets = [f"sigma_offset[{i}]" for i in range(self.n_offsets)]
        return (*(self.scales[i].name for i in self.free), *offsets)

    @property
    def n_free(self) -> int:
        """Scales that are not known."""
        return len(self.free)

    @property
    def size(self) -> int:
        """Entries of a point."""
        return self.n_free + self.n_offsets

    def full(self, point: FloatArray) -> FloatArray:
        """Return all scales, known ones filled in, from the first entries of a point."""
        values = np.array([np.nan if s.fixed is None else s.fixed for s in self.scales])
        values[self.free] = point[: self.n_free]
        return values

    def start(self) -> FloatArray:
        """Return a point to start from: each scale's own, or a part of its unit."""
        units = [self.scales[i].start or 0.3 * self.scales[i].unit for i in self.free]
        return np.concatenate([units, np.zeros(self.n_offsets)])

    def steps(self) -> FloatArray:
        """Return about how far the posterior reaches in each log scale and offset."""
        counts = np.array([self.scales[i].count for i in self.free], dtype=float)
        return np.concatenate([1 / np.sqrt(2 * counts + 1), np.ones(self.n_offsets)])

    def log_prior(self, point: FloatArray) -> tuple[float, FloatArray]:
        """Return the log prior density of log scales and offsets, and its gradient by them.

        Parameters
        ----------
        point : ndarray, [size]
            Standard deviations and offsets.
        """
        gradient = np.empty(self.size)
        total = 0.0
        for entry, place in enumerate(self.free):
            scale = self.scales[place]
            value = point[entry]
            density, by_log = scale.prior.log_density(value, scale.unit)
            # The Jacobian of the logarithm: density of log τ is that of τ times τ.
            total += float(density) + float(np.log(value))
            gradient[entry] = by_log + 1
        offsets = point[self.n_free :]
        gradient[self.n_free :] = -offsets
        total -= float(offsets @ offsets) / 2 + len(offsets) * float(np.log(2 * np.pi)) / 2
        return total, gradient
