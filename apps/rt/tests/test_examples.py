"""The examples of `--help`, typed one after another."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from molpool_rt.cli import PROGRAM, main

COMPOUNDS = 4


def peaks(runs: range) -> pl.DataFrame:
    rng = np.random.default_rng(runs.start)
    rows = [
        (matrix, "blood", f"{matrix}-{run:02}", compound, 3 + 2 * compound + 0.05 * rng.normal())
        for matrix in ("plasma", "serum")
        for run in runs
        for compound in range(COMPOUNDS)
    ]
    return pl.DataFrame(rows, ["matrix", "group", "run", "compound", "rt"], orient="row")


def example(name: str) -> list[str]:
    return [name, *shlex.split(PROGRAM.commands[name].example)]


def test_each_reads_what_those_before_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    peaks(range(8)).write_csv("peaks.csv")
    assert main(example("prepare")) == 0
    for n, later in enumerate(("prepared_later", "prepared_new")):
        peaks(range(8 + n, 10 + n)).write_csv("peaks.csv")
        again = example("prepare")
        again[again.index("prepared")] = later
        assert main([*again, "--like", "prepared"]) == 0
    for name in ("fit", "predict", "evaluate", "coefficients", "windows", "plot", "report"):
        assert main(example(name)) == 0, name
    assert pl.read_csv("predicted.csv").height == 4 * COMPOUNDS


def test_the_tables_of_run_are_those_of_simulate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*example("simulate"), "--n-species", "4", "--n-compounds", "6"]) == 0
    asked = example("run")
    assert all(Path(asked[asked.index(flag) + 1]).is_file() for flag in ("--train", "--test"))
