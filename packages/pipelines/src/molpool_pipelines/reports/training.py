"""The page of a training run: metrics by task, learning curves, what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import (
    LABELS,
    Cell,
    Code,
    Facts,
    Figure,
    Interval,
    Part,
    Section,
    Table,
    Text,
    dump_config,
    render_report,
)

from molpool_pipelines.affinity import Affinity
from molpool_pipelines.fitting import RESAMPLES, Inputs, Results, TrainChempropConfig, mean_row
from molpool_pipelines.reports import fit_figures
from molpool_pipelines.reports import training_ensemble as ensemble_report
from molpool_pipelines.reports import training_figures as figures
from molpool_pipelines.reports import training_groups as group_report
from molpool_pipelines.reports.sampling_tables import statistics_table
from molpool_pipelines.reports.training_ensemble import MemberRun

__all__ = ["MemberRun", "TrainingRun", "training_report"]


@dataclass(frozen=True)
class TrainingRun:
    """All that the page is made from."""

    name: str
    config: TrainChempropConfig
    loss: str
    inputs: Inputs
    members: Sequence[MemberRun]
    results: Results
    affinity: Affinity | None = None

    @property
    def n_members(self) -> int:
        """Members of the ensemble; 1 without one, however many groups have models."""
        return self.config.ensemble.n_members


def training_report(run: TrainingRun) -> str:
    """Return the page of a training run as self-contained HTML."""
    notes: list[Part] = [Text(note, note=True) for note in run.inputs.notes]
    tasks = len(run.inputs.table.task_names)
    of = "" if run.n_members == 1 else f"{run.n_members} members, "
    ensemble = [ensemble_report.section(run.members, run.results)] if of else []
    groups = group_report.section(run.config, run.members, run.affinity)
    sections = [
        Section("Summary", [*notes, Facts(_facts(run), digits=1)]),
        Section("Metrics by task", _metric_parts(run.results)),
        *ensemble,
        *groups,
        Section("Predicted against measured", fit_figures.fits(run.results)),
        Section("Learning curves", [_learning_curves(run)]),
        _sampling_section(run),
        Section("Configuration", [Code("config.resolved.yaml", dump_config(run.config))]),
    ]
    subtitle = f"Multi-task Chemprop, {of}{tasks} tasks, seed {run.config.seed}"
    return render_report(run.name, subtitle, sections)


def _facts(run: TrainingRun) -> dict[str, Cell]:
    inputs, members = run.inputs, run.members
    tables = inputs.tables
    whole = len(inputs.folds) == 1
    trained = [tables.train] if whole else [tables.train, tables.val]
    labels = sum(int(np.isfinite(t.targets).sum()) for t in trained)
    facts: dict[str, Cell] = {
        **(
            {"Training rows": len(tables.train), "Validation rows": len(tables.val)}
            if whole
            else {}
        ),
        **({} if whole else {"Rows in folds": sum(map(len, trained)), "Folds": len(inputs.folds)}),
        "Test rows": len(tables.test),
        "Distinct molecules": len(set(inputs.table.groups)),
        f"Labels in {'training' if whole else 'folds'}": labels,
    }
    if inputs.table.censoring is not None:
        facts["Bounds among them"] = sum(
            int((np.isfinite(t.targets) & (t.censoring != 0)).sum())
            for t in trained
            if t.censoring is not None
        )
    facts["Task types"] = ", ".join(
        f"{inputs.task_types.count(kind)} {kind}" for kind in sorted(set(inputs.task_types))
    )
    facts["Loss"] = run.loss
    if len(members) == 1:
        best = members[0].best_epoch
        facts |= {"Epochs": len(members[0].records), "Best epoch": best}
    else:
        what = "members" if members[0].trainee.group is None else "models"
        facts |= {
            what.capitalize(): len(members),
            f"Epochs, all {what}": sum(len(m.records) for m in members),
        }
    return facts | {"Training time, s": sum(r.seconds for m in members for r in m.records)}


def _learning_curves(run: TrainingRun) -> Figure:
    if len(run.members) > 1:
        return ensemble_report.learning_curves(run.members)
    return figures.learning_curves(run.members[0].records, _phases(run.members[0]))


def _metric_parts(results: Results) -> list[Part]:
    first, *others = _sides(results)
    return [
        _metrics(results, first),
        _intervals(results),
        *(_metrics(results, s) for s in others),
    ]


def _intervals(results: Results) -> Table:
    names = [n for n in LABELS if any(n in found for found in results.intervals.values())]
    rows = [
        [task, *(_ends(found.get(name)) for name in names)]
        for task, found in results.intervals.items()
    ]
    return Table(
        ["task", *(LABELS[n] for n in names)],
        rows,
        caption=f"95 % intervals of the same metrics: percentile bootstrap over the molecules, "
        f"{RESAMPLES} resamples. They hold for new molecules like these, and for "
        f"{'these members' if results.is_ensemble else 'this one model'}.",
    )


def _ends(interval: Interval | None) -> str | None:
    return None if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def _sides(results: Results) -> list[str]:
    return [s for s in ("test", "val") if s in results.metrics] or ["train"]


def _metrics(results: Results, side: str) -> Table:
    table = results.metrics[side]
    frame = table.to_frame().drop("type")
    names = frame.columns[2:]
    rows = [*(list(row) for row in frame.iter_rows()), mean_row(table, names)]
    long = {"test": "Test", "val": "Validation", "train": "Training"}[side]
    return Table(
        ["task", "labels", *(LABELS[n] for n in names)],
        rows,
        caption=f"{long} molecules{_of_whom(results, side)}. A dash: undefined there. MA-RAE "
        "is MAE over the mean absolute deviation of the evaluated values: 1 is no better than "
        "their mean.",
        totals=1,
    )


def _of_whom(results: Results, side: str) -> str:
    """Return what a caption says of predictions that are not those of one model."""
    if "fold" not in results.predictions.columns:
        return "" if not results.is_ensemble else ", predicted by the mean of all members"
    if side == "val":
        return " (all that are not tested), each predicted by the members that did not see it"
    return ", predicted by the mean of all members"


def _phases(member: MemberRun) -> list[str]:
    rows = member.trainee.log.rows if member.trainee.log else []
    return [row["phase"] for row in rows if row["phase"] is not None]


def _sampling_section(run: TrainingRun) -> Section:
    title = "What was drawn"
    first = run.members[0].trainee
    whose = " and ".join(
        word for word, own in (("member", first.member), ("group", first.group)) if own is not None
    )
    if first.log is None:
        text = "Plain shuffling: every training row once an epoch."
        return Section(title, [Text(text)])
    frame = first.log.frame()
    parts: list[Part] = [
        Text(
            "The sampler draws rows with replacement. Bars compare what an average epoch drew with "
            "what the training table holds."
            + (f" Shown is the first {whose}; sampling.parquet has all." if whose else "")
        ),
        figures.drawn_against_held(frame, first.log.held, "labels: ", "labels of each task"),
    ]
    if any(c.startswith("quality: ") for c in frame.columns):
        parts.append(figures.quality_by_epoch(frame))
    parts.append(statistics_table(frame))
    return Section(title, parts)
