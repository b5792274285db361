"""What kind each task of a table is: said by the configuration, or seen in all of its labels."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from molpool_common import BoolArray, InputError, MoleculeTable, did_you_mean

from molpool_pipelines.tables._table_config import TaskType


class KindsConfig(Protocol):
    """What a configuration says of the kinds of its tasks."""

    task_type: Literal["auto", "regression", "classification"]
    task_types: dict[str, TaskType]


def find_task_types(config: KindsConfig, table: MoleculeTable) -> tuple[TaskType, ...]:
    """Return the kind of each task of a table.

    Parameters
    ----------
    config : TableConfig or other
        ``task_types`` by name, before ``task_type`` for all.
    table : MoleculeTable
        With T tasks; one whose labels are all 0 or 1 is classification, where nothing is said.

    Raises
    ------
    InputError
        If a task is unknown, or one of classes has another value or a bound, naming the row.
    """
    for name in config.task_types:
        if name not in table.task_names:
            raise InputError(
                "task_types",
                expected="tasks of data.target_columns",
                found=repr(name),
                hint=did_you_mean(name, table.task_names),
            )
    # Labels that are bounds count here: "< 1" of a class makes no sense either.
    other = np.isfinite(table.targets) & ~np.isin(table.targets, (0.0, 1.0))
    kinds = tuple(
        _kind(config, name, bool(other[:, t].any())) for t, name in enumerate(table.task_names)
    )
    is_class = np.array([kind == "classification" for kind in kinds])
    _refuse_cells(table, other & is_class, "classes 0 and 1 for task_type classification")
    if table.censoring is not None:
        bounds = (table.censoring != 0) & np.isfinite(table.targets)
        _refuse_cells(table, bounds & is_class, "classes without a modifier < or >")
    return kinds


def _kind(config: KindsConfig, name: str, has_other: bool) -> TaskType:
    if name in config.task_types:
        return config.task_types[name]
    if config.task_type != "auto":
        return config.task_type
    return "regression" if has_other else "classification"


def _refuse_cells(table: MoleculeTable, bad: BoolArray, expected: str) -> None:
    if bad.any():
        row, task = np.argwhere(bad)[0]
        raise InputError(
            f"task {table.task_names[task]!r}",
            expected=expected,
            found=f"{table.targets[row, task]:g} in row {table.origin['row'][int(row)]}",
            where=table.origin["source"][int(row)],
        )
