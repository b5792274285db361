"""A model for each group of tasks: what it trains on, and how groups together predict all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chemprop_multitask import ChempropModel, SeparateModels, TaskGroup

from molpool_pipelines.tables import SplitTables

if TYPE_CHECKING:
    from molpool_pipelines.fitting.trainees import Trainee


@dataclass(frozen=True)
class Whole:
    """What predicts all tasks: a model, or the models of one member's groups.

    Parameters
    ----------
    fold : int
        The fold that it is of, from 0.
    model : ChempropModel or SeparateModels
        Of all tasks.
    """

    fold: int
    model: ChempropModel | SeparateModels


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
            else SeparateModels([part.model for part in parts]),
        )
        for parts in of_member.values()
    ]


def tables_of(tables: SplitTables, group: TaskGroup) -> SplitTables:
    """Return the columns of a group's tasks and the training and validation rows that have any."""
    return replace(
        tables,
        train=tables.train.of_tasks(group.columns),
        val=tables.val.of_tasks(group.columns),
    )
