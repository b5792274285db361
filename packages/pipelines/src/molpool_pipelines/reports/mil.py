"""The page of a run of `molpool-train mil`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from mil_attn import BagData, FitResult
from molpool_common import (
    LABELS,
    Cell,
    Code,
    Facts,
    Part,
    Section,
    Table,
    Text,
    dump_config,
    render_report,
)
from sampling_core import RarePositiveSampler

from molpool_pipelines.fitting import (
    SIDES,
    MILInputs,
    MILResults,
    SamplingLog,
    TrainMILConfig,
    mean_row,
    positives,
)
from molpool_pipelines.reports import mil_figures as figures
from molpool_pipelines.reports.sampling_tables import positives_table, statistics_table

NAMES = {"train": "Training", "val": "Validation", "test": "Test"}


@dataclass(frozen=True)
class MILRun:
    """All that the page is made from."""

    name: str
    config: TrainMILConfig
    inputs: MILInputs
    result: FitResult
    results: MILResults
    attention: pl.DataFrame | None
    sampler: RarePositiveSampler | None
    log: SamplingLog | None


def mil_report(run: MILRun) -> str:
    """Return the page of a training run as self-contained HTML."""
    sections = [
        Section("Summary", [*(Text(n, note=True) for n in run.inputs.notes), Facts(_facts(run))]),
        Section("Metrics by task", _metrics(run)),
        Section("Learning curves", [figures.learning_curves(run.result)]),
        *([Section("What was drawn", _drawn(run, run.log))] if run.log is not None else []),
        *([Section("Decisions", [_decisions(run)])] if run.results.decisions else []),
        *([Section("Attention", _attention(run.attention))] if run.attention is not None else []),
        Section("Configuration", [Code("config.resolved.yaml", dump_config(run.config))]),
    ]
    model = run.config.model
    branches = " + ".join(name for name, on in (("2D", model.use_2d), ("3D", model.use_3d)) if on)
    tasks = len(run.result.module.task_names)
    plural = "" if tasks == 1 else "s"
    subtitle = f"Attention over instances, {branches}, {tasks} task{plural}, seed {run.config.seed}"
    return render_report(run.name, subtitle, sections)


def _facts(run: MILRun) -> dict[str, Cell]:
    data, split = run.inputs.data, run.config.split
    facts: dict[str, Cell] = {
        f"{NAMES[side]} bags": len(getattr(run.inputs.split, side)) for side in SIDES
    }
    if data.instances is not None:
        facts |= {"Instances": data.n_instances, "Features of an instance": data.instances.shape[1]}
    if data.x2d is not None:
        facts["Features of a bag"] = data.x2d.shape[1]
    facts["Split"] = f"{split.split_type}, fold {split.fold}"
    if run.sampler is not None:
        names = [run.result.module.task_names[t] for t in run.sampler.rare_tasks]
        facts["Rare tasks, drawn more often"] = ", ".join(names)
    records = run.result.records
    network = run.result.module.network
    return facts | {
        "Weights": sum(p.numel() for p in network.parameters()),
        "Epochs": len(records),
        "Best epoch": run.result.best_epoch + 1,
        "Training time, s": sum(r.seconds for r in records),
        "Fold score, validation": run.results.scores.get("val"),
        "Fold score, test": run.results.scores["test"],
    }


def _metrics(run: MILRun) -> list[Part]:
    return [
        _metric_table(run, side) for side in ("test", "val", "train") if side in run.inputs.sides
    ]


def _metric_table(run: MILRun, side: str) -> Table:
    table = run.results.metrics[side]
    frame = table.to_frame().drop("type")
    names = frame.columns[2:]
    rows = [[*row] for row in frame.iter_rows()]
    mean = mean_row(table, names)
    columns = ["task", "labels", *(LABELS[n] for n in names)]
    if run.config.task_kind == "classification":
        side_data: BagData = run.inputs.side(side)  # type: ignore[arg-type]
        counts = positives(side_data)
        columns.insert(2, "positives")
        for row, n in zip(rows, counts, strict=True):
            row.insert(2, n)
        mean.insert(2, sum(counts))
    return Table(
        columns,
        [*rows, mean],
        caption=f"{NAMES[side]} bags. A dash: undefined there (a task without positives has no "
        "average precision), left out of the mean.",
        totals=1,
    )


def _drawn(run: MILRun, log: SamplingLog) -> list[Part]:
    frame, sampling = log.frame(), run.config.sampling
    text = Text(
        f"Bags are drawn with replacement: one that is positive for k rare tasks (fewer than "
        f"{100 * sampling.rare_prev_thr:g} % positives) with weight "
        f"1 + {sampling.rare_oversample_mult:g} k, at most {sampling.sample_weight_cap:g}."
    )
    n = len(run.inputs.split.train)
    tasks = run.result.module.task_names
    return [text, positives_table(frame, log.held, tasks, n), statistics_table(frame)]


def _decisions(run: MILRun) -> Table:
    rows: list[list[Cell]] = [
        [
            d.task,
            d.threshold,
            d.true_positives,
            d.false_positives,
            d.false_negatives,
            d.true_negatives,
            d.precision,
            d.recall,
            d.accuracy,
        ]
        for d in run.results.decisions
    ]
    heads = "task,threshold,true +,false +,false −,true −,precision,recall,accuracy"
    caption = f"Test bags called positive from the threshold on, {_origin(run)}."
    return Table(heads.split(","), rows, caption=caption)


def _origin(run: MILRun) -> str:
    """Say where the thresholds are from."""
    if all(d.task in run.config.thresholds for d in run.results.decisions):
        return "which the configuration gives"
    if "val" not in run.inputs.sides:
        return "0.5 where the configuration gives none, since no bag validates"
    metric = run.config.threshold_metric.replace("_", " ")
    return f"which was chosen on validation bags alone (largest {metric})"


def _attention(frame: pl.DataFrame) -> list[Part]:
    several = frame.filter(pl.len().over("molecule_id", "task") > 1)
    if several.is_empty():
        return [Text("Every test bag has one instance: attention has nothing to choose from.")]
    text = Text(
        "Attention sums to 1 over the instances of a bag. A share of 1 of what even attention "
        "would give means no preference. The effect of an instance is the logit of the whole bag "
        "minus that of the bag without it; attention says where the model looks, the effect what "
        "comes of it. attention_test.parquet and .csv hold a row an instance and task; "
        "attention.html shows the conformers of molecules."
    )
    return [text, figures.attention(several), _by_task(several)]


def _by_task(frame: pl.DataFrame) -> Table:
    bag = ["molecule_id", "task"]
    numbers = [
        (pl.col("attention").max() * pl.len()).alias("times"),
        pl.col("attention").max().alias("largest"),
    ]
    columns = ["task", "bags", "largest attention", "times even attention"]
    shown = [pl.len().alias("bags"), pl.col("largest").mean(), pl.col("times").mean()]
    if "effect" in frame.columns:
        same = pl.col("attention").arg_max() == pl.col("effect").abs().arg_max()
        numbers.append(same.alias("same"))
        shown.append(pl.col("same").mean())
        columns.append("top attention = largest effect")
    by_bag = frame.group_by(bag, maintain_order=True).agg(numbers)
    rows = by_bag.group_by("task", maintain_order=True).agg(shown)
    return Table(
        columns,
        [list(row) for row in rows.iter_rows()],
        caption="Test bags of two instances or more; means over bags. The last column is the share "
        "of bags whose most attended instance also has the largest effect.",
    )
