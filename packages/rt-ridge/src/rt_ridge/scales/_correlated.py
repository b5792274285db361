"""Intercepts and slopes of pairs that are correlated: the full covariance of mixed-model software.

Any covariance of [b, w] is that of independent b', w' of other regressors, [1, z'] = M [1, x],
M lower triangular with ones on its diagonal (a Cholesky factor). So the model stays the one of
independent effects, on statistics that are turned, and M is found beside the scales by the
marginal likelihood (or posterior), whose gradient by M is that at fixed scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from molpool_common import FloatArray
from scipy.optimize import minimize

from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.statistics._sufficient import SufficientStatistics

STEP = 1e-4
"""Of central differences, in correlations."""

MOST_STEPS = 60

Build = Callable[[SufficientStatistics], Hierarchy]
Find = Callable[[Hierarchy], ScalePosterior]


@dataclass(frozen=True)
class Turn:
    """From regressors to those whose coefficients are independent.

    Parameters
    ----------
    matrix : ndarray, [P + 1, P + 1]
        M, lower triangular, ones on the diagonal.
    """

    matrix: FloatArray

    def of(self, stats: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics of the turned regressors."""
        shift, turn = self.matrix[1:, 0], self.matrix[1:, 1:]
        low = stats.mean_low
        if low is not None:
            low = np.concatenate([low[:, :-1] @ turn.T, low[:, -1:]], axis=1)
        return replace(
            stats,
            mean_x=stats.mean_x @ turn.T + shift,
            sxx=turn @ stats.sxx @ turn.T,
            sxy=stats.sxy @ turn.T,
            mean_low=low,
        )

    @property
    def back(self) -> FloatArray:
        """From coefficients of turned regressors to those of the regressors, [P + 1, P + 1]."""
        return self.matrix.T


def find_turn(stats: SufficientStatistics, build: Build, find: Find) -> Turn:
    """Return the turn under which the marginal likelihood, or the posterior, is largest.

    Parameters
    ----------
    stats : SufficientStatistics
        Of P regressors.
    build : callable
        From statistics to the model of independent effects.
    find : callable
        From a model to its scales, a single point.
    """
    size = stats.P + 1
    rows, columns = np.tril_indices(size, -1)
    first = find(build(stats))
    scales = dict(zip(first.names, first.mean, strict=True))
    spread = np.array([scales["tau_pair"], *(scales[f"tau_slope[{c}]"] for c in stats.covariates)])
    # A coefficient that does not vary is correlated with nothing.
    spread = np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12))
    units = spread[columns] / spread[rows]

    def turn(theta: FloatArray) -> Turn:
        matrix = np.eye(size)
        matrix[rows, columns] = theta * units
        return Turn(matrix)

    def value(theta: FloatArray, point: FloatArray) -> float:
        hierarchy = build(turn(theta).of(stats))
        profile = hierarchy.config.method == "ml"
        found = hierarchy.state(point, profile=profile).log_likelihood
        if hierarchy.config.method == "map":
            found += hierarchy.layout.log_prior(point)[0]
        return found

    def loss(theta: FloatArray) -> tuple[float, FloatArray]:
        point = find(build(turn(theta).of(stats))).mean
        steps = STEP * np.eye(len(theta))
        slopes = [value(theta + s, point) - value(theta - s, point) for s in steps]
        return -value(theta, point), -np.array(slopes) / (2 * STEP)

    found = minimize(
        loss, np.zeros(len(rows)), jac=True, method="BFGS",
        options={"gtol": 1e-6, "maxiter": MOST_STEPS},
    )  # fmt: skip
    return turn(np.asarray(found.x))


def in_own_basis(scales: ScalePosterior, turn: Turn, covariates: tuple[str, ...]) -> ScalePosterior:
    """Return spreads of intercept and slopes as they are, and their correlations after them.

    Parameters
    ----------
    scales : ScalePosterior
        Of the turned model, a single point.
    turn : Turn
        What made effects independent.
    covariates : tuple of str
        P names.
    """
    names = ["tau_pair", *(f"tau_slope[{c}]" for c in covariates)]
    place = [scales.names.index(name) for name in names]
    value = scales.mean.copy()
    cov = turn.back @ np.diag(value[place] ** 2) @ turn.back.T
    sd = np.sqrt(np.diagonal(cov))
    rows, columns = np.tril_indices(len(names), -1)
    both = sd[rows] * sd[columns]
    rho = np.divide(cov[rows, columns], both, out=np.zeros(len(rows)), where=both > 0)
    value[place] = sd
    # Intervals are of the turned coefficients, and not of these.
    low, high = scales.low.copy(), scales.high.copy()
    low[place] = high[place] = np.nan
    unknown = np.full(len(rows), np.nan)
    called = [f"corr({names[j]}, {names[i]})" for i, j in zip(rows, columns, strict=True)]
    return replace(
        scales,
        names=(*scales.names, *called),
        points=np.concatenate([value, rho])[None],
        low=np.concatenate([low, unknown]),
        high=np.concatenate([high, unknown]),
    )
