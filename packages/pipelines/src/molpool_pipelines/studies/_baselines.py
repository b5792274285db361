"""Simple models beside a study: under its folds, on its outer test."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import (
    BoolArray,
    Float32Array,
    FloatArray,
    InputError,
    RunFolder,
    ScaleName,
    did_you_mean,
    from_scale,
    listed,
    threads,
)
from molpool_common import console as new_console

from molpool_pipelines.fitting import BaselineChoice
from molpool_pipelines.runs import BASELINES as BASELINE_FILE
from molpool_pipelines.runs import PREDICTIONS, read_baselines, write_predictions
from molpool_pipelines.studies._config import HPOError
from molpool_pipelines.studies._kinds import FeatureRows, StudyKind, TabularStudy
from molpool_pipelines.studies._outer_test import TestPredictions, with_predictions
from molpool_pipelines.studies._scoring import Contender
from molpool_pipelines.studies._trials import Direction, FoldResult, OnEpochEnd
from molpool_pipelines.tables import TaskType

LIGHTGBM, FOREST = "LightGBM", "random forest"
NEIGHBOURS, MEAN = "nearest neighbours", "task mean"
BASELINES = (LIGHTGBM, FOREST, NEIGHBOURS, MEAN)
"""Names of the baselines."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    LIGHTGBM: {
        "n_estimators": 400,
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_child_samples": 10,
        "subsample": 0.8,
        "subsample_freq": 1,
        "colsample_bytree": 0.5,
        "reg_lambda": 1.0,
    },
    FOREST: {"n_estimators": 500, "max_features": "sqrt", "min_samples_leaf": 1},
    NEIGHBOURS: {"n_neighbors": 5, "weights": "distance"},
    MEAN: {},
}
"""Settings that are used as they are: nothing of a baseline is tuned."""


def names_of(which: BaselineChoice) -> tuple[str, ...]:
    """Return the names of the baselines of a choice."""
    if which == "none":
        return ()
    return BASELINES if which == "all" else tuple(n for n in BASELINES if n != FOREST)


def predict_tasks(
    name: str,
    train: FeatureRows,
    features: Float32Array,
    task_types: Sequence[TaskType],
    *,
    seed: int,
    threads: int = 1,
    params: Mapping[str, Any] | None = None,
) -> FloatArray:
    """Train a baseline for each task on its labelled rows, and predict other rows.

    Columns that are constant in training are left out, which is the only choice of features.

    Parameters
    ----------
    name : {"LightGBM", "random forest", "nearest neighbours", "task mean"}
        Which.
    train : FeatureRows
        Training rows.
    features : ndarray of float32 [N, F]
        Rows to predict.
    task_types : sequence of {"regression", "classification"} [T]
        Kind of each task.
    seed : int
        Of the rows and features sampled per tree.
    threads : int
        Threads.
    params : mapping of str to Any, optional
        Settings in place of those in `DEFAULTS`.

    Returns
    -------
    ndarray [N, T]
        Values, or probabilities of class 1; NaN for a task without a training label. A task of a
        single class, or value, predicts that one.

    Raises
    ------
    InputError
        If there is no such baseline.
    """
    if name not in BASELINES:
        raise InputError(
            "baseline",
            expected="the name of one",
            found=repr(name),
            hint=did_you_mean(name, BASELINES),
        )
    settings = {**DEFAULTS[name], **(params or {})}
    columns = varied_columns(train.features)
    x, unseen = train.features[:, columns], features[:, columns]
    predictions = np.full((len(features), len(task_types)), np.nan)
    for t, kind in enumerate(task_types):
        there = ~np.isnan(train.labels[:, t])
        y = train.labels[there, t]
        if not y.size:
            continue
        # A forest of a single class has no column for the other, and trees of a constant target
        # have nothing to split.
        if name == MEAN or not columns.any() or (y == y[0]).all():
            predictions[:, t] = y.mean()
            continue
        if name == NEIGHBOURS:
            settings["n_neighbors"] = min(settings["n_neighbors"], len(y))
        model = _model(name, kind, settings, seed, threads)
        with warnings.catch_warnings():
            # Of LightGBM's wrapper: it names the columns of plain arrays itself.
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            model.fit(x[there], y)
            predictions[:, t] = (
                model.predict_proba(unseen)[:, 1]
                if kind == "classification"
                else model.predict(unseen)
            )
    return predictions


