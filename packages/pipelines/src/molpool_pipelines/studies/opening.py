"""A study at the start of a run: made, or gone on with if it is the same."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import yaml
from molpool_common import InputError, listed
from optuna.study import Study

from molpool_pipelines.studies.objective import Problem
from molpool_pipelines.studies.storage import shown
from molpool_pipelines.studies.task import StudyTask

IDENTITY = "molpool"
"""Attribute of a study: what it must not change while it goes on."""

_PATIENCE = 10.0
"""Seconds to wait for another process that is just making the study."""


def identity(problem: Problem, seed: int) -> dict[str, Any]:
    """Return what every run of one study shares, as JSON."""
    return {
        "kind": problem.kind,
        "metric": problem.metric,
        "direction": problem.direction,
        "n_folds": problem.n_folds,
        "seed": seed,
        **problem.identity,
        "space": problem.space.describe(),
    }


def open_study(
    task: StudyTask, problem: Problem, storage: optuna.storages.BaseStorage
) -> tuple[Study, bool]:
    """Make the study of a task with its first trials, or check that it is the same.

    Parameters
    ----------
    task : StudyTask
        Name, storage and settings.
    problem : Problem
        What is tuned.
    storage : BaseStorage
        Where the study is kept.

    Returns
    -------
    study : Study
    is_new : bool

    Raises
    ------
    InputError
        If a study of this name has another space, direction, metric or data, showing what differs;
        or the file of trials to enqueue is wrong.
    """
    wanted = identity(problem, task.seed)
    first = _first_trials(task, problem)
    try:
        study = optuna.create_study(study_name=task.name, storage=storage, direction=task.direction)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(study_name=task.name, storage=storage)
        if _check_same(study, task, wanted):
            _enqueue(study, [t for t in first if t[0] != "defaults"])
            return study, False
    _enqueue(study, first)
    # Last: other processes wait for it.
    study.set_user_attr(IDENTITY, wanted)
    return study, True


def _check_same(study: Study, task: StudyTask, wanted: Mapping[str, Any]) -> bool:
    """Raise if a study is another one; false if it was never finished being made."""
    until = time.monotonic() + _PATIENCE
    while IDENTITY not in study.user_attrs:
        if study.get_trials(deepcopy=False) and time.monotonic() > until:
            raise InputError(
                "study.study_name",
                expected="a new name, or a study of molpool-hpo",
                found=f"{task.name!r} in {shown(task.storage)}, made by something else",
            )
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    differences = _differences(study.user_attrs[IDENTITY], wanted)
    if differences:
        raise InputError(
            "study.study_name",
            expected=f"the study {task.name!r} as it was started, or a new name",
            found="; ".join(differences[:5])
            + (f"; and {len(differences) - 5} more" if len(differences) > 5 else ""),
            where=shown(task.storage),
        )
    return True


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key in [*before, *(k for k in now if k not in before)]:
        old, new = before.get(key), now.get(key)
        if old == new and (key in before) == (key in now):
            continue
        # An entry of the space is shown whole.
        if prefix != "space." and isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        else:
            was = f"was {old!r}" if key in before else "was not there"
            found.append(f"{prefix}{key} {was}, is {f'now {new!r}' if key in now else 'gone'}")
    return found


def _first_trials(task: StudyTask, problem: Problem) -> list[tuple[str, dict[str, Any]]]:
    trials: list[tuple[str, dict[str, Any]]] = []
    # A grid has its own points, and counts no others.
    if task.config.try_defaults and task.config.sampler != "GridSampler":
        trials.append(("defaults", task.space.clip(problem.defaults, problem.defaults)))
    if task.config.enqueue is not None:
        trials += [("enqueued", t) for t in _read_enqueued(Path(task.config.enqueue), task)]
    return [(source, task.space.to_optuna(values)) for source, values in trials]


def _enqueue(study: Study, trials: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    for source, values in trials:
        study.enqueue_trial(dict(values), user_attrs={"source": source}, skip_if_exists=True)


def _read_enqueued(path: Path, task: StudyTask) -> list[dict[str, Any]]:
    where = "study.enqueue"
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(where, expected="a file that can be read", found=str(error)) from None
    except yaml.YAMLError as error:
        raise InputError(
            where, expected="YAML or JSON", found=str(error).replace("\n", " "), where=path.name
        ) from None
    if isinstance(read, dict):
        read = [read]
    if not isinstance(read, list) or not all(isinstance(t, dict) for t in read):
        raise InputError(
            where,
            expected="a list of mappings of parameters to values",
            found=listed([type(t).__name__ for t in read])
            if isinstance(read, list)
            else type(read).__name__,
            where=path.name,
        )
    return [
        task.space.check(values, f"study.enqueue, trial {i + 1} of {path.name}")
        for i, values in enumerate(read)
    ]
