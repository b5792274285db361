"""Censored and outlying labels of a Gaussian process, as normal ones of other value and variance.

A label that is known to lie beyond a limit has the likelihood Phi(side (f - limit) / sigma) (Tobin
1958). It is log-concave, so that the posterior of f has one mode; there the likelihood is replaced
by the normal one of the same slope and curvature (Laplace's approximation). Where the model already
expects a value well beyond the limit, the label says nothing. Outliers follow Student's t: a
label's noise variance is divided by u = (nu + 1) / (nu + E z^2), z its residual over the noise's
standard deviation (Tipping and Lawrence 2005, doi:10.1016/j.neucom.2005.02.016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from molpool_common import BoolArray, FloatArray
from scipy.special import log_ndtr

from multitask_models._gp_likelihood import Pairs
from multitask_models._gp_solver import Solver

IMPUTATIONS = 30
"""Steps of expectation-maximisation before Newton's: a solve each, no factorisation."""

IMPUTED = 1e-3
"""A change of f, in standard deviations of the labels, below which Newton's method takes over; it
squares the error at each step."""

STEPS = 20
"""Factorisations at most; Newton's method takes one to three, Student's t five to ten."""

LEAST_CURVATURE = 1e-8
"""Of a censored label, times the noise variance: less is nothing in double precision."""

WEIGHT_CHANGE = 1e-2
"""Change of Student's u below which its weights stand."""


def settle_sites(
    factorise: Callable[[Pairs], Solver],
    pairs: Pairs,
    noise_by_task: FloatArray,
    degrees_of_freedom: float | None,
) -> tuple[Pairs, Solver]:
    """Return labels whose censored and outlying ones are replaced, and the solver of these.

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
    """
    solver = factorise(pairs)
    censored = pairs.side != 0
    if not censored.any() and degrees_of_freedom is None:
        return pairs, solver
    sites = pairs
    fitted = _imputed(solver, pairs, pairs.noise(noise_by_task), censored)
    for _ in range(STEPS):
        weight = pairs.weight
        if degrees_of_freedom is not None:
            weight = _student(sites, solver, noise_by_task, pairs, fitted, degrees_of_freedom)
        change_of_weights = float(np.abs((weight - sites.weight) / pairs.weight).max())
        sites = replace(sites, weight=weight)
        sites = _tobit(pairs, sites, fitted, pairs.noise(noise_by_task), censored)
        solver = factorise(sites)
        step = sites.y - sites.noise(noise_by_task) * solver.solve(sites.y) - fitted
        fitted = fitted + step
        settled = degrees_of_freedom is None or change_of_weights < WEIGHT_CHANGE
        if settled and np.abs(step).max() < IMPUTED:
            break
    return sites, solver


def _imputed(solver: Solver, pairs: Pairs, noise: FloatArray, censored: BoolArray) -> FloatArray:
    """Return f [n] near its mode: labels beyond a limit are put where the model expects them."""
    y = pairs.y.copy()
    fitted = y - noise * solver.solve(y)
    for _ in range(IMPUTATIONS if censored.any() else 0):
        slope, _ = _slope_and_curvature(pairs, fitted, noise)
        y[censored] = (fitted + noise * slope)[censored]
        before, fitted = fitted, y - noise * solver.solve(y)
        if np.abs(fitted - before).max() < IMPUTED:
            break
    return fitted


def _slope_and_curvature(
    pairs: Pairs, fitted: FloatArray, noise: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return d log p / df and -d2 log p / df2 of the censored likelihood at `fitted` [n]."""
    sd = np.sqrt(noise)
    beyond = pairs.side * (fitted - pairs.y) / sd
    hazard = np.exp(-0.5 * beyond**2 - 0.5 * np.log(2 * np.pi) - log_ndtr(beyond))
    return pairs.side * hazard / sd, hazard * (hazard + beyond) / noise


def _tobit(
    pairs: Pairs, sites: Pairs, fitted: FloatArray, noise: FloatArray, censored: BoolArray
) -> Pairs:
    """Return the sites with the normal likelihoods of the censored labels at `fitted`."""
    slope, curvature = _slope_and_curvature(pairs, fitted, noise)
    curvature = np.maximum(curvature, LEAST_CURVATURE / noise)
    return replace(
        sites,
        y=np.where(censored, fitted + slope / curvature, pairs.y),
        site=np.where(censored, 1 / curvature, pairs.site),
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