def varied_columns(features: Float32Array) -> BoolArray:
    """Return which columns [F] have two values or more, undefined ones apart."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        return np.asarray(np.nanmax(features, axis=0) > np.nanmin(features, axis=0))


def _model(name: str, kind: TaskType, settings: Mapping[str, Any], seed: int, threads: int) -> Any:
    if name == LIGHTGBM:
        import lightgbm

        boosted = lightgbm.LGBMClassifier if kind == "classification" else lightgbm.LGBMRegressor
        # deterministic needs force_col_wise: LightGBM otherwise picks by timing.
        fixed = {"deterministic": True, "force_col_wise": True, "verbosity": -1}
        return boosted(**settings, **fixed, random_state=seed, n_jobs=threads)
    if name == NEIGHBOURS:
        return _neighbours(kind, settings, threads)
    from sklearn import ensemble

    forest = (
        ensemble.RandomForestClassifier
        if kind == "classification"
        else ensemble.RandomForestRegressor
    )
    return forest(**settings, random_state=seed, n_jobs=threads)


def _neighbours(kind: TaskType, settings: Mapping[str, Any], threads: int) -> Any:
    from sklearn import neighbors
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    nearest = (
        neighbors.KNeighborsClassifier
        if kind == "classification"
        else neighbors.KNeighborsRegressor
    )
    # Descriptors in units of their own would drown the counts.
    scale = (SimpleImputer(keep_empty_features=True), StandardScaler())
    return make_pipeline(*scale, nearest(**settings, n_jobs=threads))


@dataclass(frozen=True)
class BaselineScore:
    """How well a baseline does on the inner folds.

    Parameters
    ----------
    name : str
        Which.
    folds : tuple of float
        The study's score on each fold's validation rows; NaN where it is undefined.
    """

    name: str
    folds: tuple[float, ...]

    @property
    def value(self) -> float:
        """Mean over the folds, as a trial's."""
        return float(np.mean(self.folds))


def inner_scores(
    tabular: TabularStudy, *, seed: int, threads: int = 1, names: Sequence[str] = BASELINES
) -> list[BaselineScore]:
    """Return the scores of the baselines under the inner folds of a study.

    Parameters
    ----------
    tabular : TabularStudy
        Rows and folds, none of the outer test.
    seed : int
        Of the trees.
    threads : int
        Threads.
    names : sequence of str
        Which baselines.
    """
    return [
        BaselineScore(
            name,
            tuple(
                BaselineObjective(tabular, name, threads).run_fold({}, fold, _ignore, seed).value
                for fold in range(len(tabular.folds))
            ),
        )
        for name in names
    ]


def _ignore(_epoch: int, _value: float) -> None:
    """Take an epoch's score for nothing."""


class BaselineObjective:
    """A baseline over inner folds; see `Objective`.

    Parameters
    ----------
    tabular : TabularStudy
        Rows, folds and score.
    name : {"LightGBM", "random forest"}
        Which.
    threads : int
        Threads.
    """

    epochs_per_fold = 1

    def __init__(self, tabular: TabularStudy, name: str = LIGHTGBM, threads: int = 1) -> None:
        self._tabular = tabular
        self._name = name
        self._threads = threads
        self.n_folds = len(tabular.folds)
        self.direction: Direction = tabular.score.direction
        self.metric = "score"

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        """Train on a fold's training rows, score its validation rows; reports once."""
        data = self._tabular
        rows = data.folds[fold]
        train, val = data.rest.take(rows.train), data.rest.take(rows.val)
        predictions = predict_tasks(
            self._name,
            train,
            val.features,
            data.task_types,
            seed=seed,
            threads=self._threads,
            params=params,
        )
        # Rows and tasks as a trial of the study is scored on; otherwise the two would not compare.
        there = ~np.isnan(predictions) & rows.scored
        labels = np.where(there, val.labels, np.nan)
        by_task = data.score.by_task(labels, np.nan_to_num(predictions))
        value = data.score(labels, np.nan_to_num(predictions))
        score = float("nan") if value is None else value
        on_epoch_end(0, score)
        return FoldResult(
            score,
            {n: v for n, v in zip(data.task_names, by_task, strict=True) if v is not None},
        )


