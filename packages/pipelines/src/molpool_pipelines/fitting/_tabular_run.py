"""Train, calibrate, evaluate and write models on features whose inputs are known to be right.

Every row that is not tested is predicted out of fold; by time, the later ones are, each by models
of earlier rows. These predictions weigh the models, calibrate the intervals and are the run's
validation. What is saved is fitted to all of those rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import Float32Array, FloatArray, IntArray, RunFolder
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molpool_pipelines.fitting._baselines import ReferenceRows, with_baselines
from molpool_pipelines.fitting._config import TrainTabularConfig, seconds_of
from molpool_pipelines.fitting._inputs import Inputs, write_unseen
from molpool_pipelines.fitting._intervals import IntervalRequest, distance_to
from molpool_pipelines.fitting._learning_curve import CurveRequest, with_learning_curve
from molpool_pipelines.fitting._loop import interruptible, metric_table
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.fitting._results import (
    against_baselines,
    results_of,
    shown_rows,
    write_results,
)
from molpool_pipelines.fitting._tracked import sources_of, track_results
from molpool_pipelines.models import (
    WORDS,
    Basis,
    Blend,
    MemberName,
    MemberSettings,
    TabularModel,
    asks_sd,
    blend_weights,
    build_member,
    mix,
    predict_member,
)
from molpool_pipelines.runs import (
    TABULAR_FOLDER,
    Tracker,
    open_folder,
    tracking,
    write_rejected,
)
from molpool_pipelines.tables import MoleculeTable, exact_labels, fold_rows

if TYPE_CHECKING:
    from molecule_features import Features
    from multitask_models import MultitaskModel

_ROLLING_FROM = 0.5
"""By time, origins are in this last share of the rows: models of fewer know too little to weigh
those that know all."""

_HORIZON = 0.25
"""Without test rows, how far ahead each origin predicts, as a share of the rows."""


def train_and_write(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    path: Path,
    arguments: Sequence[str],
) -> Path:
    """Featurise, predict out of fold, fit, evaluate and write; see `train_tabular`."""
    rows = TrainingRows.of(console, config, inputs)
    run = open_folder(config, path, arguments)
    inputs.rows.write(run)
    with (
        interruptible(run, config.command),
        tracking(config.tracking, path, config.model_dump(mode="json")) as tracker,
    ):
        page = _fit_and_write(console, config, inputs, rows, run, tracker)
    if page is not None:
        console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    return path


@dataclass(frozen=True)
class TrainingRows:
    """Rows that are not tested, with their features and folds.

    Parameters
    ----------
    table : MoleculeTable [N]
        Training and validation rows.
    X : ndarray of float32 [N, F]
        Features.
    features : Features
        Of all molecules, for their blocks.
    folds : list of (ndarray, ndarray)
        Rows to train on and rows to predict.
    of_test : ndarray of float32 [M, F]
        Of the test rows.
    farther : list of ndarray
        By time, further rows that each fold's models predict; else none.
    """

    table: MoleculeTable
    X: Float32Array
    features: Features
    folds: list[tuple[IntArray, IntArray]]
    of_test: Float32Array
    farther: list[IntArray]

    @classmethod
    def of(cls, console: Console, config: TrainTabularConfig, inputs: Inputs) -> TrainingRows:
        """Return the rows of checked tables."""
        tested = set(inputs.tables.test.groups)
        rest = inputs.table.take(
            np.flatnonzero([group not in tested for group in inputs.table.groups])
        )
        folds = _folds(config, rest)
        smiles = rest.smiles + inputs.tables.test.smiles
        with featurising(console) as progress:
            from molecule_features import featurize

            features = featurize(
                smiles, config.features, cache=config.data.cache_dir, progress=progress
            )
        X, farther = features.values, [np.empty(0, dtype=np.int64) for _ in folds]
        if config.data.split_type == "time":
            farther = farther_rows(folds, len(inputs.tables.test) or _HORIZON * len(rest))
        return cls(rest, X[: len(rest)], features, folds, X[len(rest) :], farther)

    def settings(
        self, config: TrainTabularConfig, kinds: Sequence[Any], name: str
    ) -> MemberSettings:
        """Return what a model is told."""
        options = config.mlp.model_dump() if name == "mlp" else {}
        return MemberSettings(
            self.features.blocks, tuple(kinds), config.seed, config.limits == "auto", options
        )


def _folds(config: TrainTabularConfig, rest: MoleculeTable) -> list[tuple[IntArray, IntArray]]:
    """Return `folds` of the split's kind; by time as many origins in the later part of the rows."""
    if config.data.split_type != "time":
        return fold_rows(rest, config.data.split_type, config.folds, seed=config.seed)
    blocks = round(config.folds / (1 - _ROLLING_FROM))
    chained = fold_rows(rest, "time", min(blocks, _distinct_times(rest)) - 1, seed=config.seed)
    return chained[-config.folds :]


def _distinct_times(rest: MoleculeTable) -> int:
    return max(len(set(rest.times or ())), 3)


