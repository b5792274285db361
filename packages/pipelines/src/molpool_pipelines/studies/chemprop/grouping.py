"""Task groups of one fold: given, or measured on its training rows alone."""

from __future__ import annotations

from typing import Any

import torch
from chemprop_multitask import (
    ChempropModel,
    MoleculeData,
    cell_losses,
    shuffled_batches,
)
from molpool_common import quick_products
from task_affinity import ChempropLosses, TaskAffinityComputer, select_groups

from molpool_pipelines.studies.chemprop.config import ChempropRunConfig
from molpool_pipelines.tables import TaskType


def of_fold(
    config: ChempropRunConfig, task_names: tuple[str, ...], all_names: tuple[str, ...]
) -> ChempropRunConfig:
    """Return the configuration without tasks that a fold does not train.

    Parameters
    ----------
    config : ChempropRunConfig
        Of all tasks, its groups as lists.
    task_names, all_names : tuple of str
        Tasks of the fold and of the study.
    """
    if task_names == all_names:
        return config
    update: dict[str, Any] = {}
    if isinstance(config.groups, list):
        update |= _groups_of(config, task_names)
    weights = config.training.task_weights
    if weights is not None:
        own = {name: w for name, w in weights.items() if name in task_names}
        update["training"] = config.training.model_copy(update={"task_weights": own})
    n_groups = config.task_affinity.n_groups
    if n_groups != "auto" and n_groups > len(task_names):
        section = config.task_affinity.model_copy(update={"n_groups": len(task_names)})
        update["task_affinity"] = section
    return config.model_copy(update=update)


def _groups_of(config: ChempropRunConfig, task_names: tuple[str, ...]) -> dict[str, Any]:
    """Return given groups less other tasks, and less groups that serve none of these."""
    assert isinstance(config.groups, list)
    assignment = config.group_assignment or {}
    groups: list[list[str]] = []
    served: dict[str, int] = {}
    for g, group in enumerate(config.groups):
        own = [name for name in group if name in task_names]
        serves = [name for name in own if assignment.get(name, g) == g]
        if serves:
            served |= dict.fromkeys(serves, len(groups))
            groups.append(own)
    return {"groups": groups, "group_assignment": served}


def with_measured_groups(
    config: ChempropRunConfig, train: MoleculeData, task_types: tuple[TaskType, ...]
) -> ChempropRunConfig:
    """Return the configuration with the groups that a measurement on these rows makes.

    Parameters
    ----------
    config : ChempropRunConfig
        ``task_affinity`` says whether and how; the model measured is of its architecture.
    train : MoleculeData
        The training rows of a fold, with their T tasks.
    task_types : tuple of {"regression", "classification"}
        Kind of each.

    Raises
    ------
    TaskAffinityError
        If nothing of a task could be measured, or it cannot be grouped.
    """
    section = config.task_affinity
    names = train.task_names
    if not section.enabled or len(names) < 2:
        return config.model_copy(update={"sharing": "heads"}) if _alone(config) else config
    model = ChempropModel.from_config(
        config, task_names=names, task_types=task_types, seed=section.seed
    )
    with quick_products(), torch.random.fork_rng():
        torch.manual_seed(section.seed)
        result = TaskAffinityComputer(section).compute(
            model.module,
            shuffled_batches(model, train, section.affinity_batch_size, section.seed),
            ChempropLosses(cell_losses(model)),
            task_names=names,
            encoder_output=model.module.bn,
        )
    grouping = select_groups(result.matrix, names, section)
    update = {"groups": grouping.groups, "group_assignment": grouping.assignment}
    return config.model_copy(update=update)


def _alone(config: ChempropRunConfig) -> bool:
    return config.sharing == "separate" and config.groups is None
