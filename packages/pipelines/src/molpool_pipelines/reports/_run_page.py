"""The page of a training run, from its folder alone: training writes it, and `report` anew.

Sections that only a kind of model has (ensemble, task groups, decisions, attention) stand where the
folder has their files, so that a page of an earlier run has what that run left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from molpool_common import (
    IN_UNITS,
    LABELS,
    METRICS,
    Cell,
    Facts,
    InputError,
    MetricTable,
    Part,
    Section,
    Table,
    Text,
    UndefinedMetricError,
    mean_label,
    render_report,
    spearman,
    task_metrics,
)

from molpool_pipelines.affinity import affinity_sections, read_affinity, score_words
from molpool_pipelines.reports import _run_figures as figures
from molpool_pipelines.reports._config import ReportConfig
from molpool_pipelines.reports._parts import configuration, records, since_start
from molpool_pipelines.reports._run_figures import Spread, TrainedModel
from molpool_pipelines.runs import (
    CONFIG,
    DRAW_WEIGHT,
    GROUPS,
    LOG,
    LOSS_WEIGHT,
    PREDICTIONS,
    SAMPLING,
    Metrics,
    attention_of,
    read_metrics,
)
from molpool_pipelines.runs import METRICS as METRICS_FILE
from molpool_pipelines.scores import Predictions, Resampling, read_predictions, score_tasks

SPLITS = {"test": "Test", "val": "Validation", "train": "Training", "all": "All"}
OF_MEMBERS = ("ma_rae", "r2", "spearman", "average_precision", "roc_auc")
LEAST = 10
"""Labels from which a task has intervals: resamples of fewer say too little."""
WORST = 20
"""Rows of the table of largest errors."""


@dataclass(frozen=True)
class _Run:
    """What the folder of a run holds."""

    folder: Path
    found: Predictions
    config: Mapping[str, Any]
    metrics: Metrics | None

    @cached_property
    def splits(self) -> dict[str, Predictions]:
        """The rows of each split, the one that counts first."""
        there = self.found.splits
        return {s: self.found.of_split(s) for s in SPLITS if s in there} or {"all": self.found}

    @property
    def is_tabular(self) -> bool:
        """Whether its models are on features."""
        return self.metrics is not None and self.metrics.kind == "tabular"

    @property
    def reported(self) -> str:
        """The split that counts."""
        return next(iter(self.splits))

    @cached_property
    def models(self) -> list[TrainedModel]:
        """Its models with their epochs, a resumed epoch once."""
        by_model: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
        for entry in since_start(records(self.folder / LOG, "epoch")):
            by_model.setdefault((entry.get("member"), entry.get("group")), []).append(entry)
        return [TrainedModel(m, g, epochs) for (m, g), epochs in by_model.items()]

    @cached_property
    def draws(self) -> pl.DataFrame | None:
        """What the sampler drew for the first model, a row per epoch."""
        if not (self.folder / SAMPLING).is_file():
            return None
        frame = pl.read_parquet(self.folder / SAMPLING)
        for which in ("member", "group"):
            if which in frame.columns:
                # The first model stands for all: they share α and curriculum and differ by seed.
                frame = frame.filter(pl.col(which) == pl.col(which).first())
        return frame

    @property
    def units(self) -> dict[str, str | None]:
        """Unit of each task's values, where the table says it."""
        if self.metrics is None or not self.metrics.splits:
            return {}
        return {task: of.unit for task, of in self.metrics.of_reported.tasks.items()}

    @property
    def trained_rows(self) -> Predictions:
        """Rows that the first model was trained on; all that are not tested, with folds."""
        wanted = ("train", "val") if self.found.fold is not None else ("train",)
        split = self.found.split
        return self.found if split is None else self.found.take(np.isin(split, wanted))


