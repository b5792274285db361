"""Train, calibrate, evaluate and write models on features whose inputs are known to be right.

Every row that is not tested is predicted out of fold; by time, the later ones are, each by models
of earlier rows. These predictions weigh the models, calibrate the intervals and are the run's
validation. What is saved is fitted to all of those rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import FloatArray, IntArray, RunFolder
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molpool_pipelines.fitting._baselines import ReferenceRows, with_baselines
from molpool_pipelines.fitting._config import TrainTabularConfig, seconds_of
from molpool_pipelines.fitting._graph_groups import (
    Groups,
    check_served,
    groups_by_affinity,
    read_groups,
)
from molpool_pipelines.fitting._inputs import Inputs, write_unseen
from molpool_pipelines.fitting._intervals import distance_to
from molpool_pipelines.fitting._learning_curve import CurveRequest, with_learning_curve
from molpool_pipelines.fitting._loop import interruptible, metric_table
from molpool_pipelines.fitting._predicted import PredictedRows
from molpool_pipelines.fitting._results import (
    against_baselines,
    results_of,
    shown_rows,
    write_results,
)
from molpool_pipelines.models import (
    WORDS,
    Blend,
    Member,
    MemberName,
    MemberSettings,
    Molecules,
    TabularModel,
    asks_sd,
    blend_weights,
    build_member,
    fit_member,
    mix,
    predict_member,
)
from molpool_pipelines.runs import TABULAR_FOLDER, open_folder, tracking, write_rejected
from molpool_pipelines.tables import MoleculeTable, exact_labels, fold_rows

if TYPE_CHECKING:
    from molecule_features import Features

_ROLLING_FROM = 0.5
"""By time, folds that train on less than this share of the rows are left out: their models know too
little to weigh those that know all."""


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
        page = _fit_and_write(console, config, inputs, rows, run)
        if page is not None:
            tracker.file(page)
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
    molecules : Molecules [N]
        The same as models take them, with their features.
    features : Features
        Of all molecules, for their blocks.
    folds : list of (ndarray, ndarray)
        Rows to train on and rows to predict.
    tested : Molecules [M]
        The test rows.
    groups : list of tuple of str
        Tasks of each Chemprop network, where the run has such.
    """

    table: MoleculeTable
    molecules: Molecules
    features: Features
    folds: list[tuple[IntArray, IntArray]]
    tested: Molecules
    groups: Groups = field(default_factory=list)

    @classmethod
    def of(cls, console: Console, config: TrainTabularConfig, inputs: Inputs) -> TrainingRows:
        """Return the rows of checked tables."""
        tested = set(inputs.tables.test.groups)
        rest = inputs.table.take(
            np.flatnonzero([group not in tested for group in inputs.table.groups])
        )
        folds = fold_rows(
            rest, config.data.split_type, config.folds, seed=config.seed, config=config.data
        )
        least = _ROLLING_FROM * len(rest) if config.data.split_type == "time" else 0
        folds = [(train, val) for train, val in folds if len(train) >= least]
        groups = _groups(console, config, inputs, rest, folds)
        smiles = rest.modelled + inputs.tables.test.modelled
        with featurising(console) as progress:
            from molecule_features import featurize

            features = featurize(
                smiles, config.features, cache=config.data.cache_dir, progress=progress
            )
        all_of_them = Molecules(smiles, features.values)
        parts = np.split(np.arange(len(smiles)), [len(rest)])
        known, of_test = (all_of_them.take(part) for part in parts)
        return cls(rest, known, features, folds, of_test, groups)

    def settings(
        self, config: TrainTabularConfig, kinds: Sequence[Any], name: str
    ) -> MemberSettings:
        """Return what a model is told."""
        options: dict[str, Any] = {}
        if name == "mlp":
            options = config.mlp.model_dump()
        if name == "chemprop":
            options = {
                "config": config.chemprop.network,
                "groups": self.groups,
                "n_networks": config.chemprop.networks,
                "val_share": config.chemprop.val_share,
                "with_features": config.chemprop.with_features,
                "cache": config.data.cache_dir,
            }
        return MemberSettings(
            self.features.blocks,
            tuple(kinds),
            config.seed,
            config.limits == "auto",
            options,
            self.table.task_names,
        )


