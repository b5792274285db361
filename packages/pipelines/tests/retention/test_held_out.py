"""Runs that are left out while a structure is chosen: in order, and from chunks as in one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError
from molpool_pipelines.retention import FitConfig, PredictConfig, fit, predict_frames
from molpool_pipelines.retention._held_out import RunTable
from molpool_pipelines.retention._training import Training, read_training


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Ten runs of three compounds in an order that neither rows nor names have."""
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(10), 3)
    drift = rng.normal(size=10)[runs]
    time = rng.permutation(10)[runs]
    return pl.DataFrame(
        {
            "run": [f"r{i}" for i in runs],
            "time": time,
            "species": np.zeros(30, dtype=np.int64),
            "species_cluster": np.zeros(30, dtype=np.int64),
            "comp_id": np.tile(np.arange(3), 10),
            "IS_1": drift,
            "rt": 5 + drift + 0.1 * rng.normal(size=30),
        }
    ).sample(fraction=1.0, shuffle=True, seed=1)


def read(folder: Path, parts: list[pl.DataFrame], **config: object) -> Training:
    paths = [str(folder / f"{i}.csv") for i in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        part.write_csv(path)
    return read_training(FitConfig(data=paths, **config))  # type: ignore[arg-type]


def test_sums_of_runs_left_out_are_those_of_their_rows(rows, tmp_path):
    whole = read(tmp_path, [rows])
    assert [fold.name for fold in whole.held_out] == [
        *(f"block {i} of 5" for i in range(1, 6)),
        *("low end", "high end"),
    ]
    block = rows.filter(pl.col("run").is_in(["r2", "r3"])).filter(comp_id=1)
    found = whole.held_out[1].stats
    assert found.n.tolist() == [2, 2, 2]
    assert found.mean_y[1] == pytest.approx(block["rt"].mean())
    centred = block["IS_1"] - whole.features.center[0]
    assert found.mean_x[1, 0] == pytest.approx(centred.mean())
    assert whole.features.range is not None
    assert whole.features.range.high[0] == pytest.approx(rows["IS_1"].max())
    parts = read(tmp_path, [rows.head(11), rows.tail(-11)])
    for a, b in zip(whole.held_out, parts.held_out, strict=True):
        np.testing.assert_allclose(a.stats.mean_x, b.stats.mean_x, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(a.stats.syy, b.stats.syy, rtol=1e-9, atol=1e-12)


def test_what_lies_beyond_the_other_runs_is_summed_beside_the_regressors(rows, tmp_path):
    ends = read(tmp_path, [rows]).held_out[-1].stats
    top = rows.sort("IS_1")["IS_1"].unique(maintain_order=True)
    assert ends.P == 2
    np.testing.assert_allclose(ends.mean_x[:, 1], top[-1] - top[-2])


def test_blocks_are_of_each_groups_runs_where_a_run_is_of_one(rows, tmp_path):
    number = pl.col("run").str.slice(1).cast(pl.Int64)
    nested = read(tmp_path, [rows.with_columns(species=(number >= 5).cast(pl.Int64))])
    assert nested.left_out is not None
    blocks = [fold.members.nonzero()[0].tolist() for fold in nested.left_out.folds[:5]]
    assert blocks == [[i, i + 5] for i in range(5)]


def test_pairs_are_left_out_with_what_lies_beyond_the_other_groups(rows, tmp_path):
    of_two = pl.concat(
        [rows, rows.with_columns(species=pl.lit(1, pl.Int64), IS_1=pl.col("IS_1") + 1).head(20)]
    )
    whole = read(tmp_path, [of_two])
    kinds = [fold.kind for fold in whole.held_out]
    assert kinds.count("groups") == 2
    groups = [fold.stats for fold in whole.held_out if fold.kind == "groups"]
    other = next(stats for stats in groups if stats.group_ids[0] == 1)
    assert other.n_rows == 20
    reading = of_two.filter(species=1)["IS_1"]
    expected = (reading - reading.clip(rows["IS_1"].min(), rows["IS_1"].max())).sum()
    assert float(other.n @ other.mean_x[:, 1]) == pytest.approx(expected)
    of_pairs = [fold.stats for fold in whole.held_out if fold.kind == "pairs"]
    assert sum(stats.n_rows for stats in of_pairs) == 50
    assert max(np.abs(stats.mean_x[:, 1]).max() for stats in of_pairs) == 0
    parts = read(tmp_path, [of_two.head(11), of_two.tail(-11)])
    for a, b in zip(whole.held_out, parts.held_out, strict=True):
        np.testing.assert_allclose(a.stats.mean_x, b.stats.mean_x, rtol=1e-12, atol=1e-12)


def test_acquisition_order_is_that_of_its_column(rows, tmp_path):
    training = read(tmp_path, [rows], order_col="time")
    table = RunTable.read(training.config, training.table, training.columns)
    assert table is not None
    by_time = rows.sort("time")["run"].unique(maintain_order=True).to_list()
    assert list(table.place) == by_time
    with pytest.raises(InputError, match="order_col"):
        read(tmp_path, [rows], order_col="when")


def test_rows_of_equal_covariates_are_a_run_where_none_is_named(rows, tmp_path):
    training = read(tmp_path, [rows.drop("run")])
    table = RunTable.read(training.config, training.table, training.columns)
    assert table is not None
    assert len(table.place) == 10
    assert not table.ordered


def test_a_structure_that_is_given_is_not_chosen(rows, tmp_path):
    assert read(tmp_path, [rows], lambda_slopes="estimate").held_out == []
    assert read(tmp_path, [rows], structure="fixed").held_out == []
    assert len(read(tmp_path, [rows], structure="auto", lambda_slopes="estimate").held_out) == 7


def test_tables_without_covariates_have_runs_too(rows, tmp_path):
    training = read(tmp_path, [rows.drop("IS_1")])
    assert [fold.stats.P for fold in training.held_out] == [0] * 5
    of_two = pl.concat([rows, rows.with_columns(species=pl.lit(1, pl.Int64))]).drop("IS_1")
    kinds = [fold.kind for fold in read(tmp_path, [of_two]).held_out]
    assert kinds.count("groups") == 2


@pytest.mark.parametrize("likelihood", ["auto", "student_t", "contaminated"])
def test_a_peak_that_is_off_is_weighted_and_listed(rows, tmp_path, likelihood):
    off = rows.with_columns(rt=pl.when(pl.int_range(30) == 4).then(0.0).otherwise("rt"))
    off.write_csv(tmp_path / "rows.csv")
    config = FitConfig(data=[str(tmp_path / "rows.csv")], likelihood=likelihood)
    fitted = fit(config)
    assert fitted.metrics()["scales"]["sigma"]["mean"] < 0.2
    assert fitted.summaries.tails.likelihood == likelihood.replace("auto", "student_t")
    assert fitted.residuals is not None
    listed = fitted.residuals.flagged
    assert listed["row"].to_list() == [5]
    assert listed["weight"].item() < 0.05
    expected = off[4, "IS_1"] + 5
    assert listed["expected"].item() == pytest.approx(expected, abs=0.3)


def test_rows_left_out_by_rule_are_counted(rows, tmp_path):
    off = rows.with_columns(rt=pl.when(pl.int_range(30) == 4).then(0.0).otherwise("rt"))
    off.write_csv(tmp_path / "rows.csv")
    config = FitConfig(data=[str(tmp_path / "rows.csv")], leave_out=8.0, flag_threshold=1e3)
    fitted = fit(config)
    assert fitted.metrics()["left_out"] == 1
    assert fitted.residuals is not None
    assert fitted.residuals.flagged.select("row", "weight").rows() == [(5, 0.0)]
    assert any("1 row left out" in note for note in fitted.metrics()["notes"])


def shifted(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows whose runs are off as a whole by up to 2 minutes."""
    return rows.with_columns(rt=pl.col("rt") + pl.col("run").str.slice(1).cast(pl.Int64) % 3)


def test_runs_that_are_off_as_a_whole_are_predicted_so(rows, tmp_path):
    off = shifted(rows)
    off[:24].write_csv(tmp_path / "rows.csv")
    off[24:].write_csv(tmp_path / "rest.csv")
    data = [str(tmp_path / "rows.csv")]
    fitted = fit(FitConfig(data=data, run_effects="independent", lambda_slopes="estimate"))
    assert fitted.metrics()["scales"]["tau_run"]["mean"] > 0.4
    fitted.summaries.save(tmp_path / "coefficients.npz")
    config = PredictConfig(data=[str(tmp_path / "rest.csv")], artefact=str(tmp_path))
    found = pl.concat(predict_frames(config))
    seen = off[24:]["run"].is_in(off[:24]["run"].to_list())
    error = (found["rt"] - off[24:]["rt"]).filter(seen)
    assert (error.abs() < 0.6).all()
    assert (found["rt_sd"].filter(seen) < 0.6).all()


def test_offsets_of_batches_are_effects_of_a_column_of_batches(rows, tmp_path):
    number = pl.col("run").str.slice(1).cast(pl.Int64)
    batches = rows.with_columns(batch=pl.format("b{}", number // 4))
    off = batches.with_columns(rt=pl.col("rt") + 2.0 * (number // 4 == 1))
    known = number.is_in([3, 7, 9]).not_()
    off.filter(known).write_csv(tmp_path / "rows.csv")
    off.filter(~known).write_csv(tmp_path / "rest.csv")
    keys = {"run_effects": "independent", "run_col": "batch", "lambda_slopes": "estimate"}
    fitted = fit(FitConfig(data=[str(tmp_path / "rows.csv")], **keys))  # type: ignore[arg-type]
    assert fitted.summaries.runs is not None
    assert fitted.summaries.runs.names == ("b0", "b1", "b2")
    fitted.summaries.save(tmp_path / "coefficients.npz")
    # New runs of batches that were seen are off as their batches are.
    config = PredictConfig(data=[str(tmp_path / "rest.csv")], artefact=str(tmp_path))
    found = pl.concat(predict_frames(config))
    assert ((found["rt"] - off.filter(~known)["rt"]).abs() < 0.6).all()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"run_col": None}, "run_col"),
        ({"run_col": "batch"}, "run_col"),
        ({"model": "ridge"}, "model partial_pooling"),
        ({"run_effects": "random_walk", "calibrate": {"enabled": True}}, "random_walk: runs left"),
        ({"run_effects": "spline", "calibrate": {"enabled": True}}, "beside run_effects spline"),
    ],
)
def test_effects_of_runs_need_runs(rows, tmp_path, keys, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, [rows], **{"run_effects": "independent", **keys})


def test_calibration_takes_effects_of_runs_off(rows, tmp_path, monkeypatch):
    monkeypatch.setattr("rt_ridge.prediction._conformal.MIN_ROWS", 10)
    shifted(rows).write_csv(tmp_path / "rows.csv")
    config = {"data": [str(tmp_path / "rows.csv")], "lambda_slopes": "estimate"}
    widths = []
    for effects in ("none", "independent"):
        fitted = fit(FitConfig(run_effects=effects, **config))  # type: ignore[arg-type]
        assert fitted.calibrated is not None
        found = fitted.summaries.predict(np.zeros((1, 1)), [0], [1], runs=["elsewhere"])
        widths.append(found.half_width(0.5)[0])
    # A run never seen is off as before: what is known of seen ones is no use to it.
    assert 0.5 < widths[1] / widths[0] < 2


def test_squares_are_taken_where_runs_left_out_gain_by_them(rows, tmp_path):
    for bend, said in ((0.3, ["squares of covariates: runs left out gain by them"]), (0.0, [])):
        bent = rows.with_columns(rt=pl.col("rt") + bend * pl.col("IS_1") ** 2)
        bent.write_csv(tmp_path / "rows.csv")
        flags = {"data": [str(tmp_path / "rows.csv")], "flag_threshold": None}
        fitted = fit(FitConfig(**flags, anchor_expansion="auto"))
        assert [note for note in fitted.metrics()["notes"] if "squares" in note] == said
        assert fitted.summaries.features.expansion == ("poly2" if bend else "none")
