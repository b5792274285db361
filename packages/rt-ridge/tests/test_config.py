"""Priors of scales against scipy's densities.

The configuration: what is accepted, what is refused, and what it stands for.
"""

import numpy as np
import pytest
from molpool_common import InputError, YamlDocument, dump_config, load_config
from molpool_common import validate_config as validate
from rt_ridge._config import RidgeConfig, ScalePrior
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


def check(**values: object) -> RidgeConfig:
    return validate(RidgeConfig, YamlDocument(dict(values), ""))


def test_yaml_round_trip(tmp_path):
    config = check(
        intercept_prior="comp_hier_supercat",
        slope_head_mode="cluster_supercat",
        lambda_slopes=[0.5, 2.0],
        priors={"sigma": {"family": "exponential", "scale": 0.1, "relative": False}},
        method="nuts",
    )
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(RidgeConfig, path) == config


@pytest.mark.parametrize(
    ("values", "effects"),
    [
        ({}, ()),
        ({"slope_head_mode": "global"}, ("global",)),
        ({"slope_head_mode": "cluster_supercat"}, ("global", "parent", "group")),
        ({"cluster_slopes": True}, ("global", "parent")),
        ({"species_slopes": True, "compound_slopes": True}, ("global", "group", "compound")),
        ({"class_slopes": "global"}, ("global", "class")),
        ({"class_slopes": "cluster"}, ("global", "class", "parent_class")),
        ({"descriptor_slopes": "species"}, ("global",)),
    ],
)
def test_slope_effects(values, effects):
    assert check(**values).slope_effects == effects


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lambda_slope": 1.0}, "Did you mean 'lambda_slopes'"),
        ({"lambda_slopes": 0.0}, "lambda_slopes"),
        ({"lambda_slopes": "pooled"}, "need a slope head"),
        ({"intercept_mode": "collapsed"}, "expected intercept_prior flat"),
        ({"intercept_shrinkage": "shared"}, "expected intercept_prior comp_hier_supercat"),
        ({"slope_shrinkage": "supercat"}, "slope_shrinkage: supercat is of the slopes of groups"),
        ({"sigma": "group", "method": "ml"}, "needs a prior of their spread"),
        ({"sigma": "group", "sigma_fixed": 1.0}, "expected sigma global"),
        ({"method": "mcmc"}, "method"),
    ],
)
def test_what_does_not_go_together_is_named(values, message):
    with pytest.raises(InputError, match=message):
        check(**values)


def test_correlated_slopes_ask_for_precisions_that_are_estimated():
    assert RidgeConfig(correlated_slopes=True).lambda_slopes == "estimate"
    with pytest.raises(ValueError, match="found lambda_slopes"):
        RidgeConfig(correlated_slopes=True, lambda_slopes=1.0)
