"""`molpool-rt plot`: the figures of fits and of their evaluation, as files."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import InputError
from rich.console import Console

from molpool_pipelines.retention.config import PlotConfig
from molpool_pipelines.retention.evaluation import Evaluation
from molpool_pipelines.retention.figures import (
    Drawn,
    FittedRun,
    evaluation_figures,
    fit_figures,
    save,
)
from molpool_pipelines.retention.folder import free_folder, open_folder


def main(config: PlotConfig, arguments: Sequence[str]) -> None:
    """Draw and write every figure, and name the files."""
    path = free_folder(config, "plot")
    if not config.runs and config.evaluation is None:
        raise InputError("runs", expected="folders of fits, or --evaluation", found="neither")
    drawn: list[Drawn] = []
    for folder in config.runs:
        drawn += fit_figures(FittedRun.load(folder))
    if config.evaluation is not None:
        drawn += evaluation_figures(Evaluation.load(config.evaluation))
    run = open_folder(config, path, arguments)
    console = Console(highlight=False, soft_wrap=True)
    for file in save(drawn, run.path, config.formats):
        console.print(str(file))
    run.log("finished", figures=len(drawn))
