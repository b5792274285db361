"""The estimators: scikit-learn's contract, predictions, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from rt_ridge import (
    CompoundDescriptors,
    PartialPoolingRidge,
    RidgeConfig,
    RTRidgeError,
    SamplingConfig,
    SufficientStatistics,
    SupercategoryRidge,
)
from rt_ridge.scales._sampling import import_extra
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks


# Every check of the contract applies: without groups all rows are one pair.
@parametrize_with_checks(  # pyrefly: ignore[bad-argument-type, missing-argument]
    [PartialPoolingRidge(), SupercategoryRidge(intercept_prior="flat"), SupercategoryRidge()]
)
def test_sklearn_contract(estimator, check):
    with warnings.catch_warnings():
        # scikit-learn notes that the array API's switch is not set, which skips that check.
        warnings.simplefilter("ignore")
        check(estimator)


def laboratory(seed: int = 0, n: int = 3000) -> dict[str, Any]:
    """12 groups in 3 supercategories, 40 compounds, one covariate; pairs unevenly seen."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 12, n)
    compound = (40 * rng.random(n) ** 2).astype(int)
    X = rng.normal(size=(n, 1))
    parent = np.arange(12) % 3
    of_group = rng.normal(size=3)[parent] + 0.3 * rng.normal(size=12)
    of_compound = 2 * rng.normal(size=60)
    pairs = {}
    b = np.empty(n)
    for i, key in enumerate(zip(group.tolist(), compound.tolist(), strict=True)):
        if key not in pairs:
            pairs[key] = 0.2 * rng.normal()
        b[i] = 5 + of_group[key[0]] + of_compound[key[1]] + pairs[key]
    y = b + 0.3 * X[:, 0] + 0.1 * rng.normal(size=n)
    groups = np.stack([group, compound, parent[group]], axis=1)
    return {"X": X, "y": y, "groups": groups}


def test_rows_and_statistics_give_the_same_fit():
    data = laboratory()
    rows = PartialPoolingRidge(feature_center="none").fit(**data)
    frame = pl.DataFrame(data["groups"], schema=["species", "comp_id", "species_cluster"])
    frame = frame.with_columns(rt=data["y"], is_1=data["X"][:, 0])
    stats = SufficientStatistics.from_frame(frame, parent="species_cluster", covariates=["is_1"])
    summed = PartialPoolingRidge().fit(stats)
    assert rows.log_likelihood_ == pytest.approx(summed.log_likelihood_)
    np.testing.assert_allclose(rows.summaries_.mean, summed.summaries_.mean)
    X, groups = data["X"][:50], data["groups"][:50]
    np.testing.assert_allclose(rows.predict(X, groups), summed.predict(X, groups))


@pytest.mark.parametrize(
    "parameters",
    [
        {"intercept_prior": "comp_hier", "slope_head_mode": "global"},
        {"intercept_prior": "comp_hier_supercat", "slope_head_mode": "cluster_supercat"},
        {"intercept_prior": "comp_hier_supercat", "sigma": "group", "lambda_slopes": "estimate"},
    ],
    ids=["compounds", "supercategories", "one sigma a group"],
)
def test_intervals_cover_at_every_level_of_support(parameters):
    """Held-out rows of pairs seen, of new pairs of known groups and compounds, and of new groups.

    With some hundred independent rows a level, a true coverage of 0.95 leaves [0.88, 1] for fewer
    than one seed in 1 000 a level.
    """
    data = laboratory(1)
    group, compound = data["groups"][:, 0], data["groups"][:, 1]
    new_pair = (7 * group + compound) % 9 == 0
    new_group = group == 11
    held_out = new_pair | new_group | (np.arange(len(group)) % 10 == 0)
    train = {name: values[~held_out] for name, values in data.items()}
    model = PartialPoolingRidge(**parameters).fit(**train)
    found = model.predict_levels(data["X"], data["groups"])
    z = (data["y"] - found.mean) / found.std
    # Under comp_hier groups have no effects of their own to fall back to.
    known = "compound" if parameters["intercept_prior"] == "comp_hier" else "group+compound"
    for chosen, expected in (
        (held_out & ~new_pair & ~new_group, "pair"),
        (new_pair & ~new_group, known),
    ):
        at = chosen & (found.level == expected)
        assert at.any()
        assert np.mean(np.abs(z[at]) < 1.96) > 0.88
    assert np.isfinite(found.mean).all()
    # A level further up is never surer: compare the same row across levels.
    row = np.array([[0.0]])
    stds = [
        model.predict(row, [ids], return_std=True)[1][0]
        for ids in ((0, 0, 0), (0, 999, 0), (999, 999, 0), (999, 999, 999))
    ]
    assert stds == sorted(stds)


