"""A target learnt on another scale, from the flag to every table that says it."""

import re

import numpy as np
import polars as pl
import pytest
from molpool_common import InputError, read_table, table_metadata
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import TrainTabularConfig, train_tabular
from molpool_pipelines.models import PredictConfig, load_model, predict_table
from molpool_pipelines.runs import read_metrics, read_run_predictions
from molpool_pipelines.scores import Resampling, read_predictions, score_tasks
from molpool_pipelines.tables import DataConfig, load_molecules

pytestmark = pytest.mark.slow


def trained(folder, unit, **more):
    """Train neighbours on a solubility of many decades, with an upper bound among its labels."""
    folder.mkdir()
    frame = build_demo(150, seed=1).select(
        "SMILES", pl.format("{}", 10 ** pl.col("LogS") * unit).alias("S"), "LogP"
    )
    text = frame["S"].to_list()
    text[3] = f"<{text[3]}"
    frame.with_columns(pl.Series("S", text)).write_csv(folder / "table.csv")
    data = {"target_columns": ["S", "LogP"], "split_ratios": (0.6, 0.2, 0.2), **more}
    config = TrainTabularConfig(
        data_path=str(folder / "table.csv"),
        save_dir=str(folder / "run"),
        model=["neighbours"],
        features="morgan_count",
        folds=3,
        level=0.8,
        page=False,
        learning_curve=[0.5],
        baselines="fast" if unit == 1 else "none",
        data=DataConfig.model_validate(data),
    )
    return train_tabular(config)


def predicted(run, ending="parquet"):
    table, output = run.parent / "table.csv", run.parent / f"out.{ending}"
    config = {"model_dir": str(run), "data_path": str(table), "output": str(output)}
    predict_table(PredictConfig.model_validate({**config, "level": [0.8], "overwrite": True}))
    return output


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scales")
    scale = {"transform": {"S": "log10"}, "predict_path": None}
    return {unit: trained(folder / f"{unit:g}", unit, **scale) for unit in (1.0, 1000.0)}


def test_a_change_of_unit_changes_predictions_and_ends_alike(runs):
    one, other = (read_run_predictions(p.parent, p.name) for p in map(predicted, runs.values()))
    for column in ("S predicted", "S_lower", "S_upper"):
        np.testing.assert_allclose(other[column], 1000 * one[column], rtol=1e-9)
    assert (one["S predicted"] > 0).all()
    assert (one["S_lower"] > 0).all(), "an end is that of the scale, and no number below 0"
    np.testing.assert_allclose(other["LogP_lower"], one["LogP_lower"], rtol=1e-12)
    mean, lower, upper = (one[f"S{end}"].to_numpy() for end in (" predicted", "_lower", "_upper"))
    below, above = mean / lower, upper / mean
    # Where no limit of the assay cuts them: as wide above as below, in decades.
    free = (above > 1.01) & (below > 1.01)
    assert np.median(np.abs(np.log10(above / below)[free])) == pytest.approx(0, abs=1e-9)


def test_the_model_works_on_the_scale_and_the_table_is_in_its_unit(runs):
    run = runs[1.0]
    found = read_run_predictions(run)
    truth = pl.read_csv(run.parent / "table.csv", schema_overrides={"S": pl.String})
    row = found.row(by_predicate=pl.col("row") == 1, named=True)
    assert row["S"] == pytest.approx(float(truth["S"][0]))
    again = read_run_predictions(predicted(run).parent, "out.parquet")
    model = load_model(run)
    smiles = truth["SMILES"].to_list()
    np.testing.assert_allclose(
        10 ** model.predict(smiles, 64).mean[:, 0], again["S predicted"], rtol=1e-9
    )
    said = table_metadata(run.parent / "out.parquet")
    assert said is not None
    assert said["tasks"]["S"]["transform"] == "log10"
    assert "transform" not in said["tasks"]["LogP"]
    assert said["levels"] == [0.8]
    assert set(said["models"][0]["calibration"]["rows"]) == {"S", "LogP"}
    assert any("S as log10 x" in note for note in read_metrics(run).notes)


def test_metrics_are_in_the_unit_for_the_run_and_its_score(runs):
    metrics = {unit: read_metrics(run).splits["test"] for unit, run in runs.items()}
    one, other = (of.tasks["S"].metrics for of in metrics.values())
    assert other["mae"].value == pytest.approx(1000 * (one["mae"].value or 0))
    assert other["ma_rae"].value == pytest.approx(one["ma_rae"].value)
    assert 0 < (one["within_0.3"].value or 0) < (one["within_1"].value or 0) < 1
    found = read_predictions(runs[1.0]).of_split("test")
    scored = {(s.task, s.metric): s.value for s in score_tasks(found, Resampling(0))}
    assert scored["S", "mae"] == one["mae"].value
    for name in ("within_0.3", "within_0.5", "within_1"):
        assert other[name].value == one[name].value == scored["S", name], "of decades"
    baselines = metrics[1.0].baselines
    assert baselines is not None
    neighbours = baselines.models["neighbours"].tasks["S"].metrics
    assert neighbours["mae"].value == pytest.approx(one["mae"].value)


def test_models_of_fewer_rows_are_scored_in_the_unit_too(runs):
    curves = [read_metrics(run).splits["test"].learning_curve for run in runs.values()]
    (one, other), (fewer, every) = curves, curves[0]
    for mine, theirs in zip(one, other, strict=True):
        values = [of.tasks["S"].metrics["ma_rae"].value for of in (mine, theirs)]
        assert values[0] == pytest.approx(values[1], rel=1e-9)
    rae = read_metrics(runs[1.0]).splits["test"].tasks["S"].metrics["ma_rae"].value
    assert every.tasks["S"].metrics["ma_rae"].value == pytest.approx(rae)
    # Half of the molecules, as near as twice the error.
    assert 0 < (fewer.tasks["S"].metrics["ma_rae"].value or 0) < 2 * (rae or 0)


