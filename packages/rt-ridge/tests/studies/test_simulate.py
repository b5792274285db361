from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rt_ridge._config import SimulateConfig
from rt_ridge.studies._simulate import Simulated, simulate

SMALL: dict[str, Any] = {
    "n_clusters": 3,
    "n_species": 7,
    "n_compounds": 9,
    "rare_pairs": 5,
    "unseen_pairs": 6,
    "anchors": 2,
}


def small(**knobs: Any) -> tuple[SimulateConfig, Simulated]:
    config = SimulateConfig(**(SMALL | knobs))
    return config, simulate(config)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    anchors=st.integers(0, 5),
    rare=st.integers(0, 10),
    unseen=st.integers(0, 9),
    gone=st.integers(0, 2),
    k=st.integers(1, 12),
)
def test_budgets_are_hit_exactly(
    seed: int, anchors: int, rare: int, unseen: int, gone: int, k: int
) -> None:
    config, made = small(
        seed=seed,
        anchors=anchors,
        rare_pairs=rare,
        unseen_pairs=unseen,
        unseen_species=gone,
        fixed_runs_per_species_compound=k,
    )
    counted = made.train.group_by("species", "comp_id").len()
    pairs = made.pairs.join(counted, on=["species", "comp_id"], how="left").fill_null(0)
    assert (pairs["len"] == pairs["n_train"]).all()
    rows = {name: pairs.filter(budget=name) for name in ("common", "rare", "unseen", "anchor")}
    assert rows["rare"].height == rare
    assert rows["unseen"].height == unseen + gone * (config.n_compounds - anchors)
    assert rows["anchor"].height == anchors * config.n_species
    assert set(rows["rare"]["len"]) <= {config.rare_rows}
    assert set(rows["unseen"]["len"]) <= {0}
    assert set(rows["common"]["len"]) <= {k}
    assert set(rows["anchor"]["len"]) <= {k + config.test_runs_per_species}
    # Test rows: every other pair in every test run.
    assert made.test.height == config.n_species * (config.n_compounds - anchors) * 8


def test_rows_are_spread_over_runs_as_evenly_as_can_be() -> None:
    _, made = small(fixed_runs_per_species_compound=10, rare_pairs=0, anchors=0)
    per_run = made.train.group_by("species", "comp_id", "run").len()["len"]
    # Ten rows on eight runs.
    assert sorted(set(per_run)) == [1, 2]
    assert made.train["run"].n_unique() == 7 * 8


def test_a_run_has_one_reading_and_one_species() -> None:
    _, made = small()
    both = pl.concat([made.train, made.test])
    varying = both.group_by("run").agg(pl.exclude("rt", "comp_id").n_unique())
    assert varying.drop("run").max().row(0) == (1,) * (varying.width - 1)


def test_species_lie_in_one_cluster() -> None:
    _, made = small()
    parents = made.train.group_by("species").agg(pl.col("species_cluster").n_unique())
    assert set(parents["species_cluster"]) == {1}
    assert made.species["species_cluster"].n_unique() == 3


def test_equal_seeds_give_equal_tables() -> None:
    _, a = small(seed=4)
    _, b = small(seed=4)
    _, c = small(seed=5)
    assert a.train.equals(b.train)
    assert a.test.equals(b.test)
    assert not a.train.equals(c.train)


def test_a_budget_leaves_the_truth_alone() -> None:
    _, a = small(unseen_pairs=0, rare_pairs=9, fixed_runs_per_species_compound=None)
    _, b = small()
    truth = ["intercept", "slope_0", "slope_3"]
    assert a.pairs.select(truth).equals(b.pairs.select(truth))
    assert a.test.equals(b.test)


