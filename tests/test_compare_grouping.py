"""The comparison of one model a task, one of all tasks, and task groups, as its script runs it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "studies" / "compare_grouping.sh"


@pytest.mark.slow
def test_script_trains_three_models_and_compares_them(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"EPOCHS": "1", "MOLECULES": "150", "N_GROUPS": "2", "TASKS": "LogP,LogS"}
    ended = subprocess.run(
        ["bash", str(SCRIPT)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, **settings},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "results" / "final_comparison.json").read_text())
    assert found["models"] == ["single_task", "multi_task", "multi_head"]
    assert (found["design"], found["n_rows"]) == ("test_set", 30)
    rows = (tmp_path / "results" / "final_comparison.csv").read_text().splitlines()
    pairs = {(r["model_a"], r["model_b"]) for r in csv.DictReader(rows)}
    assert len(pairs) == 3
    assert "Paired bootstrap over the 30 molecules" in ended.stdout
