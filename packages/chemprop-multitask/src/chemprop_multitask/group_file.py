"""Task groups of a configuration as lists, also where it names a file of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from molpool_common import InputError, validate_values

from chemprop_multitask.config import SharedChempropConfig
from chemprop_multitask.tasks import resolve_groups

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
        groups, assignment = _read(Path(config.groups))
        own = config.group_assignment
        update = {"groups": groups, "group_assignment": assignment if own is None else own}
        config = validate_values(type(config), {**config.model_dump(), **update})
    resolve_groups(config.groups or [], task_names, config.group_assignment)
    return config


def _read(path: Path) -> tuple[Any, Any]:
    if not path.is_file():
        raise InputError(
            "groups", expected="lists of tasks or a JSON file", found=f"no file {path}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
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
