"""Entry point of molpool-rt. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any

from molpool_common import Command, dispatch, parse_config

PROG = "molpool-rt"

# Command: its configuration, where it runs, its summary.
COMMANDS = {
    "prepare": ("PrepareConfig", "preparing", "check a table, number what nests, cap, fill gaps"),
    "fit": ("FitConfig", "fitting", "fit coefficients of every (group, compound)"),
    "predict": ("PredictConfig", "predicting", "predict a table, with intervals"),
    "evaluate": (
        "EvaluateConfig",
        "evaluating",
        "errors and coverage of fits on other rows",
    ),
    "plot": ("PlotConfig", "plotting", "figures of fits and of their evaluation"),
    "report": ("ReportConfig", "reporting", "one HTML page and one PDF of fits and evaluation"),
    "simulate": ("SimulateRunConfig", "simulating", "write the tables of a synthetic laboratory"),
    "shift": ("ShiftRunConfig", "shifting", "the covariate-shift study on simulated laboratories"),
    "run": ("RunConfig", "running", "simulate or take tables, fit, evaluate, report: all in one"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-rt and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    commands = {
        name: Command(summary, _runner(name, config, module, summary))
        for name, (config, module, summary) in COMMANDS.items()
    }
    return dispatch(
        PROG, "Retention times with partially pooled drift: fit, predict, judge.", commands, argv
    )


def _runner(name: str, config: str, module: str, summary: str) -> Callable[..., int | None]:
    return partial(_run, name, config, module, summary[0].upper() + summary[1:] + ".")


def _run(name: str, config: str, module: str, description: str, argv: Sequence[str]) -> int | None:
    model: Any = getattr(import_module("molpool_pipelines.retention.config"), config)
    options = parse_config(model, argv, prog=f"{PROG} {name}", description=description)
    run: Callable[..., int | None] = import_module(f"molpool_pipelines.retention.{module}").main
    return run(options, [PROG, name, *argv])


if __name__ == "__main__":
    sys.exit(main())
