"""The page of scored predictions: what a run's page says, of any rows and model."""

from __future__ import annotations

from collections.abc import Sequence

from molpool_common import (
    LABELS,
    METRICS,
    Cell,
    Part,
    Section,
    Table,
    Text,
    mean_label,
    render_report,
)

from molpool_pipelines.reports import _run_figures as figures
from molpool_pipelines.reports._metric_tables import FURTHER, WITH_INTERVAL, limit_tables
from molpool_pipelines.reports._panels import Shown
from molpool_pipelines.reports._structures import structures
from molpool_pipelines.reports._where import intervals, residuals
from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores import Predictions, Scored, Scores, Stratum


def score_page(found: Predictions, scores: Scores) -> str:
    """Return the page as self-contained HTML.

    Parameters
    ----------
    found : Predictions
        The rows that were scored.
    scores : Scores
        What was found of them.
    """
    shown = Shown(found)
    sections = [
        Section("Summary", [Text(note, note=True) for note in scores.notes]),
        Section("Metrics by task", [*_metrics(scores, found.noun), *limit_tables(found)]),
        Section("Predicted against measured", figures.fits(found, scores.split)),
        *structures(found, found, "all"),
        *intervals(found),
        *residuals(found, shown),
        *_strata(scores.strata, found.noun),
    ]
    sections = [section for section in sections if section.parts]
    tasks = len(found.tasks)
    said = f"{scores.n:,} {scores.split} rows, {tasks} task{'' if tasks == 1 else 's'}"
    return render_report(scores.name, said, sections, rows=shown.rows(sections))


def _metrics(scores: Scores, noun: str) -> list[Part]:
    """Return two tables per kind of task, as the page of a run has them, a row per task."""
    found: list[Part] = []
    for kind in ("regression", "classification"):
        own = [s for s in scores.overall if METRICS[s.metric].task_type == kind]
        first = [s for s in own if s.metric in WITH_INTERVAL]
        others = [s for s in own if s.metric not in WITH_INTERVAL]
        caption = f"{100 * scores.level:g} % intervals over {noun}s."
        found += [
            _table(of, said) for of, said in ((first, caption), (others, FURTHER[kind])) if of
        ]
    return found


def _table(scored: Sequence[Scored], caption: str) -> Table:
    names = [name for name in LABELS if any(s.metric == name for s in scored)]
    tasks = list(dict.fromkeys(s.task for s in scored))
    by_place = {(s.task, s.metric): s for s in scored}
    rows: list[list[Cell]] = []
    for task in tasks:
        own = [by_place[task, name] for name in names if (task, name) in by_place]
        row: list[Cell] = [task, own[0].n]
        for name in names:
            s = by_place.get((task, name))
            row.append(None if s is None else s.value)
            row += [None, None] if s is None or s.interval is None else list(s.interval)
        rows.append(row)
    heads = ["task", "labels", *(h for name in names for h in (LABELS[name], "from", "to"))]
    return Table(heads, rows, caption=caption, totals=int(MACRO in tasks))


def _strata(strata: Sequence[Stratum], noun: str) -> list[Section]:
    """Return the means over tasks by stratum; of a single task, its values."""
    metrics = [m for m in ("ma_rae", "mae", "roc_auc") if any(s.summary(m) for s in strata)]
    rows: list[list[Cell]] = []
    for stratum in strata:
        row: list[Cell] = [stratum.kind, stratum.name, stratum.n]
        for metric in metrics:
            one = stratum.summary(metric)
            row.append(None if one is None else one.value)
            row += [None, None] if one is None or one.interval is None else list(one.interval)
        rows.append(row)
    heads = ["by", "which", "rows", *(h for m in metrics for h in (mean_label(m), "from", "to"))]
    caption = (
        "Means over tasks. RAE of some of the rows is relative to the spread within them, so that "
        "it may be high where all their values are alike."
    )
    title = f"By group of {noun}s"
    return [Section(title, [Table(heads, rows, caption=caption)])] if rows else []
