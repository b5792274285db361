"""The page of a training run: metrics by task, learning curves, what was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from chemprop_multitask import EpochRecord
from molpool_common.config import dump_config
from molpool_common.metrics import Interval
from molpool_common.molecules import MoleculeTable
from molpool_common.report import Code, Facts, Part, Section, Table, Text, render_report

from molpool_train import figures, fit_figures
from molpool_train.config import TrainChempropConfig
from molpool_train.results import LABELS, RESAMPLES, Results, mean_row
from molpool_train.sampling import SamplingLog, label_counts


@dataclass(frozen=True)
class TrainingRun:
    """All that the page is made from."""

    name: str
    config: TrainChempropConfig
    facts: dict[str, str | int | float | None]
    notes: Sequence[str]
    records: Sequence[EpochRecord]
    results: Results
    train: MoleculeTable
    sampling: SamplingLog | None


def training_report(run: TrainingRun) -> str:
    """Return the page of a training run as self-contained HTML."""
    notes: list[Part] = [Text(note, note=True) for note in run.notes]
    sections = [
        Section("Summary", [*notes, Facts(run.facts, digits=1)]),
        Section("Metrics by task", _metric_parts(run.results)),
        Section("Predicted against measured", fit_figures.fits(run.results)),
        Section("Learning curves", [figures.learning_curves(run.records, _phases(run))]),
        _sampling_section(run),
        Section("Configuration", [Code("config.resolved.yaml", dump_config(run.config))]),
    ]
    subtitle = f"Multi-task Chemprop, {len(run.train.task_names)} tasks, seed {run.config.seed}"
    return render_report(run.name, subtitle, sections)


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
        f"{RESAMPLES} resamples. They hold for new molecules like these, and for this one model.",
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
        caption=f"{long} molecules. A dash: undefined there. MA-RAE is MAE over the mean absolute "
        "deviation of the evaluated values: 1 is no better than their mean.",
        totals=1,
    )


def _phases(run: TrainingRun) -> list[str]:
    rows = run.sampling.rows if run.sampling else []
    return [row["phase"] for row in rows if row["phase"] is not None]


def _sampling_section(run: TrainingRun) -> Section:
    title = "What was drawn"
    if run.sampling is None:
        text = "Plain shuffling: every training row once an epoch."
        return Section(title, [Text(text)])
    frame = run.sampling.frame()
    held = label_counts(run.train)
    parts: list[Part] = [
        Text(
            "The sampler draws rows with replacement. Bars compare what an average epoch drew with "
            "what the training table holds."
        ),
        figures.drawn_against_held(frame, held, "labels: ", "labels of each task"),
    ]
    if any(c.startswith("quality: ") for c in frame.columns):
        parts.append(figures.quality_by_epoch(frame))
    parts.append(_statistics(frame))
    return Section(title, parts)


def _statistics(frame: pl.DataFrame) -> Table:
    columns = ["epoch", "phase", "min", "max", "entropy", "effective_samples", "distinct_rows"]
    rows = frame.select(columns).with_columns(
        pl.col("epoch") + 1,
        pl.col("phase").fill_null("–"),
        pl.col("min", "max").map_elements(lambda v: f"{v:.2e}", return_dtype=pl.String),
    )
    return Table(
        [
            "epoch",
            "phase",
            "smallest p",
            "largest p",
            "entropy (nats)",
            "effective rows",
            "distinct rows drawn",
        ],
        [list(row) for row in rows.iter_rows()],
        caption="Row distribution of each epoch; effective rows are 1/Σp².",
        digits=2,
    )
