"""Tables small enough to train on in a second, and the command as a user calls it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

SMILES = [
    "CCO",
    "CCN",
    "CCC",
    "c1ccccc1",
    "CC(=O)O",
    "CCCl",
    "CCBr",
    "c1ccncc1",
    "CCOC",
    "CC#N",
    "CCCC",
    "OCCO",
    "CCS",
    "CCF",
    "CC=O",
    "CCCO",
    "CCCN",
    "OCC(O)CO",
    "C1CCCCC1",
    "c1ccoc1",
    "CC(C)O",
    "CC(C)N",
    "CNC",
    "COC",
]

Table = dict[str, list[str]]
WriteTable = Callable[..., Path]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]
Trained = tuple[Outcome, Path]


def columns() -> Table:
    """Return a table without a fault, as text by column."""
    n = len(SMILES)
    return {
        "SMILES": list(SMILES),
        "LogD": [f"{0.5 * i:g}" for i in range(n)],
        "KSOL": [f"{(7 * i) % n}" for i in range(n)],
        "Quality": [("high", "medium", "low")[i % 3] for i in range(n)],
    }


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small gain nothing from threads, which wait for one another on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture
def write_table(tmp_path: Path) -> WriteTable:
    """Write a table whose named cells (row from 1) or whole columns are replaced."""

    def write(cells: dict[tuple[str, int], str] | None = None, **whole: Sequence[str]) -> Path:
        table = columns() | {name: list(values) for name, values in whole.items()}
        for (name, row), value in (cells or {}).items():
            table[name][row - 1] = value
        path = tmp_path / "table.csv"
        with path.open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([list(table), *zip(*table.values(), strict=True)])
        return path

    return write


@pytest.fixture(scope="session")
def run() -> Run:
    """Run ``molpool-train chemprop`` in this process."""
    from molpool_train.cli import main

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["chemprop", *map(str, arguments)])
        return Outcome(code, out.getvalue(), err.getvalue())

    return call


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must fail; return its message."""

    def call(*arguments: object, save_dir: Path | None = None) -> str:
        folder = save_dir or tmp_path / "run"
        before = sorted(tmp_path.rglob("*"))
        outcome = run(*arguments, "--save-dir", folder)
        assert outcome.code == 2
        assert sorted(tmp_path.rglob("*")) == before, "something was written"
        assert outcome.err.startswith("molpool-train: ")
        assert outcome.err.count("\n") == 1, "one message of one line"
        assert "Traceback" not in outcome.err
        return str(outcome.err)

    return call


@pytest.fixture(scope="session")
def demo_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded demo, 150 molecules of it, as a CSV file."""
    from molpool_pipelines.demo import build_demo

    path = tmp_path_factory.mktemp("demo") / "demo.csv"
    build_demo(150, seed=1).write_csv(path)
    return path


@pytest.fixture(scope="session")
def small(demo_csv: Path) -> list[str]:
    """Flags of a run on the demo that trains in a second."""
    return [
        *("--data-path", str(demo_csv)),
        *("--target-columns", "LogP", "LogS", "QED"),
        *("--data.id-column", "Molecule Name"),
        *("--data.split-ratios", "0.6", "0.2", "0.2"),
        *("--model.message-passing.depth", "2"),
        *("--model.message-passing.hidden-size", "8"),
        *("--model.ffn.num-layers", "1"),
        *("--model.ffn.hidden-size", "8"),
        *("--training.batch-size", "16"),
        *("--training.accelerator", "cpu"),
        *("--training.epochs", "2"),
        *("--baselines", "none"),
        *("--page", "false"),
    ]


@pytest.fixture(scope="session")
def plain(run: Run, small: list[str], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of one epoch that shuffles, and its page; not to be changed."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    outcome = run(*small, "--page", "true", "--training.epochs", 1, "--save-dir", folder)
    assert outcome.code == 0, outcome.err
    return outcome, folder
