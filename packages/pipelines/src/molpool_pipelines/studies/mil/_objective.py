"""Bags of a study, the outer test apart, the rest in inner folds; one trial's training there."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from mil_attn import (
    BagData,
    EpochRecord,
    FitResult,
    MILError,
    MILRunConfig,
    MILSplitConfig,
    Progress,
    average_precisions,
    bag_folds,
    fit,
    fold_score,
    macro_ma_rae,
    predict,
    read_split_bags,
    task_columns,
)
from molpool_common import BoolArray, InputError, Split, listed

from molpool_pipelines.fitting import rare_positive_sampler
from molpool_pipelines.models import named_features
from molpool_pipelines.runs import TableRows, rejected_bags
from molpool_pipelines.studies._trials import Direction, FoldResult, OnEpochEnd
from molpool_pipelines.studies.mil._config import HPOMILConfig
from molpool_pipelines.studies.mil._space import mil_space, with_params
from molpool_pipelines.tables import refuse_bad_smiles


@dataclass(frozen=True, eq=False)
class StudyBags:
    """What a study may see, and the number of bags that it may not.

    Parameters
    ----------
    rest : BagData
        All bags but those of the outer test.
    folds : sequence of Split
        Inner folds over `rest`: trains on `train`, validates on `test`.
    n_test : int
        Bags of the outer test, which are not here.
    rejected : DataFrame
        Molecules without features, left out.
    rows : TableRows
        Digests of all bags.
    notes : tuple of str
        How the tables were read, and what the user should know of the outer split.
    """

    rest: BagData
    folds: Sequence[Split]
    n_test: int
    rejected: pl.DataFrame
    rows: TableRows
    notes: tuple[str, ...] = ()

    def fold(self, number: int) -> tuple[BagData, BagData]:
        """Return the training and the validation bags of an inner fold."""
        split = self.folds[number]
        return self.rest.take(split.train), self.rest.take(split.test)


def study_bags(config: HPOMILConfig, progress: Progress | None = None) -> StudyBags:
    """Read the table, put the outer test away, divide the rest into inner folds.

    Parameters
    ----------
    config : HPOMILConfig
        Table, outer split and inner folds.
    progress : callable, optional
        Called with the number of molecules computed.

    Raises
    ------
    InputError, MILError
        If the table is wrong, a fold has no training label or no positive, or there are too few
        bags.
    """
    if config.data_path is None:
        raise InputError("data_path", expected="a table", found="none")
    if config.data.kind == "smiles" and config.on_bad_smiles == "error":
        for path in (config.data_path, config.data.test_path):
            if path is not None:
                given = config.data.is_given("smiles_column")
                refuse_bad_smiles(path, config.data.smiles_column, config.read, given=given)
    describe_2d = partial(named_features, cache=config.data.cache_dir)
    found = read_split_bags(config, progress=progress, describe_2d=describe_2d)
    bags, outer = found.data, found.split
    # Validation bags of the outer split are not its test: trials may use them.
    seen = np.sort(np.concatenate([outer.train, outer.val]))
    rest = bags.take(seen)
    folds = inner_folds(rest, config)
    check_folds(rest, folds, config)
    section = config.data
    digests = TableRows.of_bag_tables(
        found.tables, named=section.names is not None, with_features=section.kind != "smiles"
    )
    rejected = rejected_bags(found.tables)
    notes = (*bags.notes, *found.notes)
    return StudyBags(rest, folds, len(outer.test), rejected, digests, notes)


@lru_cache(maxsize=1)
def cached_bags(config_json: str) -> StudyBags:
    """Return `study_bags` of a configuration as JSON; of the last one without reading again."""
    return study_bags(HPOMILConfig.model_validate_json(config_json))


def inner_folds(rest: BagData, config: HPOMILConfig) -> list[Split]:
    """Return the inner folds of bags, the validation bags of each in `Split.test`."""
    study = config.study
    stored = study.fold_type == "stored"
    section = MILSplitConfig(
        split_type=study.fold_type,
        n_folds=study.n_folds,
        # An inner fold validates on its own test part.
        val_ratio=0,
        split_seed=config.seed if study.seed is None else study.seed,
        fold_path=config.split.fold_path if stored else None,
        fold_column=study.fold_column,
        fold_where=config.split.fold_where if stored else {},
        plate_column=config.split.plate_column if study.fold_type == "plate" else None,
        time_column=config.split.time_column if study.fold_type == "time" else None,
        cluster_method=config.split.cluster_method,
        cluster_distance=config.split.cluster_distance,
    )
    values = config.run.model_dump(exclude_unset=True) | {"split": section.model_dump()}
    return bag_folds(rest, MILRunConfig.model_validate(values))


def check_folds(rest: BagData, folds: Sequence[Split], config: HPOMILConfig) -> None:
    """Raise unless each inner fold can be trained on and scored.

    Warns of tasks without a positive on a fold's validation bags, which its score leaves out.
    """
    assert rest.labels is not None
    there = ~np.isnan(rest.labels)
    # Average precision is undefined without a positive.
    useful = there & (rest.labels == 1) if config.task_kind == "classification" else there
    what = "positive labels" if config.task_kind == "classification" else "labels"
    for number, fold in enumerate(folds):
        where = f"study: inner fold {number} (of {len(folds)})"
        if lacking := _lacking(rest, useful[fold.train]):
            raise MILError(f"{where}: expected {what} of {lacking} in training; found none.")
        lacking = _lacking(rest, useful[fold.test])
        if not useful[fold.test].any():
            raise MILError(f"{where}: expected {what} of some task to validate on; found none.")
        if lacking:
            warnings.warn(
                f"{where}: no {what} of {lacking} to validate on; left out of its score",
                stacklevel=2,
            )


def _lacking(rest: BagData, useful: BoolArray) -> str:
    names = [name for t, name in enumerate(rest.task_names) if not useful[:, t].any()]
    return listed([repr(n) for n in names])


def data_files(config: HPOMILConfig) -> list[Path]:
    """Return the tables that the study depends on."""
    section = config.data
    paths = (
        config.data_path,
        section.features_3d,
        section.features_2d,
        section.test_path,
        section.aux_path if config.aux else None,
        config.split.fold_path,
    )
    return [Path(path) for path in dict.fromkeys(paths) if path]


class MILObjective:
    """`mil_attn.fit` over inner folds; see `Objective`.

    Scaling, standardisation of auxiliary targets, weights of positives and rare tasks come from the
    inner training bags; best epoch and decision thresholds from the inner validation bags. Bags of
    the outer test are not here at all.

    Parameters
    ----------
    config : HPOMILConfig
        Everything that no parameter sets.
    bags : StudyBags
        Bags and folds.
    """

    def __init__(self, config: HPOMILConfig, bags: StudyBags) -> None:
        self._base = config.run
        self._weight = config.score_weight
        self._threshold_metric = config.threshold_metric
        self._bags = bags
        self.n_folds = len(bags.folds)
        self.epochs_per_fold = most_epochs(config)
        self.direction: Direction = direction(config)
        self.metric = metric_name(config)

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        """Train on a fold's training bags, score its validation bags."""
        config: MILRunConfig = with_params(self._base, params)
        train, val = self._bags.fold(fold)
        score = self._scorer(config)
        with warnings.catch_warnings():
            # Tasks that a fold cannot score were named when the study began.
            warnings.filterwarnings("ignore", "validation: no positive label", UserWarning)
            result = fit(
                config,
                train,
                val,
                sampler=rare_positive_sampler(config, train, seed),
                on_epoch=lambda record: on_epoch_end(record.epoch, score(record)),
                seed=seed,
                threshold_metric=self._threshold_metric,
            )
        best = result.records[result.best_epoch]
        return FoldResult(score(best), _numbers(result, val, config))

    def _scorer(self, config: MILRunConfig) -> Callable[[EpochRecord], float]:
        weight = config.training.min_w if self._weight is None else self._weight
        return lambda record: epoch_score(record, weight)


