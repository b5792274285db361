"""A model for each group of tasks: which tasks train it, which it predicts, how it is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chemprop_multitask.config import ChempropConfig, SharedChempropConfig
from chemprop_multitask.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from chemprop_multitask.model import ChempropModel
from chemprop_multitask.tasks import TaskType, resolve_groups


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


def build_model(
    config: ChempropConfig,
    task_names: Sequence[str],
    task_types: Sequence[TaskType],
    group: TaskGroup | None = None,
    *,
    seed: int,
) -> ChempropModel:
    """Return an untrained model of all tasks or of a group.

    Parameters
    ----------
    config : ChempropConfig
        Of all tasks.
    task_names : sequence of str
        All tasks.
    task_types : sequence of {"regression", "classification"}
        Their kinds.
    group : TaskGroup, optional
        The tasks that the model is of; by default all.
    seed : int
        Seed of its weights.

    Raises
    ------
    ChempropError
        If architecture, loss, groups or foundation do not fit.
    """
    if group is None:
        return ChempropModel.from_config(
            config, task_names=task_names, task_types=task_types, seed=seed
        )
    own = [task_types[t] for t in group.columns]
    return ChempropModel.from_config(
        _config_of(config, group.names(task_names), own),
        task_names=group.names(task_names),
        task_types=own,
        serves={task_names[t]: t for t in group.served},
        seed=seed,
    )


def _config_of(
    config: ChempropConfig, tasks: Sequence[str], kinds: Sequence[TaskType]
) -> ChempropConfig:
    """Return the configuration of a group's model: what is of other tasks is left out."""
    training = config.training
    changes: dict[str, Any] = {}
    if training.task_weights is not None:
        own = {name: w for name, w in training.task_weights.items() if name in tasks}
        changes["task_weights"] = own
    # In a run of both kinds a named loss is that of its own kind; a group may be of the other.
    known = {"regression": REGRESSION_LOSSES, "classification": CLASSIFICATION_LOSSES}
    if not any(training.loss in known[kind] for kind in kinds):
        changes["loss"] = "auto"
    update = {"groups": None, "group_assignment": None}
    return config.model_copy(update={**update, "training": training.model_copy(update=changes)})
