"""Each task's mean and standard deviation, and the check of what is scaled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chemprop_multitask.data import MoleculeData
from chemprop_multitask.errors import ChempropError
from chemprop_multitask.tasks import TaskType


def label_scale(
    targets: NDArray[np.float64], task_names: Sequence[str], kinds: Sequence[TaskType]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and scale [T] of each regression task's labels; 0 and 1 for classes.

    A task whose labels are all equal has scale 1. A bound counts as its value.

    Raises
    ------
    ChempropError
        If a task has no label.
    """
    labels = np.isfinite(targets).sum(axis=0)
    if (labels == 0).any():
        name = task_names[int(np.argmin(labels))]
        raise ChempropError(f"task {name!r}: expected training labels; found none")
    mean = np.nanmean(targets, axis=0)
    scale = np.nanstd(targets, axis=0)
    # A constant task is already as close to zero as it gets.
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1), scale, 1.0)
    is_class = np.array([kind == "classification" for kind in kinds])
    return np.where(is_class, 0.0, mean), np.where(is_class, 1.0, scale)


def check_labels(data: MoleculeData, task_names: Sequence[str], kinds: Sequence[TaskType]) -> None:
    """Stop at labels that are not of these tasks.

    Raises
    ------
    ChempropError
        If the data have other tasks or no targets, a class is not 0 or 1, or a class is censored.
    """
    if data.targets is None or data.task_names != tuple(task_names):
        raise ChempropError(
            f"data: expected targets for {list(task_names)}; "
            f"found {list(data.task_names) if data.targets is not None else 'none'}"
        )
    is_class = np.array([kind == "classification" for kind in kinds])
    bad = np.argwhere(np.isfinite(data.targets) & ~np.isin(data.targets, (0.0, 1.0)) & is_class)
    if len(bad):
        row, task = bad[0]
        raise ChempropError(
            f"task {task_names[task]!r}: expected classes 0 and 1; "
            f"found {data.targets[row, task]:g} in row {row + 1}"
        )
    if data.censoring is not None:
        bad = np.argwhere((data.censoring != 0) & is_class)
        if len(bad):
            row, task = bad[0]
            raise ChempropError(
                f"task {task_names[task]!r}: expected classes without < and >; "
                f"found one in row {row + 1}"
            )
