"""A target in another unit: predictions and intervals change by the unit, for each kind of run.

And what the same runs say of themselves is what scoring finds, to the last digit.
"""

from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.demo import build_demo
from molpool_pipelines.fitting import (
    TrainChempropConfig,
    TrainMILConfig,
    TrainTabularConfig,
    train_chemprop,
    train_mil,
    train_tabular,
)
from molpool_pipelines.runs import read_metrics, read_run_predictions
from molpool_pipelines.scores import Resampling, read_predictions, score_coverage, score_tasks

UNIT = 1000.0
SPLIT = {"target_columns": ["y"], "split_ratios": (0.4, 0.3, 0.3)}
CHEMPROP = {
    "page": False,
    "baselines": "none",
    "data": SPLIT,
    "model": {"message_passing": {"hidden_size": 16, "depth": 2}, "ffn": {"hidden_size": 16}},
    "training": {"epochs": 2},
    "ensemble": {"n_seeds": 2},
}
TABULAR = {
    "page": False,
    "baselines": "none",
    "data": SPLIT,
    "features": "morgan_count",
    "model": ["mlp", "lightgbm"],
    "weights": "fitted",
    "folds": 2,
    "mlp": {"members": 2, "hidden": 16, "epochs": 4},
}
MIL = {
    "page": False,
    "blend": {"models": ["attention"]},
    "task_kind": "regression",
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
    "training": {"epochs": 2},
    "export": {"attention": []},
}
KINDS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "chemprop": (TrainChempropConfig, train_chemprop, CHEMPROP),
    "tabular": (TrainTabularConfig, train_tabular, TABULAR),
    "mil": (TrainMILConfig, train_mil, MIL),
}


def table(path, unit):
    rng = np.random.default_rng(0)
    smiles = build_demo(n=100)["SMILES"].to_list()
    f = rng.normal(size=(100, 3))
    y = unit * np.array([len(s) / 10 + 0.3 * rng.normal() for s in smiles])
    features = {f"f{j + 1}": f[:, j] for j in range(3)}
    frame = pl.DataFrame({"bag_id": range(100), "SMILES": smiles, "y": y, **features})
    frame.write_csv(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_intervals_change_by_the_unit(kind, tmp_path):
    config, train, settings = KINDS[kind]
    frames, runs = [], []
    for unit in (1.0, UNIT):
        data = table(tmp_path / f"{unit:g}.csv", unit)
        drop = {"SMILES"} if kind == "mil" else {"bag_id", "f1", "f2", "f3"}
        pl.read_csv(data).drop(drop).write_csv(data)
        values = {**settings, "data_path": str(data), "save_dir": str(tmp_path / f"run{unit:g}")}
        run = train(config.model_validate({**values, "level": 0.8}))
        frames.append(read_run_predictions(run).filter(split="test"))
        runs.append(run)
    one, other = frames
    spread = float(one["y"].to_numpy().std())
    for column in ("y predicted", "y_lower", "y_upper"):
        # Networks standardise labels in single precision: 1e-5 of their spread.
        np.testing.assert_allclose(
            other[column].to_numpy() / UNIT, one[column].to_numpy(), rtol=0, atol=1e-4 * spread
        )
    assert np.isfinite(one["y_upper"].to_numpy()).all()
    assert_scored_as_recorded(runs[1])


def assert_scored_as_recorded(run):
    """Hold metrics.json against scores of the run's predictions; `test_one_truth` has the page."""
    found, own = read_predictions(run).of_split("test"), read_metrics(run).of_reported
    scored = {s.metric: s for s in score_tasks(found, Resampling()) if s.task == "y"}
    assert set(scored) == set(own.tasks["y"].metrics)
    for name, metric in own.tasks["y"].metrics.items():
        ends = scored[name].interval or (None, None)
        assert (scored[name].value, *ends) == (metric.value, metric.low, metric.high), name
    (held,) = score_coverage(found).values()
    assert own.intervals == {"y": held.to_dict()}
