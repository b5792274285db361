"""One trial of a Chemprop model: trained on a fold's training rows, scored on its validation rows.

Task groups of a fold are given, or measured on its training rows alone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from chemprop_multitask import (
    ChempropModel,
    EpochRecord,
    GraphStore,
    MoleculeData,
    RowWeights,
    SeparateModels,
    TaskGroup,
    ValidationPredictions,
    build_model,
    separate_groups,
)
from molpool_common import FloatArray, Metric, cache_folder
from sampling_core import Sampling, sampling_from_config
from task_affinity import select_groups

from molpool_pipelines.affinity import measure_affinity
from molpool_pipelines.fitting import TrainChempropConfig, find_descriptors
from molpool_pipelines.models import Descriptors
from molpool_pipelines.studies._molecules import (
    InnerFold,
    StudyData,
    label,
    make_scorers,
)
from molpool_pipelines.studies._trials import Direction, FoldResult, OnEpochEnd
from molpool_pipelines.studies.chemprop._space import trial_config
from molpool_pipelines.tables import MoleculeTable, TaskType, as_bounds, assay_limits

if TYPE_CHECKING:
    from multitask_models import AssayLimits

_log = logging.getLogger(__name__)

Score = Callable[[FloatArray], dict[str, float]]
"""Of predictions [N, T], by task."""


def for_tasks(
    config: TrainChempropConfig, task_names: tuple[str, ...], all_names: tuple[str, ...]
) -> TrainChempropConfig:
    """Return the configuration without tasks that a fold does not train.

    Parameters
    ----------
    config : TrainChempropConfig
        Of all tasks, its groups as lists.
    task_names, all_names : tuple of str
        Tasks of the fold and of the study.
    """
    if task_names == all_names:
        return config
    update: dict[str, Any] = {}
    if isinstance(config.groups, list):
        update |= _groups_of(config, task_names)
    weights = config.training.task_weights
    if weights is not None:
        # Weights of tasks that the fold lacks would be refused.
        own = {name: w for name, w in weights.items() if name in task_names}
        update["training"] = config.training.model_copy(update={"task_weights": own})
    n_groups = config.task_affinity.n_groups
    if n_groups != "auto" and n_groups > len(task_names):
        section = config.task_affinity.model_copy(update={"n_groups": len(task_names)})
        update["task_affinity"] = section
    return config.model_copy(update=update)


def _groups_of(config: TrainChempropConfig, task_names: tuple[str, ...]) -> dict[str, Any]:
    """Return given groups less other tasks, and less groups that serve none of these."""
    assert isinstance(config.groups, list)
    assignment = config.group_assignment or {}
    groups: list[list[str]] = []
    served: dict[str, int] = {}
    for g, group in enumerate(config.groups):
        own = [name for name in group if name in task_names]
        serves = [name for name in own if assignment.get(name, g) == g]
        if serves:
            served |= dict.fromkeys(serves, len(groups))
            groups.append(own)
    return {"groups": groups, "group_assignment": served}


def with_measured_groups(
    config: TrainChempropConfig, train: MoleculeData, task_types: tuple[TaskType, ...]
) -> TrainChempropConfig:
    """Return the configuration with the groups that a measurement on these rows makes.

    Parameters
    ----------
    config : TrainChempropConfig
        ``task_affinity`` says whether and how; the model measured is of its architecture.
    train : MoleculeData
        The training rows of a fold, with their T tasks.
    task_types : tuple of {"regression", "classification"}
        Kind of each.

    Raises
    ------
    TaskAffinityError
        If nothing of a task could be measured, or it cannot be grouped.
    """
    section = config.task_affinity
    names = train.task_names
    if not section.enabled or len(names) < 2:
        # A single task has nothing to share: a model per group would be refused without groups.
        return config.model_copy(update={"sharing": "heads"}) if _alone(config) else config
    result = measure_affinity(section, config, train, task_types)
    grouping = select_groups(result.matrix, names, section)
    update = {"groups": grouping.groups, "group_assignment": grouping.assignment}
    return config.model_copy(update=update)


def _alone(config: TrainChempropConfig) -> bool:
    return config.sharing == "separate" and config.groups is None


class ChempropObjective:
    """Chemprop models over inner folds; see `Objective`.

    Graphs are made once, for all trials. The epoch that counts is the one of the lowest validation
    loss, whose weights a run would keep; so inner scores are a little better than on unseen rows.

    Parameters
    ----------
    config : TrainChempropConfig
        What no parameter sets, groups as lists.
    data : StudyData
        Rows and folds.
    metric : Metric
        What is tuned for.
    epochs : int
        Most epochs of a trial.
    """

    def __init__(
        self, config: TrainChempropConfig, data: StudyData, metric: Metric, epochs: int
    ) -> None:
        self.n_folds = len(data.folds)
        self.epochs_per_fold = epochs
        self.direction: Direction = "maximize" if metric.higher_is_better else "minimize"
        self.metric = label(metric, len(data.task_names))
        self._config = config
        self._data = data
        self._name = metric.name
        # Before featurising: an undefined metric is found at once.
        self._scorers = make_scorers(metric, data)
        graphs = GraphStore(cache_folder(config.data.cache_dir))
        # Once for all folds and trials; they take longer than a short training.
        graphs.graphs(data.rest.modelled)
        extra = find_descriptors(config)
        limits = assay_limits(config.limits, data.rest, data.task_types)
        self._folds = [_Fold(fold, data.task_types, graphs, extra, limits) for fold in data.folds]

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        """Train on the inner training rows of a fold and score its inner validation rows.

        Raises
        ------
        InputError, SamplingError, TaskAffinityError, ChempropError
            If the parameters do not fit the fold's rows.
        """
        rows = self._folds[fold]
        config = for_tasks(
            trial_config(self._config, params), rows.train.task_names, self._data.task_names
        )
        config = with_measured_groups(config, rows.train, rows.task_types)
        groups = separate_groups(config, rows.train.task_names)
        scorer = self._scorers[fold]
        run = _Run(config, rows, lambda p: scorer(rows.limits.report(p)), self._name, seed)
        return run.of_groups(groups, on_epoch_end) if groups else run.of_all(on_epoch_end)


class _Fold:
    """A fold with its molecules featurised."""

    def __init__(
        self,
        fold: InnerFold,
        kinds: tuple[TaskType, ...],
        graphs: GraphStore,
        descriptors: Descriptors | None,
        limits: AssayLimits,
    ) -> None:
        self.graphs = graphs
        self.task_types = tuple(kinds[t] for t in fold.columns)
        self.descriptors = descriptors
        self.limits = limits.of_tasks(fold.columns)
        train, val = (
            as_bounds(table, self.task_types, self.limits) for table in (fold.train, fold.val)
        )
        self.tables = replace(fold, train=train, val=val)
        self.train = self.data(train)
        self.val = self.data(val)

    def data(self, table: MoleculeTable, weights: RowWeights | None = None) -> MoleculeData:
        """Return a table's molecules as networks take them."""
        extra = {} if self.descriptors is None else self.descriptors.of(table)
        return MoleculeData.from_table(table, weights=weights, cache=self.graphs, **extra)


