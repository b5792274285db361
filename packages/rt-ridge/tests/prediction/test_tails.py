"""Distributions of errors: quantiles, weights and parameters against closed forms and scipy."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from rt_ridge.prediction._tails import LEAST_NU, MOST_NU, NORMAL, NU_PRIOR, Tails
from scipy.integrate import quad
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import gamma, norm, t

HEAVY = (Tails("student_t", 4.0), Tails("contaminated", share=0.1, spread=5.0))


def density(tails: Tails, z: Any) -> Any:
    """Return the density of errors over σ by scipy."""
    if tails.likelihood == "student_t":
        return t.pdf(z, tails.nu)
    return (1 - tails.share) * norm.pdf(z) + tails.share * norm.pdf(z, scale=tails.spread)


@pytest.mark.parametrize("coverage", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("nu", [2.1, 4.0, 60.0])
def test_without_a_line_quantiles_are_those_of_the_t(nu, coverage):
    sigma, tails = 0.3, Tails("student_t", nu)
    std = np.full(1, sigma * np.sqrt(tails.variance))
    half = tails.half_width(std, np.zeros(1), coverage)
    assert half == pytest.approx(sigma * t.ppf((1 + coverage) / 2, nu), rel=1e-8)


@pytest.mark.parametrize("tails", HEAVY, ids=lambda tails: tails.likelihood)
@pytest.mark.parametrize("line", [0.5])
def test_with_a_line_quantiles_are_those_of_the_convolution(tails, line):
    def below(half: float) -> float:
        return quad(lambda z: norm.cdf((half - z) / line) * density(tails, z), -400, 400,
                    points=(-half, 0, half), limit=400)[0]  # fmt: skip

    expected = brentq(lambda half: below(half) - 0.975, 0.5, 30, xtol=1e-7)
    std = np.sqrt(np.full(1, line**2 + tails.variance))
    assert tails.half_width(std, np.full(1, line), 0.95) == pytest.approx(expected, rel=1e-6)


def test_normal_errors_are_as_they_were():
    std = np.array([0.1, 2.0])
    half = NORMAL.half_width(std, std / 2, 0.9)
    np.testing.assert_allclose(half, std * norm.ppf(0.95), rtol=1e-14)


@pytest.mark.parametrize("tails", HEAVY, ids=lambda tails: tails.likelihood)
def test_weights_are_the_slope_of_the_log_density(tails):
    z, step = np.array([0.2, 1.0, 3.0, 9.0]), 1e-6
    np.testing.assert_allclose(np.exp(tails.log_density(z**2)), density(tails, z), rtol=1e-12)
    fall = np.log(density(tails, z - step)) - np.log(density(tails, z + step))
    np.testing.assert_allclose(tails.weights(z**2) * z, fall / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("tails", HEAVY, ids=lambda tails: tails.likelihood)
def test_information_is_fishers_over_the_mean_weight(tails):
    fisher = quad(lambda z: (tails.weights(z**2) * z) ** 2 * density(tails, z), -300, 300,
                  points=(-5, 0, 5), limit=400)[0]  # fmt: skip
    weight = quad(lambda z: tails.weights(np.array(z**2)) * density(tails, z), -300, 300,
                  points=(-5, 0, 5), limit=400)[0]  # fmt: skip
    assert tails.information == pytest.approx(fisher / weight, rel=1e-6)


@pytest.mark.parametrize("prior", [True, False])
def test_degrees_of_freedom_are_those_of_highest_density(prior):
    z2 = np.random.default_rng(0).standard_t(5, size=400) ** 2

    def loss(log_nu: float) -> float:
        found = -Tails("student_t", np.exp(log_nu)).log_density(z2).sum()
        shape, rate = NU_PRIOR
        return float(found - prior * gamma.logpdf(np.exp(log_nu), shape, scale=1 / rate))

    expected = np.exp(cast(Any, minimize_scalar(loss, (0.8, 3.0), tol=1e-10)).x)
    tails = Tails("student_t")
    for _ in range(30):
        tails = tails.updated(tails.sums(z2), prior=prior)
    assert tails.nu == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1e12])
def test_degrees_of_freedom_stay_in_their_range(scale):
    tails = Tails("student_t")
    for _ in range(60):
        tails = tails.updated(tails.sums(np.array([1.0, scale])), prior=False)
    assert LEAST_NU <= tails.nu <= MOST_NU


def test_a_share_of_contaminated_rows_is_found():
    rng = np.random.default_rng(1)
    z = rng.normal(size=20_000) * np.where(rng.uniform(size=20_000) < 0.1, 8.0, 1.0)
    tails = Tails("contaminated")
    for _ in range(60):
        tails = tails.updated(tails.sums(z**2), prior=True)
    # Four standard errors of a binomial share, and of a standard deviation over 2 000 rows.
    assert tails.share == pytest.approx(0.1, abs=0.01)
    assert tails.spread == pytest.approx(8.0, rel=0.08)
