"""A study of Chemprop models, checked and ready to be run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np
from chemprop_multitask import with_listed_groups
from molpool_common import InputError

from molpool_pipelines.studies.chemprop.config import HPOChempropConfig
from molpool_pipelines.studies.chemprop.data import StudyData, read_study_data
from molpool_pipelines.studies.chemprop.scoring import (
    choose_metric,
    label,
    make_scorers,
    scorer_notes,
)
from molpool_pipelines.studies.chemprop.space import (
    AFFINITY,
    CURRICULUM,
    JOINT,
    default_space,
    default_values,
)
from molpool_pipelines.studies.chemprop.trial import check_values, trial_config
from molpool_pipelines.studies.entries import Choice, Entry, Fixed
from molpool_pipelines.studies.objective import Objective, Problem
from molpool_pipelines.studies.paths import with_values
from molpool_pipelines.studies.space import Space, read_space

EPOCHS = "training.epochs"
_UNBOUND = ("save_dir", "resume", "overwrite", "tracking", "study", "space", "ensemble")
"""Keys that change nothing about a trial."""


def chemprop_problem(config: HPOChempropConfig) -> Problem:
    """Read the data of a study, and make its space.

    Parameters
    ----------
    config : HPOChempropConfig
        The study.

    Raises
    ------
    InputError, ChempropError
        If table, split, folds, metric, groups or space are wrong, or do not fit together.
    """
    config = with_listed_groups(config, config.data.target_columns)
    data = _read(config.model_dump_json())
    space = _space(config, data)
    _check_groups(config, data, space)
    check_values(config, space)
    metric = choose_metric(config.study.metric, data.task_types)
    scorers = make_scorers(metric, data)
    conditions = [name for entry in space.entries.values() for name in entry.when]
    return Problem(
        kind="chemprop",
        build=partial(build_objective, config.model_dump_json()),
        n_folds=len(data.folds),
        metric=label(metric, len(data.task_names)),
        direction="maximize" if metric.higher_is_better else "minimize",
        space=space,
        defaults=default_values(config, dict.fromkeys([*space.entries, *conditions])),
        identity=_identity(config, data, space),
        resolve=partial(resolve, config),
        notes=tuple(_notes(config, data) + scorer_notes(metric, data, scorers)),
    )


def build_objective(config_json: str) -> Objective:
    """Return the objective; called in each worker with the configuration as JSON."""
    from molpool_pipelines.studies.chemprop.objective import ChempropObjective

    config = HPOChempropConfig.model_validate_json(config_json)
    data = _read(config_json)
    metric = choose_metric(config.study.metric, data.task_types)
    space = _space(config, data)
    return ChempropObjective(config, data, metric, _most_epochs(config, space))


def resolve(config: HPOChempropConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `molpool-train chemprop` takes to train with parameters of a trial."""
    values = trial_config(config, params).model_dump(mode="json")
    return values | {"save_dir": None, "resume": False, "overwrite": False}


@lru_cache(maxsize=2)
def _read(config_json: str) -> StudyData:
    """Read the data once a process, not again to build the objective."""
    config = HPOChempropConfig.model_validate_json(config_json)
    return read_study_data(config, needs_quality=_may_use_quality(config))


def _may_use_quality(config: HPOChempropConfig) -> bool:
    """Return whether the configuration itself or `space` asks for a curriculum."""
    switch = f"{CURRICULUM}.enabled"
    if config.space.get(switch, True) is False:
        return False
    named = any(name.startswith(f"{CURRICULUM}.") for name in config.space)
    return named or config.joint_sampling.needs_quality


def _space(config: HPOChempropConfig, data: StudyData) -> Space:
    default: dict[str, Any] = {}
    if config.study.default_space:
        labels = set(data.rest.quality or ())
        qualities = config.joint_sampling.curriculum.qualities if len(labels) > 1 else None
        default = default_space(config, len(data.task_names), qualities)
        if "training.learning_rate" in config.space:  # max_lr would go before it
            del default["training.max_lr"]
    return read_space(config.space, default, type(config))


