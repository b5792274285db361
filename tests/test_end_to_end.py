"""What a new user types, and what comes of it: the quickstart, and a run that is stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_evaluate.cli import main as evaluate
from molpool_pipelines.demo import DEMO_TASKS, build_demo
from molpool_pipelines.runs import read_run_predictions
from molpool_train.cli import main as train

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).with_name("molpool-train")
EPOCHS = 40
"""Enough to be stopped among them."""

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    # One thread: the tests may share two cores with others.
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def test_the_quickstart_of_the_readme_ends_with_a_table_and_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"uv run molpool-train (chemprop --config (\S+))", readme)
    assert command is not None
    config = ROOT / command.group(2)
    code = train(["chemprop", "--config", str(config), "--training.epochs", "1"])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "synthetic" in said.out.lower()
    for task in DEMO_TASKS:
        assert re.search(rf"^│ {task} +│", said.out, re.MULTILINE)
    report = re.search(r"^Report: (.+)$", said.out, re.MULTILINE)
    assert report is not None
    page = (tmp_path / report.group(1)).read_text()
    assert page.startswith("<!doctype html>")
    assert ">Sampling<" in page
    assert_predicted_as_trained((tmp_path / report.group(1)).parent, build_demo())


def assert_predicted_as_trained(run: Path, table: pl.DataFrame) -> None:
    """Predict the table that a run was trained on: its rows, in their order and their units."""
    table.write_csv(run / "table.csv")
    flags = ["--data-path", str(run / "table.csv"), "--output", str(run / "again.parquet")]
    assert evaluate(["predict", "--model-dir", str(run), *flags]) == 0
    said, then = read_run_predictions(run, "again.parquet"), read_run_predictions(run)
    assert said["id"].to_list() == table["Molecule Name"].to_list()
    both = then.join(said, on="id", suffix=" again", validate="1:1")
    assert both.height == then.height
    for task in DEMO_TASKS:
        measured = table[task].drop_nulls().to_numpy()
        np.testing.assert_array_equal(said[task].drop_nulls().cast(pl.Float64), measured)
        names = [f"{task} predicted again", f"{task} predicted"]
        # Float32, in batches of other sizes.
        now, before = both.select(names).to_numpy().T
        np.testing.assert_allclose(now, before, atol=1e-4 * measured.std())


def _heed_ctrl_c() -> None:
    # A background job, as CI may be, hands an ignored Ctrl-C down to its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_interrupted_run_says_how_to_go_on_and_then_does(tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    build_demo(150).write_csv(table)
    arguments = [
        *("--data-path", str(table), "--target-columns", *DEMO_TASKS[:2]),
        *("--save-dir", "run", "--training.epochs", str(EPOCHS), "--training.patience", "99"),
        *("--baselines", "none"),
        *("--model.message-passing.hidden-size", "16"),
    ]
    command = [PROGRAM, "chemprop", *arguments]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_heed_ctrl_c,
    ) as process:
        log = tmp_path / "run" / "log.jsonl"
        deadline = time.monotonic() + 300
        while not (log.exists() and '"epoch": 1,' in log.read_text()):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "no second epoch in five minutes"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"--resume --save-dir run" in stderr
    assert b"Traceback" not in stderr
    assert not (tmp_path / "run" / "metrics.json").exists()

    monkeypatch.chdir(tmp_path)
    assert train(["chemprop", "--resume", "--save-dir", "run"]) == 0
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["event"] for e in events if e["event"] != "epoch"] == [
        "started",
        "interrupted",
        "resumed",
        "finished",
    ]
    # An epoch is told before its checkpoint is written: stopped in between, it is trained and told
    # once more, and comes out the same.
    told: dict[int, tuple[float, float]] = {}
    for e in events:
        if e["event"] == "epoch":
            losses = (e["train_loss"], e["val_loss"])
            assert told.setdefault(e["epoch"], losses) == losses
    assert list(told) == list(range(EPOCHS))
    predictions = read_run_predictions(tmp_path / "run")
    assert len(predictions) == 150
