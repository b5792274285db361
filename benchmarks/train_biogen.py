"""Claim: molpool-train chemprop needs at most half the wall time of chemprop train.

Whole processes, in turn, on the same Biogen table (3 521 molecules, six endpoints, MIT; needs
MOLPOOL_DATA or `molpool-data fetch biogen`): same architecture, loss, split, batch size and epochs,
three seeds. The mean absolute error on the test rows must be no worse than Chemprop's by more than
the spread between seeds.

Physical limit: the matrix products, about 4.8 GFLOP a step (see message_passing.py), plus a start
of about ten seconds in which both import torch.

    uv run python benchmarks/train_biogen.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from claims import Claim, settle
from molpool_pipelines.datasets import locate
from molpool_pipelines.runs import read_run_predictions

BAR = 0.5
EPOCHS, BATCH, SEEDS = 10, 64, (0, 1, 2)
WARM = "import chemprop.cli.main; from molpool_pipelines.fitting import build_jobs; build_jobs"
BIN = Path(sys.executable).parent
TASKS = [
    "LOG HLM_CLint (mL/min/kg)",
    "LOG MDR1-MDCK ER (B-A/A-B)",
    "LOG SOLUBILITY PH 6.8 (ug/mL)",
    "LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound)",
    "LOG PLASMA PROTEIN BINDING (RAT) (% unbound)",
    "LOG RLM_CLint (mL/min/kg)",
]


# Bytecode is kept, as on a user's machine: else each start would compile torch anew.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def timed(command: list[str]) -> float:
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    if run.returncode != 0:
        raise SystemExit(f"{command[0]} exited with {run.returncode}:\n{run.stderr[-2000:]}")
    return time.perf_counter() - start


def ours(table: Path, folder: Path, seed: int) -> float:
    return timed(
        [
            *(str(BIN / "molpool-train"), "chemprop", "--data-path", str(table)),
            *("--target-columns", *TASKS, "--save-dir", str(folder), "--seed", str(seed)),
            *("--data.split-seed", "0", "--training.epochs", str(EPOCHS)),
            *("--training.batch-size", str(BATCH), "--training.patience", "None"),
            # Chemprop's own average, so that both minimise the same loss.
            *("--training.loss-average", "cell"),
        ]
    )


def theirs(table: Path, folder: Path, seed: int, splits: Path) -> float:
    return timed(
        [
            *(str(BIN / "chemprop"), "train", "--data-path", str(table)),
            *("--smiles-columns", "SMILES", "--target-columns", *TASKS),
            *("--splits-file", str(splits), "--save-dir", str(folder)),
            *("--pytorch-seed", str(seed), "--data-seed", str(seed), "--epochs", str(EPOCHS)),
            *("--batch-size", str(BATCH)),
            *("--depth", "3", "--message-hidden-dim", "300", "--aggregation", "mean"),
            *("--ffn-num-layers", "2", "--ffn-hidden-dim", "300", "--num-workers", "0"),
        ]
    )


def splits_of(predictions: pl.DataFrame, path: Path) -> None:
    rows = {
        split: (predictions.filter(pl.col("split") == split)["row"] - 1).to_list()
        for split in ("train", "val", "test")
    }
    path.write_text(json.dumps([rows]))


def test_error(truth: pl.DataFrame, predicted: pl.DataFrame) -> float:
    """Mean over tasks of the mean absolute error; both frames in the same row order."""
    errors = [(truth[t] - predicted[t]).abs().drop_nulls().to_numpy().mean() for t in TASKS]
    return float(np.mean(errors))


def main() -> int:
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    errors: dict[str, list[float]] = {"ours": [], "theirs": []}
    # Untimed: the first start of either writes bytecode.
    subprocess.run([sys.executable, "-c", WARM], check=True, env=ENVIRONMENT)
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        table = work / "biogen.csv"
        pl.read_csv(locate("biogen")).select("SMILES", *TASKS).write_csv(table)
        for seed in SEEDS:
            seconds["ours"].append(ours(table, work / f"ours-{seed}", seed))
            predictions = read_run_predictions(work / f"ours-{seed}")
            splits = work / "splits.json"
            splits_of(predictions, splits)
            seconds["theirs"].append(theirs(table, work / f"theirs-{seed}", seed, splits))
            test = predictions.filter(pl.col("split") == "test")
            named = test.select(pl.col(f"{t} predicted").alias(t) for t in TASKS)
            peer = pl.read_csv(work / f"theirs-{seed}" / "model_0" / "test_predictions.csv")
            errors["ours"].append(test_error(test, named))
            errors["theirs"].append(test_error(test, peer))
    for who in ("ours", "theirs"):
        shown = " ".join(f"{s:.1f}" for s in seconds[who])
        print(f"{who:<7} {shown} s; test MAE {' '.join(f'{e:.4f}' for e in errors[who])}")
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["theirs"])
    worse = statistics.mean(errors["ours"]) - statistics.mean(errors["theirs"])
    spread = statistics.stdev(errors["theirs"])
    mine, chemprop = (f"{statistics.median(seconds[who]):.1f} s" for who in ("ours", "theirs"))
    return settle(
        Claim("time, of chemprop train's", ratio, BAR, at_most=True, ours=mine, peer=chemprop),
        Claim(
            "test error above chemprop's, in spreads of seeds", worse / spread, 1.0, at_most=True
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
