"""A study of models on features, checked and ready to be run, and what follows it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import FloatArray, Metric

from molpool_pipelines.fitting import TrainTabularConfig, check_draws, epoch_sampler
from molpool_pipelines.models import (
    MemberName,
    MemberSettings,
    Molecules,
    build_member,
    fit_member,
    predict_member,
)
from molpool_pipelines.runs import TABULAR_FOLDER, TableRows
from molpool_pipelines.studies._kinds import Numbers, StudyKind, Values
from molpool_pipelines.studies._molecule_study import (
    digest,
    outer_test,
    study_score,
    tabular_study,
)
from molpool_pipelines.studies._molecules import (
    InnerFold,
    StudyData,
    choose_metric,
    label,
    make_scorers,
    read_study_data,
    scorer_notes,
)
from molpool_pipelines.studies._space import Space, with_values
from molpool_pipelines.studies._trials import Direction, FoldResult, Objective, OnEpochEnd, Problem
from molpool_pipelines.studies.tabular._config import HPOTabularConfig
from molpool_pipelines.studies.tabular._space import own_values, tabular_space, trial_config
from molpool_pipelines.tables import assay_limits

if TYPE_CHECKING:
    from molecule_features import Features

_UNBOUND = {
    "save_dir",
    "resume",
    "overwrite",
    "accept_changed_table",
    "tracking",
    "study",
    "space",
    "time_budget",
    "distill",
    "distill_path",
    "baselines",
    "level",
    "folds",
}
"""Keys that change nothing about a trial."""


def tabular_problem(config: HPOTabularConfig) -> Problem:
    """Return what is tuned, after everything that can be wrong with it was looked at.

    Raises
    ------
    InputError, FeatureError
        If table, split, folds, metric or space are wrong.
    """
    check_draws(config.joint_sampling, config.model)
    _read.cache_clear()  # of an earlier study on a table that has changed since
    data = _read(_as_json(config))
    space = tabular_space(config)
    metric = choose_metric(config.study.metric, data.task_types)
    scorers = make_scorers(metric, data)
    return Problem(
        kind="tabular",
        build=partial(build_objective, _as_json(config)),
        n_folds=len(data.folds),
        metric=label(metric, len(data.task_names)),
        direction="maximize" if metric.higher_is_better else "minimize",
        space=space,
        defaults=own_values(config, space),
        identity=_identity(config, data, space),
        resolve=partial(resolve, config),
        notes=tuple(_notes(config, data) + scorer_notes(metric, data, scorers)),
        rejected=data.rest.dropped,
        rows=data.rows,
        unset={"settings": _settings(type(config)())},
    )


@lru_cache(maxsize=2)
def _read(config_json: str) -> StudyData:
    """Read the data once per process, not again to build the objective."""
    return read_study_data(HPOTabularConfig.model_validate_json(config_json))


def build_objective(config_json: str) -> Objective:
    """Return the objective; called in each worker with the configuration as JSON."""
    config = HPOTabularConfig.model_validate_json(config_json)
    data = _read(config_json)
    return TabularObjective(config, data, choose_metric(config.study.metric, data.task_types))


def resolve(config: HPOTabularConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `molpool-train tabular` takes to train with parameters of a trial."""
    values = trial_config(config, params).model_dump(mode="json")
    return values | {"save_dir": None, "resume": False, "overwrite": False}


def _notes(config: HPOTabularConfig, data: StudyData) -> list[str]:
    notes = [
        *data.notes,
        f"{data.n_test} rows of the outer test split are left out of everything here.",
    ]
    if config.related.tables:
        notes.append("Related tables are for retraining: no trial learns them.")
    if config.weights == "fitted":
        notes.append("Models of a trial are mixed equally; weights are fitted in retraining.")
    return notes


def _settings(config: HPOTabularConfig) -> dict[str, Any]:
    settings: dict[str, Any] = config.model_dump(mode="json", exclude=_UNBOUND)
    # What changes no result may differ between machines that share a study.
    settings["data"].pop("cache_dir")
    settings["data"].pop("predict_path")
    return settings


def _identity(config: HPOTabularConfig, data: StudyData, space: Space) -> dict[str, Any]:
    """Return what makes two studies one besides metric and space: rows, folds, other settings."""
    return {
        "seed": config.seed if config.study.seed is None else config.study.seed,
        "folds": [[len(fold.train), len(fold.val)] for fold in data.folds],
        "data": digest(data),
        "settings": with_values(_settings(config), dict.fromkeys(space.parameters)),
    }


