"""What a new user types, in processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from molpool_pipelines.demo import DEMO_TASKS, build_demo
from molpool_pipelines.runs import read_run_predictions

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).with_name("molpool-train")

pytestmark = pytest.mark.slow


def environment() -> dict[str, str]:
    # One thread: the tests may share two cores with others.
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def train(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "chemprop", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False
    )


def test_the_quickstart_of_the_readme_ends_with_a_table_and_a_report(tmp_path):
    readme = (ROOT / "README.md").read_text()
    command = re.search(r"uv run molpool-train (chemprop --config (\S+))", readme)
    assert command is not None
    config = ROOT / command.group(2)
    run = train("--config", str(config), "--training.epochs", "2", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "synthetic" in run.stdout.lower()
    for task in DEMO_TASKS:
        assert re.search(rf"^│ {task} +│", run.stdout, re.MULTILINE)
    report = re.search(r"^Report: (.+)$", run.stdout, re.MULTILINE)
    assert report is not None
    page = (tmp_path / report.group(1)).read_text()
    assert page.startswith("<!doctype html>")
    assert ">Sampling<" in page


def _heed_ctrl_c() -> None:
    # A background job, as CI may be, hands an ignored Ctrl-C down to its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_an_interrupted_run_says_how_to_go_on_and_then_does(tmp_path):
    table = tmp_path / "table.csv"
    build_demo(150).write_csv(table)
    arguments = [
        *("--data-path", str(table), "--target-columns", *DEMO_TASKS[:2]),
        *("--save-dir", "run", "--training.epochs", "60", "--training.patience", "60"),
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

    resumed = train("--resume", "--save-dir", "run", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
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
    assert list(told) == list(range(60))
    predictions = read_run_predictions(tmp_path / "run")
    assert len(predictions) == 150
