"""What `score` shows: tables that fit 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import LABELS, METRICS, Interval
from rich.console import Console
from rich.table import Table

from molpool_pipelines.scores.result import MACRO, Scored, Scores, Stratum

SHOWN = ("mae", "ma_rae", "r2", "spearman", "roc_auc", "average_precision")
"""Metrics of the table, at most four of them, for those tasks that have them."""

WITH_INTERVAL = ("mae", "ma_rae", "roc_auc", "average_precision")
"""Those among them that are shown with their interval."""

OF = {
    "quality": "quality",
    "scaffold": "scaffold",
    "similarity": "similarity",
    "labels": "labels a task",
}


def show_scores(console: Console, scores: Scores) -> None:
    """Print scores, uncertainty, decisions, strata and notes."""
    names = [m for m in SHOWN if any(s.metric == m for s in scores.overall)]
    for kind in ("regression", "classification"):
        own = [m for m in names if METRICS[m].task_type == kind]
        if own:
            console.print(_overall(scores, own))
    if scores.uncertainty:
        console.print(_uncertainty(scores))
    if scores.classes:
        console.print(_decisions(scores))
    for kind in ("regression", "classification"):
        own = [m for m in names if METRICS[m].task_type == kind and m not in {"mae", "r2"}]
        if scores.strata and own:
            console.print(_strata(scores, own))
    if any(s.metric == "ma_rae" for s in scores.overall) and scores.strata:
        console.print("MA-RAE of a stratum is relative to the spread within it.")
    for line in (*_left_out(scores), *scores.notes):
        console.print(line, highlight=False, markup=False)


def _overall(scores: Scores, names: Sequence[str]) -> Table:
    title = f"{scores.name}: {scores.side} rows, {100 * scores.level:g} % intervals"
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
    table = _table("Strata, means over tasks", "by", "which", "rows", *(LABELS[m] for m in names))
    last = ""
    for stratum in scores.strata:
        if last and stratum.kind != last:
            table.add_section()
        cells = (_cell(_summary(stratum, m), with_interval=True) for m in names)
        n = f"{stratum.n} tasks" if stratum.kind == "labels" else str(stratum.n)
        first = OF[stratum.kind] if stratum.kind != last else ""
        table.add_row(first, stratum.name, n, *cells)
        last = stratum.kind
    return table


def _summary(stratum: Stratum, metric: str) -> Scored | None:
    own = [s for s in stratum.scores if s.metric == metric]
    means = [s for s in own if s.task == MACRO]
    return means[0] if means else own[0] if len(own) == 1 else None


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
        distinct = list(dict.fromkeys(places))
        more = f" and {len(distinct) - 3} more" if len(distinct) > 3 else ""
        lines.append(f"Left out ({reason}): {', '.join(distinct[:3])}{more}.")
    return lines


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for i, head in enumerate(heads):
        table.add_column(head, justify="left" if i == 0 else "right", overflow="fold")
    return table


def _cell(s: Scored | None, *, with_interval: bool) -> str:
    if s is None or s.value is None:
        return "–"
    return f"{s.value:.3f}{_ends(s.interval) if with_interval and s.interval else ''}"


def _ends(interval: Interval) -> str:
    return f" ({interval.low:.2f}–{interval.high:.2f})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
