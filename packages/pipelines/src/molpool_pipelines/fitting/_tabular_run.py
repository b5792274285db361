"""Train, calibrate, evaluate and write models on features whose inputs are known to be right.

Every row that is not tested is predicted out of fold; by time, the later ones are, each by models
of earlier rows. These predictions weigh the models, calibrate the intervals and are the run's
validation. What is saved is fitted to all of those rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import FloatArray, IntArray, RunFolder
from rich.console import Console

from molpool_pipelines.fitting._baselines import FEATURES, ReferenceRows, with_baselines
from molpool_pipelines.fitting._budget import Budget
from molpool_pipelines.fitting._config import TrainTabularConfig
from molpool_pipelines.fitting._distill import write_distilled
from molpool_pipelines.fitting._draws import check_draws
from molpool_pipelines.fitting._inputs import Inputs, write_unseen
from molpool_pipelines.fitting._interruption import interruptible
from molpool_pipelines.fitting._intervals import IntervalRequest, distance_to, extremes
from molpool_pipelines.fitting._learning_curve import CurveRequest, with_learning_curve
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.fitting._related import check_use
from molpool_pipelines.fitting._related_use import rows_of_verdicts
from molpool_pipelines.fitting._results import (
    Results,
    against_baselines,
    metric_table,
    results_of,
    shown_rows,
    write_results,
)
from molpool_pipelines.fitting._tabular_fits import Chosen, choose_models, final_blend
from molpool_pipelines.fitting._tabular_rows import TrainingRows
from molpool_pipelines.fitting._tracked import sources_of, track_results
from molpool_pipelines.models import (
    WORDS,
    Basis,
    Blend,
    Molecules,
    TabularModel,
    check_members,
    mix,
)
from molpool_pipelines.runs import (
    RELATED,
    TABULAR_FOLDER,
    Tracker,
    open_folder,
    tracking,
    write_rejected,
)


def train_and_write(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    path: Path,
    arguments: Sequence[str],
    budget: Budget,
) -> Path:
    """Featurise, predict out of fold, fit, evaluate and write; see `train_tabular`."""
    check_draws(config.joint_sampling, config.model)
    check_members(config.model, inputs.task_types, config.options)
    check_use(config.related, config.model, drawn=config.joint_sampling.enabled)
    rows = TrainingRows.of(console, config, inputs, budget)
    run = open_folder(config, path, arguments)
    inputs.rows.write(run)
    with (
        interruptible(run, config.command),
        tracking(config.tracking, path, config.model_dump(mode="json")) as tracker,
    ):
        page = _fit_and_write(console, config, inputs, rows, run, budget, tracker)
    if page is not None:
        console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    return path


def _fit_and_write(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    rows: TrainingRows,
    run: RunFolder,
    budget: Budget,
    tracker: Tracker,
) -> Path | None:
    kinds = inputs.task_types
    chosen = choose_models(console, config, rows, kinds, budget)
    # Perhaps of fewer folds.
    rows = chosen.fits.rows
    mean, sd = mix(np.stack(chosen.found.mean), np.stack(chosen.found.sd), chosen.weights)
    blend = final_blend(chosen)
    chosen.notes.extend(chosen.fits.shortened())
    model = TabularModel(
        blend,
        rows.table.task_names,
        kinds,
        rows.features.signature,
        cache=config.data.cache_dir,
        structure=config.data.structure,
        scales=rows.table.of_scales,
    )
    # First of all: what took the hours must not wait for what can fail.
    saved = model.save(run.path / TABULAR_FOLDER)
    parts = _of_training(rows, mean, sd, blend)
    if len(inputs.tables.test):
        parts.append(_of_test(rows, inputs, blend))
    basis: Basis = "rolling origin" if config.data.split_type == "time" else "folds"
    farther = _farther(rows, *mix(*chosen.farther, chosen.weights))
    request = IntervalRequest(
        config.level, rows.limits, extremes(rows.table.targets), basis, config.shift, farther
    )
    results = results_of(parts, kinds, request)
    results = _beside(console, config, inputs, rows, run, results, chosen, budget)
    asked = CurveRequest(config.learning_curve, rows.table, config.seed)
    results = with_learning_curve(results, asked, kinds, partial(_refitted, chosen, blend))
    write_rejected(run, inputs.rejected)
    notes = [*inputs.notes, *rows.notes, *chosen.notes]
    if config.distill:
        chosen.notes.append(write_distilled(config, inputs, rows, model, run))
        notes.append(chosen.notes[-1])
    if chosen.verdicts:
        run.write_json(RELATED, rows_of_verdicts(chosen.verdicts))
    facts = _facts(config, chosen, rows)
    page = write_results(run, results, "tabular", notes, facts, 0, page=config.page)
    source = sources_of(config)
    track_results(tracker, run.path, results, inputs.rows, page, [], source=source)
    columns, shown = shown_rows(results.metrics[results.reported])
    console.print(metric_table(shown, columns, f"Metrics by task, {results.reported} molecules"))
    for note in (*rows.notes, *chosen.notes, *results.notes, *against_baselines(results)):
        console.print(note, highlight=False)
    if inputs.unseen is not None:
        files = write_unseen(run, config, inputs.unseen, config.level)
        console.print(f"Predictions: {files[-1]}", highlight=False, soft_wrap=True)
    console.print(f"Model: {saved.parent}", highlight=False, soft_wrap=True)
    return page


def _beside(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    rows: TrainingRows,
    run: RunFolder,
    results: Results,
    chosen: Chosen,
    budget: Budget,
) -> Results:
    """Return the results with baselines beside them, where there are test rows and time."""
    if results.reported != "test" or not chosen.beside:
        return results
    if not budget.allows(chosen.fits.seconds_beside):
        said = "No simple models beside it: the time budget is spent."
        return replace(results, remarks=(*results.remarks, said))
    names = {plan.name for plan in chosen.found.plans}
    return with_baselines(
        console,
        run,
        results,
        ReferenceRows(rows.table, inputs.tables.test, config.data.structure),
        inputs.task_types,
        chosen.beside,
        model="the blend" if len(names) > 1 else f"the {WORDS[next(iter(names))]}",
        seed=config.seed,
        cache=config.data.cache_dir,
        features=_of_baselines(rows, budget),
        bounded=budget.seconds is not None,
    )


def _of_baselines(rows: TrainingRows, budget: Budget) -> str:
    """Return what baselines see: nothing slow that the budget left out for the run's models."""
    blocks = {block.name for block in rows.features.blocks}
    names = FEATURES.split("+")
    quick = [name for name in names if name in blocks or name == "morgan_count"]
    return FEATURES if budget.seconds is None else "+".join(quick)


