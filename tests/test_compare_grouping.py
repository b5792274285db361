"""The comparison of one model a task, one of all tasks, and task groups, as its script runs it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "studies" / "compare_grouping.sh"
RECORD = f"""#!{sys.executable}
import json, pathlib, sys
with open("commands.jsonl", "a") as file:
    file.write(json.dumps([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
"""


@pytest.mark.slow
def test_script_trains_three_models_and_compares_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("molpool-train", "molpool-evaluate"):
        # Written down, and run below: a process each takes seconds to start.
        (tmp_path / name).write_text(RECORD)
        (tmp_path / name).chmod(0o755)
    path = [str(tmp_path), str(Path(sys.executable).parent), os.environ["PATH"]]
    settings = {"EPOCHS": "1", "MOLECULES": "100", "N_GROUPS": "2", "TASKS": "LogP,LogS"}
    ended = subprocess.run(
        ["bash", str(SCRIPT)],
        cwd=tmp_path,
        env={**os.environ, "PATH": os.pathsep.join(path), **settings},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    monkeypatch.chdir(tmp_path)
    for line in Path("commands.jsonl").read_text().splitlines():
        command, *arguments = json.loads(line)
        main = import_module(f"{command.replace('-', '_')}.cli").main
        assert main(arguments) == 0, capsys.readouterr().err
    found = json.loads(Path("results/final_comparison.json").read_text())
    assert found["models"] == ["single_task", "multi_task", "multi_head"]
    assert (found["design"], found["n_rows"]) == ("test_set", 20)
    rows = Path("results/final_comparison.csv").read_text().splitlines()
    pairs = {(r["model_a"], r["model_b"]) for r in csv.DictReader(rows)}
    assert len(pairs) == 3
    assert "Paired bootstrap over the 20 molecules" in capsys.readouterr().out
