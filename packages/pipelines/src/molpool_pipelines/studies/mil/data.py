"""Bags of a study: the outer test apart, the rest in inner folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from mil_attn import BagData, MILError, MILRunConfig, MILSplitConfig, Progress, bag_folds, read_bags
from mil_attn import split_bags as outer_split
from molpool_common import InputError, Split, listed
from numpy.typing import NDArray

from molpool_pipelines.studies.mil.config import HPOMILConfig


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
    failures : int
        Molecules without features, left out.
    """

    rest: BagData
    folds: Sequence[Split]
    n_test: int
    failures: int

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
        Told of molecules computed.

    Raises
    ------
    InputError, MILError
        If the table is wrong, a fold has no training label or no positive, or there are too few
        bags.
    """
    if config.data_path is None:
        raise InputError("data_path", expected="a table", found="none")
    bags = read_bags(config.data_path, config.data, config, progress=progress)
    outer = outer_split(bags, config)
    seen = np.sort(np.concatenate([outer.train, outer.val]))
    rest = bags.take(seen)
    folds = inner_folds(rest, config)
    check_folds(rest, folds, config)
    return StudyBags(rest, folds, len(outer.test), len(bags.failures))


@lru_cache(maxsize=1)
def cached_bags(config_json: str) -> StudyBags:
    """Return `study_bags` of a configuration as JSON; of the last one without reading again."""
    return study_bags(HPOMILConfig.model_validate_json(config_json))


def inner_folds(rest: BagData, config: HPOMILConfig) -> list[Split]:
    """Return the inner folds of bags, the validation side of each in `Split.test`."""
    study = config.study
    stored = study.fold_type == "stored"
    section = MILSplitConfig(
        split_type=study.fold_type,
        n_folds=study.n_folds,
        val_ratio=0,
        split_seed=config.seed if study.seed is None else study.seed,
        fold_path=config.split.fold_path if stored else None,
        fold_column=study.fold_column,
        fold_where=config.split.fold_where if stored else {},
        plate_column=config.split.plate_column if study.fold_type == "plate" else None,
    )
    values = config.run.model_dump() | {"split": section.model_dump()}
    return bag_folds(rest, MILRunConfig.model_validate(values))


def check_folds(rest: BagData, folds: Sequence[Split], config: HPOMILConfig) -> None:
    """Raise unless each inner fold can be trained on and scored.

    Warns of tasks without a positive on a fold's validation side, which its score leaves out.
    """
    assert rest.labels is not None
    there = ~np.isnan(rest.labels)
    useful = there & (rest.labels == 1) if config.task_kind == "classification" else there
    what = "positive labels" if config.task_kind == "classification" else "labels"
    for number, fold in enumerate(folds, start=1):
        where = f"study: inner fold {number} of {len(folds)}"
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


def _lacking(rest: BagData, useful: NDArray[np.bool_]) -> str:
    names = [name for t, name in enumerate(rest.task_names) if not useful[:, t].any()]
    return listed([repr(n) for n in names])


def data_files(config: HPOMILConfig) -> list[Path]:
    """Return the tables that the study depends on."""
    section = config.data
    paths = (
        config.data_path,
        section.features_3d,
        section.features_2d,
        section.aux_path if config.aux else None,
        config.split.fold_path,
    )
    return [Path(path) for path in dict.fromkeys(paths) if path]