def epoch_score(record: EpochRecord, min_w: float) -> float:
    """Return the score of an epoch's validation: macro_plus_min AP, or the macro MA-RAE of values.

    Parameters
    ----------
    record : EpochRecord
        Of an epoch with validation.
    min_w : float
        Weight of the worst task.
    """
    if record.val_macro_ap is not None and record.val_min_ap is not None:
        # The fold score of `mil_attn`, so that a run's own compares with the study's.
        return fold_score(record.val_macro_ap, record.val_min_ap, min_w)
    return float("nan") if record.val_macro_ma_rae is None else record.val_macro_ma_rae


def _numbers(result: FitResult, val: BagData, config: MILRunConfig) -> dict[str, float]:
    best = result.records[result.best_epoch]
    numbers = {"best_epoch": result.best_epoch + 1.0, "epochs": float(len(result.records))}
    names = result.module.task_names
    p = predict(result.module, val)
    assert val.labels is not None
    if best.val_macro_ap is None or best.val_min_ap is None:
        for t, name in enumerate(names):
            # The error of one task is its RAE; their mean alone is the MA-RAE.
            error = macro_ma_rae(val.labels[:, [t]], p[:, [t]])
            numbers |= {} if error is None else {f"rae {name}": error}
        return numbers
    numbers |= {"macro_ap": best.val_macro_ap, "min_ap": best.val_min_ap}
    own = config.training.min_w
    numbers["score at sampled min_w"] = fold_score(best.val_macro_ap, best.val_min_ap, own)
    by_task = average_precisions(val.labels, p, names, warn=False).by_task
    numbers |= {f"ap {name}": value for name, value in by_task.items() if value is not None}
    return numbers | {
        f"threshold {name}": float(value)
        for name, value in zip(names, result.module.thresholds, strict=True)
    }


def direction(config: HPOMILConfig) -> Direction:
    """Return which scores are better."""
    return "maximize" if config.task_kind == "classification" else "minimize"


def metric_name(config: HPOMILConfig) -> str:
    """Return the name of the score."""
    if config.task_kind == "regression":
        return "RAE" if len(task_columns(config.data, config)) == 1 else "macro MA-RAE"
    weight = config.score_weight
    return f"macro_plus_min AP (min_w {'sampled' if weight is None else format(weight, 'g')})"


def most_epochs(config: HPOMILConfig) -> int:
    """Return the most epochs that a trial may train."""
    parameter = mil_space(config).parameters.get("epochs")
    return max(map(int, parameter.extremes())) if parameter else config.training.epochs
