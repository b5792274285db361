"""A drift that covariates do not show is said where intervals are calibrated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import FloatArray
from molpool_pipelines.retention import FitConfig, Fitted, fit
from molpool_pipelines.retention._calibrate import BLOCKS, CHANCE, LATER, _drift, _in_time
from molpool_pipelines.retention._training import RunFolds

RUNS, COMPOUNDS = 40, 6


def fitted(folder: Path, shift: FloatArray, seed: int, name: str = "{}") -> Fitted:
    rng = np.random.default_rng(seed)
    run, compound = np.divmod(np.arange(RUNS * COMPOUNDS), COMPOUNDS)
    reading = rng.normal(size=RUNS)[run]
    rt = 5 + compound + 0.3 * reading + 0.1 * (shift[run] + rng.normal(size=len(run)))
    table = pl.DataFrame({"species": 0, "species_cluster": 0, "comp_id": compound, "rt": rt})
    names = [name.format(number) for number in run]
    # Rows in any order: runs are put in theirs.
    table = table.with_columns(pl.Series("IS_0", reading), pl.Series("run", names))
    table.sample(fraction=1, shuffle=True, seed=seed).write_parquet(folder / "train.parquet")
    return fit(FitConfig(data=[str(folder / "train.parquet")], flag_threshold=None))


def test_a_drift_is_said_and_shifts_that_do_not_follow_one_another_are_not(tmp_path):
    walk = np.cumsum(np.random.default_rng(1).normal(size=RUNS))
    drifting = fitted(tmp_path, walk, 2, "run {}")
    (said,) = [note for note in drifting.said if "drift" in note]
    assert drifting.calibrated is not None
    assert drifting.calibrated.drift is not None
    # By how much runs are off, of that and the noise: the walk's own share.
    share = walk.var() / (walk.var() + 1)
    assert drifting.calibrated.drift == pytest.approx(share, abs=0.15)
    assert f"{100 * drifting.calibrated.drift:.0f} % of the variance" in said
    assert "--run-effects random_walk" in said
    assert drifting.metrics()["calibration"]["drift"] == drifting.calibrated.drift
    assert said in drifting.metrics()["notes"]
    for seed, shift in ((3, np.zeros(RUNS)), (4, np.random.default_rng(4).permutation(walk))):
        other = fitted(tmp_path, shift, seed)
        assert not [note for note in other.said if "drift" in note]
        assert "drift" not in other.metrics()["calibration"]


def test_intervals_under_a_drift_are_of_later_runs(tmp_path, monkeypatch):
    walk = np.cumsum(np.random.default_rng(1).normal(size=RUNS))
    later = fitted(tmp_path, walk, 2, "run {}").calibrated
    assert later is not None
    assert later.later
    assert later.metrics()["later"]
    assert later.n_folds == len(LATER)
    assert "6 splits of their order" in later.sentence()
    assert "later runs by fits to earlier ones" in later.notes()[0]
    monkeypatch.setattr("molpool_pipelines.retention._calibrate.BLOCKS", 2 * RUNS)
    # Of blocks without rows nothing is fitted: what all others say stands.
    between = fitted(tmp_path, walk, 2, "run {}").calibrated
    assert between is not None
    assert (between.later, between.n_folds, between.drift) == (False, 5, later.drift)
    assert "not for later ones" in between.notes()[0]
    wide, near = (c.calibration.quantiles(0.9)[0].max() for c in (later, between))
    assert wide > 1.2 * near


def test_blocks_of_time_hold_every_run_once_and_copies_beside_it():
    folds = RunFolds(
        "run", {"c": 2, "a": 0, "b": 1, "again": 2, **{str(i): i for i in range(3, 12)}}, 5
    )
    in_time = _in_time(folds, np.array([2, 2, *range(3, 12), 1, 0]))
    assert in_time.order["c"] == in_time.order["again"]
    assert len(set(in_time.order.values())) == 12
    block = {name: at % BLOCKS for name, at in in_time.order.items()}
    assert (block["c"], block["3"], block["4"], block["b"], block["a"]) == (0, 0, 1, 5, 5)
    for train, out in LATER:
        assert sorted((*train, *out)) == list(range(BLOCKS))
        assert max(train) < min(out) or max(out) < min(train)


def of_runs(mean: FloatArray, rows: int, rng: np.random.Generator) -> FloatArray:
    z = mean[:, None] + rng.normal(size=(len(mean), rows))
    return np.stack([np.full(len(mean), float(rows)), z.sum(axis=1), (z**2).sum(axis=1)])


def test_false_alarms_are_as_few_as_promised():
    rng = np.random.default_rng(0)
    found = [_drift(of_runs(rng.normal(size=20), 10, rng)) is not None for _ in range(2000)]
    # A binomial count over 3.5 standard deviations: one seed in 4 000.
    assert sum(found) < 2000 * CHANCE + 3.5 * np.sqrt(2000 * CHANCE)
    walks = [np.cumsum(0.5 * rng.normal(size=30)) for _ in range(200)]
    assert np.mean([_drift(of_runs(walk, 24, rng)) is not None for walk in walks]) > 0.8


def test_a_run_that_is_far_off_alone_and_few_runs_are_no_drift():
    rng = np.random.default_rng(0)
    mean = np.zeros(30)
    mean[-1] = 50.0
    assert _drift(of_runs(mean, 20, rng)) is None
    assert _drift(of_runs(np.arange(7.0), 20, rng)) is None
    assert _drift(of_runs(np.arange(9.0), 20, rng)) is not None
    assert _drift(np.zeros((3, 12))) is None
    # A run without rows is none.
    padded = np.insert(of_runs(np.arange(9.0), 20, rng), 4, 0.0, axis=1)
    assert _drift(padded) is not None
