"""Labels that are bounds: read from modifier columns, trained as bounds, kept out of metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common import validate_values
from molpool_pipelines.fitting import TrainChempropConfig, build_jobs, read_inputs
from molpool_pipelines.runs import read_run_predictions

TASKS = ["LogD", "KSOL"]
SIGNS = ["<", "=", ">", ""] * 6


@pytest.fixture
def signed(write_table: Any) -> Path:
    """LogD with every sign, KSOL with none."""
    return Path(write_table(**{"LogD modifier": SIGNS}))


def test_the_model_is_told_of_them(signed: Path) -> None:
    config = validate_values(
        TrainChempropConfig,
        {
            "data_path": str(signed),
            "data": {"target_columns": TASKS, "modifier_columns": {"LogD": "LogD modifier"}},
        },
    )
    inputs = read_inputs(config)
    (trainee,) = build_jobs(config, inputs)
    wanted = {"<": -1, ">": 1}
    for data, table in ((trainee.train, inputs.tables.train), (trainee.val, inputs.tables.val)):
        signs = [wanted.get(SIGNS[row - 1], 0) for row in table.origin["row"]]
        assert data.censoring is not None
        np.testing.assert_array_equal(data.censoring, [[sign, 0] for sign in signs])


@pytest.mark.slow
def test_a_run_with_bounds(run: Any, small: list[str], signed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    start = small.index("--data.split-ratios")  # past what is of the demo
    outcome = run(
        *small[start:], "--page", "true", "--data-path", signed, "--target-columns", *TASKS,
        "--data.modifier-suffix", " modifier", "--data.split-ratios", "0.5", "0", "0.5",
        "--training.epochs", 1, "--save-dir", folder,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "LogD 6 <, 6 >" in outcome.out
    assert "exact labels only" in " ".join(outcome.out.split())
    assert "exact labels only" in (folder / "report.html").read_text()
    said = read_run_predictions(folder)
    # An empty cell is a value, as "=" is.
    assert said["LogD modifier"].to_list() == [SIGNS[row - 1] or "=" for row in said["row"]]
    assert set(said["KSOL modifier"]) == {"="}
    test = said.filter(split="test")
    exact = test.filter(pl.col("LogD modifier") == "=")
    assert 0 < len(exact) < len(test)
    tasks = json.loads((folder / "metrics.json").read_text())["splits"]["test"]["tasks"]
    assert (tasks["LogD"]["n"], tasks["KSOL"]["n"]) == (len(exact), len(test))
    mae = (exact["LogD"] - exact["LogD predicted"]).abs().mean()
    assert tasks["LogD"]["metrics"]["mae"]["value"] == pytest.approx(mae, rel=1e-9)
