"""Bad inputs: exit code 2, one message, no traceback, nothing left, in seconds and no gigabytes."""

from __future__ import annotations

import io
import os
import resource
import shlex
import tarfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "runs_2026_11.tar.xz"
SECONDS, KILOBYTES = 5.0, 1 << 20
LOADED = {
    "fitting": "train_chemprop train_tabular train_mil train_auto",
    "studies": "run_study retrain show chemprop_problem tabular_problem mil_problem",
    "models": "predict_table",
    "affinity": "measure_table",
    "evaluation": "score_predictions compare report",
    "retention": "fit report shift",
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with good tables and what earlier runs left."""
    folder = tmp_path_factory.mktemp("good")
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(folder, filter="data")
    # Loaded with the first command that gets so far, whose seconds they are not.
    for room, names in LOADED.items():
        for name in names.split():
            getattr(import_module(f"molpool_pipelines.{room}"), name)
    return folder


@pytest.fixture
def folder(good: Path, bad, bank, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in that folder, with the bad files that a command line names."""
    before = held(good)
    made = bank.make(bad, good, good.parent)
    monkeypatch.chdir(good)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    yield good
    for path in made:
        bank.remove(path)
    # Of the next input, this one must not be the reason.
    assert held(good) == before


def held(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of all that is in a folder."""
    found = {}
    for root, folders, files in os.walk(folder):
        found |= {os.path.join(root, name): (0, 0) for name in folders}
        for name in files:
            status = os.lstat(os.path.join(root, name))
            found[os.path.join(root, name)] = (status.st_size, status.st_mtime_ns)
    return found


def test_there_are_many(bank) -> None:
    assert len(bank.CASES) >= 300
    commands = {" ".join(shlex.split(case.line)[:2]) for case in bank.CASES}
    assert len(commands) >= 29


def test_it_is_refused(bad, folder: Path) -> None:
    before = held(folder)
    words = shlex.split(bad.line)
    out, err = io.StringIO(), io.StringIO()
    memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with redirect_stdout(out), redirect_stderr(err):
        code = import_module(f"molpool_{words[0]}.cli").main(words[1:])
    said = err.getvalue() + out.getvalue()
    assert code == 2, said
    assert bad.says in said
    assert "Traceback" not in said
    assert held(folder) == before
    assert time.process_time() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < KILOBYTES
