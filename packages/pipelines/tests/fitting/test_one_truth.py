"""One run, one number: its page, metrics.json, score and compare agree to the last digit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from molpool_common import IN_UNITS, LABELS, RunFolder
from molpool_pipelines.demo import build_demo
from molpool_pipelines.evaluation import compare, score_predictions
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.fitting._results import results_of, write_results
from molpool_pipelines.runs import read_metrics
from molpool_pipelines.scores import CompareConfig, ScoreConfig
from molpool_pipelines.tables import DataConfig, MoleculeTable, load_molecules

TASKS = ("LogP", "QED")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> MoleculeTable:
    file = tmp_path_factory.mktemp("table") / "demo.csv"
    build_demo(150, seed=0).write_csv(file)
    return load_molecules(DataConfig(target_columns=list(TASKS)), str(file))


def write_run(folder: Path, table: MoleculeTable, noise: float, *, page: bool) -> Path:
    rng = np.random.default_rng(int(100 * noise))
    n = len(table)
    said = table.targets + noise * np.nanstd(table.targets, axis=0) * rng.normal(size=(n, 2))
    # Some labels are bounds, which metrics leave out.
    signs = np.zeros((n, 2), dtype=np.int8)
    signs[::9, 0] = 1
    rows = np.arange(n)
    parts = [
        PredictedRows(split, replace(table, censoring=signs).take(of), said[of])
        for split, of in (("val", rows[:80]), ("test", rows[80:]))
    ]
    results = results_of(parts, ("regression", "regression"))
    if not page:
        folder.mkdir()
        results.predictions.write_parquet(folder / "predictions.parquet")
        return folder
    write_results(
        RunFolder.create(folder, overwrite=False, arguments=[]), results, "tabular", [], {}, 0
    )
    return folder


def test_labels_of_which_nothing_is_predicted_are_left_out_and_said(table: MoleculeTable) -> None:
    rows = table.take(np.flatnonzero(np.isfinite(table.targets).all(axis=1))[:20])
    mean = rows.targets + 1.0
    mean[:5, 1] = np.nan  # as of a fold whose models saw no label of the task
    results = results_of([PredictedRows("val", rows, mean)], ("regression", "regression"))
    assert [task.n for task in results.metrics["val"].tasks] == [20, 15]
    assert any(
        note.startswith("Labels left out") and "features: QED 5." in note for note in results.notes
    )
    assert set(results.record("tabular", "run", []).splits["val"].tasks) == set(TASKS)


def test_page_metrics_score_and_compare_agree(table: MoleculeTable, tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "a", table, 0.4, page=True)]
    runs.append(write_run(tmp_path / "b", table, 0.8, page=False))
    own = read_metrics(runs[0]).of_reported
    scores, folder = score_predictions(
        ScoreConfig(predictions=str(runs[0]), save_dir=str(tmp_path / "scores"))
    )
    scored = read_metrics(folder).of_reported
    compared, _ = compare(
        CompareConfig(
            predictions=[str(r) for r in runs],
            output=str(tmp_path / "c" / "c.csv"),
            min_labels=2,
        )
    )
    page = (runs[0] / "report.html").read_text(encoding="utf-8")
    assert set(own.tasks) == set(TASKS)
    for task in TASKS:
        assert own.tasks[task] == scored.tasks[task]
        for value in compared.values:
            if (value.task, value.model) == (task, compared.models[0]):
                theirs = own.tasks[task].metrics[value.metric]
                # Sums over rows in another order; intervals are of one order everywhere.
                assert value.value == pytest.approx(theirs.value, rel=1e-12)
                assert (value.low, value.high) == (theirs.low, theirs.high)
        for name, metric in own.tasks[task].metrics.items():
            of_score = scores.of(task, name)
            assert of_score is not None
            assert of_score.value == metric.value
            # Exact numbers stand behind what the page prints.
            assert f'data-value="{metric.value}"' in page, LABELS[name]
    assert set(scored.macro) == set(own.macro) - IN_UNITS
    for name, mean in scored.macro.items():
        theirs = own.macro[name]
        assert (mean.value, mean.low, mean.high) == (theirs.value, theirs.low, theirs.high)
    assert own.bounds == scored.bounds != {}
    assert own.intervals == scored.intervals != {}
    page = page[page.index(">Intervals</h2>") :]
    for task, of in own.intervals.items():
        shown = re.search(rf"<tr><td>{task}</td><td[^>]*>{of['n']}</td><td[^>]*>([\d.]+)", page)
        assert shown is not None
        assert shown[1] == f"{100 * of['inside']:.1f}"