def run_page(folder: Path, name: str, config: ReportConfig | None = None) -> str:
    """Return the page as self-contained HTML.

    Parameters
    ----------
    folder : Path
        Of a run that has ended.
    name : str
        Heading.
    config : ReportConfig, optional
        How intervals are made; by default as in the run's metrics.json.

    Raises
    ------
    InputError
        If the folder holds no predictions, or a file in it cannot be read.
    """
    # The one file that no page can do without; all others may be missing in folders of earlier
    # versions.
    if not (folder / PREDICTIONS).is_file():
        raise InputError(
            "--run",
            expected=f"a run folder with {PREDICTIONS}",
            found=f"{str(folder)!r} without it",
            hint="A run writes its predictions when it ends.",
        )
    run = _read(folder)
    how = config or ReportConfig()
    rows = run.splits[run.reported]
    sections = [
        Section("Summary", _summary(run)),
        Section("Metrics by task", _metrics(run, Resampling(how.n_bootstrap, how.level, how.seed))),
        *_baselines(run),
        *_intervals(run),
        *_ensemble(run, rows),
        *_groups(run),
        Section(
            "Predicted against measured",
            figures.fits(rows, SPLITS[run.reported].lower(), run.units),
        ),
        *_worst(rows, run.reported),
        *_curves(run),
        *_sampling_section(run),
        *_decisions(run),
        *_attention(run),
        configuration(folder, [CONFIG]),
    ]
    tasks, seed = len(run.found.tasks), run.config.get("seed")
    said = f"Training run, {tasks} task{'' if tasks == 1 else 's'}"
    return render_report(name, said if seed is None else f"{said}, seed {seed}", sections)


def _read(folder: Path) -> _Run:
    file = folder / CONFIG
    # Not as a configuration model: a page is written of runs whose keys have since been renamed.
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    metrics = read_metrics(folder) if (folder / METRICS_FILE).is_file() else None
    types = {}
    if metrics is not None and metrics.splits:
        # Kinds as trained; guessed from the values, a regression task with labels 0 and 1 alone
        # would change kind.
        types = {task: of.type for task, of in metrics.of_reported.tasks.items()}
    return _Run(folder, read_predictions(folder, task_types=types), config, metrics)


def _baselines(run: _Run) -> list[Section]:
    """Return the run's model beside simple ones that were trained on the same rows."""
    metrics = run.metrics
    if metrics is None or not metrics.splits or metrics.of_reported.baselines is None:
        return []
    own, found = metrics.of_reported, metrics.of_reported.baselines
    shown = {"regression": "ma_rae", "classification": "roc_auc"}
    models = {"this run": own.tasks, **{name: of.tasks for name, of in found.models.items()}}
    rows = [
        [
            task,
            LABELS[shown[of.type]],
            *(_of_model(m, task, shown[of.type]) for m in models.values()),
        ]
        for task, of in own.tasks.items()
    ]
    parts: list[Part] = [Text(line) for line in found.sentences]
    parts.append(Table(["task", "metric", *models], rows))
    said = (
        f"Simple models on RDKit's descriptors and Morgan counts, trained on the same "
        f"{found.trained_on:,} rows. They are saved under baselines/ and predict as any model does."
    )
    return [Section("Against simple models", [Text(said), *parts])]


def _intervals(run: _Run) -> list[Section]:
    """Say how often the intervals of the reported split hold, and how wide they are."""
    metrics = run.metrics
    if metrics is None or not metrics.splits or not metrics.of_reported.intervals:
        return []
    found = metrics.of_reported.intervals
    rows = [
        [task, of["n"], 100 * of["level"], 100 * of["inside"], of["median_width"]]
        for task, of in found.items()
    ]
    said = (
        "Intervals (TASK_lower and TASK_upper in predictions.parquet) are conformal: molecules "
        "that the models had not seen say how wide they must be. The share inside scatters where "
        "labels are few: its standard deviation is √(level · (1 − level) / labels)."
    )
    columns = ["task", "labels", "level, %", "inside, %", "median width"]
    return [Section("Intervals", [Text(said), Table(columns, rows)])]


