"""What a run says of every row and how well it says it, whatever kind of model it trained."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from molpool_common import (
    IN_UNITS,
    LABELS,
    SCALE_WORDS,
    Interval,
    MetricTable,
    RunFolder,
    ScaleName,
    doing,
    listed,
    only_warned,
    task_metrics,
    unit_of,
)
from rich.table import Table

from molpool_pipelines.fitting._intervals import IntervalRequest, calibrate
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.models import LEVEL, Calibration, Kind
from molpool_pipelines.reports import run_page
from molpool_pipelines.runs import (
    CALIBRATION,
    LOWER,
    METRICS,
    REPORT,
    SIMILARITY,
    SPLIT,
    SPLITS,
    STRATUM,
    TIME,
    UPPER,
    Metrics,
    SplitMetrics,
    about_tasks,
    member_metrics,
    reported_split,
    truth_column,
    write_predictions,
)
from molpool_pipelines.scores import (
    Predictions,
    Resampling,
    bounds_by_task,
    predictions_of,
    score_coverage,
    score_tasks,
)
from molpool_pipelines.tables import TaskType

SHOWN: Mapping[TaskType, tuple[str, ...]] = {
    "regression": ("mae", "ma_rae", "rmse", "r2", "spearman"),
    "classification": ("roc_auc", "average_precision"),
}
"""Metrics of the closing table, by task type; the files hold all."""

SIGNS = {-1: "<", 0: "=", 1: ">"}


@dataclass(frozen=True)
class Results:
    """Predictions of all rows and metrics by split of a run, whatever kind of model it trained.

    Parameters
    ----------
    predictions : DataFrame
        A row per molecule or bag, as `docs/run_folder.md` describes it.
    metrics : mapping of str to MetricTable
        By split, of exact labels; a split without rows is absent. Those of an ensemble are of the
        mean of its members.
    by_member : sequence of MetricTable
        Metrics of each member alone on the reported split; empty for a single model, and where
        members predict different rows of it.
    more : mapping of str to dict
        By split, further fields of `SplitMetrics`.
    calibration : Calibration or None
        What gives intervals; None where no row validates.
    level : float
        Share of new molecules that they shall cover.
    remarks : tuple of str
        What else the user should know.
    units : mapping of str to (str or None)
        Of the tasks, where the table says more than the name of its column.
    scales : mapping of str to str
        Scale on which the models learnt each task; predictions and metrics are in its unit.
    """

    predictions: pl.DataFrame
    metrics: Mapping[str, MetricTable]
    by_member: Sequence[MetricTable] = ()
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibration: Calibration | None = None
    level: float = LEVEL
    remarks: tuple[str, ...] = ()
    units: Mapping[str, str | None] = field(default_factory=dict)
    scales: Mapping[str, ScaleName] = field(default_factory=dict)

    @property
    def notes(self) -> list[str]:
        """What the user should know of intervals and comparisons."""
        remarks = [*_scale_notes(self.scales), *self.remarks]
        if self.calibration is None:
            return remarks
        tasks = [task.task for task in self.metrics[self.reported].tasks]
        noun = "molecule" if "SMILES" in self.predictions.columns else "bag"
        return [*self.calibration.notes(tasks, self.level, noun), *remarks]

    @property
    def task_types(self) -> dict[str, TaskType]:
        """What each task is."""
        return {t.task: t.task_type for table in self.metrics.values() for t in table.tasks}

    @property
    def reported(self) -> str:
        """The split that counts: test, or validation where no row is for test."""
        return reported_split(self.metrics)

    def record(self, kind: Kind, name: str, notes: Sequence[str]) -> Metrics:
        """Return what ``metrics.json`` holds, with intervals on the reported split.

        Parameters
        ----------
        kind : {"chemprop", "mil", "tabular"}
            What was trained.
        name : str
            Of the run.
        notes : sequence of str
            What the user should know before trusting the result.
        """
        # By way of the scoring command's own functions: an interval computed here would differ from
        # it in resamples or seed, and one run would show several.
        scored = self.scored(name)
        intervals = self._intervals(scored)
        splits = {}
        for split, table in self.metrics.items():
            reported = split == self.reported
            # Intervals of training rows would look as if they said something about new molecules.
            units = {t.task: self.units.get(t.task) or unit_of(t.task) for t in table.tasks}
            of = member_metrics(table, intervals if reported else None, units)
            members = [member_metrics(m) for m in self.by_member] if reported else []
            n = int((self.predictions[SPLIT] == split).sum())
            more = dict(self.more.get(split, {}))
            if reported:
                more["bounds"] = {t: b.to_dict() for t, b in bounds_by_task(scored).items()}
            splits[split] = SplitMetrics(**dict(of), n=n, members=members, **more)
        return Metrics(
            kind=kind, name=name, reported=self.reported, splits=splits, notes=list(notes)
        )

    def scored(self, name: str) -> Predictions:
        """Return the rows that count, as `molpool-evaluate score` reads them."""
        types = self.task_types
        found = predictions_of(self.predictions, name, task_types=types, scales=self.scales)
        return replace(found.of_split(self.reported), level=self.level)

    def _intervals(self, scored: Predictions) -> dict[tuple[str, str], Interval]:
        """Return what `molpool-evaluate score` finds on the same rows, digit by digit."""
        found = score_tasks(scored, Resampling())
        return {(s.task, s.metric): s.interval for s in found if s.interval is not None}


def _scale_notes(scales: Mapping[str, ScaleName]) -> list[str]:
    said = [f"{task} as {SCALE_WORDS[name]}" for task, name in scales.items() if name != "none"]
    if not said:
        return []
    return [
        f"Learnt on a scale of its own: {listed(said)}; predictions, intervals and metrics are in "
        "the units of the table."
    ]


def results_of(
    parts: Sequence[PredictedRows],
    kinds: Sequence[TaskType],
    wanted: IntervalRequest = IntervalRequest(),  # noqa: B008  # frozen
) -> Results:
    """Score each split, bounds left out, and give the test rows intervals that others calibrate.

    Parameters
    ----------
    parts : sequence of PredictedRows
        All rows, splits in the order train, val, test.
    kinds : sequence of {"regression", "classification"}
        Of the tasks.
    wanted : IntervalRequest
        What intervals are asked for.
    """
    remarks = _unpredicted(parts)
    if remarks:
        parts = [part.of_predicted() for part in parts]
    parts, calibration = calibrate(parts, kinds, wanted)
    scales = parts[0].table.of_scales
    # Errors are alike on the models' own scale; all that is said after it is in the table's units.
    parts = [part.in_units() for part in parts]
    tasks = parts[0].table.task_names
    metrics = {}
    for split in SPLITS:
        of_split = [p for p in parts if p.split == split]
        if of_split:
            # With folds a split has several parts; a metric is of all their rows together, not a
            # mean over folds, which would weigh small folds more.
            exact = np.concatenate([p.exact for p in of_split])
            mean = np.concatenate([p.mean for p in of_split])
            metrics[str(split)] = task_metrics(exact, mean, tasks, list(kinds), scales)
    reported = [p for p in parts if p.split == reported_split(metrics)]
    with_ends = any(part.ends is not None for part in parts)
    # With folds each member predicts other rows: their scores are not comparable.
    alone = reported[0].each if len(reported) == 1 and len(reported[0].each) > 1 else ()
    results = Results(
        # Diagonal: only test rows are called a class, and only rows whose distance to training is
        # known have a similarity.
        pl.concat([_frame(p, kinds, with_ends=with_ends) for p in parts], how="diagonal"),
        metrics,
        [task_metrics(reported[0].exact, one, tasks, list(kinds), scales) for one in alone],
        calibration=calibration,
        level=wanted.level,
        remarks=tuple(remarks),
        units=dict(zip(tasks, parts[0].table.units_of_tasks, strict=False)),
        scales=dict(zip(tasks, scales, strict=True)),
    )
    held = {task: of.to_dict() for task, of in score_coverage(results.scored("")).items()}
    return replace(results, more={results.reported: {"intervals": held}}) if held else results


def _unpredicted(parts: Sequence[PredictedRows]) -> list[str]:
    """Return a sentence of labels that no model predicts, and that metrics leave out."""
    said = []
    for t, task in enumerate(parts[0].table.task_names):
        gone = [np.isnan(p.mean[:, t]) & np.isfinite(p.table.targets[:, t]) for p in parts]
        if n := int(sum(rows.sum() for rows in gone)):
            said.append(f"{task} {n}")
    if not said:
        return []
    return [
        "Labels left out of the metrics, as what predicts them learned no label of the task, or "
        f"the molecule has no features: {listed(said)}."
    ]


def _frame(part: PredictedRows, kinds: Sequence[TaskType], *, with_ends: bool) -> pl.DataFrame:
    table, columns = part.table, _row_columns(part)
    for t, task in enumerate(table.task_names):
        columns.append(pl.Series(truth_column(task), table.targets[:, t]).fill_nan(None))
        if table.censoring is not None:
            signs = [SIGNS[code] for code in table.censoring[:, t].tolist()]
            columns.append(pl.Series(f"{task} modifier", signs))
        columns.append(pl.Series(f"{task} predicted", part.mean[:, t]).fill_nan(None))
        if part.sd is not None:
            columns.append(pl.Series(f"{task}_sd", part.sd[:, t]).fill_nan(None))
        if part.called is not None and np.isfinite(part.called[:, t]).any():
            called = pl.Series(f"{task} decision", part.called[:, t]).fill_nan(None)
            columns.append(called.cast(pl.Boolean))
        if with_ends:
            nothing = np.full(part.mean.shape, np.nan)
            if kinds[t] == "classification":
                continue
            for ending, ends in zip((LOWER, UPPER), part.ends or (nothing, nothing), strict=True):
                columns.append(pl.Series(task + ending, ends[:, t]).fill_nan(None))
        for ending, p in part.at_limits.get(t, {}).items():
            columns.append(pl.Series(task + ending, p).fill_nan(None))
    return pl.DataFrame(columns)


def _row_columns(part: PredictedRows) -> list[pl.Series]:
    """Return what is known of the rows besides their tasks."""
    table = part.table
    columns: list[pl.Series] = [
        *table.origin.get_columns(),
        pl.Series("SMILES", table.smiles),
        pl.Series(SPLIT, [part.split] * len(table)),
    ]
    if table.quality is not None:
        columns.append(pl.Series("quality", table.quality))
    if table.times is not None:
        # As text: tables write dates and numbers in many ways.
        columns.append(pl.Series(TIME, [None if t is None else str(t) for t in table.times]))
    if table.strata is not None:
        columns.append(pl.Series(STRATUM, table.strata))
    if part.distance is not None:
        columns.append(pl.Series(SIMILARITY, 1 - part.distance))
    if part.with_folds:
        columns.append(pl.Series("fold", [part.fold] * len(table), dtype=pl.Int64))
    return columns


def shown_rows(table: MetricTable) -> tuple[list[str], list[list[Any]]]:
    """Return heads and rows of the closing table, the mean over tasks last."""
    kinds = {score.task_type for score in table.tasks}
    names = [name for kind, shown in SHOWN.items() if kind in kinds for name in shown]
    rows: list[list[Any]] = [
        [score.task, score.n, *(score.values.get(name) for name in names)] for score in table.tasks
    ]
    rows.append(mean_row(table, names))
    return ["task", "labels", *(LABELS[n] for n in names)], rows


def mean_row(table: MetricTable, names: Sequence[str]) -> list[Any]:
    """Return the row of means over tasks; those of errors in the tasks' own units mean nothing."""
    macro = table.macro()
    # A mean of MAE over log units and minutes has no unit.
    means = [macro[n].mean if n in macro and n not in IN_UNITS else None for n in names]
    return ["mean over tasks", sum(score.n for score in table.tasks), *means]


