"""A table small enough to measure on in a second, and the command as a user calls it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

SMILES = (
    *("CCO", "CCN", "CCC", "c1ccccc1", "CC(=O)O", "CCCl", "CCBr", "c1ccncc1", "CCOC", "CC#N"),
    *("CCCC", "OCCO", "CCS", "CCF", "CC=O", "CCCO", "CCCN", "OCC(O)CO", "C1CCCCC1", "c1ccoc1"),
)
TASKS = ("LogD", "KSOL", "hERG", "CLint")
WriteTable = Callable[..., Path]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the user's is read, and nothing written but below `tmp_path`."""
    monkeypatch.setenv("MOLPOOL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small gain nothing from threads, which wait for one another on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Write a table whose named columns are replaced or added."""

    def write(name: str = "table.csv", **whole: Sequence[str]) -> Path:
        n = len(SMILES)
        table: dict[str, Sequence[str]] = {
            "SMILES": SMILES,
            "LogD": [f"{0.5 * i:g}" for i in range(n)],
            "KSOL": [f"{(7 * i) % n}" for i in range(n)],
            "hERG": [f"{(3 * i) % 11}" if i % 3 else "" for i in range(n)],
            "CLint": [f"{-0.5 * i:g}" for i in range(n)],
        }
        table |= whole
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([list(table), *zip(*table.values(), strict=True)])
        return path

    return write


def call(*arguments: object) -> Outcome:
    """Run ``molpool-affinity`` in this process."""
    from molpool_affinity.cli import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([str(a) for a in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run() -> Run:
    return call


@pytest.fixture
def small(write_table: WriteTable) -> list[str]:
    """Flags of a measurement that takes a second."""
    return [
        *("--data-path", str(write_table()), "--target-columns", *TASKS),
        *("--affinity-batch-size", "5", "--n-bootstrap", "5", "--device", "cpu"),
    ]


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail and write nothing; return its message."""

    def call(*arguments: object) -> str:
        before = _files(tmp_path)
        outcome = run(*arguments)
        assert outcome.code == 2, outcome
        assert _files(tmp_path) == before, "something was written"
        assert outcome.err.startswith("molpool-affinity: ")
        assert outcome.err.count("\n") == 1, "one message of one line"
        return outcome.err

    return call


def _files(folder: Path) -> list[tuple[Path, int]]:
    kept = (p for p in folder.rglob("*") if "cache" not in p.parts)
    return sorted((p, p.stat().st_mtime_ns) for p in kept)
