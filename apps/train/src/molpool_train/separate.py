"""A model for each group of tasks: what it is trained on, and how groups together predict all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from chemprop_multitask import ChempropModel, TaskwiseModel
from chemprop_multitask.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from chemprop_multitask.tasks import resolve_groups
from molpool_common.holdout import SplitTables
from molpool_common.molecules import MoleculeTable

from molpool_train.config import TrainChempropConfig
from molpool_train.inputs import Inputs, TaskType

if TYPE_CHECKING:
    from molpool_train.trainees import Trainee


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


@dataclass(frozen=True)
class Whole:
    """What predicts all tasks: a model, or the models of one member's groups.

    Parameters
    ----------
    fold : int
        The fold that it is of, from 0.
    model : ChempropModel or TaskwiseModel
        Of all tasks.
    """

    fold: int
    model: ChempropModel | TaskwiseModel


def separate_groups(config: TrainChempropConfig, task_names: Sequence[str]) -> list[TaskGroup]:
    """Return the groups that have models of their own; none where all tasks share one.

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


def wholes(trainees: Sequence[Trainee]) -> list[Whole]:
    """Return what predicts all tasks, one for each member, in their order."""
    of_member: dict[int, list[Trainee]] = {}
    for trainee in trainees:
        number = trainee.member.number if trainee.member else 0
        of_member.setdefault(number, []).append(trainee)
    return [
        Whole(
            parts[0].fold,
            parts[0].model
            if parts[0].group is None
            else TaskwiseModel([part.model for part in parts]),
        )
        for parts in of_member.values()
    ]


def tables_of(tables: SplitTables, group: TaskGroup) -> SplitTables:
    """Return the columns of a group's tasks and the training and validation rows that have any."""
    return replace(tables, train=_part(tables.train, group), val=_part(tables.val, group))


def _part(table: MoleculeTable, group: TaskGroup) -> MoleculeTable:
    columns = list(group.columns)
    own = replace(
        table,
        task_names=tuple(group.names(table.task_names)),
        targets=table.targets[:, columns],
        censoring=None if table.censoring is None else table.censoring[:, columns],
    )
    return own.take(np.flatnonzero(np.isfinite(own.targets).any(axis=1)))


def build_model(
    config: TrainChempropConfig, inputs: Inputs, group: TaskGroup | None, seed: int
) -> ChempropModel:
    """Return an untrained model of all tasks or of a group.

    Raises
    ------
    ChempropError
        If architecture, loss, groups or foundation do not fit.
    """
    names, kinds = inputs.table.task_names, inputs.task_types
    if group is None:
        return ChempropModel.from_config(config, task_names=names, task_types=kinds, seed=seed)
    own = [kinds[t] for t in group.columns]
    return ChempropModel.from_config(
        _config_of(config, group.names(names), own),
        task_names=group.names(names),
        task_types=own,
        serves={names[t]: t for t in group.served},
        seed=seed,
    )


def _config_of(
    config: TrainChempropConfig, tasks: list[str], kinds: list[TaskType]
) -> TrainChempropConfig:
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