def _of_model(tasks: Mapping[str, Any], task: str, metric: str) -> float | None:
    value = tasks[task].metrics.get(metric) if task in tasks else None
    return None if value is None else value.value


def _summary(run: _Run) -> list[Part]:
    found, models = run.found, run.models
    notes = [] if run.metrics is None else run.metrics.notes
    parts: list[Part] = [Text(note, note=True) for note in notes]
    if run.reported == "train":
        text = "All rows were trained on: these scores say nothing of others."
        parts.append(Text(text, note=True))
    elif run.reported == "val":
        text = (
            "No row was kept for test. Validation rows chose the epoch, so that their scores are "
            "somewhat too good."
        )
        parts.append(Text(text, note=True))
    if bounds := int(found.n_bounds.sum()):
        parts.append(Text(f"{bounds} labels that are bounds are left out of all metrics.", True))
    facts: dict[str, Cell] = {f"{SPLITS[s]} rows": len(of) for s, of in run.splits.items()}
    facts["Labels in training"] = int(np.isfinite(run.trained_rows.y_true).sum())
    facts["Tasks"] = ", ".join(found.tasks)
    what = "mixture" if run.is_tabular else "members"
    facts["Uncertainty"] = "none" if found.sd is None else f"standard deviation of the {what}"
    if models:
        if len(models) == 1 and models[0].best is not None:
            facts["Best epoch"] = models[0].epochs[models[0].best]["epoch"] + 1
        epochs = [e for m in models for e in m.epochs]
        facts["Models"] = len(models)
        facts["Epochs" if len(models) == 1 else "Epochs, all models"] = len(epochs)
        seconds = sum(float(e.get("seconds") or 0) for e in epochs)
        facts["Training time, s"] = f"{seconds:.1f}"
    ended = records(run.folder / LOG, "finished")
    facts |= dict(ended[-1].get("facts", {})) if ended else {}
    if run.metrics is not None:
        for split, of in run.metrics.splits.items():
            if of.fold_score is not None:
                facts[f"Fold score, {split}"] = of.fold_score
    return [*parts, Facts(facts, digits=3)]


def _metrics(run: _Run, how: Resampling) -> list[Part]:
    return [
        # Intervals of the reported split alone: those of training rows would say nothing of new
        # molecules.
        _metric_table(run, split, rows, how if split == run.reported else None)
        for split, rows in run.splits.items()
    ]


def _table_of(rows: Predictions) -> MetricTable:
    return task_metrics(rows.y_true, rows.y_pred, rows.tasks, rows.task_types)


def _metric_table(run: _Run, split: str, found: Predictions, how: Resampling | None) -> Table:
    """Return a row per task, the mean over tasks last."""
    scores, macro = _table_of(found), _table_of(found).macro()
    names = [m for m in LABELS if m in METRICS and METRICS[m].task_type in found.task_types]
    scored = () if how is None else score_tasks(found, how, names=names)
    ends = {(s.task, s.metric): s.interval for s in scored if s.n >= LEAST}
    classes = "classification" in found.task_types
    units = run.units if any(run.units.values()) else {}
    heads = ["task", *(["unit"] if units else []), "labels", *(["positives"] if classes else [])]
    for name in names:
        heads += [LABELS[name], *(["from", "to"] if how else [])]
    rows: list[list[Cell]] = []
    for t, of in enumerate(scores.tasks):
        row: list[Cell] = [of.task, *([units.get(of.task)] if units else []), of.n]
        if classes:
            is_class = of.task_type == "classification"
            row.append(int((found.y_true[:, t] == 1).sum()) if is_class else None)
        for name in names:
            row.append(of.values.get(name))
            if how:
                interval = ends.get((of.task, name))
                row += [None, None] if interval is None else [interval.low, interval.high]
        rows.append(row)
    mean: list[Cell] = ["mean over tasks", *([None] if units else [])]
    mean += [sum(of.n for of in scores.tasks)]
    mean += [None] if classes else []
    for name in names:
        mean.append(macro[name].mean if name in macro and name not in IN_UNITS else None)
        mean += [None, None] if how else []
    said = (
        f" From, to: {100 * how.level:g} % interval, percentile bootstrap over the molecules, "
        f"{how.n:,} resamples; none below {LEAST} labels."
        if how
        else ""
    )
    caption = (
        f"{SPLITS[split]} rows{_of_whom(run, split)}. A dash: undefined there. RAE is MAE over "
        "the mean absolute deviation of the evaluated values (1 is no better than their mean); its "
        "mean over tasks is the MA-RAE."
    )
    return Table(heads, [*rows, mean], caption=caption + said, totals=1)


