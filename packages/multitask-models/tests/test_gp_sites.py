"""Censored labels against the mode by general optimisation, Student's t against its limits."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.optimize
from multitask_models._gp_likelihood import Scales
from multitask_models._gp_sites import settle_sites
from multitask_models._gp_solver import DenseSolver
from multitask_models._kernels import build_blocks
from scipy.stats import norm

# Test files are imported on their own and see no neighbour.
BANK = runpy.run_path(str(Path(__file__).with_name("gp_bank.py")))
WIDTHS, scales, table, pairs_of = (BANK[k] for k in ("WIDTHS", "scales", "table", "pairs_of"))


def setting():
    """Return a prior covariance of labels, labels of which some are bounds, and the scales."""
    x, y = table()
    blocks = build_blocks(x, WIDTHS, "auto")
    at = Scales(**scales())
    kernel = at.kernel(blocks).square([block.prepare(x) for block in blocks])
    pairs = pairs_of(y)
    side = np.zeros(len(pairs), np.int8)
    side[::4], side[1::7] = 1, -1
    return kernel, replace(pairs, side=side), at


def test_bounds_lead_to_the_mode_and_its_curvature():
    kernel, pairs, at = setting()
    sites, alpha, _ = settle_sites(lambda p: DenseSolver(kernel, at, p), pairs, at.noise, None)
    prior = (
        at.tasks[np.ix_(pairs.task, pairs.task)] * kernel[np.ix_(pairs.molecule, pairs.molecule)]
    )
    sd, exact = np.sqrt(pairs.noise(at.noise)), pairs.side == 0

    def loss(alpha):
        f = prior @ alpha
        bounds = norm.logcdf(pairs.side * (f - pairs.y) / sd)
        return 0.5 * alpha @ f - np.where(exact, norm.logpdf(pairs.y, f, sd), bounds).sum()

    best = scipy.optimize.minimize(loss, np.zeros(len(pairs)), method="BFGS", tol=1e-9)
    f = prior @ best.x
    noise = sites.noise(at.noise)
    found = sites.y - noise * alpha
    np.testing.assert_allclose(DenseSolver(kernel, at, sites).solve(sites.y), alpha, atol=1e-8)
    # Numeric gradients of BFGS stop some 1e-4 from the mode.
    np.testing.assert_allclose(found, f, atol=2e-3)
    z = pairs.side * (found - pairs.y) / sd
    hazard = norm.pdf(z) / norm.cdf(z)
    curvature = hazard * (hazard + z) / sd**2
    np.testing.assert_allclose(1 / noise[~exact], curvature[~exact], rtol=0.02)
    np.testing.assert_array_equal(noise[exact], pairs.noise(at.noise)[exact])


def test_bound_that_is_kept_by_far_says_nothing():
    kernel, pairs, at = setting()
    side = np.zeros(len(pairs), np.int8)
    side[0] = 1
    low = pairs.y.copy()
    low[0] = -50.0
    _, alpha, _ = settle_sites(
        lambda p: DenseSolver(kernel, at, p), replace(pairs, side=side, y=low), at.noise, None
    )
    rest = pairs.take(np.arange(1, len(pairs)))
    alone = DenseSolver(kernel, at, rest).solve(rest.y)
    np.testing.assert_allclose(alpha[1:], alone, atol=1e-5)


def test_many_degrees_of_freedom_are_normal():
    kernel, pairs, at = setting()
    pairs = replace(pairs, side=np.zeros(len(pairs), np.int8))
    _, robust, _ = settle_sites(lambda p: DenseSolver(kernel, at, p), pairs, at.noise, 1e9)
    normal = DenseSolver(kernel, at, pairs)
    np.testing.assert_allclose(robust, normal.solve(pairs.y), atol=1e-6)


def test_student_weights_are_a_fixed_point():
    kernel, pairs, at = setting()
    y = pairs.y.copy()
    y[5] += 10
    pairs = replace(pairs, side=np.zeros(len(pairs), np.int8), y=y)
    sites, alpha, solver = settle_sites(lambda p: DenseSolver(kernel, at, p), pairs, at.noise, 4.0)
    noise = sites.noise(at.noise)
    f = y - noise * alpha
    variance = noise - noise**2 * solver.inverse_diagonal()
    u = 5 / (4 + ((y - f) ** 2 + variance) / pairs.noise(at.noise))
    # The weights stand when they change by less than a hundredth.
    np.testing.assert_allclose(sites.weight / pairs.weight, u, atol=0.02)
    assert u[5] < 0.3 * np.delete(u, 5).min() or u.argmin() == 5
