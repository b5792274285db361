"""The likelihood of every pair's rows with its slopes integrated out."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge.errors import RTRidgeError, did_you_mean
from rt_ridge.solve import batched_ridge, broadcast, positive
from rt_ridge.statistics import SufficientStatistics

Intercept = Literal["flat", "explicit", "marginal"]

_LOG_2PI = float(np.log(2 * np.pi))


def collapsed_log_likelihood(
    stats: SufficientStatistics,
    *,
    lambda_slopes: npt.ArrayLike,
    sigma2: npt.ArrayLike,
    intercept: Intercept = "flat",
    intercept_mean: npt.ArrayLike | None = None,
    intercept_sd: npt.ArrayLike | None = None,
    slope_mean: npt.ArrayLike | None = None,
) -> FloatArray:
    """Return the log likelihood of the rows of each pair, slopes integrated out.

    Rows are y ~ N(b + x·w, σ²) with w ~ N(m, σ²Λ⁻¹), and x is taken as it is.

    Parameters
    ----------
    stats : SufficientStatistics
        G pairs, P covariates.
    lambda_slopes : float or array_like, [P] or [G, P]
        Diagonal of Λ, positive.
    sigma2 : float or array_like, [G]
        σ², positive.
    intercept : {"flat", "explicit", "marginal"}
        ``flat``: b integrated over the line with density 1, so that the result is a density of
        all but one direction of the rows. ``explicit``: b is `intercept_mean`. ``marginal``: b is
        normal with `intercept_mean` (None: 0) and `intercept_sd`, integrated out.
    intercept_mean : float or array_like, [G], or None
        Intercept at x = 0, or its prior mean.
    intercept_sd : float or array_like, [G], or None
        Prior standard deviation of the intercept, not negative.
    slope_mean : array_like, [P] or [G, P], or None
        m; None: 0.

    Returns
    -------
    ndarray of float64, [G]
        Natural logarithms.

    Raises
    ------
    RTRidgeError
        For values out of range, shapes that do not fit, or an intercept that lacks its
        parameters or has those of another.

    Notes
    -----
    The likelihood at a given b is the flat one times N(b | b̂, σ²(1/n + q)), where b̂ is the
    ridge intercept and q = x̄ᵀ(S_xx + Λ)⁻¹x̄: no uncentred sum is ever formed.
    """
    _check_intercept(intercept, intercept_mean, intercept_sd)
    G = stats.G
    variance = positive("sigma2", sigma2, (G,))
    ridge = batched_ridge(stats, lambda_slopes, slope_mean=slope_mean)
    n = stats.n.astype(np.float64)
    log_lik = (n - 1) * (_LOG_2PI + np.log(variance)) + np.log(n)
    log_lik += ridge.log_det + ridge.rss / variance
    if intercept == "flat":
        return np.asarray(-log_lik / 2)
    mean = broadcast("intercept_mean", 0.0 if intercept_mean is None else intercept_mean, (G,))
    sd = broadcast("intercept_sd", 0.0 if intercept_sd is None else intercept_sd, (G,))
    if (sd < 0).any():
        raise RTRidgeError(f"intercept_sd: expected at least 0; found {float(sd.min())!r}")
    q = np.einsum("gp,gpq,gq->g", stats.mean_x, ridge.covariance, stats.mean_x)
    spread = sd**2 + variance * (1 / n + q)
    off = stats.mean_y - mean - np.einsum("gp,gp->g", stats.mean_x, ridge.slopes)
    if stats.mean_low is not None:
        off += stats.mean_low[:, -1]
    log_lik += _LOG_2PI + np.log(spread) + off**2 / spread
    return np.asarray(-log_lik / 2)


def _check_intercept(intercept: str, mean: object, sd: object) -> None:
    valid = get_args(Intercept)
    if intercept not in valid:
        raise RTRidgeError(
            f"intercept: expected one of {', '.join(valid)}; found {intercept!r}."
            f" {did_you_mean(str(intercept), valid)}"
        )
    given = {"intercept_mean": mean, "intercept_sd": sd}
    needed = {"explicit": "intercept_mean", "marginal": "intercept_sd"}.get(intercept)
    if needed is not None and given[needed] is None:
        raise RTRidgeError(f"{needed}: expected a value with intercept {intercept!r}; found none")
    refused = {"flat": ("intercept_mean", "intercept_sd"), "explicit": ("intercept_sd",)}
    for name in refused.get(intercept, ()):
        if given[name] is not None:
            raise RTRidgeError(f"{name}: expected none with intercept {intercept!r}; found a value")