def _groups(
    console: Console,
    config: TrainTabularConfig,
    inputs: Inputs,
    table: MoleculeTable,
    folds: list[tuple[IntArray, IntArray]],
) -> Groups:
    """Return the tasks of each Chemprop network; none where the run has no such."""
    if "chemprop" not in config.model:
        return []
    groups = read_groups(config.chemprop.groups, table.task_names)
    check_served(groups, config.model, table.task_names)
    if groups is None:
        # On what trains the first fold: no row that weighs the networks has a say in their groups.
        train = table.take(folds[0][0])
        with console.status("Measuring task affinity"):
            groups = groups_by_affinity(
                train, inputs.task_types, config.data.cache_dir, config.seed
            )
    shown = "; ".join(" + ".join(group) for group in groups)
    console.print(f"Chemprop networks: {shown}.", highlight=False, markup=False)
    return groups


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
    console: Console, config: TrainTabularConfig, inputs: Inputs, rows: TrainingRows, run: RunFolder
) -> Path | None:
    kinds, tasks = inputs.task_types, rows.table.task_names
    found = _out_of_fold(console, config, rows, kinds)
    exact = exact_labels(rows.table.targets, rows.table.censoring)
    weights = _weights(config, exact, found.mean, kinds)
    mean, sd = mix(found.mean, found.sd, weights)
    members = [
        _fitted(name, rows.settings(config, kinds, name), rows.molecules, rows.table)
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
        structure=config.data.structure,
        scales=rows.table.of_scales,
    )
    parts = _of_training(rows, mean, sd, blend)
    if len(inputs.tables.test):
        parts.append(_of_test(rows, inputs, blend))
    results = results_of(
        parts, kinds, level=config.level, limits=_limits(members, rows.table.targets)
    )
    if results.reported == "test":
        results = with_baselines(
            console,
            run,
            results,
            ReferenceRows(rows.table, inputs.tables.test, config.data.structure),
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
    known = rows.molecules.take(part)
    members = tuple(
        _fitted(name, rows.settings(config, kinds, name), known, rows.table.take(part))
        for name in blend.names
    )
    mean, _ = replace(blend, members=members).predict(rows.tested)
    # A task without a label among these rows is predicted as 0, which scores it as it deserves.
    return np.nan_to_num(mean)


def _limits(members: Sequence[Member], labels: FloatArray) -> tuple[FloatArray, FloatArray]:
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
        "Features": f"{config.features} ({rows.molecules.X.shape[1]} columns)",
        "Models and their mean weight": shares,
    }


def _fitted(
    name: Any,
    settings: MemberSettings,
    molecules: Molecules,
    table: MoleculeTable,
    report: Callable[[str], None] | None = None,
) -> Member:
    model = build_member(name, settings)
    return fit_member(model, molecules, table.targets, censoring=table.censoring, report=report)


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of rows by models that have not seen them.

    Parameters
    ----------
    names : tuple of str, length M
        The models.
    mean, sd : ndarray [M, N, T]
        NaN where a row is predicted by none.
    notes : list of str
        What the time budget left out.
    """

    names: tuple[MemberName, ...]
    mean: FloatArray
    sd: FloatArray
    notes: list[str]


def _out_of_fold(
    console: Console, config: TrainTabularConfig, rows: TrainingRows, kinds: Sequence[Any]
) -> OutOfFold:
    """Let each model predict the rows of each fold, while the time budget lasts."""
    budget = None if config.time_budget is None else seconds_of(config.time_budget)
    start = perf_counter()
    names: list[MemberName] = []
    means, sds, notes = [], [], []
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
            means.append(found[0])
            sds.append(found[1])
    return OutOfFold(tuple(names), np.stack(means), np.stack(sds), notes)


def _of_model(
    name: MemberName,
    config: TrainTabularConfig,
    rows: TrainingRows,
    kinds: Sequence[Any],
    left: float | None,
    progress: Progress,
    bar: Any,
) -> tuple[FloatArray, FloatArray] | None:
    """Return what one model says out of fold; None where it would take longer than is left."""
    mean, sd = (np.full(rows.table.targets.shape, np.nan) for _ in range(2))
    settings = rows.settings(config, kinds, name)
    if name == "chemprop" and not _affordable(settings, rows, left, progress):
        return None
    # Rows that are trained on, over all fits, the last one of all rows included.
    work = len(rows.table) + sum(len(train) for train, _ in rows.folds)
    start = perf_counter()
    done = 0
    for train, val in rows.folds:
        model = _fitted(
            name,
            settings,
            rows.molecules.take(train),
            rows.table.take(train),
            lambda words: progress.update(bar, description=f"Out of fold: {words}"),
        )
        with_sd = asks_sd(name, config.model)
        mean[val], sd[val] = predict_member(model, rows.molecules.take(val), with_sd=with_sd)
        done += len(train)
        progress.update(bar, advance=1, description="Out of fold")
        if left is not None and (perf_counter() - start) * work / done > left:
            return None
    return mean, sd


def _affordable(
    settings: MemberSettings, rows: TrainingRows, left: float | None, progress: Progress
) -> bool:
    """Say what Chemprop's networks will take, and return whether that much is left.

    One fold of them may already be longer than the budget, so that it is told before the first.
    """
    from molpool_pipelines.models import GraphNetworks

    model = build_member("chemprop", settings)
    assert isinstance(model, GraphNetworks)
    molecules, table = rows.molecules, rows.table
    whole = model.expected_seconds(
        molecules.smiles, table.targets, features=molecules.X, censoring=table.censoring
    )
    work = 1 + sum(len(train) for train, _ in rows.folds) / len(table)
    seconds = whole * work
    mp = model.config.model.message_passing
    progress.console.print(
        f"Chemprop: {model.n_networks * len(model.groups)} networks, {mp.hidden_size} wide, depth "
        f"{mp.depth}, {model.config.training.epochs} epochs, fitted {len(rows.folds) + 1} times: "
        f"about {_minutes(seconds)}.",
        highlight=False,
    )
    return left is None or seconds <= left


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} seconds"
    return f"{seconds / 60:.0f} minutes"


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
        fitted, spread = blend.predict(rows.molecules.take(seen))
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


def _of_test(rows: TrainingRows, inputs: Inputs, blend: Blend) -> PredictedRows:
    mean, sd = blend.predict(rows.tested)
    table = inputs.tables.test
    distance = distance_to(rows.table.smiles, table.smiles)
    return PredictedRows("test", table, mean, sd, with_folds=True, distance=distance)
