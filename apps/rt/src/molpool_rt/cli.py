"""Entry point of molpool-rt. Heavy imports happen once a command really runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import molpool_pipelines.retention as rt
from molpool_common import Command, dispatch, parse_config

PROG = "molpool-rt"

# Command, which is a function of `_commands`: its configuration, its summary.
COMMANDS = {
    "prepare": ("PrepareConfig", "check a table, give nested ids, cap, fill gaps"),
    "fit": ("FitConfig", "fit coefficients of every (group, compound)"),
    "predict": ("PredictConfig", "predict a table, with intervals"),
    "evaluate": ("EvaluateConfig", "errors and coverage of fits on other rows"),
    "coefficients": ("CoefficientsConfig", "a table of the coefficients of a fit"),
    "windows": ("WindowsConfig", "windows of retention time for an instrument's method"),
    "plot": ("PlotConfig", "figures of fits and of their evaluation"),
    "report": ("ReportConfig", "one HTML page and one PDF of fits and evaluation"),
    "simulate": ("SimulateRunConfig", "write the tables of a synthetic laboratory"),
    "shift": ("ShiftRunConfig", "the covariate-shift study on simulated laboratories"),
    "run": ("RunConfig", "simulate or take tables, fit, evaluate, report: all in one"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run molpool-rt and return its exit code: 0 done, 2 wrong input, 1 a fault of ours."""
    commands = {
        name: Command(summary, partial(_run, name)) for name, (_, summary) in COMMANDS.items()
    }
    title = "Retention times with partially pooled drift: fit, predict, evaluate."
    return dispatch(PROG, title, commands, argv)


def _run(name: str, argv: Sequence[str]) -> None:
    config, summary = COMMANDS[name]
    model: Any = getattr(rt, config)
    description = summary[0].upper() + summary[1:] + "."
    options = parse_config(model, argv, prog=f"{PROG} {name}", description=description)
    getattr(import_module("molpool_rt._commands"), name)(options, [PROG, name, *argv])


if __name__ == "__main__":
    sys.exit(main())
