"""A study of Chemprop models, checked and ready to be run, and what follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from chemprop_multitask import with_listed_groups
from molpool_common import InputError
from sampling_core import CurriculumState, foreseen_end

from molpool_pipelines.fitting import check_machine
from molpool_pipelines.runs import TableRows
from molpool_pipelines.studies._kinds import Numbers, StudyKind, Values, median_best_epoch
from molpool_pipelines.studies._molecule_study import (
    digest,
    outer_test,
    study_score,
    tabular_study,
)
from molpool_pipelines.studies._molecules import (
    StudyData,
    choose_metric,
    label,
    make_scorers,
    read_study_data,
    scorer_notes,
)
from molpool_pipelines.studies._parameters import Parameter
from molpool_pipelines.studies._scoring import MacroScore
from molpool_pipelines.studies._space import Space, read_space, with_values
from molpool_pipelines.studies._trials import Objective, Problem
from molpool_pipelines.studies.chemprop._config import HPOChempropConfig
from molpool_pipelines.studies.chemprop._space import (
    AFFINITY,
    CURRICULUM,
    JOINT,
    check_values,
    default_space,
    default_values,
    trial_config,
)

EPOCHS = "training.epochs"
_UNBOUND = (
    "save_dir",
    "resume",
    "overwrite",
    "accept_changed_table",
    "tracking",
    "study",
    "space",
    "ensemble",
)
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
    check_machine(config)
    config = with_listed_groups(config, config.data.target_columns)
    _read.cache_clear()  # of an earlier study on a table that has changed since
    data = _read(_as_json(config))
    space = _space(config, data)
    _check_groups(config, data, space)
    check_values(config, space)
    fitted = _for_data(config, data)
    metric = choose_metric(config.study.metric, data.task_types)
    scorers = make_scorers(metric, data)
    conditions = [name for parameter in space.parameters.values() for name in parameter.when]
    return Problem(
        kind="chemprop",
        build=partial(build_objective, _as_json(config)),
        n_folds=len(data.folds),
        metric=label(metric, len(data.task_names)),
        direction="maximize" if metric.higher_is_better else "minimize",
        space=space,
        defaults=default_values(fitted, dict.fromkeys([*space.parameters, *conditions])),
        identity=_identity(config, data, space),
        resolve=partial(resolve, fitted),
        notes=tuple(_notes(config, data) + scorer_notes(metric, data, scorers)),
        rejected=data.rest.dropped,
        rows=data.rows,
        unset={"settings": _settings(type(config)())},
    )


def build_objective(config_json: str) -> Objective:
    """Return the objective; called in each worker with the configuration as JSON."""
    from molpool_pipelines.studies.chemprop._objective import ChempropObjective

    config = HPOChempropConfig.model_validate_json(config_json)
    data = _read(config_json)
    metric = choose_metric(config.study.metric, data.task_types)
    space = _space(config, data)
    return ChempropObjective(_for_data(config, data), data, metric, _most_epochs(config, space))


def _for_data(config: HPOChempropConfig, data: StudyData) -> HPOChempropConfig:
    """Return a configuration whose defaults suit the data: trials give every key."""
    section = config.task_affinity.for_table(len(data.task_names), _fewest_rows(data))
    return config.model_copy(update={"task_affinity": section})


def _fewest_rows(data: StudyData) -> int:
    """Return how many labelled rows the smallest fold trains on."""
    return min(int(np.isfinite(f.train.targets).any(axis=1).sum()) for f in data.folds)


def resolve(config: HPOChempropConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `molpool-train chemprop` takes to train with parameters of a trial."""
    values = trial_config(config, params).model_dump(mode="json")
    return values | {"save_dir": None, "resume": False, "overwrite": False}


@lru_cache(maxsize=2)
def _read(config_json: str) -> StudyData:
    """Read the data once per process, not again to build the objective."""
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
        version = config.study.space_version
        default = default_space(config, len(data.task_names), qualities, version=version)
        if "training.learning_rate" in config.space:  # max_lr would go before it
            del default["training.max_lr"]
    return read_space(config.space, default, type(config))


def _check_groups(config: HPOChempropConfig, data: StudyData, space: Space) -> None:
    measured = _may_be(
        config.task_affinity.enabled, space.parameters.get(f"{AFFINITY}.enabled"), True
    )
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
    parameter = space.parameters.get(f"{AFFINITY}.n_groups")
    own = config.task_affinity.n_groups_of(len(data.task_names))
    n_groups = (own,) if parameter is None else parameter.extremes()
    wrong = [n for n in n_groups if isinstance(n, int | float) and n > len(data.task_names)]
    if wrong:
        raise InputError(
            f"{'space.' if parameter else ''}{AFFINITY}.n_groups",
            expected=f"1 to {len(data.task_names)}, the number of tasks, or auto",
            found=str(wrong[-1]),
        )
    # The measurement refuses batches larger than its rows, in the middle of a trial.
    rows = _fewest_rows(data)
    if config.task_affinity.batch_size_of(rows) > rows:
        raise InputError(
            f"{AFFINITY}.affinity_batch_size",
            expected=f"at most the {rows} labelled training rows of the smallest fold",
            found=str(config.task_affinity.affinity_batch_size),
        )


