"""A single task's error ratio is called RAE; the mean over tasks alone is the MA-RAE."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_pipelines.evaluation import compare
from molpool_pipelines.reports import run_page
from molpool_pipelines.scores import CompareConfig, headline

TASKS = ("LogD", "KSOL")


def make_runs(folder: Path, tasks: tuple[str, ...]) -> list[Path]:
    rng = np.random.default_rng(5)
    runs = []
    for name in ("first", "second"):
        columns: dict[str, object] = {"id": [f"M{i}" for i in range(20)], "split": ["test"] * 20}
        for task in tasks:
            columns[task] = np.arange(20.0)
            columns[f"{task} predicted"] = np.arange(20.0) + rng.normal(size=20)
        runs.append(folder / name)
        runs[-1].mkdir()
        pl.DataFrame(columns).write_parquet(runs[-1] / "predictions.parquet")
    return runs


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_page_of_a_run_and_headline_of_a_comparison(tmp_path: Path, n_tasks: int) -> None:
    runs = make_runs(tmp_path, TASKS[:n_tasks])
    page = run_page(runs[0], "first")
    assert ">RAE<" in page
    assert ">MA-RAE<" not in page
    found, _ = compare(
        CompareConfig(predictions=[str(r) for r in runs], output=str(tmp_path / "c.csv"))
    )
    start = "RAE, LogD: " if n_tasks == 1 else "MA-RAE, mean over tasks: "
    assert headline(found).startswith(start)
