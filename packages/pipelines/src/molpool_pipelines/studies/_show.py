"""A study on the terminal: trials, best parameters, importances, baselines and the outer test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import answer
from molpool_common import console as new_console
from rich.console import Console
from rich.table import Table

from molpool_pipelines.runs import read_baselines, read_outer_scores
from molpool_pipelines.studies._queue import retried
from molpool_pipelines.studies._scoring import OuterScore
from molpool_pipelines.studies._snapshot import (
    StudySnapshot,
    importances,
    score,
    seconds_of,
    state_of,
)
from molpool_pipelines.studies._study import study_summary, summary
from molpool_pipelines.studies._trials import as_text, error_text, folds_of, params_of

_MOST_PARAMETERS = 6
"""Parameters of a trial that the list shows."""


def show(snapshot: StudySnapshot, n_best: int = 0, folder: Path | None = None) -> None:
    """Print a study.

    Parameters
    ----------
    snapshot : StudySnapshot
        The study.
    n_best : int
        How many of the best trials to list; 0 lists all trials in order.
    folder : Path, optional
        Its folder, where baselines and scores on the outer test may lie.
    """
    answer(**study_summary(snapshot, folder))
    console = new_console()
    identity, metric = snapshot.identity, snapshot.metric
    lines = [
        f"Study {snapshot.name} of {identity['kind']}: {metric}, {snapshot.direction}",
        summary(snapshot),
    ]
    _print(console, lines)
    console.print(_trials_table(snapshot, n_best))
    lines = []
    for trial in snapshot.complete()[:1]:
        lines += ["", f"Best: trial {trial.number}, {metric} {score(trial):.4f}"]
        lines += [f"  {name}: {as_text(value)}" for name, value in params_of(trial).items()]
    if shares := importances(snapshot):
        lines += ["", "Share of the variance of scores that a parameter explains"]
        lines += [f"  {share:5.2f}  {name}" for name, share in shares.items()]
    if folder is not None and (outcome := _outcome(folder)):
        lines += ["", *outcome]
    _print(console, lines)


def _print(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _trials_table(snapshot: StudySnapshot, n_best: int) -> Table:
    again = retried(snapshot.trials)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("trial", "score", "s"):
        table.add_column(head, justify="right")
    for head in ("state", "folds", "parameters"):
        table.add_column(head)
    # More than a line holds stand in trials.parquet and in the report.
    # All or none, so that the column holds one kind of thing.
    is_short = all(len(trial.params) <= _MOST_PARAMETERS for trial in snapshot.trials)
    done = snapshot.complete()
    for trial in done[:n_best] if n_best else snapshot.trials:
        star = "*" if done and trial is done[0] else " "
        params = f"{len(trial.params)} parameters"
        if is_short:
            named = ((n.rpartition(".")[2], as_text(v)) for n, v in trial.params.items())
            params = ", ".join(f"{name} {value}" for name, value in named)
        error = None if trial.number in again else error_text(trial)
        table.add_row(
            str(trial.number),
            (f"{score(trial):.4f}" if trial in done else "–") + star,
            f"{seconds_of(trial) or 0:.1f}",
            state_of(trial, again),
            " ".join(f"{fold['value']:.3f}" for fold in folds_of(trial)),
            error or params,
        )
    return table


def _outcome(folder: Path) -> list[str]:
    lines = []
    known = read_baselines(folder)
    if known is not None:
        lines.append(f"Not tuned, on the same inner folds: {known['metric']}")
        lines += [f"  {_number(m['inner'])}  {m['name']}" for m in known["models"]]
    for name, result in read_outer_scores(folder).items():
        lines.append(f"Outer test, {name}: {result['metric']}")
        for m in result["models"]:
            interval = "{:.4f} to {:.4f}".format(*m["interval"]) if m["interval"] else "–"
            lines.append(
                f"  {_number(m['outer'])} ({interval})  {m['name']}, inner {_number(m['inner'])}"
            )
    return lines


def result_table(metric: str, scores: Sequence[OuterScore]) -> Table:
    """Return scores on the outer test; ``gain``: how much better the best trial is."""
    title = f"{metric}, inner folds and outer test"
    table = Table(title=title, box=None, header_style="bold")
    table.add_column("model")
    for head in ("inner", "outer", "95 %", "optimism", "gain"):
        table.add_column(head, justify="right")
    for s in scores:
        table.add_row(
            s.name,
            _number(s.inner),
            _number(s.outer),
            "–" if s.interval is None else f"{s.interval.low:.4f} to {s.interval.high:.4f}",
            "–" if s.optimism is None else f"{s.optimism:+.4f}",
            "" if s.gain is None else f"{s.gain:+.4f}",
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