def _refitted(chosen: Chosen, blend: Blend, part: IntArray) -> FloatArray:
    """Return what the blend says of the test rows when trained on some of its rows."""
    members = tuple(chosen.fits.fitted(plan, part, ()) for plan in chosen.found.plans)
    mean, _ = replace(blend, members=members).predict(chosen.fits.rows.tested)
    # A task without a label among these rows is predicted as 0, which scores it as it deserves.
    return np.nan_to_num(mean)


def _facts(config: TrainTabularConfig, chosen: Chosen, rows: TrainingRows) -> dict[str, Any]:
    named = [plan.words(rows.related) for plan in chosen.found.plans]
    shares = ", ".join(
        f"{name} {share:.0%}"
        for name, share in zip(named, chosen.weights.mean(axis=1), strict=True)
    )
    used = "+".join(block.name for block in rows.features.blocks)
    return {
        "Distinct molecules": len(set(rows.table.groups)),
        "Features": f"{used} ({rows.molecules.X.shape[1]} columns)",
        "Models and their mean weight": shares,
    }


def _of_training(
    rows: TrainingRows, mean: FloatArray, sd: FloatArray, blend: Blend
) -> list[PredictedRows]:
    """Return the rows out of fold, fold by fold, after those that no fold predicts."""
    seen = np.flatnonzero(~np.isfinite(mean).any(axis=1))
    parts = []
    if len(seen):
        fitted, spread = _in_chunks(blend, rows.molecules, seen)
        part = PredictedRows("train", rows.table.take(seen), fitted, spread, with_folds=True)
        parts.append(part)
    for fold, (train, val) in enumerate(rows.folds):
        val = np.setdiff1d(val, seen)
        if len(val):
            table = rows.table.take(val)
            distance = distance_to(rows.table.take(train).smiles, table.smiles)
            part = PredictedRows("val", table, mean[val], sd[val], fold, True, distance=distance)
            parts.append(part)
    return parts


def _in_chunks(blend: Blend, molecules: Molecules, at: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return what a blend says of rows, some at a time: most of a long table would be copied."""
    starts = range(0, len(at), TabularModel.chunk_rows)
    each = [blend.predict(molecules.take(at[i : i + TabularModel.chunk_rows])) for i in starts]
    return np.concatenate([mean for mean, _ in each]), np.concatenate([sd for _, sd in each])


def _farther(rows: TrainingRows, mean: FloatArray, sd: FloatArray) -> list[PredictedRows]:
    """Return the rows that calibrate once more, as models of earlier origins predict them."""
    parts, done = [], 0
    for fold, ((train, _), beyond) in enumerate(zip(rows.folds, rows.farther, strict=True)):
        here = slice(done, done + len(beyond))
        done += len(beyond)
        if len(beyond):
            table = rows.table.take(beyond)
            distance = distance_to(rows.table.take(train).smiles, table.smiles)
            part = PredictedRows("val", table, mean[here], sd[here], fold, distance=distance)
            parts.append(part)
    return parts


def _of_test(rows: TrainingRows, inputs: Inputs, blend: Blend) -> PredictedRows:
    mean, sd = blend.predict(rows.tested)
    table = inputs.tables.test
    distance = distance_to(rows.table.smiles, table.smiles)
    return PredictedRows("test", table, mean, sd, with_folds=True, distance=distance)