class TabularObjective:
    """Models on features over inner folds; see `Objective`.

    Features are computed once for all trials that take them.

    Parameters
    ----------
    config : HPOTabularConfig
        What no parameter sets.
    data : StudyData
        Rows and folds.
    metric : Metric
        What is tuned for.
    """

    epochs_per_fold = 1

    def __init__(self, config: HPOTabularConfig, data: StudyData, metric: Metric) -> None:
        self.n_folds = len(data.folds)
        self.direction: Direction = "maximize" if metric.higher_is_better else "minimize"
        self.metric = label(metric, len(data.task_names))
        self._config, self._data, self._name = config, data, metric.name
        self._scorers = make_scorers(metric, data)
        self._features: dict[str, Features] = {}
        self._limits = assay_limits(config.limits, data.rest, data.task_types)
        self._place = {smiles: row for row, smiles in enumerate(data.rest.modelled)}

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        """Train on the inner training rows of a fold and score its inner validation rows.

        Raises
        ------
        InputError, FeatureError, ModelError, SamplingError
            If the parameters do not fit the fold's rows.
        """
        config, rows = trial_config(self._config, params), self._data.folds[fold]
        each = [self._predicted(name, config, rows, seed) for name in config.model]
        scores = self._scorers[fold](np.mean(each, axis=0))
        value = float(np.mean(list(scores.values())))
        on_epoch_end(0, value)
        return FoldResult(value, {f"{self._name}: {task}": v for task, v in scores.items()})

    def _predicted(
        self, name: MemberName, config: TrainTabularConfig, fold: InnerFold, seed: int
    ) -> FloatArray:
        found = self._of(config.features)
        kinds = tuple(self._data.task_types[t] for t in fold.columns)
        options = config.options(name)
        bounds = self._limits.of_tasks(fold.columns).bounds
        settings = MemberSettings(found.blocks, kinds, seed, bounds, options)
        y = fold.train.targets
        sampler = None
        if name == "mlp":
            quality, epochs = fold.train.quality, config.mlp.epochs
            sampler = epoch_sampler(config.joint_sampling, y, quality, epochs=epochs)
        model = build_member(name, settings)
        rows = [self._place[smiles] for smiles in fold.train.modelled]
        known = Molecules(fold.train.modelled, found.values[rows])
        fit_member(model, known, y, censoring=fold.train.censoring, sampler=sampler)
        rows = [self._place[smiles] for smiles in fold.val.modelled]
        other = Molecules(fold.val.modelled, found.values[rows])
        mean, _ = predict_member(model, other, with_sd=False)
        # A molecule without features is predicted as the task's mean, not left out.
        return np.where(np.isnan(mean), np.nanmean(y, axis=0), mean)

    def _of(self, names: str) -> Features:
        if names not in self._features:
            from molecule_features import featurize

            smiles, cache = self._data.rest.modelled, self._config.data.cache_dir
            self._features[names] = featurize(smiles, names, cache=cache)
        return self._features[names]


def tabular_kind(config: HPOTabularConfig) -> StudyKind:
    """Return what retraining needs to know of a study of models on features."""
    return StudyKind(
        name="tabular",
        tasks=tuple(config.data.target_columns),
        seed=config.seed,
        resolve=partial(resolve, config),
        final=_final_values,
        score=lambda _values: study_score(config, _read(_as_json(config))),
        tabular=lambda: tabular_study(config, _read(_as_json(config))),
        outer=partial(outer_test, config),
        join=join,
        rows=partial(_rows_now, config),
    )


def _rows_now(config: HPOTabularConfig) -> TableRows:
    # A notebook may have read the table before it changed.
    _read.cache_clear()
    return _read(_as_json(config)).rows


def _final_values(values: Values, _folds: Sequence[Numbers]) -> Values:
    # What is saved is fitted to all rows but the test split as it is.
    return values


def join(runs: Sequence[Path], folder: Path) -> None:
    """Copy the models of run folders to ``member-000`` and so on."""
    for i, run in enumerate(runs):
        shutil.copytree(run / TABULAR_FOLDER, folder / f"member-{i:03d}")


def _as_json(config: HPOTabularConfig) -> str:
    """Return what is given: of all keys nobody could tell which."""
    return config.model_dump_json(exclude_unset=True)
