"""Ridge regression of every pair at once from its statistics, and the likelihood of its rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray

from rt_ridge._errors import RTRidgeError, did_you_mean
from rt_ridge.statistics._sufficient import SufficientStatistics

_CHUNK_FLOATS = 1 << 16
"""Entries of matrices factored at a time: they stay in the processor's cache."""

Intercept = Literal["flat", "explicit", "marginal"]
_LOG_2PI = float(np.log(2 * np.pi))


@dataclass(frozen=True, eq=False)
class RidgeSolution:
    """Ridge estimate of the slopes of every pair.

    Parameters
    ----------
    slopes : ndarray, [G, P]
        ŵ = m + (S_xx + Λ)⁻¹(S_xy - S_xx m).
    covariance : ndarray, [G, P, P]
        (S_xx + Λ)⁻¹; times σ², the posterior covariance of the slopes about a flat intercept.
    rss : ndarray, [G]
        Penalised residual sum of squares, at least 0.
    log_det : ndarray, [G]
        log|S_xx + Λ| - log|Λ|.
    """

    slopes: FloatArray
    covariance: FloatArray
    rss: FloatArray
    log_det: FloatArray


def batched_ridge(
    stats: SufficientStatistics,
    lambda_slopes: npt.ArrayLike,
    *,
    slope_mean: npt.ArrayLike | None = None,
) -> RidgeSolution:
    """Solve the ridge regression of every pair by Cholesky factors.

    Parameters
    ----------
    stats : SufficientStatistics
        G pairs, P covariates. A pair may have fewer rows than covariates.
    lambda_slopes : float or array_like, [P] or [G, P]
        Diagonal of Λ, positive: prior precision of the slopes times σ².
    slope_mean : array_like or None, [P] or [G, P]
        Prior mean m; None: 0.

    Returns
    -------
    RidgeSolution
        For each pair, in the order of `stats.keys`.

    Raises
    ------
    RTRidgeError
        For a λ that is not positive and finite, or shapes that do not fit.
    """
    G, P = stats.G, stats.P
    lam = positive("lambda_slopes", lambda_slopes, (G, P))
    m = None if slope_mean is None else broadcast("slope_mean", slope_mean, (G, P))
    sxy, syy = centred_about(stats, m)
    slopes, covariance = np.zeros((G, P)), np.zeros((G, P, P))
    log_det, rss = np.zeros(G), np.zeros(G)

    def solve(part: slice) -> None:
        sxx = stats.sxx[part]
        inverse, log_det[part] = _inverse_factor(sxx, lam[part])
        np.matmul(inverse.transpose(0, 2, 1), inverse, out=covariance[part])
        # ŵ = WᵀW S_xy in two products of vectors: the inverse itself is only needed as a
        # covariance.
        half = np.einsum("gpq,gq->gp", inverse, sxy[part])
        w = np.einsum("gqp,gq->gp", inverse, half, out=slopes[part])
        # As a sum of squares about ŵ, and so free of cancellation where the fit is close.
        fitted = np.matmul(sxx, w[:, :, None])[:, :, 0]
        residual = syy[part] - 2 * _dot(w, sxy[part]) + _dot(w, fitted)
        rss[part] = np.maximum(residual, 0.0) + _dot(w, lam[part] * w)

    # numpy leaves the interpreter to others meanwhile; each pair is solved by one thread alone.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for _ in pool.map(solve, chunks(G, P)):
            pass
    return RidgeSolution(slopes if m is None else slopes + m, covariance, rss, log_det)