def test_rows_follow_the_coefficients_told() -> None:
    config, made = small(fixed_runs_per_species_compound=400, noise_sd=0.05, seed=1)
    rows = made.train.join(made.pairs, on=["species", "comp_id"])
    line = rows["intercept"] + sum(
        rows[c] * rows[f"slope_{j}"] for j, c in enumerate(config.covariates)
    )
    noise = (rows["rt"] - line).to_numpy()
    # sd of the sample sd is 0.05 / sqrt(2 N), N > 18 000: five of them.
    assert abs(noise.std() - 0.05) < 5 * 0.05 / np.sqrt(2 * len(noise))
    assert abs(noise.mean()) < 5 * 0.05 / np.sqrt(len(noise))


def test_species_gamma_is_the_spread_of_slopes_within_a_cluster() -> None:
    flat = small(species_gamma_sd=0.0)[1]
    spread = small(species_gamma_sd=0.5, n_species=300, rare_pairs=0)[1]
    for made, expected in ((flat, 0.0), (spread, 0.5)):
        pairs = made.pairs.join(made.species, on="species").filter(comp_id=0)
        slopes = (
            pairs.group_by("species_cluster").agg(pl.col("slope_0").var())["slope_0"].to_numpy()
        )
        # 297 degrees of freedom: five standard errors of a sd are a fifth of it.
        assert np.sqrt(slopes.mean()) == pytest.approx(expected, rel=0.21, abs=1e-12)


def test_clusters_show_in_the_standards() -> None:
    config, made = small(cluster_covariate_sd=20.0)
    means = made.train.group_by("species").agg(pl.col(c).mean() for c in config.covariates)
    centers = means.join(made.species, on="species").sort("species_cluster")
    within = centers.group_by("species_cluster").agg(pl.col("run_covariate_0").std())
    assert within["run_covariate_0"].max() < centers["run_covariate_0"].std()  # type: ignore[operator]


def test_long_tails_end_at_the_limit() -> None:
    _, made = small(
        fixed_runs_per_species_compound=None, max_rows_per_pair=50, n_compounds=200, anchors=0
    )
    n = made.pairs.filter(budget="common")["n_train"]
    assert (n.min(), n.max()) == (1, 50)
    assert n.median() < 12  # type: ignore[operator]


@pytest.mark.parametrize(
    ("knobs", "rare", "unseen"),
    [
        ({}, 100, 100),
        ({"n_species": 5, "n_compounds": 20}, 28, 28),
        ({"n_species": 5, "n_compounds": 20, "unseen_pairs": 60}, 25, 60),
        ({"n_species": 4, "n_compounds": 3, "anchors": 3}, 0, 0),
        ({"unseen_pairs": 0}, 100, 0),
    ],
)
def test_pairs_of_few_rows_follow_the_size(knobs: dict[str, Any], rare: int, unseen: int) -> None:
    config = SimulateConfig(**knobs)
    assert (config.n_rare, config.n_unseen) == (rare, unseen)


@pytest.mark.parametrize(("n_compounds", "anchors"), [(1, 0), (2, 1), (3, 2), (4, 3), (9, 3)])
@pytest.mark.parametrize(("n_species", "clusters"), [(1, 1), (3, 3), (9, 4)])
def test_defaults_follow_a_small_laboratory(
    n_compounds: int, anchors: int, n_species: int, clusters: int
) -> None:
    config = SimulateConfig(n_compounds=n_compounds, n_species=n_species)
    assert (config.anchors, config.n_clusters) == (anchors, clusters)
    made = simulate(config)
    assert made.species.height == n_species
    assert made.test["comp_id"].n_unique() == n_compounds - anchors
    assert SimulateConfig(**config.model_dump()) == config


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"n_species": 2}, "n_species: expected >= n_clusters 3"),
        ({"anchors": 10}, "anchors: expected <= n_compounds 9"),
        ({"unseen_species": 7}, "unseen_species: expected < n_species 7"),
        ({"unseen_pairs": 45}, "expected at most 49 together"),
        ({"species_gama_sd": 0.1}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_laboratories_are_refused(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**knobs)