def write_baselines(
    run: RunFolder, kind: StudyKind, metric: str, names: Sequence[str] = BASELINES
) -> None:
    """Score baselines under the inner folds of a study, unless that was done.

    Parameters
    ----------
    run : RunFolder
        The study's, with its configuration.
    kind : StudyKind
        Rows, folds and seed.
    metric : str
        Name of its score.
    names : sequence of str
        Which.
    """
    # Nothing of a baseline changes while a study goes on.
    models = (read_baselines(run.path) or {"models": []})["models"]
    missing = [name for name in names if name not in {m["name"] for m in models}]
    if not missing:
        return
    tabular = kind.tabular()
    _print_start(tabular, f"{len(tabular.folds)} inner folds", missing)
    scores = inner_scores(tabular, seed=kind.seed, threads=threads(), names=missing)
    new = [{"name": s.name, "inner": s.value, "folds": list(s.folds)} for s in scores]
    known: dict[str, Any] = {
        "metric": metric,
        "features": tabular.features,
        "models": sorted([*models, *new], key=lambda m: BASELINES.index(m["name"])),
    }
    run.write_json(BASELINE_FILE, known)
    run.log("baselines", **{s.name: s.value for s in scores})


def outer_baselines(
    run: RunFolder,
    study: Path,
    kind: StudyKind,
    test: TestPredictions,
    names: Sequence[str] = BASELINES,
) -> list[Contender]:
    """Train baselines on all rows but the outer test, and predict that.

    Parameters
    ----------
    run : RunFolder
        Where ``NAME/predictions.parquet`` goes, as a training run writes it.
    study : Path
        Folder of the study, which may know their scores on the inner folds.
    kind : StudyKind
        Rows and tasks.
    test : TestPredictions
        The outer test as another model has predicted it.
    names : sequence of str
        Which.

    Raises
    ------
    HPOError
        If the rows are others, which would be a fault of ours.
    """
    tabular, outer = kind.tabular(), kind.outer()
    none: tuple[ScaleName, ...] = ("none",)
    scales = tabular.scales or none * len(kind.tasks)
    labels = from_scale(outer.test.labels, scales)
    # The table was read anew: if it has changed since training, gains would be differences of rows.
    if not np.array_equal(labels, test.labels, equal_nan=True):
        raise HPOError("retrain: expected baselines to be tested on the same rows.")
    models = (read_baselines(study) or {"models": []})["models"]
    inner = {m["name"]: tuple(m["folds"]) for m in models}
    missing = [name for name in names if name not in inner]
    folds = f"{len(tabular.folds)} inner folds and " if missing else ""
    _print_start(tabular, f"{folds}the outer test", names)
    scores = inner_scores(tabular, seed=kind.seed, threads=threads(), names=missing)
    inner |= {score.name: score.folds for score in scores}
    contenders = []
    for name in names:
        predictions = predict_tasks(
            name,
            tabular.rest,
            outer.test.features,
            tabular.task_types,
            seed=kind.seed,
            threads=threads(),
        )
        # Without a training label there is no prediction, and without a label here none is scored;
        # NaN would only stop the metrics.
        in_units = np.nan_to_num(from_scale(predictions, scales))
        contenders.append(Contender(name, in_units, inner[name]))
        folder = run.path / name.lower().replace(" ", "-")
        folder.mkdir(exist_ok=True)
        frame = with_predictions(test, kind.tasks, contenders[-1].predictions)
        types = dict(zip(kind.tasks, tabular.task_types, strict=True))
        write_predictions(run, frame, types, f"{folder.name}/{PREDICTIONS}")
    return contenders


def _print_start(tabular: TabularStudy, where: str, names: Sequence[str]) -> None:
    """Announce what takes minutes on large tables."""
    size = f"{len(tabular.rest)} rows, {len(tabular.task_names)} tasks"
    new_console().print(
        f"Training {listed(names)}: {where}, {size}.",
        highlight=False,
    )
