"""What the commands show: tables that fit 80 columns, what was left out, the files written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from molpool_common import LABELS, METRICS, Interval, mean_label
from molpool_pipelines.models import PredictedTable
from molpool_pipelines.runs import MACRO, rejected_beside
from molpool_pipelines.scores import (
    Comparison,
    Scored,
    Scores,
    headline,
    method,
)
from rich.console import Console
from rich.table import Table

SHOWN = ("mae", "ma_rae", "r2", "spearman", "roc_auc", "average_precision")
"""Metrics of the table, at most four of them, for those tasks that have them."""

WITH_INTERVAL = ("mae", "ma_rae", "roc_auc", "average_precision")
"""Those among them that are printed with their interval."""


def show_scores(scores: Scores, folder: Path, console: Console) -> None:
    """Print scores, uncertainty, decisions, strata, notes and the folder."""
    names = [m for m in SHOWN if any(s.metric == m for s in scores.overall)]
    for kind in ("regression", "classification"):
        own = [m for m in names if METRICS[m].task_type == kind]
        if own:
            console.print(_overall(scores, own))
    for there, table in (
        (scores.uncertainty, _uncertainty),
        (scores.intervals, _intervals),
        (scores.bounds, _bounds),
        (scores.limits, _limits),
        (scores.classes, _decisions),
    ):
        if there:
            console.print(table(scores))
    for kind in ("regression", "classification"):
        # Without MAE and R²: units and spread differ between strata, so that neither compares.
        own = [m for m in names if METRICS[m].task_type == kind and m not in {"mae", "r2"}]
        if scores.strata and own:
            console.print(_strata(scores, own))
    if any(s.metric == "ma_rae" for s in scores.overall) and scores.strata:
        console.print("RAE of a stratum is relative to the spread within it.")
    for line in (*_left_out(scores), *scores.notes):
        console.print(line, highlight=False, markup=False)
    console.print(f"Scores: {folder}", highlight=False, markup=False, soft_wrap=True)


def _overall(scores: Scores, names: Sequence[str]) -> Table:
    title = f"{scores.name}: {scores.split} rows, {100 * scores.level:g} % intervals"
    table = _table(title, "task", "n", *(LABELS[m] for m in names))
    tasks = list(dict.fromkeys(s.task for s in scores.overall if s.metric in names))
    for task in tasks:
        own = {s.metric: s for s in scores.overall if s.task == task}
        if task == MACRO:
            table.add_section()
        table.add_row(
            task,
            "" if task == MACRO else str(own[names[0]].n),
            *(_cell(own.get(m), with_interval=m in WITH_INTERVAL) for m in names),
        )
    return table


def _uncertainty(scores: Scores) -> Table:
    table = _table(
        "Uncertainty (calibrated: area 0, z sd 1)",
        "task", "n", "area", "in 95 %", "z sd", "ENCE", "rank corr.",
    )  # fmt: skip
    for task, u in scores.uncertainty.items():
        numbers = (u.miscalibration_area, u.coverage_95, u.spread, u.ence, u.rank_correlation)
        table.add_row(task, str(u.n), *(_number(x) for x in numbers))
    return table


def _intervals(scores: Scores) -> Table:
    heads = ("task", "n", "asked for, %", "inside, %", "median width")
    table = _table("Prediction intervals", *heads)
    for task, first in scores.intervals.items():
        for of in (first, *first.further):
            asked = "–" if of.level is None else f"{100 * of.level:g}"
            name = task if of is first else ""
            inside = f"{100 * of.inside:.1f}"
            table.add_row(name, str(of.n), asked, inside, _number(of.median_width))
    return table


def _bounds(scores: Scores) -> Table:
    heads = ("task", "n", "bounds", "MAE with bounds", "contradicted, %", "concordance")
    table = _table("Labels that are bounds", *heads)
    for task, of in scores.bounds.items():
        numbers = (_number(of.mae), f"{100 * of.contradicted:.1f}", _number(of.concordance))
        table.add_row(task, str(of.n), str(of.n_bounds), *numbers)
    return table


def _limits(scores: Scores) -> Table:
    heads = ("task", "n", "limit", "stand there, %", "mean probability, %", "Brier")
    table = _table("Probability of standing at a limit", *heads)
    for of in scores.limits:
        shares = (f"{100 * share:.1f}" for share in (of.share, of.mean))
        n, at = str(of.classes.n), f"{of.side} {of.limit:.4g}"
        table.add_row(of.task, n, at, *shares, _number(of.classes.brier))
    return table


def _decisions(scores: Scores) -> Table:
    table = _table(
        "Decisions and probabilities",
        "task", "positives", "at", "MCC", "precision", "recall", "Brier", "ECE",
    )  # fmt: skip
    for task, c in scores.classes.items():
        own = c.numbers()
        at = "stored" if c.threshold is None else f"{c.threshold:g}"
        cells = (own[k] for k in ("mcc", "precision", "recall", "brier", "ece"))
        table.add_row(task, f"{c.positives} of {c.n}", at, *(_number(x) for x in cells))
    return table


def _strata(scores: Scores, names: Sequence[str]) -> Table:
    """Return the means over tasks by stratum; of a single task, its values."""
    several = any(s.task == MACRO for s in scores.overall)
    title = "Strata, means over tasks" if several else "Strata"
    heads = (mean_label(m) if several else LABELS[m] for m in names)
    table = _table(title, "by", "which", "rows", *heads)
    last = ""
    for stratum in scores.strata:
        if last and stratum.kind != last:
            table.add_section()
        cells = (_cell(stratum.summary(m), with_interval=True) for m in names)
        n = f"{stratum.n} tasks" if stratum.kind == "labels" else str(stratum.n)
        first = stratum.kind if stratum.kind != last else ""
        table.add_row(first, stratum.name, n, *cells)
        last = stratum.kind
    return table


def _left_out(scores: Scores) -> list[str]:
    """Return what has no value, by reason."""
    lines = []
    where = [("all rows", scores.overall), *((s.name, s.scores) for s in scores.strata)]
    by_reason: dict[str, list[str]] = {}
    for name, own in where:
        for s in own:
            if s.value is None and s.task != MACRO and s.reason:
                by_reason.setdefault(s.reason, []).append(f"{s.task} on {name}")
    for reason, places in by_reason.items():
        # Each metric of a task gives the same reason.
        distinct = list(dict.fromkeys(places))
        more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
        lines.append(f"Left out ({reason}): {', '.join(distinct[:3])}{more}.")
    return lines


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right")
    return table


def _cell(s: Scored | None, *, with_interval: bool) -> str:
    if s is None or s.value is None:
        return "–"
    return f"{s.value:.3f}{_ends(s.interval) if with_interval and s.interval else ''}"


def _ends(interval: Interval) -> str:
    return f" ({interval.low:.2f}–{interval.high:.2f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def show_comparison(found: Comparison, files: Sequence[Path], console: Console) -> None:
    """Print values by the first metrics, records, notes and the files."""
    for metric in found.metrics[:2]:
        console.print(_comparison_values(found, metric))
    console.print(_records(found))
    console.print(method(found))
    for note in found.notes:
        console.print(f"Note: {note}", style="yellow")
    console.print(headline(found), style="bold")
    for file in files:
        console.print(str(file), soft_wrap=True)


def _comparison_values(found: Comparison, metric: str) -> Table:
    table = Table(title=LABELS[metric], box=None, title_justify="left")
    table.add_column("task")
    for model in found.models:
        table.add_column(model, justify="right")
    for task in dict.fromkeys(t for t, m in found.places if m == metric):
        cells = [
            "–" if v.value is None else f"{v.value:.3f}" for v in found.values_of(task, metric)
        ]
        table.add_row(task, *cells, style="bold" if task == MACRO else None)
    return table


def _records(found: Comparison) -> Table:
    title = "Wins - losses - not significant, over tasks and opponents"
    table = Table(title=title, box=None, title_justify="left")
    table.add_column("model")
    for metric in found.metrics:
        table.add_column(LABELS[metric], justify="right")
    for model in found.models:
        records = [found.record(model, metric) for metric in found.metrics]
        table.add_row(model, *(f"{w}-{lost}-{t}" for w, lost, t in records))
    return table


def show_prediction(done: PredictedTable, console: Console) -> None:
    """Print how many rows were predicted, which were not, and the file."""
    lines = [done.note] if done.note else []
    if done.of_bags:
        lines.append(f"{done.rows} bags predicted.")
    else:
        # A table of a few rows may take less time than the clock resolves.
        rate = done.rows / max(done.seconds, 1e-9)
        models = f", {done.n_members} models" if done.n_members > 1 else ""
        lines.append(
            f"{done.rows - done.bad} of {done.rows} molecules predicted, {done.n_tasks} tasks"
            f"{models}; {rate:.0f} molecules/s."
        )
    if done.bad:
        rest, row = done.bad - len(done.first_bad), "row" if done.bad == 1 else "rows"
        lines.append(
            f"{done.bad} {row} without a prediction, {rejected_beside(done.path).name} says why: "
            f"{row} {', '.join(done.first_bad)}{f' and {rest} more' if rest else ''}."
        )
    if done.far:
        lines.append(
            f"Unlike every training molecule (Tanimoto similarity below {done.far_below:g}): "
            f"{done.far}. Trust their predictions less."
        )
    for line in (*lines, f"Predictions: {done.path}"):
        console.print(line, highlight=False, markup=False)
