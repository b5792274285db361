"""What kind each task is, and which group of tasks, hence which head or model, serves it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from molpool_common import (
    InputError,
    check_readable,
    did_you_mean,
    expanded,
    listed,
    read_text,
    validate_values,
)

from chemprop_multitask._config import SharedChempropConfig
from chemprop_multitask._errors import ChempropError

TaskType = Literal["regression", "classification"]


def resolve_task_types(
    task_names: Sequence[str], kinds: TaskType | Sequence[TaskType]
) -> tuple[TaskType, ...]:
    """Return the kind of each task from one kind for all or one per task.

    Raises
    ------
    ChempropError
        If a kind is unknown, their number is not that of the tasks, or a task is named twice.
    """
    twice = [name for i, name in enumerate(task_names) if name in task_names[:i]]
    if not task_names or twice:
        found = f"{twice[0]!r} twice" if twice else "none"
        raise ChempropError(f"task_names: expected one or more different names; found {found}")
    each = (kinds,) * len(task_names) if isinstance(kinds, str) else tuple(kinds)
    if len(each) != len(task_names):
        raise ChempropError(
            f"task_types: expected one for each of {len(task_names)} tasks; found {len(each)}"
        )
    for name, kind in zip(task_names, each, strict=True):
        if kind not in get_args(TaskType):
            raise ChempropError(
                f"task_types: expected 'regression' or 'classification' for task {name!r}; "
                f"found {kind!r}"
            )
    return each


def resolve_groups(
    groups: Sequence[Sequence[str | int]],
    task_names: Sequence[str],
    assignment: Mapping[str, int] | None = None,
) -> tuple[tuple[int, ...], ...]:
    """Return the columns that each group's head serves; together they are all columns, once each.

    Parameters
    ----------
    groups : sequence of sequences of str or int
        Tasks of each group, by name or column.
    task_names : sequence of str
        Names of the T columns.
    assignment : mapping of str to int, optional
        Which group serves a task; needed for tasks that stand in several groups.

    Raises
    ------
    ChempropError
        If a group is empty or names an unknown task, a task is in no group or in several without
        an assignment, or is assigned to a group that it is not in.
    """
    columns = [_columns(group, g, task_names) for g, group in enumerate(groups)]
    assigned = dict(assignment or {})
    for name in assigned:
        _column(name, task_names, "assignment")
    serving = [
        _server(name, [g for g, members in enumerate(columns) if t in members], assigned.get(name))
        for t, name in enumerate(task_names)
    ]
    served = tuple(
        tuple(t for t in members if serving[t] == g) for g, members in enumerate(columns)
    )
    idle = [g for g, tasks in enumerate(served) if not tasks]
    if idle:
        raise ChempropError(
            f"groups: expected that every group serves a task; group {idle[0]} "
            f"({listed([task_names[t] for t in columns[idle[0]]])}) serves none"
        )
    return served


def _columns(group: Sequence[str | int], g: int, task_names: Sequence[str]) -> list[int]:
    found = [_column(task, task_names, f"groups: group {g}") for task in group]
    if not found or len(set(found)) < len(found):
        raise ChempropError(
            f"groups: expected one or more different tasks in group {g}; found {list(group)}"
        )
    return found


def _column(task: str | int, task_names: Sequence[str], where: str) -> int:
    if isinstance(task, int) and 0 <= task < len(task_names):
        return task
    if isinstance(task, str) and task in task_names:
        return list(task_names).index(task)
    raise ChempropError(
        f"{where}: expected tasks of the model; found {task!r}. "
        f"{did_you_mean(str(task), list(task_names))}"
    )


def _server(name: str, candidates: Sequence[int], assigned: int | None) -> int:
    """Return the group that serves a task."""
    if assigned is not None:
        if assigned not in candidates:
            raise ChempropError(
                f"assignment: expected a group that holds task {name!r} "
                f"({listed(candidates) or 'none does'}, counted from 0); found {assigned}"
            )
        return assigned
    if len(candidates) != 1:
        found = f"groups {listed(candidates)} do" if candidates else "none does"
        raise ChempropError(
            f"groups: expected that one group holds task {name!r}, or an assignment; {found}"
        )
    return candidates[0]


ConfigT = TypeVar("ConfigT", bound=SharedChempropConfig)


def with_listed_groups(config: ConfigT, task_names: Sequence[str]) -> ConfigT:
    """Return the configuration with groups as lists, checked against the tasks.

    Parameters
    ----------
    config : SharedChempropConfig
        `groups` may name a JSON file: a list of lists of tasks, or an object with such a list as
        ``groups`` and, for overlapping groups, ``assignment``: the group, from 0, that serves a
        task. `group_assignment` of the configuration goes before that of the file.
    task_names : sequence of str
        The tasks.

    Raises
    ------
    InputError
        If the file is missing or holds something else.
    ChempropError
        If a group names an unknown task, or a task is in none, or in several without an assignment.
    """
    if config.groups is None:
        return config
    if isinstance(config.groups, str):
        groups, assignment = _read_groups(Path(expanded(config.groups)))
        own = config.group_assignment
        update = {"groups": groups, "group_assignment": assignment if own is None else own}
        config = validate_values(type(config), {**config.model_dump(), **update})
    resolve_groups(config.groups or [], task_names, config.group_assignment)
    return config


def _read_groups(path: Path) -> tuple[Any, Any]:
    check_readable(path, "groups", "lists of tasks or a JSON file")
    try:
        content = json.loads(read_text(path, "groups"))
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            "groups", expected="a JSON file", found=f"something else ({error})", where=path.name
        ) from None
    groups, assignment = content, None
    if isinstance(content, dict):
        groups, assignment = content.get("groups"), content.get("assignment")
    lists = isinstance(groups, list) and all(isinstance(group, list) for group in groups)
    if not groups or not lists:
        raise InputError(
            "groups",
            expected="a list of lists of tasks, alone or as 'groups' of an object",
            found=json.dumps(content)[:100],
            where=path.name,
        )
    return groups, assignment


@dataclass(frozen=True)
class TaskGroup:
    """Tasks that have a model of their own.

    Parameters
    ----------
    number : int
        Which group, from 0.
    columns : tuple of int
        The tasks that train it, by column of all tasks.
    served : tuple of int
        Those among them that it predicts.
    """

    number: int
    columns: tuple[int, ...]
    served: tuple[int, ...]

    def names(self, task_names: Sequence[str]) -> list[str]:
        """Return the names of the tasks that train it."""
        return [task_names[t] for t in self.columns]


def separate_groups(config: SharedChempropConfig, task_names: Sequence[str]) -> list[TaskGroup]:
    """Return the groups that have models of their own; none where all tasks share one.

    Parameters
    ----------
    config : SharedChempropConfig
        Its groups as lists.
    task_names : sequence of str
        All tasks.

    Raises
    ------
    ChempropError
        If groups and tasks do not fit together.
    """
    if config.sharing == "heads" or config.groups is None:
        return []
    served = resolve_groups(config.groups, task_names, config.group_assignment)
    names = list(task_names)
    return [
        TaskGroup(g, tuple(names.index(task) for task in tasks), served[g])
        for g, tasks in enumerate(config.groups)
    ]
