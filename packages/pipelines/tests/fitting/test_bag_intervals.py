"""Runs over bags leave a calibration, and predict by it, like runs over molecules."""

import numpy as np
import polars as pl
import pytest
from molpool_common import load_config
from molpool_pipelines.fitting import TrainMILConfig, train_mil
from molpool_pipelines.models import Calibration, PredictConfig, predict_table
from molpool_pipelines.models._calibration import LEAST_OF_CLASS
from molpool_pipelines.runs import CALIBRATION, read_metrics, read_run_predictions
from molpool_pipelines.scores import read_predictions

SMALL = {
    "blend": {"models": ["attention"]},
    "data": {"kind": "bags", "target_columns": ["y"]},
    "model": {
        "use_2d": False,
        "inst_hidden": 16,
        "inst_layers": 1,
        "attn_heads": 4,
        "mixer_hidden": 16,
        "mixer_layers": 1,
        "proj_dim": 16,
    },
    "training": {"epochs": 3, "batch_size": 32, "accumulate_grad_batches": 1, "lr": 0.005},
    "split": {"val_ratio": 0.4},
    "export": {"attention": []},
}


def bags(path, classes):
    """Write 300 bags of 1 to 3 instances whose first feature tells the target."""
    rng = np.random.default_rng(0)
    bag = np.repeat(np.arange(300), rng.integers(1, 4, 300))
    features = rng.normal(size=(len(bag), 4))
    y = np.array([features[bag == b, 0].max() for b in range(300)])
    y = (y > 0.4).astype(float) if classes else y + rng.normal(scale=0.3, size=300)
    columns = {"bag_id": [f"m{b}" for b in bag], "y": y[bag]}
    series = np.where(np.arange(300) % 2, "odd", "even")[bag]
    frame = pl.DataFrame({**columns, "series": series, "lot": rng.normal(size=300)[bag]})
    features = {f"f{j + 1}": features[:, j] for j in range(4)}
    frame.with_columns(**features).write_csv(path)
    return path


def trained(tmp_path, kind, **more):
    table = bags(tmp_path / "bags.csv", kind == "classification")
    values = {**SMALL, "data_path": str(table), "save_dir": str(tmp_path / "run")}
    config = TrainMILConfig.model_validate({**values, "task_kind": kind, **more})
    return train_mil(config), table


def predicted_file(run, table, **more):
    output = table.with_name("out.parquet")
    config = PredictConfig(
        model_dir=str(run), data_path=str(table), output=str(output), overwrite=True, **more
    )
    predict_table(config)
    return output


def predicted(run, table, **more):
    output = predicted_file(run, table, **more)
    return read_run_predictions(output.parent, output.name)


@pytest.mark.slow
def test_values_have_intervals_that_predict_gives_too(tmp_path):
    more = {"strata_column": "series", "learning_curve": [0.2]}
    run, table = trained(tmp_path, "regression", level=0.8, **more)
    test = read_run_predictions(run).filter(split="test")
    assert (test["y_lower"] < test["y predicted"]).all()
    assert test["instances"].to_numpy().min() >= 1
    assert "SMILES" not in test.columns
    found = read_metrics(run).splits["test"]
    few, every = found.learning_curve
    assert every.n == read_run_predictions(run).filter(split="train").height
    assert few.n == round(0.2 * every.n)
    assert every.tasks["y"].metrics["ma_rae"].value == found.tasks["y"].metrics["ma_rae"].value
    assert "Would more data help?" in (run / "report.html").read_text()
    assert found.intervals["y"]["level"] == 0.8
    assert found.intervals["y"]["n"] == test.height
    # 60 rows at 80 %: below .6 once in ten thousand.
    assert found.intervals["y"]["inside"] > 0.6
    assert any("of the validation split" in note for note in read_metrics(run).notes)
    assert any("within strata" in note for note in read_metrics(run).notes)
    file = predicted_file(run, table, level=[0.8])
    # The table says of whole bags what was measured: its predictions can be scored.
    scored = read_predictions(file)
    assert (len(scored), scored.level, np.isfinite(scored.y_true).all()) == (300, 0.8, True)
    again = read_run_predictions(file.parent, file.name)
    again = again.join(test.select("id", "y_lower"), on="id")
    np.testing.assert_allclose(again["y_lower"], again["y_lower_right"], atol=1e-5)
    two = predicted(run, table, level=[0.5, 0.9])
    assert (two["y_lower_90"] < two["y_lower_50"]).all()
    assert load_config(TrainMILConfig, run / "config.resolved.yaml").strata_column == "series"


@pytest.mark.slow
def test_classes_have_calibrated_probabilities_and_the_same_decisions(tmp_path):
    split = {"val_ratio": 0.5}
    run, table = trained(tmp_path, "classification", strata_column="lot", split=split)
    calibration = Calibration.load(run / CALIBRATION)
    assert min(np.bincount(calibration.classes.classes[0].astype(int))) >= LEAST_OF_CLASS
    # The models' own threshold stands, and no other is said.
    assert not any("Class 1 is called" in note for note in calibration.notes(["y"]))
    test = read_run_predictions(run).filter(split="test")
    assert "y_lower" not in test.columns
    decided = read_metrics(run).splits["test"].decisions["y"]
    called = test["y predicted"] >= decided["threshold"]
    assert called.to_list() == test["y decision"].to_list()
    again = predicted(run, table).join(test.select("id", "y predicted", "y decision"), on="id")
    np.testing.assert_allclose(again["y predicted"], again["y predicted_right"], atol=1e-5)
    assert again["y decision"].equals(again["y decision_right"])
    # A column of strata is no feature, though it is one of numbers.
    assert '"lot"' not in (run / "log.jsonl").read_text().split('"features"')[1].split("\n")[0]


@pytest.mark.slow
def test_bags_of_three_classes_are_put_into_the_likeliest(tmp_path):
    table = bags(tmp_path / "bags.csv", classes=False)
    frame = pl.read_csv(table)
    kind = pl.when(pl.col("y") < 0.2).then(pl.lit("low")).when(pl.col("y") < 1).then(pl.lit("mid"))
    frame.with_columns(y=kind.otherwise(pl.lit("high"))).write_csv(table)
    data = {**SMALL["data"], "multiclass": True}
    values = {**SMALL, "data": data, "data_path": str(table), "save_dir": str(tmp_path / "run")}
    run = train_mil(TrainMILConfig.model_validate(values))
    test = read_run_predictions(run).filter(split="test")
    assert {f"y={name} predicted" for name in ("low", "mid", "high")} <= set(test.columns)
    truth = np.array(["high", "low", "mid"])[
        test.select("y=high", "y=low", "y=mid").to_numpy().argmax(axis=1)
    ]
    right = (truth == test["y class"].to_numpy()).mean()
    (said,) = [note for note in read_metrics(run).notes if "into the right class" in note]
    assert said.startswith(f"y: {right:.0%} of {test.height} test bags")
    again = pl.read_parquet(predicted_file(run, table)).join(test.select("id", "y class"), on="id")
    assert again["y class"].to_list() == again["y class_right"].to_list()
