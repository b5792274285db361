"""Mixtures of normals, summed up by their first two moments."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from rt_ridge.locations import MeanCov


class Mixture:
    """Mean and covariance of a mixture of normals, one component at a time.

    The covariance of a mixture is the mean covariance plus the covariance of the means.
    """

    def __init__(self) -> None:
        self._first: FloatArray | None = None
        self._mean: FloatArray = np.zeros(0)
        self._second: FloatArray = np.zeros(0)
        self._total = 0.0

    def add(self, weight: float, moments: MeanCov) -> None:
        """Add a component with mean [L, D] and covariance [L, D, D]."""
        mean, cov = moments
        if self._first is None:
            # Means are summed about the first: their spread may be far smaller than their size.
            self._first, self._mean = mean, np.zeros_like(mean)
            self._second = np.zeros_like(cov)
        off = mean - self._first
        self._mean += weight * off
        self._second += weight * (cov + off[:, :, None] * off[:, None, :])
        self._total += weight

    def moments(self) -> MeanCov:
        """Return mean [L, D] and covariance [L, D, D] of the mixture."""
        assert self._first is not None
        off = self._mean / self._total
        cov = self._second / self._total - off[:, :, None] * off[:, None, :]
        return self._first + off, (cov + cov.transpose(0, 2, 1)) / 2
