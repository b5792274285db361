"""Priors of scales against scipy's densities."""

import numpy as np
import pytest
from rt_ridge.priors import ScalePrior
from scipy import stats

VALUES = np.array([0.01, 0.3, 1.0, 4.0, 40.0])


@pytest.mark.parametrize(
    ("prior", "peer"),
    [
        (ScalePrior(scale=2.0), stats.halfnorm(scale=2.0)),
        (ScalePrior(family="exponential", scale=2.0), stats.expon(scale=2.0)),
        (ScalePrior(family="half_t", scale=2.0, nu=1), stats.halfcauchy(scale=2.0)),
    ],
)
def test_density_equals_scipys(prior, peer):
    np.testing.assert_allclose(prior.log_density(VALUES)[0], peer.logpdf(VALUES), rtol=1e-12)


def test_half_t_is_t_folded():
    prior = ScalePrior(family="half_t", scale=2.0, nu=4.0)
    expected = stats.t(4, scale=2.0).logpdf(VALUES) + np.log(2)
    np.testing.assert_allclose(prior.log_density(VALUES)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("family", ["half_normal", "half_t", "exponential"])
def test_derivative_by_the_logarithm(family):
    prior = ScalePrior(family=family, scale=0.7, nu=3)
    step = 1e-6
    up, down = (prior.log_density(VALUES * np.exp(s))[0] for s in (step, -step))
    np.testing.assert_allclose(prior.log_density(VALUES)[1], (up - down) / (2 * step), rtol=1e-5)


def test_relative_priors_follow_the_unit_and_others_do_not():
    relative, fixed = ScalePrior(scale=0.5), ScalePrior(scale=0.5, relative=False)
    # In another unit the density is the same up to the unit itself.
    in_seconds = relative.log_density(VALUES * 60, unit=60.0)[0] + np.log(60)
    np.testing.assert_allclose(in_seconds, relative.log_density(VALUES)[0], rtol=1e-12)
    np.testing.assert_array_equal(
        fixed.log_density(VALUES, unit=60.0)[0], fixed.log_density(VALUES)[0]
    )