class _Run:
    """One trial's training on one fold."""

    def __init__(
        self, config: TrainChempropConfig, fold: _Fold, scorer: Score, metric: str, seed: int
    ) -> None:
        # Nothing is resumed within a fold.
        update = {"checkpoint_every_steps": None}
        training = config.training.model_copy(update=update)
        self._config = config.model_copy(update={"training": training})
        self._fold = fold
        self._scorer = scorer
        self._metric = metric
        self._seed = seed

    def of_all(self, on_epoch_end: OnEpochEnd) -> FoldResult:
        """Train one model of all tasks, and report each epoch."""
        seen = ValidationPredictions()
        scores: list[dict[str, float]] = []

        def on_epoch(record: EpochRecord) -> None:
            scores.append(self._scorer(seen.latest))
            on_epoch_end(record.epoch, _mean(scores[-1]))

        fold = self._fold
        sampling = self._sampling(fold.tables.train)
        train = fold.train
        # Weights change the data, all else of a fold is shared between trials.
        if sampling.weights is not None:
            train = fold.data(fold.tables.train, sampling.weights)
        model = self._model(None)
        records = model.fit(
            train,
            fold.val,
            sampler=sampling.sampler,
            callbacks=[*sampling.callbacks, seen],
            on_epoch=on_epoch,
            seed=self._seed,
        )
        best, parts = _best(records), model.by_task()
        of_best = scores[best]
        if len(parts) > 1:  # no single epoch is what a run would keep
            of_best = self._scorer(SeparateModels(parts).predict(fold.val))
        return self._result(of_best, [best], len(records))

    def of_groups(self, groups: list[TaskGroup], on_epoch_end: OnEpochEnd) -> FoldResult:
        """Train a model of each group; there is a score once all are trained."""
        parts, best, epochs = [], [], 0
        for group in groups:
            model = self._model(group)
            records = self._fit_part(model, group)
            parts += model.by_task()
            best.append(_best(records))
            epochs = max(epochs, len(records))
        scores = self._scorer(SeparateModels(parts).predict(self._fold.val))
        # One report: the groups are trained one after the other, and no epoch has a score of all
        # tasks.
        on_epoch_end(epochs - 1, _mean(scores))
        return self._result(scores, best, epochs)

    def _fit_part(self, model: ChempropModel, group: TaskGroup) -> list[EpochRecord]:
        fold, tables = self._fold, self._fold.tables
        own = tables.train.of_tasks(group.columns)
        sampling = self._sampling(own)
        return model.fit(
            fold.data(own, sampling.weights),
            fold.data(tables.val.of_tasks(group.columns)),
            sampler=sampling.sampler,
            callbacks=sampling.callbacks,
            seed=self._seed,
        )

    def _sampling(self, train: MoleculeTable) -> Sampling:
        sampling = sampling_from_config(self._config.joint_sampling, train.targets, train.quality)
        for callback in sampling.callbacks:
            # Where a curriculum ends is part of what trials are compared by; the study's notes say
            # beforehand what none of them can reach.
            callback.on_warning = _log.info
        return sampling

    def _model(self, group: TaskGroup | None) -> ChempropModel:
        fold = self._fold
        return build_model(
            self._config,
            fold.train.task_names,
            fold.task_types,
            group,
            seed=self._seed,
            n_descriptors=fold.train.n_descriptors,
            n_graph_features=fold.train.n_graph_features,
        )

    def _result(self, scores: Mapping[str, float], best: list[int], epochs: int) -> FoldResult:
        numbers = {f"{self._metric}: {task}": value for task, value in scores.items()}
        # From 1, as the number of epochs of a final training.
        numbers |= {"best_epoch": float(np.mean(best)) + 1, "epochs": float(epochs)}
        return FoldResult(_mean(scores), numbers)


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))


def _best(records: list[EpochRecord]) -> int:
    """Return the number, from 0, of the epoch whose weights `fit` keeps."""
    return int(np.argmin([np.inf if r.val_loss is None else r.val_loss for r in records]))
