"""Censored and outlying labels of a Gaussian process, as normal ones of other value and variance.

A label that is known to lie beyond a limit has the likelihood Phi(side (f - limit) / sigma) (Tobin
1958). It is log-concave, so that the posterior of f has one mode, which expectation-maximisation
finds with one factorisation: labels beyond a limit are put where the model expects them, time and
again. There the likelihood is replaced by the normal one of the same slope and curvature (Laplace's
approximation). Where the model already expects a value well beyond the limit, the label says
nothing. Outliers follow Student's t: a label's noise variance is divided by
u = (nu + 1) / (nu + E z^2), z its residual over the noise's standard deviation (Tipping and
Lawrence 2005, doi:10.1016/j.neucom.2005.02.016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from molpool_common import FloatArray
from scipy.special import log_ndtr

from multitask_models._gp_likelihood import Pairs
from multitask_models._gp_solver import Solver

IMPUTATIONS = 50
"""Steps of expectation-maximisation at most: a solve each, no factorisation. Some ten do."""

IMPUTED = 1e-4
"""Change of an imputed label, in standard deviations of the labels, below which all stand."""

MEMORY = 6
"""Earlier steps that an accelerated one is mixed from."""

STEPS = 20
"""Factorisations at most; bounds take one, Student's t five to ten."""

LEAST_CURVATURE = 1e-8
"""Of a censored label, times the noise variance: less is nothing in double precision."""

WEIGHT_CHANGE = 1e-2
"""Change of Student's u below which its weights stand."""


def settle_sites(
    factorise: Callable[[Pairs], Solver],
    pairs: Pairs,
    noise_by_task: FloatArray,
    degrees_of_freedom: float | None,
) -> tuple[Pairs, FloatArray, Solver]:
    """Return labels whose censored and outlying ones are replaced, and C^-1 y [n] of these.

    Parameters
    ----------
    factorise : callable
        Factorises the covariance of labels.
    pairs : Pairs
        As measured; `y` of a censored one is its limit.
    noise_by_task : FloatArray [T]
        Noise variances.
    degrees_of_freedom : float, optional
        Of Student's t; normal noise by default.

    Returns
    -------
    sites : Pairs
        The labels.
    alpha : FloatArray [n]
        Their C^-1 y.
    solver : Solver
        Of these labels, with the noise in the place of the variances of censored ones.
    """
    sites = pairs
    for step in range(STEPS):
        solver = factorise(sites)
        noise = sites.noise(noise_by_task)
        imputed = _imputed(solver, sites, noise)
        alpha = solver.solve(imputed)
        fitted = imputed - noise * alpha
        if degrees_of_freedom is None or step == STEPS - 1:
            break
        weight = _student(sites, solver, noise_by_task, pairs, fitted, degrees_of_freedom)
        if np.abs((weight - sites.weight) / pairs.weight).max() < WEIGHT_CHANGE:
            break
        sites = replace(sites, weight=weight)
    return _tobit(sites, fitted, alpha, noise), alpha, solver


def _imputed(solver: Solver, pairs: Pairs, noise: FloatArray) -> FloatArray:
    """Return labels [n], censored ones where the model expects them given all others.

    The mode of f is a fixed point: y = f + noise d log p / df where a label is censored. Plain
    steps to it take long where noise is small; they are mixed by Anderson's method (1965,
    doi:10.1145/321296.321305), as long as that brings them nearer.
    """
    y, censored = pairs.y.copy(), pairs.side != 0
    values: list[FloatArray] = []
    steps: list[FloatArray] = []
    for _ in range(IMPUTATIONS if censored.any() else 0):
        fitted = y - noise * solver.solve(y)
        slope, _ = _slope_and_curvature(pairs, fitted, noise)
        step = (fitted + noise * slope - y)[censored]
        if np.abs(step).max() < IMPUTED:
            break
        if steps and step @ step > steps[-1] @ steps[-1]:
            values, steps = [], []
        values, steps = [*values, y[censored]][-MEMORY:], [*steps, step][-MEMORY:]
        y[censored] += step - _mixing(values, steps)
    return y


def _mixing(values: list[FloatArray], steps: list[FloatArray]) -> FloatArray | float:
    """Return what Anderson's method takes from the last step, from values and steps so far."""
    if len(values) < 2:
        return 0.0
    by_step, by_value = np.diff(steps, axis=0).T, np.diff(values, axis=0).T
    shares = np.linalg.lstsq(by_step, steps[-1], rcond=1e-10)[0]
    return np.asarray((by_value + by_step) @ shares)


def _slope_and_curvature(
    pairs: Pairs, fitted: FloatArray, noise: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return d log p / df and -d2 log p / df2 of the censored likelihood at `fitted` [n]."""
    sd = np.sqrt(noise)
    beyond = pairs.side * (fitted - pairs.y) / sd
    hazard = np.exp(-0.5 * beyond**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(beyond))
    return pairs.side * hazard / sd, hazard * (hazard + beyond) / noise


def _tobit(pairs: Pairs, fitted: FloatArray, alpha: FloatArray, noise: FloatArray) -> Pairs:
    """Return the labels, censored ones as normal ones of their likelihood at `fitted`.

    `alpha` is its slope there, which is also C^-1 y of the labels that are returned.
    """
    censored = pairs.side != 0
    if not censored.any():
        return pairs
    _, curvature = _slope_and_curvature(pairs, fitted, noise)
    site = 1 / np.maximum(curvature, LEAST_CURVATURE / noise)
    return replace(
        pairs,
        y=np.where(censored, fitted + site * alpha, pairs.y),
        site=np.where(censored, site, pairs.site),
    )


def _student(
    sites: Pairs,
    solver: Solver,
    noise_by_task: FloatArray,
    pairs: Pairs,
    fitted: FloatArray,
    degrees_of_freedom: float,
) -> FloatArray:
    """Return the weights of labels times u; a censored one keeps its own."""
    noise = sites.noise(noise_by_task)
    variance = np.maximum(noise - noise**2 * solver.inverse_diagonal(), 0.0)
    z2 = ((pairs.y - fitted) ** 2 + variance) / pairs.noise(noise_by_task)
    u = (degrees_of_freedom + 1) / (degrees_of_freedom + z2)
    return np.where(pairs.side == 0, pairs.weight * u, pairs.weight)