def centred_about(
    stats: SufficientStatistics, m: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return S_xy and S_yy of y - m·x, [G, P] and [G]."""
    if m is None:
        return stats.sxy, stats.syy
    # Ridge about m is ridge about 0 of y - m·x, whose moments follow from those of y and x.
    fitted = np.einsum("gpq,gq->gp", stats.sxx, m)
    return stats.sxy - fitted, stats.syy - 2 * _dot(m, stats.sxy) + _dot(m, fitted)


def _inverse_factor(sxx: FloatArray, lam: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return W of WᵀW = (S_xx + Λ)⁻¹, [., P, P], and log|S_xx + Λ| - log|Λ|, [.]."""
    # In units of the prior's own: a λ of 1e-12 beside one of 1e12 then costs no digits.
    root = 1 / np.sqrt(lam)
    scaled = sxx * root[:, :, None] * root[:, None, :]
    P = lam.shape[1]
    scaled[:, range(P), range(P)] += 1.0
    try:
        factor = np.linalg.cholesky(scaled)
    except np.linalg.LinAlgError:
        # Collinear covariates of a size at which rounding swallows λ.
        d, basis = np.linalg.eigh(scaled)
        # Exact eigenvalues are 1 or more, for S_xx is positive semidefinite and 1 was added.
        d = np.maximum(d, 1.0)
        inverse = (basis / np.sqrt(d)[:, None, :]).transpose(0, 2, 1)
        return inverse * root[:, None, :], np.asarray(np.log(d).sum(axis=1))
    log_det = 2 * np.log(np.einsum("gpp->gp", factor)).sum(axis=1)
    return _invert_lower(np.asarray(factor)) * root[:, None, :], log_det


def _invert_lower(factor: FloatArray) -> FloatArray:
    """Invert lower triangular matrices [., P, P] by forward substitution, all at once."""
    inverse = np.zeros_like(factor)
    for p in range(factor.shape[1]):
        row = -np.einsum("gq,gqr->gr", factor[:, p, :p], inverse[:, :p, :])
        row[:, p] += 1.0
        inverse[:, p, :] = row / factor[:, p, p, None]
    return inverse


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
    # n - 1 and log n: the flat intercept takes one degree of freedom (models.md, section 4).
    log_lik = (n - 1) * (_LOG_2PI + np.log(variance)) + np.log(stats.mass)
    log_lik += ridge.log_det + ridge.rss / variance
    if intercept == "flat":
        return np.asarray(-log_lik / 2)
    mean = broadcast("intercept_mean", 0.0 if intercept_mean is None else intercept_mean, (G,))
    sd = broadcast("intercept_sd", 0.0 if intercept_sd is None else intercept_sd, (G,))
    if (sd < 0).any():
        raise RTRidgeError(f"intercept_sd: expected at least 0; found {float(sd.min())!r}")
    # Variance of x̄·w about ŵ in units of σ²: the intercept is that at x = 0, not at x̄.
    q = np.einsum("gp,gpq,gq->g", stats.mean_x, ridge.covariance, stats.mean_x)
    spread = sd**2 + variance * (1 / stats.mass + q)
    off = stats.mean_y - mean - np.einsum("gp,gp->g", stats.mean_x, ridge.slopes)
    if stats.mean_low is not None:
        # The low-order part of the mean in double-double: a difference of retention times far from
        # 0 would otherwise lose digits.
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


def chunks(n_pairs: int, n_covariates: int) -> Iterator[slice]:
    """Divide pairs into runs whose matrices are half a megabyte."""
    step = max(1, _CHUNK_FLOATS // max(1, n_covariates**2))
    for first in range(0, n_pairs, step):
        yield slice(first, first + step)


def broadcast(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return a finite float64 array of `shape`, or raise `RTRidgeError`."""
    array = np.asarray(value, dtype=np.float64)
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise RTRidgeError(
            f"{name}: expected a number or an array that fits {list(shape)};"
            f" found shape {list(array.shape)}"
        ) from None
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise RTRidgeError(f"{name}: expected finite values; found {bad}")
    return array


def positive(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return a positive, finite float64 array of `shape`, or raise `RTRidgeError`."""
    array = broadcast(name, value, shape)
    if not (array > 0).all():
        raise RTRidgeError(f"{name}: expected more than 0; found {float(array.min())!r}")
    return array


def _dot(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.einsum("gp,gp->g", a, b))
