"""The page of a training run, from its folder alone: training writes it, and `report` anew.

Sections that only a kind of model has (ensemble, task groups, decisions, attention) stand where the
folder has their files, so that a page of an earlier run has what that run left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from molpool_common import (
    Cell,
    Facts,
    InputError,
    Part,
    Section,
    Table,
    Text,
    UndefinedMetricError,
    checked,
    folders_inside,
    mean_label,
    render_report,
    spearman,
)

from molpool_pipelines.affinity import affinity_sections, read_affinity, score_words
from molpool_pipelines.reports import _run_figures as figures
from molpool_pipelines.reports._against import more_data, simple_models
from molpool_pipelines.reports._config import ReportConfig
from molpool_pipelines.reports._metric_tables import metric_tables
from molpool_pipelines.reports._panels import Shown
from molpool_pipelines.reports._parts import configuration
from molpool_pipelines.reports._read_run import SPLITS, ReadRun, read_run
from molpool_pipelines.reports._run_figures import Spread, TrainedModel
from molpool_pipelines.reports._structures import structures
from molpool_pipelines.reports._summary import how_made, summary
from molpool_pipelines.reports._where import intervals, residuals
from molpool_pipelines.runs import (
    CONFIG,
    DRAW_WEIGHT,
    GROUPS,
    LOSS_WEIGHT,
    PREDICTIONS,
    attention_of,
)
from molpool_pipelines.scores import (
    Predictions,
    Resampling,
    noise_ceilings,
)

OF_MEMBERS = ("ma_rae", "r2", "spearman", "average_precision", "roc_auc")
WORST = 20
"""Rows of the table of largest errors."""


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
            hint=folders_inside(folder, PREDICTIONS, "A run writes its predictions when it ends."),
        )
    run = read_run(folder)
    how = config or ReportConfig()
    rows = run.splits[run.reported]
    shown = Shown(rows)
    resampling = Resampling(how.n_bootstrap, how.level, how.seed)
    split = SPLITS[run.reported].lower()
    sections = [
        # What one acts on first; how it was made last.
        Section("Summary", summary(run)),
        Section("Metrics by task", metric_tables(run, resampling)),
        *_against_others(run, rows),
        Section("Predicted against measured", figures.fits(rows, split, run.units)),
        *structures(run.found, rows, run.reported),
        *_worst(rows, run.reported),
        *intervals(rows),
        *residuals(rows, shown),
        how_made(run),
        *_ensemble(run, rows),
        *_groups(run),
        *_curves(run),
        *_sampling_section(run),
        *_decisions(run),
        *_attention(run),
        configuration(folder, [CONFIG]),
    ]
    tasks, seed = len(run.found.tasks), run.config.get("seed")
    said = f"Training run, {tasks} task{'' if tasks == 1 else 's'}"
    said = said if seed is None else f"{said}, seed {seed}"
    return render_report(name, said, sections, rows=shown.rows(sections))


def _against_others(run: ReadRun, rows: Predictions) -> list[Section]:
    """Return the run's model beside simple ones, the noise of the assay and fewer data."""
    metrics = run.metrics
    if metrics is None or not metrics.splits:
        return []
    own = metrics.of_reported
    return [
        *simple_models(own, noise_ceilings(run.found, rows)),
        *more_data(own.learning_curve, own.more_data, rows.noun),
    ]


def _ensemble(run: ReadRun, rows: Predictions) -> list[Section]:
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
        parts += [_spread_table(spreads, name)]
        parts += [figures.spread_figure(spreads, f"{name} {rows.noun}s", run.units)]
    return [Section("Ensemble", parts)]


def _members(run: ReadRun) -> list[Part]:
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
            f" Means over tasks on the {run.reported} {run.found.noun}s: of each alone, and of the "
            "mean of their predictions."
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


def _groups(run: ReadRun) -> list[Section]:
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


def _groups_of(run: ReadRun) -> tuple[list[list[str]], dict[str, int]]:
    file = run.folder / GROUPS
    said: Mapping[str, Any] = yaml.safe_load(file.read_text()) if file.is_file() else {}
    groups = said.get("groups") or run.config.get("groups") or []
    given = said.get("assignment") or run.config.get("group_assignment") or {}
    if not isinstance(groups, list):
        return [], {}
    return groups, {task: k for k, group in enumerate(groups) for task in group} | dict(given)


def _group_table(
    run: ReadRun, groups: Sequence[Sequence[str]], assignment: Mapping[str, int]
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
    heads = ["id", "task", "measured", "predicted", "error", "error / sd"]
    heads += [] if rows.smiles is None else ["SMILES"]
    table = Table(
        heads,
        [row[: len(heads)] for _, row in entries[:WORST]],
        caption=f"The {len(entries[:WORST])} largest errors of {SPLITS[split].lower()} rows, by "
        "the standard deviation of the task's measured values. Look at these first: a wrong "
        f"label and a {rows.noun} unlike the others both stand here.",
    )
    return [Section("Largest errors", [table])]


def _curves(run: ReadRun) -> list[Section]:
    if not run.models:
        return []
    phases = [] if run.draws is None or "phase" not in run.draws else run.draws["phase"].to_list()
    named = [p for p in phases if p is not None]
    return [Section("Training", [figures.learning_curves(run.models, named)])]


def _sampling_section(run: ReadRun) -> list[Section]:
    """Compare what an average epoch drew with what the training rows hold."""
    title, frame = "Sampling", run.draws
    if run.is_tabular or (frame is None and not run.models):
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


def _decisions(run: ReadRun) -> list[Section]:
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
    caption = (
        f"Test {run.found.noun}s called positive from the threshold on, "
        f"{_origin(run, list(decisions))}."
    )
    return [Section("Decisions", [Table(heads.split(","), rows, caption=caption)])]


def _origin(run: ReadRun, tasks: Sequence[str]) -> str:
    """Say where the thresholds are from."""
    if set(tasks) <= set(run.config.get("thresholds") or {}):
        return "which the configuration gives"
    if "val" not in run.splits:
        return f"0.5 where the configuration gives none, since no {run.found.noun} validates"
    metric = str(run.config.get("threshold_metric", "score")).replace("_", " ")
    return f"which was chosen on validation {run.found.noun}s alone (largest {metric})"


def _attention(run: ReadRun) -> list[Section]:
    file = run.folder / f"{attention_of('test')}.parquet"
    if not file.is_file():
        return []
    frame = pl.read_parquet(checked(file))
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