def _of_whom(run: _Run, split: str) -> str:
    """Return what a caption says of predictions that are not those of one model."""
    if run.found.fold is not None and split == "val":
        return " (all that are not tested), each predicted by the members that did not see it"
    return "" if run.found.sd is None else ", predicted by the mean of all members"


def _ensemble(run: _Run, rows: Predictions) -> list[Section]:
    """Say what the members are, and what their spread is worth."""
    if rows.sd is None:
        return []
    text = (
        "A prediction is the weighed mean of the models, its spread (TASK_sd in "
        "predictions.parquet) that of their mixture: how much they disagree and how unsure they "
        "are, not how far off they may all be."
        if run.is_tabular
        else "A prediction is the mean of the members, its spread (TASK_sd in "
        "predictions.parquet) their sample standard deviation. The spread says how much the "
        "members disagree, not how far off they may all be."
    )
    parts: list[Part] = [Text(text), *_members(run)]
    spreads = _spreads(rows)
    if spreads:
        name = SPLITS[run.reported].lower()
        parts += [_spread_table(spreads, name), figures.spread_figure(spreads, name, run.units)]
    return [Section("Ensemble", parts)]


def _members(run: _Run) -> list[Part]:
    ensemble = run.config.get("ensemble") or {}
    n_folds = int(ensemble.get("n_folds", 1) or 1)
    alone = [] if run.metrics is None else run.metrics.of_reported.members
    # With a model per group there are more models than members, and no row to put a member's score
    # in.
    alone = alone if len(alone) == len(run.models) else []
    names = [n for n in OF_MEMBERS if any(n in m.macro for m in alone)]
    rows: list[list[Cell]] = []
    for i, model in enumerate(run.models):
        member, best = model.member or 0, model.best
        # The numbering of `plan_members`: all folds of the first seed, then those of the next.
        row: list[Cell] = [model.label, str(member // n_folds), str(member % n_folds)]
        row += [len(model.epochs), *_best(model, best)]
        if alone:
            row += [alone[i].macro[n].value if n in alone[i].macro else None for n in names]
        rows.append(row)
    if alone and run.metrics is not None:
        macro = run.metrics.of_reported.macro
        mean = [macro[n].value if n in macro else None for n in names]
        rows.append(["mean of all", None, None, None, None, None, *mean])
    heads = ["member", "seed", "fold", "epochs", "best epoch", "best loss"]
    caption = "The models of the members; seeds and folds count from 0."
    if alone:
        caption += (
            f" Means over tasks on the {run.reported} molecules: of each alone, and of the mean of "
            "their predictions."
        )
    heads += [mean_label(n) for n in names]
    return [Table(heads, rows, caption=caption, totals=1 if alone else 0)] if rows else []


def _best(model: TrainedModel, best: int | None) -> list[Cell]:
    if best is None:
        return [None, None]
    return [model.epochs[best]["epoch"] + 1, float(model.values("val_loss")[best])]


def _spreads(rows: Predictions) -> list[Spread]:
    found = []
    for t, task in enumerate(rows.tasks):
        sd = np.full(len(rows), np.nan) if rows.sd is None else rows.sd[:, t]
        at = np.isfinite(rows.y_true[:, t]) & np.isfinite(sd)
        if at.any():
            error = np.abs(rows.y_true[at, t] - rows.y_pred[at, t])
            found.append(Spread(task, sd[at], error))
    return found


def _rank_correlation(spread: Spread) -> float | None:
    try:
        return spearman(spread.error, spread.sd)
    except UndefinedMetricError:
        return None


def _spread_table(spreads: Sequence[Spread], split: str) -> Table:
    rows: list[list[Cell]] = [
        [
            s.task,
            len(s.sd),
            float(s.sd.mean()),
            float(s.error.mean()),
            _rank_correlation(s),
            round(100 * float((s.error <= 2 * s.sd).mean())),
        ]
        for s in spreads
    ]
    return Table(
        ["task", "labels", "mean sd", "MAE", "Spearman, sd and error", "error within 2 sd, %"],
        rows,
        caption=f"Spread of the members on the {split} rows. A rank correlation above 0: where "
        "members disagree, the mean is further off. Were the spread all there is to the error, "
        "about 95 % would lie within 2 sd.",
    )


def _groups(run: _Run) -> list[Section]:
    """Say which groups there are and what made them; nothing where all tasks share one head."""
    # Read, not measured anew: the page is made from the folder alone.
    affinity = read_affinity(run.folder)
    groups, assignment = _groups_of(run)
    if not groups:
        return []
    origin = "measured" if affinity is not None else "given by hand"
    separate = run.config.get("sharing") == "separate"
    meaning = (
        "Each has a model of its own, trained on the rows that have a label of its tasks; a task "
        "is predicted by the group that serves it."
        if separate
        else "All share one encoder; each has a head of its own, with an output for every task "
        "that it serves."
    )
    parts: list[Part] = [
        Text(f"Groups are {origin}. {meaning}"),
        _group_table(run, groups, assignment),
    ]
    if affinity is None:
        return [Section("Task groups", parts)]
    result, how = affinity.result, affinity.result.config
    facts: dict[str, Cell] = {
        "Affinity": f"{how.affinity_type}, {result.estimator}",
        "Steps measured": f"{result.n_measured} of {result.n_steps}",
        "Grouped by": f"{affinity.grouping.method}, n_groups {how.n_groups}",
    }
    reading = (
        "Affinities are read by rank and error bar: cosines of real assays lie between about 0 and "
        "0.3, so a threshold from elsewhere says little. They were measured on training rows "
        "alone, with a model that was then thrown away."
    )
    parts += [Facts(facts), Text(score_words(affinity)), Text(reading)]
    parts += [part for section in affinity_sections(affinity) for part in section.parts]
    return [Section("Task groups", parts)]


def _groups_of(run: _Run) -> tuple[list[list[str]], dict[str, int]]:
    file = run.folder / GROUPS
    said: Mapping[str, Any] = yaml.safe_load(file.read_text()) if file.is_file() else {}
    groups = said.get("groups") or run.config.get("groups") or []
    given = said.get("assignment") or run.config.get("group_assignment") or {}
    if not isinstance(groups, list):
        return [], {}
    return groups, {task: k for k, group in enumerate(groups) for task in group} | dict(given)


def _group_table(
    run: _Run, groups: Sequence[Sequence[str]], assignment: Mapping[str, int]
) -> Table:
    models = {m.group: m for m in run.models if m.group is not None}
    one_each = len(models) == len(groups) == len(run.models)
    train, place = run.trained_rows, {task: t for t, task in enumerate(run.found.tasks)}
    rows: list[list[Cell]] = []
    for k, group in enumerate(groups):
        served = [task for task in group if assignment[task] == k]
        row: list[Cell] = [str(k), ", ".join(group), ", ".join(served)]
        if one_each:
            columns = [place[task] for task in group if task in place]
            n = int(np.isfinite(train.y_true[:, columns]).any(axis=1).sum())
            row += [n, len(models[k].epochs), *_best(models[k], models[k].best)]
        rows.append(row)
    more = ["training rows", "epochs", "best epoch", "best loss"] if one_each else []
    return Table(["group", "tasks", "served", *more], rows, caption="The groups, from 0.")


def _worst(rows: Predictions, split: str) -> list[Section]:
    """List the largest errors of regression tasks, in units of each task's spread."""
    entries: list[tuple[float, list[Cell]]] = []
    for t, task in enumerate(rows.tasks):
        labelled = np.flatnonzero(np.isfinite(rows.y_true[:, t]))
        if rows.task_types[t] != "regression" or len(labelled) < 2:
            continue
        # In units of the task's spread, so that errors of tasks in different units are ranked
        # together.
        spread = float(rows.y_true[labelled, t].std()) or 1.0
        for i in labelled.tolist():
            y, p = float(rows.y_true[i, t]), float(rows.y_pred[i, t])
            smiles = None if rows.smiles is None else rows.smiles[i]
            far = abs(p - y) / spread
            entries.append((far, [str(rows.ids[i]), task, y, p, p - y, far, smiles]))
    if not entries:
        return []
    entries.sort(key=lambda e: (-e[0], str(e[1][:2])))
    heads = ["id", "task", "measured", "predicted", "error", "error / sd", "SMILES"]
    table = Table(
        heads,
        [row for _, row in entries[:WORST]],
        caption=f"The {len(entries[:WORST])} largest errors of {SPLITS[split].lower()} rows, by "
        "the standard deviation of the task's measured values. Look at these first: a wrong "
        "label and a molecule unlike the others both stand here.",
    )
    return [Section("Largest errors", [table])]


def _curves(run: _Run) -> list[Section]:
    if not run.models:
        return []
    phases = [] if run.draws is None or "phase" not in run.draws else run.draws["phase"].to_list()
    named = [p for p in phases if p is not None]
    return [Section("Learning curves", [figures.learning_curves(run.models, named)])]


def _sampling_section(run: _Run) -> list[Section]:
    """Compare what an average epoch drew with what the training rows hold."""
    title, frame = "Sampling", run.draws
    if run.is_tabular:
        return []  # trees and processes draw no rows
    if frame is None:
        text = "Plain shuffling, or no statistics: every training row once per epoch."
        return [Section(title, [Text(text)])]
    train = run.trained_rows
    held = {f"labels: {t}": int(n) for t, n in zip(train.tasks, _labels(train), strict=True)}
    held = {name: n for name, n in held.items() if name in frame.columns}
    weighs = any(column.startswith(LOSS_WEIGHT) for column in frame.columns)
    parts: list[Part] = [
        Text(
            "Bars compare what an average epoch drew, with replacement where there is a sampler, "
            "with what the training table holds."
            + (" The loss of a row is multiplied by the weight of its quality." if weighs else "")
            + (f" Shown is {run.models[0].label}." if len(run.models) > 1 else "")
        )
    ]
    if held and sum(held.values()):
        parts.append(figures.drawn_against_held(frame, held, "labels: ", "labels of each task"))
    if any(c.startswith("quality: ") for c in frame.columns):
        parts.append(figures.quality_by_epoch(frame))
    if any(c.startswith("positives: ") for c in frame.columns):
        parts.append(_positives(frame, train))
    return [Section(title, [*parts, _statistics(frame)])]


def _labels(rows: Predictions) -> list[int]:
    return [int(n) for n in np.isfinite(rows.y_true).sum(axis=0)]


def _positives(frame: pl.DataFrame, train: Predictions) -> Table:
    rows: list[list[Cell]] = []
    for t, task in enumerate(train.tasks):
        column = f"positives: {task}"
        if column in frame.columns:
            n, drawn = int((train.y_true[:, t] == 1).sum()), float(frame[column].to_numpy().mean())
            rows.append([task, n, 100 * n / len(train), drawn, 100 * drawn / len(train)])
    return Table(
        ["task", "positives", "of the bags, %", "drawn per epoch", "of the draws, %"],
        rows,
        caption="Positives of each task among the training bags and, on average, in an epoch.",
        digits=2,
    )


def _statistics(frame: pl.DataFrame) -> Table:
    """Return the weight statistics of each epoch.

    Parameters
    ----------
    frame : DataFrame
        Of `SamplingLog`.
    """
    heads = {
        "epoch": "epoch",
        "phase": "phase",
        "min": "smallest p",
        "max": "largest p",
        "entropy": "entropy (nats)",
        "effective_samples": "effective rows",
        "distinct_rows": "distinct rows drawn",
    }
    for prefix, head in ((LOSS_WEIGHT, "loss weight of"), (DRAW_WEIGHT, "weight of")):
        of_quality = [column for column in frame.columns if column.startswith(prefix)]
        heads |= {column: f"{head} {column.removeprefix(prefix)}" for column in of_quality}
    if frame["phase"].is_null().all():
        del heads["phase"]  # no curriculum
    rows = frame.select(list(heads)).with_columns(
        pl.col("epoch") + 1,
        pl.col("min", "max").map_elements(lambda v: f"{v:.2e}", return_dtype=pl.String),
    )
    return Table(
        list(heads.values()),
        [list(row) for row in rows.iter_rows()],
        caption="Row distribution of each epoch; effective rows are 1/Σp².",
        digits=2,
    )


def _decisions(run: _Run) -> list[Section]:
    decisions = {} if run.metrics is None else run.metrics.of_reported.decisions
    if not decisions:
        return []
    keys = ("threshold", "true_positives", "false_positives", "false_negatives", "true_negatives")
    rows: list[list[Cell]] = []
    for task, of in decisions.items():
        right, n = of["true_positives"] + of["true_negatives"], sum(of[k] for k in keys[1:])
        accuracy = right / n if n else None
        rows.append([task, *(of[k] for k in keys), of["precision"], of["recall"], accuracy])
    heads = "task,threshold,true +,false +,false −,true −,precision,recall,accuracy"
    caption = f"Test bags called positive from the threshold on, {_origin(run, list(decisions))}."
    return [Section("Decisions", [Table(heads.split(","), rows, caption=caption)])]


def _origin(run: _Run, tasks: Sequence[str]) -> str:
    """Say where the thresholds are from."""
    if set(tasks) <= set(run.config.get("thresholds") or {}):
        return "which the configuration gives"
    if "val" not in run.splits:
        return "0.5 where the configuration gives none, since no bag validates"
    metric = str(run.config.get("threshold_metric", "score")).replace("_", " ")
    return f"which was chosen on validation bags alone (largest {metric})"


def _attention(run: _Run) -> list[Section]:
    file = run.folder / f"{attention_of('test')}.parquet"
    if not file.is_file():
        return []
    frame = pl.read_parquet(file)
    # A bag of one instance has attention 1 whatever the model: it would only raise the means.
    several = frame.filter(pl.len().over("molecule_id", "task") > 1)
    if several.is_empty():
        return [
            Section(
                "Attention",
                [Text("Every test bag has one instance: attention has nothing to choose from.")],
            )
        ]
    text = Text(
        "Attention sums to 1 over the instances of a bag. A share of 1 of what even attention "
        "would give means no preference. The effect of an instance is the logit of the whole bag "
        "minus that of the bag without it; attention says where the model looks, the effect what "
        "comes of it. attention_test.parquet and .csv hold a row per instance and task; "
        "attention.html shows the conformers of molecules."
    )
    return [Section("Attention", [text, figures.attention(several), _by_task(several)])]


def _by_task(frame: pl.DataFrame) -> Table:
    bag = ["molecule_id", "task"]
    numbers = [
        (pl.col("attention").max() * pl.len()).alias("times"),
        pl.col("attention").max().alias("largest"),
    ]
    columns = ["task", "bags", "largest attention", "times even attention"]
    shown = [pl.len().alias("bags"), pl.col("largest").mean(), pl.col("times").mean()]
    if "effect" in frame.columns:
        # By size of the effect: an instance may speak strongly against a class.
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
