"""The measurement itself, and the groups that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from task_affinity import (
    AffinityResult,
    Grouping,
    GroupingStability,
    TaskAffinityComputer,
    TaskAffinityConfig,
    grouping_stability,
    select_groups,
)

from molpool_pipelines.affinity.inputs import Inputs
from molpool_pipelines.affinity.pairs import Pair, ranked
from molpool_pipelines.affinity.screen import AffinityScreen, printing_matrix


@dataclass(frozen=True)
class Groups:
    """Groups of tasks, and how sure they are.

    Parameters
    ----------
    grouping : Grouping
        By all batches.
    stability : GroupingStability or None
        By resamples of the batches; None where there were fewer than two or none were asked for.
    """

    grouping: Grouping
    stability: GroupingStability | None


def measure(config: TaskAffinityConfig, inputs: Inputs, console: Console) -> AffinityResult:
    """Train a Chemprop model of default size for a little while, and measure."""
    names = inputs.task_names
    computer = TaskAffinityComputer(config)
    screen = AffinityScreen(console, names, symmetric=is_symmetric(config))
    with printing_matrix(console, len(names)), screen.showing():
        computer.compute_from_dataframe(
            inputs.frame, inputs.smiles_column, list(names), on_step=screen
        )
    return computer.result_


def group(result: AffinityResult, console: Console) -> Groups:
    """Group the tasks, and again by resamples of the batches.

    Raises
    ------
    TaskAffinityError
        If a pair of tasks has no affinity, or the method cannot take the matrix.
    """
    config, names = result.config, result.task_names
    grouping = select_groups(result.matrix, names, config)
    if config.n_bootstrap == 0 or len(result.block_sums) < 2 or len(names) < 2:
        return Groups(grouping, None)
    with console.status(f"Grouping {config.n_bootstrap} resamples of the batches"):
        stability = grouping_stability(
            result.block_sums,
            result.block_counts,
            names,
            config,
            normalize=config.affinity_type == "dot_product" and not config.normalize_gradients,
        )
    return Groups(grouping, stability)


def is_symmetric(config: TaskAffinityConfig) -> bool:
    """Return whether both directions of a pair have one affinity."""
    return config.affinity_type != "lookahead"


def pairs_of(result: AffinityResult, limit: int | None = None) -> list[Pair]:
    """Return the pairs of a result by affinity, or this many from each end."""
    return ranked(
        result.task_names,
        result.matrix,
        result.standard_errors,
        result.counts,
        symmetric=is_symmetric(result.config),
        limit=limit,
    )


def cohesion(groups: Groups) -> list[float]:
    """Return for each group the mean share of resamples in which two of its tasks stood together.

    NaN for a group of one task, or without resamples.
    """
    stability = groups.stability
    if stability is None:
        return [float("nan")] * groups.grouping.n_groups
    place = {name: i for i, name in enumerate(stability.task_names)}
    shares = []
    for tasks in groups.grouping.groups:
        at = [place[task] for task in tasks]
        within = stability.co_assignment[np.ix_(at, at)][np.triu_indices(len(at), 1)]
        shares.append(float(within.mean()) if within.size else float("nan"))
    return shares