def _check_groups(config: HPOChempropConfig, data: StudyData, space: Space) -> None:
    measured = _may_be(config.task_affinity.enabled, space.entries.get(f"{AFFINITY}.enabled"), True)
    if not measured:
        if config.sharing == "separate" and config.groups is None:
            raise InputError(
                "sharing",
                expected="groups or task_affinity.enabled with 'separate', a model for each group",
                found="neither",
            )
        return
    if config.groups is not None:
        raise InputError(
            "groups",
            expected="none where task_affinity.enabled, which makes them",
            found="both",
            hint="Leave groups out, or --task-affinity.enabled false.",
        )
    entry = space.entries.get(f"{AFFINITY}.n_groups")
    n_groups = [config.task_affinity.n_groups] if entry is None else _values(entry)
    wrong = [n for n in n_groups if isinstance(n, int | float) and n > len(data.task_names)]
    if wrong:
        raise InputError(
            f"{'space.' if entry else ''}{AFFINITY}.n_groups",
            expected=f"1 to {len(data.task_names)}, the number of tasks, or auto",
            found=str(wrong[-1]),
        )
    rows = min(int(np.isfinite(f.train.targets).any(axis=1).sum()) for f in data.folds)
    if config.task_affinity.affinity_batch_size > rows:
        raise InputError(
            f"{AFFINITY}.affinity_batch_size",
            expected=f"at most the {rows} labelled training rows of the smallest fold",
            found=str(config.task_affinity.affinity_batch_size),
        )


def _may_be(own: Any, entry: Entry | None, value: Any) -> bool:
    return own == value if entry is None else entry.holds(value)


def _values(entry: Entry) -> list[Any]:
    if isinstance(entry, Fixed):
        return [entry.value]
    return list(entry.choices) if isinstance(entry, Choice) else [entry.low, entry.high]


def _most_epochs(config: HPOChempropConfig, space: Space) -> int:
    entry = space.entries.get(EPOCHS)
    return config.training.epochs if entry is None else int(max(_values(entry)))


def _notes(config: HPOChempropConfig, data: StudyData) -> list[str]:
    notes = [
        *data.notes,
        f"{data.n_test} rows of the outer test side are left out of everything here.",
    ]
    if data.rest.quality is None or len(set(data.rest.quality)) < 2:
        notes.append(f"No curriculum is tried: rows have no quality labels ({JOINT}).")
    if config.ensemble.n_members > 1:
        notes.append(
            f"A trial trains one model a fold; the {config.ensemble.n_members} members of "
            "`ensemble` are for retraining."
        )
    return notes


def _identity(config: HPOChempropConfig, data: StudyData, space: Space) -> dict[str, Any]:
    """Return what makes two studies one besides metric and space: rows, folds, other settings."""
    settings = config.model_dump(mode="json", exclude=set(_UNBOUND))
    settings["data"].pop("cache_dir")
    settings["data"].pop("predict_path")
    settings["training"].pop("accelerator")
    fixed = with_values(settings, dict.fromkeys(space.entries))
    return {
        "seed": config.seed if config.study.seed is None else config.study.seed,
        "folds": [[len(fold.train), len(fold.val)] for fold in data.folds],
        "data": _digest(data),
        "settings": fixed,
    }


def _digest(data: StudyData) -> str:
    """Return a digest of all that trials see: no row of the outer test."""
    digest = hashlib.sha256()
    for table in (data.rest, *(t for fold in data.folds for t in (fold.train, fold.val))):
        digest.update("\n".join([*table.task_names, *table.smiles]).encode())
        digest.update(table.targets.tobytes())
        digest.update("\n".join(table.quality or []).encode())
        if table.censoring is not None:
            digest.update(table.censoring.tobytes())
    return digest.hexdigest()
