"""`molpool-hpo show`: a study on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from molpool_common import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from molpool_pipelines.studies.stored import StoredStudy

MOST_SHOWN = 6
"""Parameters of a trial that the list shows."""


@dataclass(frozen=True)
class ShowOptions:
    """List the trials of a study, its best parameters and what mattered.

    Attributes
    ----------
    study_dir
        Folder of the study.
    storage
        Where the study is kept, if the folder's note of it lacks the password.
    best
        How many of the best trials to list; 0 lists all trials in order.
    """

    study_dir: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    storage: Annotated[str | None, tyro.conf.arg(metavar="URL|FILE")] = None
    best: int = 0


def main(argv: Sequence[str]) -> int:
    """Print a study; returns the exit code."""
    options = tyro.cli(ShowOptions, prog="molpool-hpo show", args=list(argv))
    if options.best < 0:
        raise InputError("--best", expected="0 or more", found=str(options.best))

    from molpool_pipelines.studies.stored import read_study

    show(read_study(options.study_dir, options.storage), options.best)
    _show_outcome(options.study_dir)
    return 0


def _show_outcome(folder: Path) -> None:
    from rich.console import Console

    from molpool_pipelines.studies.results import outcome_lines

    lines = outcome_lines(folder)
    for line in ["", *lines] if lines else []:
        Console().print(line, highlight=False, markup=False, soft_wrap=True)


def show(stored: StoredStudy, n_best: int = 0) -> None:
    """Print trials, best parameters and importances of a study."""
    from rich.console import Console

    from molpool_pipelines.studies.importances import importances
    from molpool_pipelines.studies.monitor import summary
    from molpool_pipelines.studies.stored import score
    from molpool_pipelines.studies.trials import as_text, params_of

    console = Console()

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    identity = stored.identity
    say(f"Study {stored.name} of {identity['kind']}: {stored.metric}, {stored.direction}")
    say(summary(stored))
    console.print(_trials_table(stored, n_best))
    for trial in stored.complete()[:1]:
        say(f"\nBest: trial {trial.number}, {stored.metric} {score(trial):.4f}")
        for name, value in params_of(trial).items():
            say(f"  {name}: {as_text(value)}")
    shares = importances(stored)
    if shares:
        say("\nShare of the variance of scores that a parameter explains")
        for name, share in shares.items():
            say(f"  {share:5.2f}  {name}")


def _trials_table(stored: StoredStudy, n_best: int) -> Table:
    from rich.table import Table

    from molpool_pipelines.studies.queue import retried
    from molpool_pipelines.studies.stored import score
    from molpool_pipelines.studies.table import seconds_of, state_of
    from molpool_pipelines.studies.trials import as_text, error_text, folds_of

    again = retried(stored.trials)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("trial", "score", "s"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("state", "folds", "parameters"):
        table.add_column(head, no_wrap=head == "state")
    # More than a line holds stand in trials.parquet and in the report.
    is_short = all(len(trial.params) <= MOST_SHOWN for trial in stored.trials)
    done = stored.complete()
    for trial in done[:n_best] if n_best else stored.trials:
        star = "*" if done and trial is done[0] else " "
        said = ", ".join(f"{_last(n)} {as_text(v)}" for n, v in trial.params.items())
        params = said if is_short else f"{len(trial.params)} parameters"
        table.add_row(
            str(trial.number),
            (f"{score(trial):.4f}" if trial in done else "–") + star,
            f"{seconds_of(trial) or 0:.1f}",
            state_of(trial, again),
            " ".join(f"{fold['value']:.3f}" for fold in folds_of(trial)),
            error_text(trial) if trial.number not in again and error_text(trial) else params,
        )
    return table


def _last(name: str) -> str:
    return name.rpartition(".")[2]
