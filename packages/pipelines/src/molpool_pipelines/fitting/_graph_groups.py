"""Which tasks share a Chemprop network in a blend: as named, or as their gradients agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from molpool_common import InputError, did_you_mean, listed

if TYPE_CHECKING:
    from molpool_pipelines.tables import MoleculeTable, TaskType

KEY = "chemprop.groups"
BY_AFFINITY = "affinity"

Groups = list[tuple[str, ...]]


def read_groups(words: Sequence[str], task_names: Sequence[str]) -> Groups | None:
    """Return the groups that a user named; None where task affinity is to propose them.

    Parameters
    ----------
    words : sequence of str
        ``all``, ``each``, ``affinity``, or groups of tasks joined by ``+``.
    task_names : sequence of str
        All tasks.

    Raises
    ------
    InputError
        If a task is unknown, or stands in two groups.
    """
    if list(words) == [BY_AFFINITY]:
        # Of two tasks and fewer there is nothing to choose that a measurement could tell.
        return None if len(task_names) > 2 else [tuple(task_names)]
    if list(words) == ["all"]:
        return [tuple(task_names)]
    if list(words) == ["each"]:
        return [(name,) for name in task_names]
    groups = [_tasks_of(word, task_names) for word in words]
    named = [name for group in groups for name in group]
    if twice := [name for i, name in enumerate(named) if name in named[:i]]:
        raise InputError(KEY, expected="each task in one group", found=f"{twice[0]!r} twice")
    return groups


def _tasks_of(word: str, task_names: Sequence[str]) -> tuple[str, ...]:
    if word in task_names:
        return (word,)
    names = tuple(part.strip() for part in word.split("+"))
    if unknown := [name for name in names if name not in task_names]:
        raise InputError(
            KEY,
            expected="tasks joined by +, or one of all, each and affinity",
            found=repr(unknown[0]),
            hint=did_you_mean(unknown[0], list(task_names)),
        )
    return names


def check_served(groups: Groups | None, models: Sequence[str], task_names: Sequence[str]) -> None:
    """Refuse groups that leave tasks to other models where there are none.

    Raises
    ------
    InputError
        If a task would have no model.
    """
    served = {name for group in groups or [tuple(task_names)] for name in group}
    if (left := [name for name in task_names if name not in served]) and set(models) == {
        "chemprop"
    }:
        raise InputError(
            KEY,
            expected="all tasks, as no other model predicts them",
            found=f"none of {listed(left)}",
            hint="Add a group, or another model with --model.",
        )


def groups_by_affinity(
    table: MoleculeTable, task_types: Sequence[TaskType], cache: str, seed: int
) -> Groups:
    """Measure which tasks' gradients agree, on an ordinary network, and group them by it.

    Parameters
    ----------
    table : MoleculeTable
        Rows whose labels may be seen.
    task_types : sequence of {"regression", "classification"}, length T
        Of the tasks.
    cache : str
        Folder of cached graphs.
    seed : int
        Of the short training.
    """
    from chemprop_multitask import ChempropConfig, GraphStore, MoleculeData
    from molpool_common import cache_folder
    from task_affinity import TaskAffinityConfig

    from molpool_pipelines.affinity import group_tasks, measure_affinity

    section = TaskAffinityConfig(
        n_groups="auto",
        n_bootstrap=0,
        affinity_batch_size=min(64, len(table)),
        seed=seed,
    )
    data = MoleculeData.from_table(table, cache=GraphStore(cache_folder(cache)))
    result = measure_affinity(section, ChempropConfig(), data, task_types)
    return [tuple(group) for group in group_tasks(result).grouping.groups]