def test_methods_give_the_same_artefact_but_for_the_scales():
    data = laboratory(2, n=600)
    fits = {
        method: PartialPoolingRidge(method=method, sampling=SamplingConfig(draws=64)).fit(**data)
        for method in ("ml", "reml", "map", "laplace")
    }
    reference = fits["reml"].summaries_
    for method, model in fits.items():
        assert model.summaries_.method == method
        # The scales are well determined here, so that all methods nearly agree.
        np.testing.assert_allclose(model.summaries_.mean, reference.mean, atol=0.05)
        assert set(model.scales_["sigma"]) == {"mean", "low", "high"}
    idata = fits["laplace"].idata_
    assert set(idata.posterior) == {"sigma", "tau_pair", "tau_compound"}
    mean = float(idata.posterior["sigma"].mean())
    assert mean == pytest.approx(fits["laplace"].scales_["sigma"]["mean"], rel=0.01)
    assert fits["reml"].idata_.posterior["sigma"].shape == (1, 1)


def test_descriptors_carry_to_compounds_never_measured():
    rng = np.random.default_rng(3)
    z = rng.normal(size=(60, 2)) * [2.0, 5.0] + 3
    deviation = 0.3 * rng.normal(size=(12, 2))
    group, compound = rng.integers(0, 12, 2000), rng.integers(0, 50, 2000)
    of_compound = z @ [0.7, -0.3] + 0.2 * rng.normal(size=60)
    signal = of_compound[compound] + (deviation[group] * z[compound]).sum(axis=1)
    y = signal + 0.1 * rng.normal(size=2000)
    groups = np.stack([group, compound, group % 3], axis=1)
    table = CompoundDescriptors(np.arange(60), z, ("logp", "mass"))
    new = np.stack(np.meshgrid(np.arange(12), np.arange(50, 60)), axis=-1).reshape(-1, 2)
    truth = of_compound[new[:, 1]] + (deviation[new[:, 0]] * z[new[:, 1]]).sum(axis=1)
    errors = {}
    for heads in ("none", "species"):
        model = PartialPoolingRidge(intercept_prior="comp_hier_supercat", descriptor_heads=heads)
        model.fit(np.zeros((2000, 1)), y, groups, descriptors=table)
        mean, std = model.predict(np.zeros((len(new), 1)), new, return_std=True)
        errors[heads] = float(np.sqrt(np.mean((mean - truth) ** 2)))
        score = np.sqrt(np.mean(((truth - mean) / std) ** 2))
        # 10 compounds in 12 groups: the mean square of z-scores scatters by less than a factor 3.
        assert 0.4 < score < 1.8
    # Groups respond to descriptors in their own way, so that heads of their own pay.
    assert errors["species"] < 0.5 * errors["none"]


def test_undescribed_compounds_are_taken_as_average_and_said():
    data = laboratory(4, n=500)
    table = CompoundDescriptors(np.arange(30), np.arange(30.0)[:, None], ("mass",))
    model = PartialPoolingRidge().fit(**data, descriptors=table)
    missing = len(np.unique(data["groups"][:, 1])) - 30
    assert f"{missing} compounds without descriptors taken as average" in model.notes_


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"intercept_prior": "comp_heir"}, "intercept_prior"),
        ({"intercept_mode": "collapsed"}, "expected intercept_prior flat"),
        ({"sigma": "group", "method": "reml"}, "one per group needs a prior"),
        ({"lambda_slopes": "pooled"}, "need a slope head"),
        ({"lambda_slopes": -1.0}, "lambda_slopes"),
        ({"lambda_slopes": [1.0, 2.0]}, "expected one number or 1"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters, message):
    with pytest.raises(RTRidgeError, match=message):
        PartialPoolingRidge(**parameters).fit(**laboratory(n=50))