def farther_rows(folds: Sequence[tuple[IntArray, IntArray]], horizon: float) -> list[IntArray]:
    """Return the rows that each origin predicts beyond its own, as far ahead as new ones will be.

    Rows just after an origin are easier than those later on: intervals calibrated on them alone
    would cover 78 % where 80 is said.

    Parameters
    ----------
    folds : sequence of (ndarray, ndarray)
        Rows to train on and the next ones, in the order of time.
    horizon : float
        Rows that new molecules reach ahead.
    """
    found = []
    for k, (_, own) in enumerate(folds):
        ahead: list[IntArray] = []
        reached = len(own)
        for _, block in folds[k + 1 :]:
            if reached + len(block) / 2 > horizon:
                break
            ahead.append(block)
            reached += len(block)
        found.append(np.concatenate([*ahead, np.empty(0, dtype=np.int64)]).astype(np.int64))
    return found


@contextmanager
def featurising(console: Console) -> Iterator[Any]:
    """Give the progress callback of `featurize`, rendered as a bar per featuriser."""
    bars: dict[str, Any] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("molecules"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:

        def advance(name: str, done: int, total: int) -> None:
            if name not in bars:
                bars[name] = progress.add_task(f"Features {name}", total=total)
            progress.update(bars[name], completed=done, total=total)

        yield advance


def _fit_and_write(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    rows: TrainingRows,
    run: RunFolder,
    tracker: Tracker,
) -> Path | None:
    kinds, tasks = inputs.task_types, rows.table.task_names
    found = _out_of_fold(console, config, rows, kinds)
    exact = exact_labels(rows.table.targets, rows.table.censoring)
    weights = _weights(config, exact, found.mean, kinds)
    mean, sd = mix(found.mean, found.sd, weights)
    members = [
        _fitted(name, rows.settings(config, kinds, name), rows.X, rows.table)
        for name in found.names
    ]
    with_sd = tuple(asks_sd(name, config.model) for name in found.names)
    blend = Blend(found.names, tuple(members), weights, with_sd)
    model = TabularModel(
        blend,
        tasks,
        kinds,
        rows.features.signature,
        cache=config.data.cache_dir,
        scales=rows.table.of_scales,
    )
    parts = _of_training(rows, mean, sd, blend)
    if len(inputs.tables.test):
        parts.append(_of_test(rows, inputs, blend))
    basis: Basis = "rolling origin" if config.data.split_type == "time" else "folds"
    limits = _limits(members, rows.table.targets)
    farther = _farther(rows, *mix(found.farther_mean, found.farther_sd, weights))
    request = IntervalRequest(config.level, limits, basis, config.shift, farther)
    results = results_of(parts, kinds, request)
    if results.reported == "test":
        results = with_baselines(
            console,
            run,
            results,
            ReferenceRows(rows.table, inputs.tables.test),
            kinds,
            config.baselines,
            model="the blend" if len(found.names) > 1 else f"the {WORDS[found.names[0]]}",
            seed=config.seed,
            cache=config.data.cache_dir,
        )
    asked = CurveRequest(config.learning_curve, rows.table, config.seed)
    refit = partial(_refitted, config, rows, kinds, blend)
    results = with_learning_curve(results, asked, kinds, refit)
    write_rejected(run, inputs.rejected)
    saved = model.save(run.path / TABULAR_FOLDER)
    facts = _facts(config, found.names, rows, weights)
    page = write_results(run, results, "tabular", [*inputs.notes, *found.notes], facts, 0)
    source = sources_of(config)
    track_results(tracker, run.path, results, inputs.rows, page, [], source=source)
    columns, shown = shown_rows(results.metrics[results.reported])
    console.print(metric_table(shown, columns, f"Metrics by task, {results.reported} molecules"))
    for note in (*found.notes, *results.notes, *against_baselines(results)):
        console.print(note, highlight=False)
    if inputs.unseen is not None:
        files = write_unseen(run, config, inputs.unseen, config.level)
        console.print(f"Predictions: {files[-1]}", highlight=False, soft_wrap=True)
    console.print(f"Model: {saved.parent}", highlight=False, soft_wrap=True)
    return page


def _refitted(
    config: TrainTabularConfig,
    rows: TrainingRows,
    kinds: Sequence[Any],
    blend: Blend,
    part: IntArray,
) -> FloatArray:
    """Return what the blend says of the test rows when trained on some of its rows."""
    members = tuple(
        _fitted(name, rows.settings(config, kinds, name), rows.X[part], rows.table.take(part))
        for name in blend.names
    )
    mean, _ = replace(blend, members=members).predict(rows.of_test)
    # A task without a label among these rows is predicted as 0, which scores it as it deserves.
    return np.nan_to_num(mean)


def _limits(members: Sequence[MultitaskModel], labels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return where intervals end: at the extreme label of an assay that has a limit there.

    Not at the limit itself, above which labels of a plateau scatter: what the assay reports of a
    compound beyond it would be counted as outside.
    """
    # All members found the same; one that did not look has infinite ones.
    floor = np.max([member.limits_.floor for member in members], axis=0)
    ceiling = np.min([member.limits_.ceiling for member in members], axis=0)
    low = np.nanmin(np.where(np.isnan(labels), np.inf, labels), axis=0)
    high = np.nanmax(np.where(np.isnan(labels), -np.inf, labels), axis=0)
    return np.where(np.isfinite(floor), low, -np.inf), np.where(np.isfinite(ceiling), high, np.inf)


def _facts(
    config: TrainTabularConfig, names: Sequence[str], rows: TrainingRows, weights: FloatArray
) -> dict[str, Any]:
    shares = ", ".join(
        f"{name} {share:.0%}" for name, share in zip(names, weights.mean(axis=1), strict=True)
    )
    return {
        "Distinct molecules": len(set(rows.table.groups)),
        "Features": f"{config.features} ({rows.X.shape[1]} columns)",
        "Models and their mean weight": shares,
    }


def _fitted(
    name: Any, settings: MemberSettings, X: Float32Array, table: MoleculeTable
) -> MultitaskModel:
    model = build_member(name, settings)
    model.fit(X, table.targets, censoring=table.censoring)
    return model


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by models that have not seen them.

    Parameters
    ----------
    names : tuple of str, length M
        The models.
    mean, sd : ndarray [M, N, T]
        NaN where a row is predicted by none.
    farther_mean, farther_sd : ndarray [M, R, T]
        Of the further rows of each fold, fold after fold.
    notes : list of str
        What the time budget left out.
    """

    names: tuple[MemberName, ...]
    mean: FloatArray
    sd: FloatArray
    farther_mean: FloatArray
    farther_sd: FloatArray
    notes: list[str]


def _out_of_fold(
    console: Console, config: TrainTabularConfig, rows: TrainingRows, kinds: Sequence[Any]
) -> OutOfFold:
    """Let each model predict the rows of each fold, while the time budget lasts."""
    budget = None if config.time_budget is None else seconds_of(config.time_budget)
    start = perf_counter()
    names: list[MemberName] = []
    each: list[tuple[FloatArray, ...]] = []
    notes = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("Out of fold", total=len(config.model) * len(rows.folds))
        for name in config.model:
            left = None if budget is None else budget - (perf_counter() - start)
            # The first model stays, whatever it takes: there is none to fall back on.
            found = _of_model(name, config, rows, kinds, left if names else None, progress, bar)
            if found is None:
                notes.append(
                    f"Left out, as it would take longer than the time budget: {WORDS[name]}."
                )
                continue
            names.append(name)
            each.append(found)
    mean, sd, farther_mean, farther_sd = (np.stack(of) for of in zip(*each, strict=True))
    return OutOfFold(tuple(names), mean, sd, farther_mean, farther_sd, notes)


def _of_model(
    name: MemberName,
    config: TrainTabularConfig,
    rows: TrainingRows,
    kinds: Sequence[Any],
    left: float | None,
    progress: Progress,
    bar: Any,
) -> tuple[FloatArray, ...] | None:
    """Return what one model says out of fold; None where it would take longer than is left."""
    mean, sd = (np.full(rows.table.targets.shape, np.nan) for _ in range(2))
    farther: list[tuple[FloatArray, FloatArray]] = []
    settings = rows.settings(config, kinds, name)
    # Rows that are trained on, over all fits, the last one of all rows included.
    work = len(rows.table) + sum(len(train) for train, _ in rows.folds)
    start = perf_counter()
    done = 0
    for (train, val), beyond in zip(rows.folds, rows.farther, strict=True):
        model = _fitted(name, settings, rows.X[train], rows.table.take(train))
        with_sd = asks_sd(name, config.model)
        both = np.concatenate([val, beyond])
        found = predict_member(model, rows.X[both], with_sd=with_sd)
        mean[val], sd[val] = (values[: len(val)] for values in found)
        farther.append((found[0][len(val) :], found[1][len(val) :]))
        done += len(train)
        progress.advance(bar)
        if left is not None and (perf_counter() - start) * work / done > left:
            return None
    return mean, sd, *(np.concatenate(values) for values in zip(*farther, strict=True))


def _weights(
    config: TrainTabularConfig, exact: FloatArray, each: FloatArray, kinds: Sequence[Any]
) -> FloatArray:
    if config.weights == "fitted":
        return blend_weights(exact, each, tuple(kinds))
    return np.full((len(each), exact.shape[1]), 1 / len(each))


def _of_training(
    rows: TrainingRows, mean: FloatArray, sd: FloatArray, blend: Blend
) -> list[PredictedRows]:
    """Return the rows out of fold, fold by fold, after those that no fold predicts."""
    seen = np.flatnonzero(~np.isfinite(mean).any(axis=1))
    parts = []
    if len(seen):
        fitted, spread = blend.predict(rows.X[seen])
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
    mean, sd = blend.predict(rows.of_test)
    table = inputs.tables.test
    distance = distance_to(rows.table.smiles, table.smiles)
    return PredictedRows("test", table, mean, sd, with_folds=True, distance=distance)
