"""A study of bags, ready for the engine."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

from mil_attn import MILError, task_columns
from molpool_common import InputError

from molpool_pipelines.datasets import sha256
from molpool_pipelines.studies.mil.config import HPOMILConfig
from molpool_pipelines.studies.mil.data import StudyBags, cached_bags, data_files
from molpool_pipelines.studies.mil.objective import MILObjective, direction, metric_name
from molpool_pipelines.studies.mil.space import (
    SECTIONS,
    mil_space,
    own_values,
    with_params,
    without_effect,
)
from molpool_pipelines.studies.objective import Problem
from molpool_pipelines.studies.space import Space


def mil_problem(config: HPOMILConfig) -> Problem:
    """Return what is tuned, after everything that can be wrong with it was looked at.

    Raises
    ------
    InputError, MILError
        If configuration, space, table or folds are wrong.
    """
    _check_metric(config)
    for path in data_files(config):
        if not path.is_file():
            raise InputError("data_path", expected="an existing file", found=repr(str(path)))
    space = mil_space(config)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        bags = cached_bags(_json(config))
    return Problem(
        kind="mil",
        build=partial(build_objective, _json(config)),
        n_folds=len(bags.folds),
        metric=metric_name(config),
        direction=direction(config),
        space=space,
        defaults=own_values(config, list(space.entries)),
        identity=_identity(config, space),
        resolve=partial(resolve, config),
        notes=(*_notes(config, bags), *(str(w.message) for w in told)),
    )


def build_objective(config_json: str) -> MILObjective:
    """Return the objective of a configuration as JSON: what a worker process calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # said once, when the study began
        bags = cached_bags(config_json)
    return MILObjective(HPOMILConfig.model_validate_json(config_json), bags)


def resolve(config: HPOMILConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole configuration of `molpool-train mil` with the parameters of a trial.

    Its ``training.min_w`` is the weight that trials were compared by, so that the run's fold score
    is the study's score on other bags.
    """
    run = with_params(config.run, params)
    if config.score_weight is not None:
        run.training.min_w = config.score_weight
    values: dict[str, Any] = run.model_dump(mode="json")
    return values


def _json(config: HPOMILConfig) -> str:
    return config.model_dump_json()


def _check_metric(config: HPOMILConfig) -> None:
    own = "macro_plus_min" if config.task_kind == "classification" else "ma_rae"
    if config.study.metric not in (None, own):
        raise MILError(
            f"study.metric: expected {own!r}, what {config.task_kind} is tuned for here; found "
            f"{config.study.metric!r}."
        )


def _identity(config: HPOMILConfig, space: Space) -> dict[str, Any]:
    """Return what must stay while a study goes on: what no parameter sets, and the data."""
    of_study = config.study.model_dump(
        mode="json", include={"n_folds", "fold_type", "fold_column", "seed", "min_w"}
    )
    run = config.run.model_dump(
        mode="json", exclude={"data_path", "thresholds", "threshold_metric", "export"}
    )
    data = run["data"]
    for key in ("workers", "predict_path", "cache_dir", "features_3d", "features_2d", "aux_path"):
        del data[key]
    del run["split"]["fold_path"], run["training"]["accelerator"]
    for section, name in product(SECTIONS, space.entries):
        run[section].pop(name.rpartition("_t")[0] if name not in run[section] else name, None)
    files = {path.name: sha256(path)[:16] for path in data_files(config)}
    return {**run, "study": of_study, "files": files}


def _notes(config: HPOMILConfig, bags: StudyBags) -> list[str]:
    rest = bags.rest
    notes = [
        f"{len(rest)} bags in {len(bags.folds)} inner folds ({config.study.fold_type}); "
        f"{bags.n_test} bags of the outer test are put away."
    ]
    if bags.failures:
        notes.append(f"Left out {bags.failures} molecules without features.")
    n_tasks = len(task_columns(config.data, config))
    left_out = without_effect(config, n_tasks) if config.study.default_space else []
    if left_out:
        notes.append(f"Not drawn, since without effect here: {', '.join(left_out)}.")
    if config.task_kind == "classification" and n_tasks > 1:
        notes.append(_weight_note(config))
    return notes


def _weight_note(config: HPOMILConfig) -> str:
    weight = config.score_weight
    if weight is None:
        return (
            "min_w is drawn and weighs each trial's own score: since the worst task is never above "
            "the mean, a trial gains by drawing a small one. Trials of different min_w are not "
            "compared like with like; study.min_w NUMBER compares all at one."
        )
    return (
        f"Trials are compared at min_w {weight:g}, whatever min_w a trial draws; its score at its "
        "own is kept beside."
    )
