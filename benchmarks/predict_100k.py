"""Claim: molpool-evaluate predict predicts at least twice as many molecules a second as chemprop
predict, of 100 000 different SMILES and the same checkpoint, in no more memory.

Whole processes, in turn, so that what else the machine does falls on both: one model of default
size and six tasks (random weights: nothing trained is quicker or slower), the first 100 000
different SMILES of mil-qsar-chembl200 (needs MOLPOOL_DATA or `molpool-data fetch
mil-qsar-chembl200`). Chemprop runs as it is by default; its quickest options (featurisation by
cuik-molmaker, batches of 256) are timed beside it, without a claim. Both write CSV, and the numbers
of all three must agree. Memory is the largest resident set of a process.

    uv run python benchmarks/predict_100k.py [--rows 100000] [--rounds 1] [--million]

`--million` predicts the table ten times over too: the time a molecule may then be at most 10 %
longer than that of the 100 000 (both less the start), and memory at most 10 % more.

Physical limit: the matrix products, 31 MFLOP a molecule of 27 atoms and 58 directed bonds, which
take 20 s of 100 000 molecules on two cores at 80 GFLOP/s each; then the reading of SMILES in C++,
100 us a molecule and core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from chemprop_multitask import ChempropConfig, ChempropModel
from claims import Claim, settle
from molpool_pipelines.datasets import locate

BAR, LINEAR, FLAT = 2.0, 1.1, 1.1
TASKS = ["LogD", "KSOL", "HLM", "MLM", "Caco", "MPPB"]
BIN = Path(sys.executable).parent

# Bytecode is kept, as on a user's machine: else each start would compile torch anew.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Run:
    """Wall time and processor time, s, and the largest resident set, MB, of a process."""

    wall: float
    cpu: float
    memory: float


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--million", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, table = inputs(folder, asked.rows)
        ours(folder, model, table.with_name("few.csv"))  # warms the file cache
        runs: dict[str, list[Run]] = {}
        for _ in range(asked.rounds):
            runs.setdefault("ours", []).append(ours(folder, model, table))
            runs.setdefault("chemprop", []).append(chemprop(folder, model, table))
            runs.setdefault("chemprop, quickest options", []).append(
                chemprop(folder, model, table, quick=True)
            )
        agree(folder)
        claims = against_chemprop(runs, asked.rows)
        if asked.million:
            claims += scale(folder, model, table, runs["ours"][-1], asked.rows)
    return settle(*claims)


def inputs(folder: Path, rows: int) -> tuple[Path, Path]:
    """Write the model, the table, and one of few rows."""
    smiles = pl.read_csv(locate("mil-qsar-chembl200"), columns=["SMILES"])["SMILES"]
    frame = pl.DataFrame({"SMILES": smiles.unique(maintain_order=True).head(rows)})
    if frame.height < rows:
        raise SystemExit(f"expected {rows} different SMILES; found {frame.height}")
    frame.write_csv(folder / "table.csv")
    frame.head(100).write_csv(folder / "few.csv")
    model = ChempropModel.from_config(ChempropConfig(), task_names=TASKS, seed=0)
    model.save(folder / "model.pt")
    return folder / "model.pt", folder / "table.csv"


def ours(folder: Path, model: Path, table: Path) -> Run:
    return timed(
        [
            *(str(BIN / "molpool-evaluate"), "predict", "--model-dir", str(model)),
            *("--data-path", str(table), "--output", str(folder / "ours.csv")),
            *("--overwrite", "true"),
        ]
    )


def chemprop(folder: Path, model: Path, table: Path, *, quick: bool = False) -> Run:
    options = ["--use-cuikmolmaker-featurization", "-b", "256"] if quick else []
    output = folder / ("quick.csv" if quick else "chemprop.csv")
    return timed(
        [
            *(str(BIN / "chemprop"), "predict", "--model-paths", str(model), "-i", str(table)),
            *("-s", "SMILES", "-o", str(output), *options),
        ]
    )


def timed(command: list[str]) -> Run:
    start = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if os.waitstatus_to_exitcode(status):
            log.seek(0)
            raise SystemExit(f"{command[0]} failed:\n{log.read().decode()[-2000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def agree(folder: Path) -> None:
    """Stop unless all predicted the same numbers, to single precision."""
    found = pl.read_csv(folder / "ours.csv").select(TASKS).to_numpy()
    for name in ("chemprop.csv", "quick.csv"):
        theirs = pl.read_csv(folder / name).select(TASKS).to_numpy()
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-4, err_msg=name)


def against_chemprop(runs: dict[str, list[Run]], rows: int) -> list[Claim]:
    for name, each in runs.items():
        wall = statistics.median(run.wall for run in each)
        print(
            f"{name:27s}{rows / wall:7.0f} molecules/s  {wall:6.1f} s wall  "
            f"{statistics.median(run.cpu for run in each):6.1f} s processor  "
            f"{max(run.memory for run in each):6.0f} MB"
        )

    def ratio(peer: str) -> float:
        pairs = zip(runs[peer], runs["ours"], strict=True)
        return statistics.median(theirs.wall / own.wall for theirs, own in pairs)

    memory = max(r.memory for r in runs["ours"]) / max(r.memory for r in runs["chemprop"])
    print(f"{ratio('chemprop, quickest options'):.2f} times as fast as its quickest options")
    mine, theirs = (
        f"{rows / statistics.median(run.wall for run in runs[name]):.0f} molecules/s"
        for name in ("ours", "chemprop")
    )
    return [
        Claim("against chemprop predict", ratio("chemprop"), BAR, ours=mine, peer=theirs),
        Claim("memory, of chemprop's", memory, 1.0, at_most=True),
    ]


def scale(folder: Path, model: Path, table: Path, once: Run, rows: int) -> list[Claim]:
    start = ours(folder, model, table.with_name("few.csv"))
    frame = pl.read_csv(table)
    pl.concat([frame] * 10).write_csv(folder / "tenfold.csv")
    tenfold = ours(folder, model, folder / "tenfold.csv")
    slower = (tenfold.wall - start.wall) / 10 / (once.wall - start.wall)
    more = tenfold.memory / once.memory
    print(f"{10 * rows} rows: {tenfold.wall:.1f} s wall, {tenfold.memory:.0f} MB")
    return [
        Claim("time per molecule at ten times the rows", slower, LINEAR, at_most=True),
        Claim("memory at ten times the rows", more, FLAT, at_most=True),
    ]


if __name__ == "__main__":
    sys.exit(main())
