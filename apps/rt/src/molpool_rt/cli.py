"""The commands of molpool-rt. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from molpool_common import Command, Program

PROG = "molpool-rt"


def _command(
    name: str, config: str, summary: str, example: str, first: tuple[str, ...] = ()
) -> Command:
    def run(options: Any, argv: Sequence[str]) -> None:
        work: Callable[..., None] = getattr(import_module("molpool_rt._commands"), name)
        work(options, [PROG, name, *argv])

    where = f"molpool_pipelines.retention:{config}"
    return Command(summary, where, run, example=example, first=first)


_COMMANDS = (
    (
        "prepare", "PrepareConfig", "check a table, give nested ids, cap, fill gaps",
        "--data peaks.csv --species-raw matrix --cluster-raw group --compound-col compound "
        "--save-dir prepared",
        ("--data", "--save-dir", "--layout", "--species-raw", "--cluster-raw", "--compound-col",
         "--target-col", "--run-col", "--covariates", "--like"),
    ),
    (
        "fit", "FitConfig", "fit coefficients of every (group, compound)",
        "--data prepared/rows.parquet --save-dir runs/rt",
        ("--data", "--save-dir", "--model", "--structure", "--compound-col", "--target-col",
         "--covariates", "--run-col", "--likelihood", "--run-effects"),
    ),
    (
        "predict", "PredictConfig", "predict a table, with intervals",
        "--artefact runs/rt --data prepared_new/rows.parquet --output predicted.csv",
        ("--artefact", "--data", "--output", "--level", "--compound-col", "--keep-cols",
         "--absent-covariates", "--descriptors", "--overwrite"),
    ),
    (
        "evaluate", "EvaluateConfig", "errors and coverage of fits on other rows",
        "--artefacts runs/rt --data prepared_later/rows.parquet --save-dir runs/check",
        ("--artefacts", "--data", "--save-dir", "--baselines", "--split-type", "--cv.folds",
         "--run-col", "--require-seen-group", "--rare-rows", "--overwrite"),
    ),
    (
        "coefficients", "CoefficientsConfig", "a table of the coefficients of a fit",
        "--artefact runs/rt --output coefficients.csv",
    ),
    (
        "windows", "WindowsConfig", "windows of retention time for an instrument's method",
        "--artefact runs/rt --prepared prepared --level 0.95 --output windows.csv",
    ),
    (
        "plot", "PlotConfig", "figures of fits and of their evaluation",
        "--runs runs/rt --evaluation runs/check --save-dir figures",
    ),
    (
        "report", "ReportConfig", "one HTML page and one PDF of fits and evaluation",
        "--runs runs/rt --evaluation runs/check --output report.html",
    ),
    (
        "simulate", "SimulateRunConfig", "write the tables of a synthetic laboratory",
        "--n-species 20 --n-compounds 50 --save-dir laboratory",
        ("--save-dir", "--n-species", "--n-clusters", "--n-compounds", "--n-covariates",
         "--runs-per-species", "--test-runs-per-species", "--noise-sd", "--format", "--seed"),
    ),
    (
        "shift", "ShiftRunConfig", "the covariate-shift study on simulated laboratories",
        "--replicates 5 --save-dir runs/shift",
        ("--save-dir", "--replicates", "--anchors", "--alpha", "--bins", "--inferred-clusters",
         "--simulate.n-species", "--simulate.n-compounds", "--seed", "--overwrite"),
    ),
    (
        "run", "RunConfig", "simulate or take tables, fit, evaluate, report: all in one",
        "--train laboratory/train.parquet --test laboratory/test.parquet --save-dir runs/all",
        ("--train", "--test", "--save-dir", "--compound-col", "--target-col", "--covariates",
         "--run-col", "--descriptors", "--title", "--overwrite"),
    ),
)  # fmt: skip

PROGRAM = Program(
    PROG,
    "Retention times with partially pooled drift: fit, predict, evaluate.",
    {row[0]: _command(*row) for row in _COMMANDS},
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-rt and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    return PROGRAM(argv)


if __name__ == "__main__":
    sys.exit(main())
