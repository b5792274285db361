"""The configuration: what is accepted, what is refused, and what it stands for."""

import pytest
from molpool_common import InputError, YamlDocument, dump_config, load_config
from molpool_common import validate_config as validate
from rt_ridge.config import RidgeConfig


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
        ({"slope_shrinkage": "supercat"}, "slope_shrinkage: supercat is of the slopes of groups"),
        ({"sigma": "group", "method": "ml"}, "needs a prior of their spread"),
        ({"sigma": "group", "sigma_fixed": 1.0}, "expected sigma global"),
        ({"method": "mcmc"}, "method"),
    ],
)
def test_what_does_not_go_together_is_named(values, message):
    with pytest.raises(InputError, match=message):
        check(**values)