def test_rows_and_measurements_of_the_training_table_come_back(runs):
    output = predicted(runs[1.0], "csv")
    table = pl.read_csv(runs[1.0].parent / "table.csv", infer_schema=False)
    found = pl.read_csv(output, infer_schema=False)
    assert found.columns[:4] == ["row", "SMILES", "S_measured", "LogP_measured"]
    assert found.select("SMILES", S="S_measured", LogP="LogP_measured").equals(table)
    scored = read_predictions(output)
    assert scored.tasks == ("S", "LogP")
    assert scored.level == 0.8
    assert scored.n_bounds.tolist() == [1, 0]


@pytest.mark.parametrize("ending", ["csv", "sdf"])
def test_a_table_of_predictions_is_predicted_again(runs, tmp_path, ending):
    again, flags = tmp_path / f"again.{ending}", {"model_dir": str(runs[1.0]), "level": [0.8]}
    first = predicted(runs[1.0], ending)
    done = predict_table(PredictConfig(**flags, data_path=str(first), output=str(again)))
    assert "Columns of earlier predictions are replaced: LogP, LogP_lower" in (done.note or "")
    tables = [read_table(file) for file in (first, again)]
    # The second has the structures of an SDF file, and their names, beside its columns.
    assert set(tables[1].columns) - set(tables[0].columns) <= {"Name", "SMILES (property)"}
    assert tables[1].select(tables[0].columns[2:]).equals(tables[0][:, 2:])
    read, reread = (read_predictions(file) for file in (first, again))
    np.testing.assert_array_equal(read.y_true, reread.y_true)


def test_a_value_that_the_scale_lacks_is_named(tmp_path):
    pl.DataFrame({"SMILES": ["C", "CC", "CCC"], "S": [1.0, 0.0, -1]}).write_csv(tmp_path / "t.csv")
    data = DataConfig(target_columns=["S"], transform={"S": "log10"})
    with pytest.raises(InputError, match=r"log10 is defined; found 0 in row 2.*Rows: 2, 3"):
        load_molecules(data, str(tmp_path / "t.csv"))
    asinh = DataConfig(target_columns=["S"], transform={"S": "asinh"})
    found = load_molecules(asinh, str(tmp_path / "t.csv"))
    assert found.scales == ("asinh",)
    np.testing.assert_allclose(found.in_units().targets[:, 0], [1, 0, -1], atol=1e-15)
    with pytest.raises(ValueError, match="target_columns"):
        DataConfig(target_columns=["S"], transform={"T": "log10"})


def test_new_labels_move_predictions_toward_them(runs, tmp_path):
    run = runs[1.0]
    before = read_run_predictions(predicted(run).parent, "out.parquet")
    new = pl.DataFrame(
        {"SMILES": before["SMILES"][:40], "S": before["S predicted"][:40] * 10, "note": ["x"] * 40}
    )
    new.write_csv(tmp_path / "new.csv")
    output = tmp_path / "moved.parquet"
    done = predict_table(
        PredictConfig(
            model_dir=str(run),
            data_path=str(run.parent / "table.csv"),
            output=str(output),
            recalibrate=str(tmp_path / "new.csv"),
        )
    )
    assert done.note is not None
    assert "S: 40 new labels, moved by +" in done.note
    assert re.search(r"[1-9]\d* of the 40 newly measured molecules trained the model", done.note)
    after = read_run_predictions(tmp_path, output.name)
    factor = np.median(after["S predicted"] / before["S predicted"])
    assert 2 < factor <= 10
    np.testing.assert_array_equal(after["LogP predicted"], before["LogP predicted"])
    said = table_metadata(output)
    assert said is not None
    moved = said["models"][0]["calibration"]["recalibrated"]
    assert moved["S"]["labels"] == 40
    assert 10 ** moved["S"]["shift"] == pytest.approx(factor, rel=1e-6)
    new.select("SMILES", "note").write_csv(tmp_path / "none.csv")
    config = PredictConfig(
        model_dir=str(run),
        data_path=str(run.parent / "table.csv"),
        output=str(tmp_path / "x.csv"),
        recalibrate=str(tmp_path / "none.csv"),
    )
    with pytest.raises(InputError, match="columns of measured values, of S, LogP"):
        predict_table(config)


@pytest.mark.parametrize("how", ["mean", "blend", "none"])
def test_two_models_in_one_table(runs, tmp_path, how):
    run = runs[1.0]
    simple = run / "baselines" / "lightgbm"
    models = [run, simple] if how != "blend" else [run, runs[1000.0]]
    output = tmp_path / "both.xlsx"
    config = PredictConfig(
        models=[str(m) for m in models],
        combine=how,
        data_path=str(run.parent / "table.csv"),
        output=str(output),
    )
    if how == "blend":
        # The same rows, and a truth in another unit: that is said, not averaged.
        with pytest.raises(InputError, match="validation rows are the same molecules"):
            predict_table(config)
        return
    predict_table(config)
    said = table_metadata(output)
    assert said is not None
    assert [m["name"] for m in said["models"]] == ["run", "lightgbm"]
    assert said["combined"] == how
    if how == "mean":
        found = read_predictions(output, truth=run.parent / "table.csv", join="row")
        assert found.tasks == ("S", "LogP")
    else:
        assert {"S (run)", "LogP (lightgbm)", "S (run)_lower"} <= set(read_table(output).columns)
