"""Coordinates for samplers: their density by differences, their tails over a grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import FloatArray
from rt_ridge._config import RidgeConfig, SamplingConfig
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.scales import find_scales
from rt_ridge.scales._mode import Centred
from rt_ridge.scales._whitening import Whitening, _bent
from rt_ridge.statistics._sufficient import SufficientStatistics


def stats_of(rows: list[int], spread: float, seed: int = 0) -> SufficientStatistics:
    """Groups of so many rows of eight compounds, which differ in σ and in slopes."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(rows)), rows)
    compound = np.concatenate([np.arange(n) % 8 for n in rows])
    x = rng.normal(size=len(group))
    sigma = 0.1 * np.exp(spread * rng.normal(size=len(rows)))[group]
    slope = 0.1 * rng.normal(size=8)[compound]
    y = 5 + rng.normal(size=8)[compound] + slope * x + sigma * rng.normal(size=len(group))
    table = pl.DataFrame({"species": group, "comp_id": compound, "x": x, "rt": y})
    return SufficientStatistics.from_frame(table, parent=None, covariates=["x"])


GROUPS: dict[str, Any] = {"sigma": "group", "lambda_slopes": "estimate"}
MODELS: dict[str, tuple[list[int], dict[str, Any]]] = {
    "one σ": ([24, 32], {"lambda_slopes": "estimate"}),
    "every σ told": ([72, 40, 56], GROUPS),
    "some σ told": ([240, 2, 2, 2], GROUPS | {"standardise": True}),
}


def whitening(model: str) -> Whitening:
    rows, config = MODELS[model]
    return Whitening.at_mode(Hierarchy(stats_of(rows, 0.7), RidgeConfig(**config)))


@pytest.mark.parametrize("model", MODELS)
def test_density_is_the_posterior_s_with_the_volume_of_the_coordinates(model):
    found = whitening(model)
    size, rng = found.hierarchy.layout.size, np.random.default_rng(1)
    told = found.coordinates.told
    assert {
        "one σ": told is None,
        "every σ told": told is not None and bool(told.all()),
        "some σ told": told is not None and bool(told.any()) and not bool(told.all()),
    }[model]
    # A bend on each side of something, so that both are tried.
    assert found.bend.max() > 0 > found.bend.min()
    for u in rng.normal(scale=1.5, size=(4, size)):
        value, gradient = found.log_density(u)
        steps = 1e-5 * np.eye(size)
        jacobian = np.array([(found.phi(u + e) - found.phi(u - e)) / 2e-5 for e in steps])
        volume = float(np.linalg.slogdet(jacobian)[1])
        posterior = found.hierarchy.log_posterior(found.phi(u))[0]
        # Central differences of step 1e-5.
        assert value == pytest.approx(posterior + volume, abs=1e-6)
        assert found.log_volume(u) == pytest.approx(volume, abs=1e-6)
        by_steps = [
            (found.log_density(u + e)[0] - found.log_density(u - e)[0]) / 2e-5 for e in steps
        ]
        np.testing.assert_allclose(gradient, by_steps, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pivot", [0.0, 0.6, 1.0])
def test_centred_coordinates_lead_back(pivot):
    hierarchy = whitening("some σ told").hierarchy
    coordinates = Centred(hierarchy, np.array([True, False, True, True]), pivot)
    phi = np.random.default_rng(0).normal(size=(5, hierarchy.layout.size))
    x = np.array([coordinates.inward(point) for point in phi])
    np.testing.assert_allclose(coordinates.outward(x), phi, rtol=1e-12, atol=1e-12)


def test_a_bend_inwards_undoes_one_outwards():
    t = np.linspace(0, 30, 200)
    for size in (0.01, 0.5, 40.0):
        out = _bent(t, np.full(200, size))[0]
        back, by_t, curve = _bent(out, np.full(200, -size))
        np.testing.assert_allclose(back, t, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(by_t * _bent(t, np.full(200, size))[1], 1, rtol=1e-9)
        step = 1e-5 * np.maximum(out[1:], 1)
        beside = [_bent(out[1:] + s * step, np.full(199, -size))[1] for s in (1, -1)]
        np.testing.assert_allclose(
            curve[1:], (beside[0] - beside[1]) / (2 * step), rtol=1e-4, atol=1e-7
        )


def test_tails_of_a_scale_that_is_hardly_told_are_those_of_a_normal():
    """Two groups say little of their spread: its logarithm has tails e^φ below, e^(-φ²) above."""
    table = pl.DataFrame(
        {"species": [0, 0, 0, 1, 1, 1], "comp_id": [0] * 6, "rt": [1.0, 1.1, 0.9, 1.0, 1.2, 0.9]}
    )
    stats = SufficientStatistics.from_frame(table, parent=None, covariates=[])
    found = Whitening.at_mode(Hierarchy(stats, RidgeConfig()))
    assert found.hierarchy.layout.names == ("sigma", "tau_pair")
    grid = np.linspace(-9, 9, 61)

    def beyond(of: Whitening) -> FloatArray:
        value = np.array([[of.log_density(np.array([a, b]))[0] for b in grid] for a in grid])
        weight = np.exp(value - value.max())
        far = np.abs(grid) > 4
        return np.array([weight[far].sum(), weight[:, far].sum()]) / weight.sum()

    straight = Whitening(
        found.coordinates, found.centre, found.root, found.rest, np.zeros_like(found.bend)
    )
    # 6e-5 of a normal; what the others' own spread adds is left.
    assert beyond(found).max() < 2e-3
    assert beyond(straight)[1] > 5e-3


@pytest.mark.slow
@pytest.mark.parametrize("model", ["every σ told", "some σ told"])
def test_nuts_samples_one_σ_a_group(model):
    rows, config = MODELS[model]
    # What a repeat takes, at once.
    effort = SamplingConfig(draws=600, tune=200, target_accept=0.9, max_depth=3)
    sampled = RidgeConfig(method="nuts", sampling=effort, **config)
    found = find_scales(Hierarchy(stats_of(rows, 0.7), sampled))
    assert found.diagnostics["ess"] > 400
    assert found.diagnostics["r_hat"] < 1.01
    assert not found.diagnostics["divergences"]
    weighted = find_scales(Hierarchy(stats_of(rows, 0.7), RidgeConfig(method="laplace", **config)))
    sd = np.log(found.points[:, :3]).std(axis=0)
    difference = np.log(found.points[:, :3]).mean(axis=0) - weighted.weights @ np.log(
        weighted.points[:, :3]
    )
    # Five standard errors of both, each of some 300 effective points at least.
    assert (np.abs(difference) < 5 * sd * np.hypot(1 / 20, 1 / 17)).all()
