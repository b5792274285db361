"""Calibrated intervals through the command: on new runs, against the package; what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from rt_ridge import GroupwiseRidge, Stage1CoeffSummaries, calibrate_intervals

N_RUNS, N_COMPOUNDS = 700, 12
CALIBRATE = ("--calibrate.enabled", "true")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return tables of runs of which one in five is off by a minute, all its rows alike."""
    rng = np.random.default_rng(0)
    run = np.repeat(np.arange(N_RUNS), N_COMPOUNDS)
    compound = np.tile(np.arange(N_COMPOUNDS), N_RUNS)
    reading = rng.normal(size=N_RUNS)[run]
    off = (rng.random(N_RUNS) < 0.2) * rng.choice([-1.0, 1.0], N_RUNS)
    rt = 8 + 0.3 * compound + 0.2 * reading + off[run] + 0.05 * rng.normal(size=len(run))
    table = pl.DataFrame({"species": run % 2, "species_cluster": 0, "comp_id": compound})
    table = table.with_columns(
        pl.Series("IS_0", reading), pl.Series("rt", rt), pl.Series("run", run)
    )
    folder = tmp_path_factory.mktemp("runs")
    table.filter(pl.col("run") < 300).write_parquet(folder / "train.parquet")
    table.filter(pl.col("run") >= 300).write_parquet(folder / "test.parquet")
    table.filter(pl.col("run") < 20).write_parquet(folder / "few.parquet")
    return folder


def coverage(good, folder, run):
    """Return the share of test rows within the 95 % interval, by predict and by evaluate."""
    output = run / "out.parquet"
    test = folder / "test.parquet"
    said = good(
        *("predict", "--artefact", run, "--data", test, "--output", output, "--keep-cols", "rt"),
        *("--level", "0.95"),
    )
    inside = pl.col("rt_measured").is_between("rt_lower", "rt_upper")
    share = pl.read_parquet(output).select(inside.mean()).item()
    told = good("evaluate", "--artefacts", run, "--data", test, "--save-dir", run / "evaluation")
    table = pl.read_csv(run / "evaluation" / "evaluation.csv").filter(rows="all", support="all")
    assert table["coverage_95"].item() == pytest.approx(share)
    return share, said.out + told.out


def test_intervals_hold_on_new_runs_where_plain_ones_do_not(good, runs, tmp_path):
    # 20 % of 300 and of 400 runs are off; the 95 % quantile leaves out a quarter of those rows.
    # Their number scatters by 12 and 10 %, and so the share left out by 0.8 points: 3 are 3.8 sd.
    fit = ("fit", "--data", runs / "train.parquet")
    plain = good(*fit, "--save-dir", tmp_path / "plain", "--calibrate.enabled", "false")
    # By default, as there are runs enough.
    ended = good(*fit, "--save-dir", tmp_path / "calibrated")
    before, said = coverage(good, runs, tmp_path / "plain")
    assert abs(before - 0.95) > 0.03
    assert "not calibrated on runs held out" in said
    assert "Intervals" not in plain.out
    after, said = coverage(good, runs, tmp_path / "calibrated")
    assert abs(after - 0.95) < 0.03
    assert said.count("Intervals are calibrated on runs held out from the fit.") == 1
    assert "Intervals calibrated on runs held out: calibrated." in said
    said = " ".join(ended.out.split())
    assert "calibrated on 3,600 rows of 300 held-out runs in 5 folds" in said
    metrics = json.loads((tmp_path / "calibrated" / "metrics.json").read_text())
    assert _counts(metrics) == {"rows": 3600, "runs": 300, "folds": 5}
    # The class of the fewest rows, and the runs, of which each is one more than a level needs.
    assert metrics["calibration"]["highest_level_of_runs"] == 300 / 301
    assert 0.999 < metrics["calibration"]["highest_level"] < 1
    assert json.loads((tmp_path / "plain" / "metrics.json").read_text())["calibration"] is None


def _counts(metrics):
    return {key: metrics["calibration"][key] for key in ("rows", "runs", "folds")}


def test_streams_say_what_all_rows_at_once_say(good, runs, tmp_path):
    # Every run a fold of its own, so that it does not matter how runs are dealt out.
    rows = pl.read_parquet(runs / "few.parquet")
    rows[:100].write_csv(tmp_path / "part1.csv")
    rows[100:].sample(fraction=1, shuffle=True, seed=0).write_parquet(tmp_path / "part2.parquet")
    run = tmp_path / "run"
    good(
        *("fit", "--data", tmp_path / "part*", "--save-dir", run, "--model", "ridge"),
        *("--alpha", "1"),
        *(*CALIBRATE, "--calibrate.n-folds", "20"),
    )
    found = Stage1CoeffSummaries.load(run / "coefficients.npz").calibration
    assert found is not None
    ids = rows.select("species", "comp_id").to_numpy()
    columns = (rows.select("IS_0").to_numpy(), rows["rt"], ids, rows["run"])
    exact = calibrate_intervals(GroupwiseRidge(), *columns, n_folds=20)
    # The same rows in another order: sums differ by rounding.
    np.testing.assert_allclose(found.intervals.scores[0], exact.intervals.scores[0], rtol=1e-9)
    np.testing.assert_array_equal(found.classes, exact.classes)
    assert (found.n_rows, found.n_runs) == (exact.n_rows, exact.n_runs) == (240, 20)


