"""Molecules that were measured more than once, and how far their values lie apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from molpool_common import MoleculeTable

from molpool_pipelines.tables.duplicates import Conflict, DuplicateReport, find_duplicates
from molpool_pipelines.tables.profile.tasks import TaskProfile


@dataclass(frozen=True)
class TaskConflicts:
    """Conflicts of one task.

    Parameters
    ----------
    name : str
        The task.
    conflicts : int
        Molecules whose labels differ.
    median_spread, largest_spread : float
        Largest less smallest label of such a molecule.
    relative : float or None
        Median spread in standard deviations of the task.
    """

    name: str
    conflicts: int
    median_spread: float
    largest_spread: float
    relative: float | None


@dataclass(frozen=True)
class RepeatProfile:
    """Repeats within a quality, and over all rows.

    Parameters
    ----------
    within : DuplicateReport
        What ``--duplicates`` of training would compare.
    across : DuplicateReport
        The same with qualities and sources put together.
    by_task : list of TaskConflicts
        Tasks with conflicts, most of them first.
    worst : list of (Conflict, float)
        Conflicts with the largest spread in standard deviations of their task, largest first.
    """

    within: DuplicateReport
    across: DuplicateReport
    by_task: list[TaskConflicts]
    worst: list[tuple[Conflict, float]]


def profile_repeats(
    table: MoleculeTable, tasks: list[TaskProfile], n_worst: int = 20
) -> RepeatProfile:
    """Compare repeated labels within each quality, and over all rows."""
    within = find_duplicates(table)
    one_tier = replace(table, quality=None, hold_out=np.ones(len(table), dtype=np.bool_))
    across = find_duplicates(one_tier)
    relative = [(c, c.spread / (tasks[c.task].sd or np.inf)) for c in within.conflicts]
    relative.sort(key=lambda pair: -pair[1])
    return RepeatProfile(within, across, _by_task(within, tasks), relative[:n_worst])


def _by_task(report: DuplicateReport, tasks: list[TaskProfile]) -> list[TaskConflicts]:
    spreads: dict[int, list[float]] = {}
    for conflict in report.conflicts:
        spreads.setdefault(conflict.task, []).append(conflict.spread)
    rows = []
    for task, values in spreads.items():
        median, sd = float(np.median(values)), tasks[task].sd
        rows.append(
            TaskConflicts(
                tasks[task].name, len(values), median, max(values), median / sd if sd else None
            )
        )
    return sorted(rows, key=lambda row: -row.conflicts)