_ON_SCREEN = 24
"""Tasks whose rows the screen shows at most: hundreds would push all else away."""


def metric_table(rows: list[list[Any]], columns: list[str], title: str) -> Table:
    """Return the closing table: a row per task, the first of very many, the macro mean last."""
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left")
    if (more := len(rows) - 1 - _ON_SCREEN) > 0:
        rows = [*rows[:_ON_SCREEN], rows[-1]]
        table.caption = f"and {more} tasks more in metrics.json and in the report"
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right")
    for n, row in enumerate(rows):
        if n == len(rows) - 1:
            table.add_section()
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def against_baselines(results: Results) -> list[str]:
    """Return what the reported split says of the model, the baselines beside it and more data."""
    more = results.more.get(results.reported, {})
    found, answer = more.get("baselines"), more.get("more_data")
    said = [] if found is None else found.spoken()
    return [*said, answer] if answer else said


def write_results(
    run: RunFolder,
    results: Results,
    kind: Kind,
    notes: Sequence[str],
    facts: Mapping[str, Any],
    epochs: int,
    *,
    page: bool = True,
) -> Path | None:
    """Write predictions, metrics and, from the folder alone, the page of the run.

    Parameters
    ----------
    run : RunFolder
        With its model and whatever else the page shows.
    results : Results
        Predictions and metrics.
    kind : {"chemprop", "mil", "tabular"}
        What was trained.
    notes : sequence of str
        What the user should know before trusting the result.
    facts : mapping of str to value
        For the summary of the page.
    epochs : int
        Of all models.
    page : bool
        Whether the page is written.

    Returns
    -------
    Path or None
        The page; None, with a warning, where it could not be drawn: the run is whole without it.
    """
    tasks, more = list(results.task_types), {}
    of_tasks = about_tasks(tasks, results.scales)
    if results.calibration is not None:
        run.write_file(CALIBRATION, results.calibration.save)
        more = {"levels": [results.level]}
        scales = [results.scales.get(task, "none") for task in tasks]
        for task, ends in results.calibration.odds.where(tasks, scales).items():
            of_tasks[task] |= ends
    write_predictions(run, results.predictions, results.task_types, of_tasks=of_tasks, **more)
    # After the predictions that they are of: a folder with metrics lacks only the page.
    said = [*notes, *results.notes]
    run.write_json(METRICS, results.record(kind, run.path.name, said).to_dict())
    # Before the page, which reads facts and epochs from the log.
    run.log("finished", epochs=epochs, facts=dict(facts))
    return write_page(run) if page else None


def write_page(run: RunFolder) -> Path | None:
    """Write the page of a run from its folder alone; None, with a warning, where that fails."""
    again = f"molpool-evaluate report --run {shlex.quote(str(run.path))} tries again"
    with doing("Drawing the page"):
        return only_warned(
            REPORT,
            f"Model, predictions and metrics are; {again}.",
            lambda: run.write_text(REPORT, run_page(run.path, run.path.name)),
        )