def test_a_supercategory_has_nothing_above_it():
    with pytest.raises(RTRidgeError, match="slope_head_mode: a supercategory"):
        SupercategoryRidge(slope_head_mode="cluster_supercat").fit(np.ones((3, 1)), np.arange(3.0))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (np.zeros((50, 4), dtype=int), "expected \\[50, 2\\]"),
        (np.zeros((50, 2)), "expected whole numbers"),
        (np.full((50, 2), -1), "-1"),
        (np.full((50, 2), 2**31), "2147483648"),
        (np.stack([np.zeros(50, int), np.zeros(50, int), np.arange(50)], axis=1), "in several"),
    ],
)
def test_groups_that_are_no_groups_are_refused(groups, message):
    data = laboratory(n=50)
    with pytest.raises(RTRidgeError, match=message):
        PartialPoolingRidge().fit(data["X"], data["y"], groups)


def test_prediction_asks_for_groups_where_the_fit_had_them():
    data = laboratory(n=50)
    model = PartialPoolingRidge().fit(**data)
    with pytest.raises(RTRidgeError, match="groups: expected as in fit"):
        model.predict(data["X"])


def test_structured_groups_are_taken_by_order():
    data = laboratory(n=80)
    names = ("species", "comp_id", "species_cluster")
    dtype = [(name, np.int64) for name in names]
    structured = np.array([tuple(row) for row in data["groups"].tolist()], dtype=dtype)
    plain = PartialPoolingRidge().fit(**data)
    named = PartialPoolingRidge().fit(data["X"], data["y"], structured)
    np.testing.assert_array_equal(plain.summaries_.mean, named.summaries_.mean)


def test_configuration_and_parameters_are_the_same_thing():
    config = RidgeConfig(intercept_prior="comp_hier_supercat", method="laplace", seed=4)
    model = PartialPoolingRidge.from_config(config)
    assert model.ridge_config() == config
    assert clone(model).ridge_config() == config
    assert PartialPoolingRidge().ridge_config() == RidgeConfig()


WITHOUT_EXTRA = """
import sys
for name in ("pymc", "nutpie", "arviz", "pytensor"):
    sys.modules[name] = None
import numpy as np
from rt_ridge import GroupwiseRidge, PartialPoolingRidge, SamplingConfig
rng = np.random.default_rng(0)
groups = np.stack([np.repeat(np.arange(8), 10), np.tile(np.arange(5), 16)], axis=1)
X = rng.normal(size=(80, 1))
y = 5 + groups[:, 1] + 0.2 * X[:, 0] + rng.normal(scale=0.05, size=80)
few = SamplingConfig(draws=16)
fits = [PartialPoolingRidge(method=m, sampling=few) for m in ("map", "laplace", "reml")]
for model in [*fits, GroupwiseRidge()]:
    mean = model.fit(X, y, groups).predict(X, groups)
    print(float(np.abs(mean - y).mean()) < 0.2)
print("matplotlib" in sys.modules)
calls = [
    lambda: PartialPoolingRidge(method="nuts").fit(X, y, groups),
    lambda: PartialPoolingRidge(method="advi").fit(X, y, groups),
    lambda: fits[0].idata_,
]
for call in calls:
    try:
        call()
    except ImportError as error:
        print(error)
"""


@pytest.mark.slow
def test_fits_and_predicts_without_the_samplers_and_names_the_extra_where_they_are_needed():
    command = [sys.executable, "-c", WITHOUT_EXTRA]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *good, plotting, nuts, advi, idata = done.stdout.splitlines()
    assert good == ["True"] * 4
    assert plotting == "False"
    for message, what in ((nuts, "method nuts"), (advi, "method advi"), (idata, "idata_")):
        assert message.startswith(what)
        assert message.endswith("pip install 'rt-ridge[sampling]'")


def test_arviz_imports_without_its_notice():
    assert import_extra("arviz", "this test").__name__ == "arviz"


