"""A batch of measurements through prepare, fit, predict, evaluate and report, as in a notebook."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.retention import (
    EvaluateConfig,
    Evaluation,
    FitConfig,
    FittedRun,
    PlotConfig,
    PredictConfig,
    PrepareConfig,
    ReportConfig,
    evaluate,
    fit,
    plot,
    predict,
    predict_frames,
    prepare,
    read_training,
    report,
)
from rt_ridge import Stage1CoeffSummaries

RAW: dict[str, Any] = {"compound_col": "compound", "missing_covariates": "run_median"}


def raw(table: pl.DataFrame) -> pl.DataFrame:
    """Return a table as a laboratory writes it: names instead of ids, some readings missing."""
    gap = pl.int_range(pl.len()) % 10 == 3
    return table.select(
        pl.format("sp {}", "species").alias("species_raw"),
        pl.format("group {}", "species_cluster").alias("species_group_raw"),
        pl.format("C{}", "comp_id").alias("compound"),
        "run",
        "rt",
        pl.when(~gap).then("run_covariate_0").alias("run_covariate_0"),
        "run_covariate_1",
    )


@pytest.fixture(scope="module")
def folder(lab, tmp_path_factory):
    """Return a folder of raw tables, prepared ones, a calibrated fit and its evaluation."""
    path = tmp_path_factory.mktemp("pipeline")
    for name in ("train", "test"):
        raw(pl.read_parquet(lab / f"{name}.parquet")).write_csv(path / f"{name}.csv")
    config = PrepareConfig(data=[str(path / "train.csv")], **RAW)
    prepare(config).write(config.open_folder(path / "train"))
    config = PrepareConfig(data=[str(path / "test.csv")], like=str(path / "train"), **RAW)
    prepare(config).write(config.open_folder(path / "test"))
    config = fit_config(path)
    fit(config).write(config.open_folder(path / "fit"))
    scores = evaluate_config(path)
    evaluate(scores).write(scores.open_folder(path / "evaluation"))
    return path


def fit_config(path):
    return FitConfig(
        data=[str(path / "train" / "rows.parquet")],
        intercept_prior="comp_hier_supercat",
        slope_head_mode="cluster_supercat",
        calibrate={"enabled": True, "n_folds": 3},
    )


def evaluate_config(path):
    return EvaluateConfig(
        artefacts=[f"pooled={path / 'fit'}"],
        data=[str(path / "test" / "rows.parquet")],
        strata_column=["species", "run"],
    )


def predict_config(path, output):
    return PredictConfig(
        artefact=str(path / "fit"),
        data=[str(path / "test" / "rows.parquet")],
        output=str(output),
        keep_cols=["rt"],
        level=[0.5, 0.95],
    )


def test_names_lead_back_from_predictions_to_the_raw_table(folder, tmp_path):
    output = tmp_path / "predictions.parquet"
    found = predict(predict_config(folder, output))
    assert found.calibrated
    predicted = pl.read_parquet(output)
    assert sum(found.levels.values()) == predicted.height
    mapping = pl.read_csv(folder / "test" / "mapping.csv").select("species", mapped="species_raw")
    joined = predicted.join(mapping, on="species", how="left", maintain_order="left")
    assert joined["mapped"].to_list() == predicted["species_raw"].to_list()
    measured = pl.read_csv(folder / "test.csv")
    assert predicted["species_raw"].to_list() == measured["species_raw"].to_list()
    assert predicted["compound_raw"].to_list() == measured["compound"].to_list()
    assert predicted["rt_measured"].to_list() == measured["rt"].to_list()


def test_frames_are_those_of_the_file(folder, tmp_path):
    config = predict_config(folder, tmp_path / "predictions.parquet")
    predict(config)
    assert pl.concat(predict_frames(config)).equals(pl.read_parquet(config.output))


def test_an_evaluation_is_of_the_predictions(folder, tmp_path):
    evaluation = Evaluation.load(folder / "evaluation")
    predicted = pl.concat(predict_frames(predict_config(folder, tmp_path / "unused.csv")))
    known = predicted.drop_nulls("rt")
    (pooled,) = evaluation.scored
    row = pooled.table.row(-1, named=True)
    rmse = np.sqrt(((known["rt_measured"] - known["rt"]).drop_nulls().to_numpy() ** 2).mean())
    assert row["rmse"] == pytest.approx(rmse, rel=1e-9)
    inside = known["rt_measured"].is_between(known["rt_lower_95"], known["rt_upper_95"]).mean()
    assert row["coverage_95"] == pytest.approx(inside, abs=1e-12)


def test_strata_are_means_over_their_predictions(folder, tmp_path):
    strata = Evaluation.load(folder / "evaluation").strata
    assert strata is not None
    assert strata["column"].unique(maintain_order=True).to_list() == ["species", "run"]
    predicted = pl.concat(predict_frames(predict_config(folder, tmp_path / "unused.csv")))
    error = pl.col("rt_measured") - pl.col("rt")
    width = pl.col("rt_upper_95") - pl.col("rt_lower_95")
    expected = (
        predicted.drop_nulls(["rt", "rt_measured"])
        .group_by(pl.col("species").cast(pl.String).alias("stratum"))
        .agg(
            pl.len().cast(pl.Int64).alias("n"),
            error.abs().mean().alias("mae"),
            (error**2).mean().sqrt().alias("rmse"),
            error.mean().alias("bias"),
            pl.col("rt_measured")
            .is_between("rt_lower_95", "rt_upper_95")
            .mean()
            .alias("coverage_95"),
            width.mean().alias("width_95"),
        )
        .sort("stratum")
    )
    found = strata.filter(pl.col("column") == "species").select(expected.columns)
    assert found["n"].to_list() == expected["n"].to_list()
    np.testing.assert_allclose(
        found.drop("stratum").to_numpy(), expected.drop("stratum").to_numpy(), rtol=1e-9
    )


def test_what_is_written_is_what_was_returned(folder):
    config = evaluate_config(folder)
    again, stored = evaluate(config), Evaluation.load(folder / "evaluation")
    assert again.frame().equals(stored.frame())
    assert again.drift is not None
    assert stored.drift is not None
    assert again.drift.equals(stored.drift)
    assert again.strata is not None
    assert stored.strata is not None
    assert again.strata.equals(stored.strata)
    assert again.scored[0].calibrated
    assert stored.scored[0].calibrated
    assert FittedRun.load(str(folder / "fit")).metrics["calibration"]["folds"] == 3


def test_an_evaluation_of_the_first_version_is_read(folder, tmp_path):
    content = json.loads((folder / "evaluation" / "evaluation.json").read_text())
    for entry in content["artefacts"]:
        del entry["calibrated"]
    (tmp_path / "evaluation.json").write_text(json.dumps(content))
    found = Evaluation.load(tmp_path)
    assert not found.scored[0].calibrated
    assert found.frame().equals(Evaluation.load(folder / "evaluation").frame())


def test_training_that_was_read_before_gives_the_same_fit(folder):
    config = fit_config(folder)
    training = read_training(config)
    assert training.counts()["rows"] == training.stats.n_rows
    found = fit(config, training).summaries
    stored = Stage1CoeffSummaries.load(folder / "fit" / "coefficients.npz")
    np.testing.assert_array_equal(found.mean, stored.mean)
    assert found.calibration is not None
    assert stored.calibration is not None
    np.testing.assert_array_equal(
        found.calibration.intervals.scores[0], stored.calibration.intervals.scores[0]
    )


def test_a_report_holds_the_figures(folder, tmp_path):
    runs, evaluation = [str(folder / "fit")], str(folder / "evaluation")
    plots = plot(PlotConfig(runs=runs, evaluation=evaluation))
    output = tmp_path / "report.html"
    config = ReportConfig(runs=runs, evaluation=evaluation, output=str(output), pdf=False)
    assert report(config) == [output]
    page = output.read_text(encoding="utf-8")
    assert page.count("<svg") == len(plots)
    for one in plots:
        assert one.caption.split(":")[0] in page
    (slopes,) = [one for one in plots if one.name.startswith("slopes_")]
    ticks = [t.get_text() for t in slopes.figure.axes[0].get_xticklabels()]
    assert ticks == [f"group {i}" for i in range(len(ticks))]
    assert slopes.data is not None
    assert [row[0] for row in slopes.data.rows] == ticks


def test_progress_names_each_step(folder):
    steps = []
    fit(fit_config(folder), progress=steps.append)
    assert [step.split()[0] for step in steps] == ["Summing", "Fitting", "Calibrating", "Holding"]