def _may_be(own: Any, parameter: Parameter | None, value: Any) -> bool:
    return own == value if parameter is None else parameter.holds(value)


def _most_epochs(config: HPOChempropConfig, space: Space) -> int:
    parameter = space.parameters.get(EPOCHS)
    return config.training.epochs if parameter is None else int(max(parameter.extremes()))


def _notes(config: HPOChempropConfig, data: StudyData) -> list[str]:
    notes = [
        *data.notes,
        f"{data.n_test} rows of the outer test split are left out of everything here.",
    ]
    if data.rest.quality is None or len(set(data.rest.quality)) < 2:
        notes.append(f"No curriculum is tried: rows have no quality labels ({JOINT}).")
    joint = config.joint_sampling
    if joint.needs_quality:
        note = foreseen_end(
            CurriculumState.from_config(joint.curriculum),
            epochs=_most_epochs(config, _space(config, data)),
            validated=True,
            stop_after=config.training.patience,
        )
        notes += [note] if note else []
    if config.ensemble.n_members > 1:
        notes.append(
            f"A trial trains one model per fold; the {config.ensemble.n_members} members of "
            "`ensemble` are for retraining."
        )
    return notes


def _settings(config: HPOChempropConfig) -> dict[str, Any]:
    """Return the settings that make two studies one."""
    settings = config.model_dump(mode="json", exclude=set(_UNBOUND))
    # What changes no result may differ between machines that share a study.
    settings["data"].pop("cache_dir")
    settings["data"].pop("predict_path")
    settings["training"].pop("accelerator")
    return settings


def _identity(config: HPOChempropConfig, data: StudyData, space: Space) -> dict[str, Any]:
    """Return what makes two studies one besides metric and space: rows, folds, other settings."""
    settings = _settings(config)
    # Parameters of the space are blanked: their configured value is the first trial's and decides
    # nothing else.
    fixed = with_values(settings, dict.fromkeys(space.parameters))
    return {
        "seed": config.seed if config.study.seed is None else config.study.seed,
        "folds": [[len(fold.train), len(fold.val)] for fold in data.folds],
        "data": digest(data),
        "settings": fixed,
    }


def chemprop_score(config: HPOChempropConfig) -> MacroScore:
    """Return the study's score, which tasks of another kind have no part in."""
    return study_score(config, _read(_as_json(config)))


def chemprop_kind(config: HPOChempropConfig) -> StudyKind:
    """Return what retraining needs to know of a study of Chemprop models."""
    config = with_listed_groups(config, config.data.target_columns)
    return StudyKind(
        name="chemprop",
        tasks=tuple(config.data.target_columns),
        seed=config.seed,
        resolve=partial(resolve, config),
        final=final_values,
        score=lambda _values: chemprop_score(config),
        tabular=lambda: tabular_study(config, _read(_as_json(config))),
        outer=partial(outer_test, config),
        join=join,
        rows=partial(_rows_now, config),
    )


def _rows_now(config: HPOChempropConfig) -> TableRows:
    # A notebook may have read the table before it changed.
    _read.cache_clear()
    return _read(_as_json(config)).rows


def _as_json(config: HPOChempropConfig) -> str:
    """Return what is given: of all keys nobody could tell which."""
    return config.model_dump_json(exclude_unset=True)


def final_values(values: Values, folds: Sequence[Numbers]) -> Values:
    """Return the configuration that trains on all rows but those of the outer test.

    Nothing validates then: the number of epochs is the median over the inner folds of the best, and
    the schedule of the learning rate ends there. A curriculum that moves on by the validation loss
    (without `phase_epochs`) keeps the validation part of the configuration's split, and stops early
    by it.

    Parameters
    ----------
    values : dict
        A full configuration.
    folds : sequence of mapping
        Numbers of each inner fold of the trial.
    """
    joint = values["joint_sampling"]
    curriculum = joint["curriculum"]
    if joint["enabled"] and curriculum["enabled"] and curriculum.get("phase_epochs") is None:
        return values
    training = values["training"]
    epochs = median_best_epoch(folds) or training["epochs"]
    return {
        **values,
        "data": {**values["data"], "train_on_val": True},
        "training": {**training, "epochs": epochs, "patience": None},
    }


def join(runs: Sequence[Path], folder: Path) -> None:
    """Write the models of run folders as one `Ensemble`, which `chemprop predict` averages too."""
    from chemprop_multitask import Ensemble

    Ensemble([m for run in runs for m in Ensemble.load(run).members]).save(folder)
