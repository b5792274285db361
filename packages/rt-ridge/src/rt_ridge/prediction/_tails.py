"""Distributions of errors with heavier tails than the normal, as mixtures of normals.

An error e has variance σ²/u, the precision u of a distribution of its own: Gamma(ν/2, ν/2) for a
Student t (Lange, Little & Taylor 1989, doi:10.1080/01621459.1989.10478852), one of two values for
a contaminated normal (Tukey 1960). Given the expectation of u, the weight of a row, all that is
fitted is the normal model of weighted rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from math import lgamma
from statistics import NormalDist
from typing import Any

import numpy as np
from molpool_common import FloatArray
from scipy.interpolate import CubicSpline
from scipy.special import digamma, ndtr, polygamma

from rt_ridge._config import Likelihood

LOG_2PI = float(np.log(2 * np.pi))

LEAST_NU, MOST_NU = 2.05, 1e4
"""Degrees of freedom that are estimated: below, an error has no variance; above, it is normal."""

FIRST_NU, FIRST_SHARE, FIRST_SPREAD = 8.0, 0.02, 6.0
"""Where the estimates begin."""

NU_PRIOR = (2.0, 0.1)
"""Shape and rate of the gamma prior of ν (Juárez & Steel 2010, doi:10.1198/jbes.2009.07145)."""

SHARE_PRIOR = (2.0, 20.0)
"""Beta prior of the share of contaminated rows, its mode at 5 %."""

SPREAD_ROWS = 1.0
"""Rows at `FIRST_SPREAD` that the spread of contaminated rows is estimated with."""

LEAST_SPREAD = 2.0
"""Spread of contaminated rows over σ."""

MANY_NU = 1e9
"""Degrees of freedom from which on the t is the normal."""

_KNOTS = 65
"""Shares of the line in the variance at which quantiles are computed; between them by a spline."""

_HALVINGS = 90
"""Of the bracket of a quantile, until only rounding is left."""


@dataclass(frozen=True)
class Tails:
    """What errors are like beside their scale σ.

    Parameters
    ----------
    likelihood : {"gaussian", "student_t", "contaminated"}
        The family.
    nu : float
        Degrees of freedom of the t.
    share, spread : float
        Share of contaminated rows, and their standard deviation over σ.
    """

    likelihood: Likelihood = "gaussian"
    nu: float = FIRST_NU
    share: float = FIRST_SHARE
    spread: float = FIRST_SPREAD

    @classmethod
    def start(cls, likelihood: Likelihood, nu: float | None) -> Tails:
        """Return the family with parameters that are given, or to start from."""
        return cls(likelihood) if nu is None else cls(likelihood, nu)

    @property
    def variance(self) -> float:
        """Variance of an error over σ²."""
        if self.likelihood == "student_t":
            return self.nu / (self.nu - 2)
        if self.likelihood == "contaminated":
            return 1 + self.share * (self.spread**2 - 1)
        return 1.0

    @property
    def information(self) -> float:
        """What a row says of its line, over what its weight says (Louis 1982).

        A weight is known only as well as the error itself: of a t, (ν + 1) / (ν + 3).
        """
        if self.likelihood == "student_t":
            return (self.nu + 1) / (self.nu + 3)
        if self.likelihood == "gaussian":
            return 1.0
        z = np.linspace(-12 * self.spread, 12 * self.spread, 20_001)
        density, u = np.exp(self.log_density(z**2)), self.weights(z**2)
        return float(density @ (u * z) ** 2 / (density @ u))

    @property
    def parameters(self) -> dict[str, float]:
        """Those of the family, by name."""
        if self.likelihood == "student_t":
            return {"nu": self.nu}
        if self.likelihood == "contaminated":
            return {"contaminated_share": self.share, "contaminated_spread": self.spread}
        return {}

    def weights(self, z2: FloatArray) -> FloatArray:
        """Return the expected precision u of each row.

        Parameters
        ----------
        z2 : ndarray
            Expected squared errors over σ².
        """
        if self.likelihood == "student_t" and self.nu < MANY_NU:
            return np.asarray((self.nu + 1) / (self.nu + z2))
        if self.likelihood == "contaminated":
            return 1 - self._contaminated(z2) * (1 - self.spread**-2)
        return np.ones_like(z2)

    def log_density(self, z2: FloatArray) -> FloatArray:
        """Return the log density of errors over σ, given their squares."""
        if self.likelihood == "student_t":
            nu = self.nu
            if nu >= MANY_NU:
                return -(LOG_2PI + z2) / 2
            constant = lgamma((nu + 1) / 2) - lgamma(nu / 2) - np.log(nu * np.pi) / 2
            return np.asarray(constant - (nu + 1) / 2 * np.log1p(z2 / nu))
        if self.likelihood == "contaminated":
            clean, wide = self._log_parts(z2)
            return np.asarray(np.logaddexp(clean, wide) - LOG_2PI / 2)
        return -(LOG_2PI + z2) / 2

    def _log_parts(self, z2: FloatArray) -> tuple[FloatArray, FloatArray]:
        clean = np.log1p(-self.share) - z2 / 2
        wide = np.log(self.share / self.spread) - z2 / (2 * self.spread**2)
        return clean, wide

    def _contaminated(self, z2: FloatArray) -> FloatArray:
        """Return the probability that each row is contaminated."""
        clean, wide = self._log_parts(z2)
        return np.asarray(np.exp(wide - np.logaddexp(clean, wide)))

    def sums(self, z2: FloatArray) -> FloatArray:
        """Return what rows say of the parameters, to be added up over all rows, [4]."""
        if self.likelihood == "student_t":
            share = z2 / (self.nu + z2)
            logs = np.log1p(z2 / self.nu).sum()
            return np.array([z2.size, logs, share.sum(), (share * share).sum()])
        if self.likelihood == "contaminated":
            p = self._contaminated(z2)
            return np.array([z2.size, p.sum(), (p * z2).sum(), 0.0])
        return np.zeros(4)

    def updated(self, sums: FloatArray, *, prior: bool) -> Tails:
        """Return the family with parameters of higher likelihood.

        Parameters
        ----------
        sums : ndarray, [4]
            From `sums`, of all rows.
        prior : bool
            Whether parameters have priors; without them they are those of highest likelihood.
        """
        if self.likelihood == "student_t":
            return replace(self, nu=_better_nu(self.nu, sums, prior=prior))
        if self.likelihood == "contaminated":
            a, b = SHARE_PRIOR
            n, rows, squares, _ = sums.tolist()
            share = (rows + a - 1) / (n + a + b - 2)
            squares += SPREAD_ROWS * FIRST_SPREAD**2
            spread = np.sqrt(squares / (rows + SPREAD_ROWS))
            return replace(self, share=float(share), spread=max(float(spread), LEAST_SPREAD))
        return self

    def half_width(self, std: FloatArray, std_mean: FloatArray, coverage: float) -> FloatArray:
        """Return half the width of central intervals of a normal line and an error about it, [N].

        Parameters
        ----------
        std : ndarray, [N]
            Standard deviation of both together.
        std_mean : ndarray, [N]
            Of the line.
        coverage : float
            Nominal coverage.
        """
        if self.likelihood == "gaussian":
            return std * NormalDist().inv_cdf((1 + coverage) / 2)
        line = std_mean**2
        scale = line + np.maximum(std**2 - line, 0.0) / self.variance
        of_line = np.divide(line, scale, out=np.ones_like(line), where=scale > 0)
        return np.asarray(np.sqrt(scale) * _quantiles(self, (1 + coverage) / 2)(of_line))

    def nodes(self) -> tuple[FloatArray, FloatArray]:
        """Return precisions u and their probabilities, which stand for their distribution."""
        if self.likelihood == "contaminated":
            return np.array([1.0, self.spread**-2]), np.array([1 - self.share, self.share])
        if self.likelihood == "gaussian" or self.nu >= MANY_NU:
            return np.ones(1), np.ones(1)
        a = self.nu / 2
        # The trapezoidal rule in log u, whose density falls off exponentially: it converges
        # faster than any power of the step.
        logs = np.linspace(-36 / a - 6 / np.sqrt(a), np.log1p(12 / np.sqrt(a) + 40 / a), 600)
        density = np.exp(a * (logs + 1 - np.exp(logs)))
        return np.exp(logs), density / density.sum()

    def to_arrays(self) -> dict[str, Any]:
        """Return what a file keeps."""
        return {"likelihood": np.array(self.likelihood)} | {
            name: np.array(getattr(self, name)) for name in ("nu", "share", "spread")
        }


NORMAL = Tails()
"""Errors without heavy tails."""


@lru_cache(maxsize=64)
def _quantiles(tails: Tails, level: float) -> CubicSpline:
    """Return quantiles of a line and an error about it by the line's share of σ² and its own."""
    # Dense at both ends, where quantiles of heavy tails bend.
    of_line = np.sin(np.linspace(0, np.pi / 2, _KNOTS)) ** 2
    precision, weight = tails.nodes()
    sd = np.sqrt(of_line[:, None] + (1 - of_line[:, None]) / precision)
    low, high = np.zeros(_KNOTS), 40 * sd.max(axis=1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = ndtr(middle[:, None] / sd) @ weight < level
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return CubicSpline(of_line, (low + high) / 2)


def _better_nu(nu: float, sums: FloatArray, *, prior: bool) -> float:
    """Return degrees of freedom after a step of Newton's in their logarithm.

    The expectation of the rows stays as it is: a step of ECME (Liu & Rubin 1995,
    https://www.jstor.org/stable/24305551).
    """
    n, logs, share, squares = sums.tolist()
    ends = (nu + 1) / 2, nu / 2
    first = n * (digamma(ends[0]) - digamma(ends[1]) - 1 / nu) - logs + (nu + 1) / nu * share
    second = n * ((polygamma(1, ends[0]) - polygamma(1, ends[1])) / 2 + 1 / nu**2)
    second += share / nu - share / nu**2 - (nu + 1) / nu**2 * (share - squares)
    first, second = first / 2, second / 2
    if prior:
        shape, rate = NU_PRIOR
        first += (shape - 1) / nu - rate
        second -= (shape - 1) / nu**2
    slope, curve = nu * first, nu * first + nu**2 * second
    # Where the likelihood is not concave, as far along the slope as a step may go.
    step = -slope / curve if curve < 0 else np.sign(slope)
    return float(np.clip(nu * np.exp(np.clip(step, -1.0, 1.0)), LEAST_NU, MOST_NU))
