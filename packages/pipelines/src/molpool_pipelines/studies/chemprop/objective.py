"""One trial of a Chemprop model: trained on a fold's training rows, scored on its validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from chemprop_multitask import (
    ChempropModel,
    EpochRecord,
    GraphStore,
    MoleculeData,
    SeparateModels,
    TaskGroup,
    ValidationPredictions,
    build_model,
    separate_groups,
)
from molpool_common import Metric, cache_folder
from numpy.typing import NDArray
from sampling_core import sampling_from_config

from molpool_pipelines.studies.chemprop.config import ChempropRunConfig
from molpool_pipelines.studies.chemprop.data import InnerFold, StudyData
from molpool_pipelines.studies.chemprop.grouping import of_fold, with_measured_groups
from molpool_pipelines.studies.chemprop.scoring import FoldScorer, label, make_scorers
from molpool_pipelines.studies.chemprop.trial import trial_config
from molpool_pipelines.studies.objective import Direction, FoldResult, Tell
from molpool_pipelines.tables import TaskType


class ChempropObjective:
    """Chemprop models over inner folds; see `molpool_pipelines.studies.objective.Objective`.

    Graphs are made once, for all trials. The epoch that counts is the one of the lowest validation
    loss, whose weights a run would keep; so inner scores are a little better than on unseen rows.

    Parameters
    ----------
    config : ChempropRunConfig
        What no parameter sets, groups as lists.
    data : StudyData
        Rows and folds.
    metric : Metric
        What is tuned for.
    epochs : int
        Most epochs of a trial.
    """

    def __init__(
        self, config: ChempropRunConfig, data: StudyData, metric: Metric, epochs: int
    ) -> None:
        self.n_folds = len(data.folds)
        self.epochs_per_fold = epochs
        self.direction: Direction = "maximize" if metric.higher_is_better else "minimize"
        self.metric = label(metric, len(data.task_names))
        self._config = config
        self._data = data
        self._name = metric.name
        self._scorers = make_scorers(metric, data)
        graphs = GraphStore(cache_folder(config.data.cache_dir))
        graphs.graphs(data.rest.smiles)
        self._folds = [_Fold(fold, data.task_types, graphs) for fold in data.folds]

    def run_fold(self, params: Mapping[str, Any], fold: int, tell: Tell, seed: int) -> FoldResult:
        """Train on the inner training rows of a fold and score its inner validation rows.

        Raises
        ------
        InputError, SamplingError, TaskAffinityError, ChempropError
            If the parameters do not fit the fold's rows.
        """
        rows = self._folds[fold]
        config = of_fold(
            trial_config(self._config, params), rows.train.task_names, self._data.task_names
        )
        config = with_measured_groups(config, rows.train, rows.task_types)
        groups = separate_groups(config, rows.train.task_names)
        run = _Run(config, rows, self._scorers[fold], self._name, seed)
        return run.of_groups(groups, tell) if groups else run.of_all(tell)


class _Fold:
    """A fold with its molecules featurised."""

    def __init__(self, fold: InnerFold, kinds: tuple[TaskType, ...], graphs: GraphStore) -> None:
        self.tables = fold
        self.graphs = graphs
        self.task_types = tuple(kinds[t] for t in fold.columns)
        self.train = MoleculeData.from_table(fold.train, cache=graphs)
        self.val = MoleculeData.from_table(fold.val, cache=graphs)


class _Run:
    """One trial's training on one fold."""

    def __init__(
        self, config: ChempropRunConfig, fold: _Fold, scorer: FoldScorer, metric: str, seed: int
    ) -> None:
        # Nothing is resumed within a fold.
        update = {"checkpoint_every_steps": None}
        training = config.training.model_copy(update=update)
        self._config = config.model_copy(update={"training": training})
        self._fold = fold
        self._scorer = scorer
        self._metric = metric
        self._seed = seed

    def of_all(self, tell: Tell) -> FoldResult:
        """Train one model of all tasks, and tell of each epoch."""
        seen = ValidationPredictions()
        scores: list[dict[str, float]] = []

        def on_epoch(record: EpochRecord) -> None:
            scores.append(self._scorer(seen.latest))
            tell(record.epoch, _mean(scores[-1]))

        fold = self._fold
        sampling = sampling_from_config(
            self._config.joint_sampling, fold.tables.train.targets, fold.tables.train.quality
        )
        train = fold.train
        if sampling.weights is not None:
            train = MoleculeData.from_table(
                fold.tables.train, weights=sampling.weights, cache=fold.graphs
            )
        records = self._model(None).fit(
            train,
            fold.val,
            sampler=sampling.sampler,
            callbacks=[*sampling.callbacks, seen],
            on_epoch=on_epoch,
            seed=self._seed,
        )
        best = _best(records)
        return self._result(scores[best], [best], len(records))

    def of_groups(self, groups: list[TaskGroup], tell: Tell) -> FoldResult:
        """Train a model of each group; there is a score once all are trained."""
        parts, best, epochs = [], [], 0
        for group in groups:
            model = self._model(group)
            records = self._fit_part(model, group)
            parts.append(model)
            best.append(_best(records))
            epochs = max(epochs, len(records))
        scores = self._scorer(SeparateModels(parts).predict(self._fold.val))
        tell(epochs - 1, _mean(scores))
        return self._result(scores, best, epochs)

    def _fit_part(self, model: ChempropModel, group: TaskGroup) -> list[EpochRecord]:
        tables, graphs = self._fold.tables, self._fold.graphs
        own = tables.train.of_tasks(group.columns)
        sampling = sampling_from_config(self._config.joint_sampling, own.targets, own.quality)
        return model.fit(
            MoleculeData.from_table(own, weights=sampling.weights, cache=graphs),
            MoleculeData.from_table(tables.val.of_tasks(group.columns), cache=graphs),
            sampler=sampling.sampler,
            callbacks=sampling.callbacks,
            seed=self._seed,
        )

    def _model(self, group: TaskGroup | None) -> ChempropModel:
        fold = self._fold
        return build_model(
            self._config, fold.train.task_names, fold.task_types, group, seed=self._seed
        )

    def _result(self, scores: Mapping[str, float], best: list[int], epochs: int) -> FoldResult:
        numbers = {f"{self._metric}: {task}": value for task, value in scores.items()}
        numbers |= {"best_epoch": float(np.mean(best)) + 1, "epochs": float(epochs)}
        return FoldResult(_mean(scores), numbers)


def _mean(scores: Mapping[str, float]) -> float:
    return float(np.mean(list(scores.values())))


def _best(records: list[EpochRecord]) -> int:
    """Return the number, from 0, of the epoch whose weights `fit` keeps."""
    losses: NDArray[np.float64] = np.array([record.val_loss for record in records], dtype=float)
    return int(np.argmin(losses))
