from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from rt_ridge._config import ShiftConfig, SimulateConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge.studies._shift import METHODS, ShiftResult, distance_bins, run_shift
from rt_ridge.studies._simulate import simulate
from rt_ridge.tables._features import FeatureMap
from rt_ridge.tables._mapping import infer_clusters
from scipy.spatial.distance import cdist
from scipy.stats import t as student

SMALL = {"n_species": 8, "n_compounds": 14, "rare_pairs": 8, "unseen_pairs": 8, "n_clusters": 3}


def test_planted_clusters_are_found_from_the_standards() -> None:
    config = SimulateConfig(cluster_covariate_sd=10.0, n_species=30)
    lab = simulate(config)
    found = infer_clusters(lab.train, config.covariates, config.n_clusters)
    both = found.join(lab.species.rename({"species_cluster": "true"}), on="species")
    # A one to one naming, numbered in the order of the first species.
    assert both.select("species_cluster", "true").unique().height == config.n_clusters
    firsts = both.group_by("species_cluster").agg(pl.col("species").min()).sort("species")
    assert firsts["species_cluster"].to_list() == list(range(config.n_clusters))


def test_clusters_do_not_depend_on_the_unit_of_a_covariate() -> None:
    config = SimulateConfig()
    train = simulate(config).train
    scaled = train.with_columns(pl.col("run_covariate_1") * 1e6 + 7)
    a, b = (infer_clusters(frame, config.covariates, 4, seed=3) for frame in (train, scaled))
    assert a.equals(b)


def test_species_belong_where_most_of_their_runs_do() -> None:
    # Runs lie about 0 and about 10; two of the three of species 1 lie at 10.
    x = [0.0, 0.1, 0.2, 0.0, 10.0, 10.1, 10.2, 10.0, 9.9]
    frame = pl.DataFrame({"species": np.repeat([0, 1, 2], 3), "run": np.arange(9), "x": x})
    found = infer_clusters(frame, ["x"], 2, run="run")
    assert found["species_cluster"].to_list() == [0, 1, 1]
    with pytest.raises(RTRidgeError, match="n_clusters: expected at most 9 runs; found 10"):
        infer_clusters(frame, ["x"], 10, run="run")


def test_more_clusters_than_species_are_refused() -> None:
    config = SimulateConfig(n_species=4, rare_pairs=0, unseen_pairs=0)
    with pytest.raises(RTRidgeError, match="n_clusters: expected at most 4 species; found 5"):
        infer_clusters(simulate(config).train, config.covariates, 5)


def test_bins_are_percentiles_of_the_mahalanobis_distance() -> None:
    rng = np.random.default_rng(0)
    names = ("a", "b")
    train, test = (
        pl.DataFrame(rng.normal(size=(n, 2)) @ [[2.0, 1.0], [0.0, 0.5]], schema=names)
        for n in (200, 101)
    )
    bins = distance_bins(FeatureMap.plain(names), train, test, [0, 60, 90, 100])
    x = train.to_numpy()
    precision = np.linalg.inv(np.cov(x.T))
    peer = cdist(test.to_numpy(), x.mean(axis=0)[None], "mahalanobis", VI=precision)[:, 0]
    assert np.bincount(bins).tolist() == [60, 30, 11]
    order = np.argsort(peer)
    assert (np.diff(bins[order]) >= 0).all()


def test_means_and_intervals_over_replicates_by_hand() -> None:
    runs = pl.DataFrame(
        {
            "anchors": [0] * 3,
            "method": ["m"] * 3,
            "bin": ["0-100"] * 3,
            "replicate": [0, 1, 2],
            "n": [5] * 3,
            "missing": [0.0, 0.5, 1.0],
            "mae": [1.0, 3.0, None],
            "rmse": [1.0, 3.0, None],
            "coverage_95": [0.9, 1.0, None],
            "z_mean": [0.0, 0.2, None],
            "z_sd": [1.0, 1.2, None],
        }
    )
    (row,) = ShiftResult(runs, ("0-100",)).summary().to_dicts()
    assert row["replicates"] == 2
    assert row["mae"] == 2.0
    # sd of 1 and 3 is sqrt 2, over sqrt 2.
    assert row["mae_95"] == pytest.approx(student.ppf(0.975, 1), rel=1e-12)
    assert row["missing"] == 0.5
    assert row["coverage_95"] == pytest.approx(0.95)


@pytest.mark.slow
def test_pooling_beats_pairs_on_their_own_far_out() -> None:
    told: list[str] = []
    config = ShiftConfig(simulate=SimulateConfig(**SMALL), anchors=[0, 3], replicates=2)  # type: ignore[arg-type]
    result = run_shift(config, told.append)
    assert told[-1] == "replicate 2 of 2, 3 anchors"
    assert result.bins == ("0-60", "60-70", "70-80", "80-90", "90-95", "95-100")
    assert result.runs.height == 2 * 2 * 3 * 6
    # 8 species, 11 compounds that are never anchors, 8 test runs, on the same rows always.
    rows = pl.col("n") / (1 - pl.col("missing"))
    totals = result.runs.group_by("anchors", "method", "replicate").agg(rows.sum().alias("n"))
    assert set(totals["n"].round(6)) == {8 * 11 * 8.0}
    far = result.summary().filter(pl.col("bin") == "95-100", pl.col("anchors") == 0)
    mae = dict(far.select("method", "mae").rows())
    assert mae[METHODS[0]] < mae[METHODS[2]]
    missing = dict(far.select("method", "missing").rows())
    assert missing[METHODS[0]] == 0.0
    assert missing[METHODS[2]] > 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bins": [60, 50, 100]}, "ascending percentiles up to 100"),
        ({"bins": [60, 90]}, "ascending percentiles up to 100"),
        ({"anchors": [60]}, "expected fewer than n_compounds 60, found 60"),
        ({"replicates": 0}, "greater than or equal to 1"),
    ],
)
def test_impossible_studies_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShiftConfig(**settings)