def test_a_trial_is_calibrated_on_its_own_rows_and_pairs(good, runs, tmp_path):
    run = tmp_path / "run"
    good(
        *("fit", "--data", runs / "train.parquet", "--save-dir", run, *CALIBRATE),
        *("--max-train-rows", "2400", "--max-groups", "5", "--anchor-expansion", "poly2"),
    )
    metrics = json.loads((run / "metrics.json").read_text())
    # 200 runs of one species each, 100 rows a pair.
    assert _counts(metrics) == {"rows": 500, "runs": 200, "folds": 5}


def test_pairs_of_one_run_cannot_be_calibrated(rt, runs, tmp_path):
    rows = pl.read_parquet(runs / "few.parquet").with_columns(species="run")
    pl.concat([rows, rows]).write_parquet(tmp_path / "own.parquet")
    run = tmp_path / "run"
    fit = ("fit", "--data", tmp_path / "own.parquet", "--save-dir", run, *CALIBRATE)
    ended = rt(*fit, "--max-groups", "1")
    assert ended.code == 2
    assert "two rows or more of the pairs that are fitted" in " ".join(ended.err.split())
    ended = rt(*fit, "--model", "ridge")
    assert ended.code == 2
    assert "200 held-out rows with a prediction; found 0" in " ".join(ended.err.split())
    assert not run.exists()


def test_descriptors_predict_compounds_that_a_fold_has_not_seen(good, lab, tmp_path):
    train = pl.read_parquet(lab / "train.parquet")
    # A compound of one run alone is new to the fit that holds this run out.
    lone = train.filter(comp_id=0)["run"][0]
    kept = train.filter((pl.col("comp_id") != 0) | (pl.col("run") == lone))
    kept.write_parquet(tmp_path / "train.parquet")
    run = tmp_path / "run"
    good(
        *("fit", "--data", tmp_path / "train.parquet", "--save-dir", run, *CALIBRATE),
        *("--intercept-prior", "comp_hier_supercat", "--slope-head-mode", "cluster_supercat"),
        *("--descriptors", lab / "compounds.parquet"),
    )
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["calibration"]["rows"] == metrics["rows"] == kept.height


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--calibrate.run-col", "runn"), "did you mean 'run'"),
        (("--calibrate.n-folds", "21"), "at most the number of runs, 20; found 21"),
        (("--calibrate.run-col", "gaps"), "a run in every row; found 1 missing in 'gaps' (rows 3)"),
        (("--max-train-rows", "150"), "at least 200 held-out rows with a prediction; found 150"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(rt, runs, tmp_path, flags, message):
    rows = pl.read_parquet(runs / "few.parquet").with_row_index("at")
    gap = pl.when(pl.col("at") != 2).then("run").alias("gaps")
    rows.with_columns(gap).write_parquet(tmp_path / "few.parquet")
    run = tmp_path / "run"
    ended = rt("fit", "--data", tmp_path / "few.parquet", "--save-dir", run, *CALIBRATE, *flags)
    assert ended.code == 2
    assert message.lower() in " ".join(ended.err.split()).lower()
    assert not run.exists()


@pytest.mark.parametrize(
    ("rows", "flags", "said"),
    [
        (pl.col("run") < 9, (), "9 runs are too few to hold some out, 10 are needed"),
        (pl.col("run") < 3, (), "fewer than 5 runs are too few to hold some out"),
        (pl.col("comp_id") == 0, (), "at least 200 held-out rows with a prediction"),
        (pl.lit(value=True), ("--calibrate.run-col", "none"), "no column 'none' of runs"),
    ],
)
def test_a_fit_that_cannot_be_calibrated_says_why(good, runs, tmp_path, rows, flags, said):
    table = pl.read_parquet(runs / "few.parquet").filter(rows)
    table.write_parquet(tmp_path / "t.parquet")
    run = tmp_path / "run"
    ended = good("fit", "--data", tmp_path / "t.parquet", "--save-dir", run, *flags)
    assert said in " ".join(ended.out.split())
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["calibration"] is None
    assert any(said in note for note in metrics["notes"])
