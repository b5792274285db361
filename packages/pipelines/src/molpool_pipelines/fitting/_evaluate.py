"""What a trained model says of every row, and how well it says it.

No held-out row is predicted by a model that saw it: with folds, a row is predicted by the models of
the fold that it validates.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from chemprop_multitask import GraphStore, MoleculeData
from molpool_common import (
    IN_UNITS,
    LABELS,
    FloatArray,
    Interval,
    MetricTable,
    RunFolder,
    task_metrics,
)

from molpool_pipelines.fitting._inputs import Inputs
from molpool_pipelines.fitting._jobs import TrainingJob, ensemble_members
from molpool_pipelines.reports import run_page
from molpool_pipelines.runs import (
    METRICS,
    PREDICTIONS,
    REPORT,
    SPLIT,
    SPLITS,
    Metrics,
    SplitMetrics,
    SplitName,
    member_metrics,
    reported_split,
    truth_column,
)
from molpool_pipelines.scores import Resampling, predictions_of, score_tasks
from molpool_pipelines.tables import MoleculeTable, SplitTables, TaskType, exact_labels

SHOWN: Mapping[TaskType, tuple[str, ...]] = {
    "regression": ("mae", "ma_rae", "rmse", "r2", "spearman"),
    "classification": ("roc_auc", "average_precision"),
}
"""Metrics of the closing table, by task type; the files hold all."""

SIGNS = {-1: "<", 0: "=", 1: ">"}


@dataclass(frozen=True)
class Results:
    """Predictions of all rows and metrics by split, of a Chemprop or a MIL run.

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
    """

    predictions: pl.DataFrame
    metrics: Mapping[str, MetricTable]
    by_member: Sequence[MetricTable] = ()
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def reported(self) -> str:
        """The split that counts: test, or validation where no row is for test."""
        return reported_split(self.metrics)

    def record(self, kind: Literal["chemprop", "mil"], name: str, notes: Sequence[str]) -> Metrics:
        """Return what ``metrics.json`` holds, with intervals on the reported split.

        Parameters
        ----------
        kind : {"chemprop", "mil"}
            What was trained.
        name : str
            Of the run.
        notes : sequence of str
            What the user should know before trusting the result.
        """
        # By way of the scoring command's own functions: an interval computed here would differ from
        # it in resamples or seed, and one run would show several.
        intervals = self._intervals(name)
        splits = {}
        for split, table in self.metrics.items():
            reported = split == self.reported
            # Intervals of training rows would look as if they said something about new molecules.
            of = member_metrics(table, intervals if reported else None)
            members = [member_metrics(m) for m in self.by_member] if reported else []
            n = int((self.predictions[SPLIT] == split).sum())
            more = self.more.get(split, {})
            splits[split] = SplitMetrics(**dict(of), n=n, members=members, **more)
        return Metrics(
            kind=kind, name=name, reported=self.reported, splits=splits, notes=list(notes)
        )

    def _intervals(self, name: str) -> dict[tuple[str, str], Interval]:
        """Return what `molpool-evaluate score` finds on the same rows, digit by digit."""
        types = {t.task: t.task_type for table in self.metrics.values() for t in table.tasks}
        found = predictions_of(self.predictions, name, task_types=types)
        scored = score_tasks(found.of_split(self.reported), Resampling())
        return {(s.task, s.metric): s.interval for s in scored if s.interval is not None}


def evaluate(inputs: Inputs, jobs: Sequence[TrainingJob]) -> Results:
    """Predict every row and score each split, bounds left out.

    Parameters
    ----------
    inputs : Inputs
        The rows.
    jobs : sequence of TrainingJob
        Trained.
    """
    parts = [predict_part(part, jobs, inputs.graphs) for part in parts_of(inputs, jobs)]
    kinds, tasks = inputs.task_types, inputs.table.task_names
    metrics = {}
    for split in SPLITS:
        of_split = [p for p in parts if p.split == split]
        if of_split:
            # With folds a split has several parts; a metric is of all their rows together, not a
            # mean over folds, which would weigh small folds more.
            exact = np.concatenate([p.exact for p in of_split])
            mean = np.concatenate([p.mean for p in of_split])
            metrics[str(split)] = task_metrics(exact, mean, tasks, list(kinds))
    reported = [p for p in parts if p.split == reported_split(metrics)]
    # With folds each member predicts other rows: their scores are not comparable.
    alone = reported[0].each if len(reported) == 1 and len(reported[0].each) > 1 else ()
    return Results(
        pl.concat([_frame(part) for part in parts]),
        metrics,
        [task_metrics(reported[0].exact, one, tasks, list(kinds)) for one in alone],
    )


@dataclass(frozen=True)
class Part:
    """Rows that the same models predict.

    Parameters
    ----------
    split : {"train", "val", "test"}
        That they are of.
    table : MoleculeTable
        The rows.
    fold : int or None
        The fold, from 0, whose models predict them; None: all models.
    data : MoleculeData or None
        The rows featurised, where they are already.
    """

    split: SplitName
    table: MoleculeTable
    fold: int | None = None
    data: MoleculeData | None = None


@dataclass(frozen=True)
class Predicted:
    """A part with its predictions.

    Parameters
    ----------
    split, table, fold
        As in `Part`.
    each : ndarray [K, N, T]
        Predictions of K models.
    with_folds : bool
        Whether the run has folds.
    is_ensemble : bool
        Whether the run has several models.
    """

    split: SplitName
    table: MoleculeTable
    fold: int | None
    each: FloatArray
    with_folds: bool
    is_ensemble: bool

    @property
    def mean(self) -> FloatArray:
        """Mean of the models [N, T]."""
        # The mean of one would round its numbers' last bit on some machines.
        mean: FloatArray = self.each[0] if len(self.each) == 1 else self.each.mean(axis=0)
        return mean

    @property
    def sd(self) -> FloatArray | None:
        """Sample standard deviation of the models [N, T], NaN of one; None for a single model."""
        if not self.is_ensemble:
            return None
        if len(self.each) == 1:
            # One member per fold has no spread; a 0 would read as certainty.
            return np.full(self.each[0].shape, np.nan)
        # ddof=1: members are a sample of the models that training could give.
        sd: FloatArray = self.each.std(axis=0, ddof=1)
        return sd

    @property
    def exact(self) -> FloatArray:
        """Targets [N, T] that are no bounds."""
        return exact_labels(self.table.targets, self.table.censoring)


def parts_of(inputs: Inputs, jobs: Sequence[TrainingJob]) -> list[Part]:
    """Return all rows that are predicted, splits in the order train, val, test.

    With folds every row that is not tested validates once, predicted by the models of that fold
    alone (out of fold); only rows of training-only sources remain as ``train``.
    """
    test = Part("test", inputs.tables.test)
    folds = {t.fold: t for t in jobs}
    if len(inputs.folds) == 1:
        parts = [
            _split_part("train", inputs.tables, None, jobs[0]),
            _split_part("val", inputs.tables, None, jobs[0]),
        ]
    else:
        # By molecule, not by row: repeats of a test molecule in a training-only source count as
        # test.
        tested = set(inputs.tables.test.groups)
        table = inputs.table
        extra = [
            i for i in np.flatnonzero(~table.hold_out).tolist() if table.groups[i] not in tested
        ]
        parts = [
            Part("train", table.take(np.array(extra, dtype=np.int64))),
            *(_split_part("val", inputs.folds[f], f, t) for f, t in sorted(folds.items())),
        ]
    return [part for part in (*parts, test) if len(part.table)]


def _split_part(
    split: Literal["train", "val"], tables: SplitTables, fold: int | None, job: TrainingJob
) -> Part:
    """Return a split's rows; those of a group's model are not all, so they are not its data."""
    # Reusing the job's data saves featurising again, but a group's job lacks the rows without a
    # label of its tasks.
    data = getattr(job, split) if job.group is None else None
    return Part(split, getattr(tables, split), fold, data)


def predict_part(
    part: Part, jobs: Sequence[TrainingJob], graphs: GraphStore | None = None
) -> Predicted:
    """Let the models of a part predict it; `graphs` may hold its molecules."""
    members = ensemble_members(jobs)
    data = part.data if part.data is not None else MoleculeData(part.table.smiles, cache=graphs)
    chosen = [m.model for m in members if part.fold is None or m.fold == part.fold]
    return Predicted(
        part.split,
        part.table,
        part.fold,
        np.stack([model.predict(data) for model in chosen]),
        with_folds=any(m.fold for m in members),
        is_ensemble=len(members) > 1,
    )


def _frame(part: Predicted) -> pl.DataFrame:
    table = part.table
    columns: list[pl.Series] = [
        *table.origin.get_columns(),
        pl.Series("SMILES", table.smiles),
        pl.Series(SPLIT, [part.split] * len(table)),
    ]
    if table.quality is not None:
        columns.append(pl.Series("quality", table.quality))
    if part.with_folds:
        columns.append(pl.Series("fold", [part.fold] * len(table), dtype=pl.Int64))
    for t, task in enumerate(table.task_names):
        columns.append(pl.Series(truth_column(task), table.targets[:, t]).fill_nan(None))
        if table.censoring is not None:
            signs = [SIGNS[code] for code in table.censoring[:, t].tolist()]
            columns.append(pl.Series(f"{task} modifier", signs))
        columns.append(pl.Series(f"{task} predicted", part.mean[:, t]))
        if part.sd is not None:
            columns.append(pl.Series(f"{task}_sd", part.sd[:, t]).fill_nan(None))
    return pl.DataFrame(columns)


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


def write_results(
    run: RunFolder,
    results: Results,
    kind: Literal["chemprop", "mil"],
    notes: Sequence[str],
    facts: Mapping[str, Any],
    epochs: int,
) -> Path | None:
    """Write predictions, metrics and, from the folder alone, the page of the run.

    Parameters
    ----------
    run : RunFolder
        With its model and whatever else the page shows.
    results : Results
        Predictions and metrics.
    kind : {"chemprop", "mil"}
        What was trained.
    notes : sequence of str
        What the user should know before trusting the result.
    facts : mapping of str to value
        For the summary of the page.
    epochs : int
        Of all models.

    Returns
    -------
    Path or None
        The page; None, with a warning, where it could not be drawn: the run is whole without it.
    """
    run.write_frame(PREDICTIONS, results.predictions)
    # After the predictions that they are of: a folder with metrics lacks only the page.
    run.write_json(METRICS, results.record(kind, run.path.name, notes).to_dict())
    # Before the page, which reads facts and epochs from the log.
    run.log("finished", epochs=epochs, facts=dict(facts))
    try:
        return run.write_text(REPORT, run_page(run.path, run.path.name))
    except Exception as error:  # whatever a figure, a font or a name makes of it
        run.log("no page", error=repr(error))
        warnings.warn(
            f"{REPORT}: not written ({type(error).__name__}: {error}). Model, predictions and"
            f" metrics are; molpool-evaluate report --run {run.path} tries again.",
            stacklevel=2,
        )
        return None
