"""Task groups as the configuration gives them: lists of tasks, or a file that holds them.

What `molpool-train chemprop` trains is always a configuration with plain lists; groups that task
affinity makes are put into it by `grouped`, between here and `build_trainees`.
"""

from __future__ import annotations

from chemprop_multitask import with_listed_groups
from molpool_common import InputError

from molpool_pipelines.fitting import TrainChempropConfig


def with_groups(config: TrainChempropConfig) -> TrainChempropConfig:
    """Return the configuration with groups as lists, checked against the tasks.

    Parameters
    ----------
    config : TrainChempropConfig
        `groups` may name a JSON file: a list of lists of tasks, or an object with such a list as
        ``groups`` and, for overlapping groups, ``assignment``: the group, from 0, that serves a
        task. `group_assignment` of the configuration goes before that of the file.

    Raises
    ------
    InputError
        If the file is missing or holds something else, or groups are given and to be measured too,
        or are needed and neither.
    ChempropError
        If a group names an unknown task, or a task is in none, or in several without an assignment.
    """
    _check_origin(config)
    return with_listed_groups(config, config.data.target_columns)


def grouped(
    config: TrainChempropConfig, groups: list[list[str]], assignment: dict[str, int]
) -> TrainChempropConfig:
    """Return the configuration as if these groups had been given by hand."""
    measured_no_more = config.task_affinity.model_copy(update={"enabled": False})
    update = {"groups": groups, "group_assignment": assignment, "task_affinity": measured_no_more}
    return config.model_copy(update=update)


def _check_origin(config: TrainChempropConfig) -> None:
    given, measured = config.groups is not None, config.task_affinity.enabled
    if given and measured:
        raise InputError(
            "groups",
            expected="none where task_affinity.enabled, which makes them",
            found="both",
            hint="Leave groups out, or --task-affinity.enabled false.",
        )
    if config.sharing == "separate" and not given and not measured:
        raise InputError(
            "sharing",
            expected="groups or task_affinity.enabled with 'separate', a model for each group",
            found="neither",
        )
    tasks = len(config.data.target_columns)
    n_groups = config.task_affinity.n_groups
    if measured and tasks and n_groups != "auto" and n_groups > tasks:
        raise InputError(
            "task_affinity.n_groups",
            expected=f"1 to {tasks}, the number of tasks, or auto",
            found=str(n_groups),
        )
