"""A change of unit is a change of unit and nothing else, from the table to the predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_evaluate.cli import main as evaluate
from molpool_pipelines.demo import build_demo
from molpool_train.cli import main as train

pytestmark = pytest.mark.slow

FLAGS = [
    *("--target-columns", "LogP", "LogS", "--data.id-column", "Molecule Name"),
    *("--model.message-passing.hidden-size", "16", "--model.ffn.hidden-size", "16"),
    *("--training.accelerator", "cpu", "--training.epochs", "6", "--training.batch-size", "16"),
    *("--data.split-ratios", "0.6", "0.2", "0.2", "--training.learning-rate", "0.01"),
    *("--baselines", "none"),
]


def predicted(folder: Path, units: tuple[float, float]) -> tuple[np.ndarray, dict]:
    """Train on the demo in other units; return predictions of all rows and the metrics."""
    folder.mkdir()
    columns = [(pl.col(t) * u).alias(t) for t, u in zip(("LogP", "LogS"), units, strict=True)]
    build_demo(150, seed=1).with_columns(columns).write_csv(folder / "table.csv")
    run, out = folder / "run", folder / "out.parquet"
    table = ["--data-path", str(folder / "table.csv")]
    assert train(["chemprop", *table, *FLAGS, "--save-dir", str(run)]) == 0
    assert evaluate(["predict", "--model-dir", str(run), *table, "--output", str(out)]) == 0
    values = pl.read_parquet(out).select("LogP", "LogS").to_numpy()
    metrics = json.loads((run / "metrics.json").read_text())["splits"]["test"]["tasks"]
    return values / np.array(units), metrics


def test_mol_per_litre_and_counts(tmp_path: Path) -> None:
    plain, metrics = predicted(tmp_path / "plain", (1.0, 1.0))
    assert (plain.std(axis=0) > 0.01).all()
    for name, units in (("small and large", (1e-9, 1e6)), ("smaller", (1e-15, 1e15))):
        other, own = predicted(tmp_path / name, units)
        np.testing.assert_allclose(other, plain, rtol=1e-6)
        for task, unit in zip(("LogP", "LogS"), units, strict=True):
            before, after = (m[task]["metrics"] for m in (metrics, own))
            assert after["ma_rae"]["value"] == pytest.approx(before["ma_rae"]["value"], rel=1e-6)
            assert after["rmse"]["value"] == pytest.approx(unit * before["rmse"]["value"], rel=1e-6)