def test_slopes_follow_descriptors_that_a_species_responds_to():
    rng = np.random.default_rng(5)
    z = rng.normal(size=(60, 3)) @ [[1.0, 0.9, 0.0], [0.0, 0.3, 0.0], [0.0, 0.0, 4.0]] + 2
    response = rng.normal(size=(10, 3)) * [0.3, 0.0, 0.05]
    group, compound = rng.integers(0, 10, 3000), rng.integers(0, 50, 3000)
    X = rng.normal(size=(3000, 1))
    slope = 0.5 + response @ z.T
    y = compound + slope[group, compound] * X[:, 0] + 0.05 * rng.normal(size=3000)
    groups = np.stack([group, compound, group % 2], axis=1)
    table = CompoundDescriptors(np.arange(60), z, ("logp", "logd", "mass"))
    new = np.stack(np.meshgrid(np.arange(10), np.arange(50, 60)), axis=-1).reshape(-1, 2)
    truth = slope[new[:, 0], new[:, 1]]
    errors = {}
    for slopes, components in (("none", None), ("species", None), ("species", 2)):
        model = PartialPoolingRidge(
            slope_head_mode="cluster_supercat",
            descriptor_slopes=slopes,
            descriptor_components=components,
            lambda_slopes="estimate",
        )
        model.fit(X, y, groups, descriptors=table)
        low, high = (np.asarray(model.predict(np.full((len(new), 1), x), new)) for x in (-1.0, 1.0))
        error = (high - low) / 2 - truth
        errors[slopes, components] = float(np.sqrt(np.mean(error**2)))
        far = model.predict_levels(np.full((len(new), 1), 1e4), new).std / 1e4
        # 10 compounds in 10 groups: the mean square of z-scores scatters by less than a factor 3.
        assert 0.4 < np.sqrt(np.mean((error / far) ** 2)) < 1.8
    # Two axes leave out little of three descriptors of which two are nearly one.
    assert errors["species", None] < 0.2 * errors["none", None]
    assert errors["species", 2] < 0.6 * errors["none", None]
    effect = model.summaries_.coefficients.descriptors
    assert effect is not None
    assert effect.names == ("logp", "logd", "mass")
    with pytest.raises(RTRidgeError, match="descriptor_components: expected at most 3, of 3"):
        PartialPoolingRidge(descriptor_components=4).fit(X, y, groups, descriptors=table)


# Log likelihood, sums of means and covariances, and σ² by version 0.1.0 of November 2026.
GIVEN_STRUCTURES: list[tuple[dict[str, Any], list[float]]] = [
    ({}, [48.93202984488528, 58.24153937110284, 0.01765686377185237, 0.009086798527589411]),
    (
        {"lambda_slopes": "estimate", "slope_head_mode": "global", "compound_slopes": True},
        [115.71923390861753, 58.36475516879344, 0.0031267385215638524, 0.0023584634851328916],
    ),
    (
        {"intercept_prior": "comp_hier_supercat", "sigma": "group"},
        [52.40275348402247, 58.241559750918384, 0.016700279771452088, 0.009151551284068346],
    ),
    (
        {"method": "reml"},
        [49.01774577753952, 58.24153937110283, 0.017435753266689273, 0.008986602463626668],
    ),
]


@pytest.mark.parametrize(("config", "expected"), GIVEN_STRUCTURES)
def test_a_structure_that_is_given_stays_what_it_was(config, expected):
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(12), 8)
    ids = np.stack([np.tile(np.repeat([0, 1], 4), 12), np.tile(np.arange(4), 24), 0 * run], axis=1)
    X = rng.normal(size=(12, 2))[run]
    y = 4 + 2.0 * ids[:, 1] + 0.2 * ids[:, 0] + 0.3 * X[:, 0] + 0.05 * rng.normal(size=96)
    model = PartialPoolingRidge(**config).fit(X, y, ids)
    found = model.summaries_
    sums = [model.log_likelihood_, found.mean.sum(), found.cov.sum(), found.noise.mean]
    # The same to the bit on one machine; libraries of linear algebra differ in the last digits.
    np.testing.assert_allclose(sums, expected, rtol=1e-9)
