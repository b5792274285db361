"""Priors of standard deviations: half-normal, half-t and exponential."""

from __future__ import annotations

from math import lgamma
from typing import Literal

import numpy as np
from molpool_common import ConfigModel, FloatArray
from pydantic import Field

Family = Literal["half_normal", "half_t", "exponential"]


class ScalePrior(ConfigModel):
    """Prior of one standard deviation (Gelman 2006, doi:10.1214/06-BA117A)."""

    family: Family = Field("half_normal", description="shape of the prior")
    scale: float = Field(1.0, gt=0, description="its scale; the mean, for exponential")
    nu: float = Field(4.0, gt=0, description="degrees of freedom of half_t; 1 is half-Cauchy")
    relative: bool = Field(
        True,
        description="the scale is in units of the data's own spread (of rt, or of rt over "
        "covariate for slopes); false: in the unit of rt itself",
    )

    def log_density(self, value: FloatArray, unit: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """Return the log density at `value` and its derivative by log(value).

        Parameters
        ----------
        value : ndarray
            Standard deviations, positive.
        unit : float
            What a scale of 1 stands for, if `relative`.

        Returns
        -------
        log_density, by_log : ndarray
            Normalised on (0, inf).
        """
        scale = self.scale * unit if self.relative else self.scale
        x = value / scale
        if self.family == "half_normal":
            constant = 0.5 * np.log(2 / np.pi) - np.log(scale)
            return constant - x**2 / 2, -(x**2)
        if self.family == "exponential":
            return -np.log(scale) - x, -x
        nu = self.nu
        constant = np.log(2) + lgamma((nu + 1) / 2) - lgamma(nu / 2)
        constant -= 0.5 * np.log(nu * np.pi) + np.log(scale)
        log_density = constant - (nu + 1) / 2 * np.log1p(x**2 / nu)
        return log_density, -(nu + 1) * x**2 / (nu + x**2)


class ScalePriors(ConfigModel):
    """Priors of all scales; `ml` and `reml` do without them."""

    sigma: ScalePrior = Field(
        default_factory=lambda: ScalePrior(family="half_t"), description="of σ, the noise"
    )
    sigma_spread: ScalePrior = Field(
        default_factory=lambda: ScalePrior(scale=0.5, relative=False),
        description="of the standard deviation of log σ between groups",
    )
    intercept: ScalePrior = Field(
        default_factory=ScalePrior, description="of the spread of intercepts, at each level"
    )
    slope: ScalePrior = Field(
        default_factory=ScalePrior, description="of the spread of slopes, at each level"
    )
    descriptor: ScalePrior = Field(
        default_factory=ScalePrior, description="of descriptor coefficients, at each level"
    )
