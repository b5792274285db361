"""Whether data and configuration speak of the same tasks."""

from __future__ import annotations

import numpy as np
from molpool_common import did_you_mean, listed

from mil_attn.config import MILConfig
from mil_attn.data.bag_data import BagData
from mil_attn.errors import MILError


def resolve_tasks(config: MILConfig, data: BagData) -> tuple[str, ...]:
    """Return the names of the tasks: the configuration's, or else the data's.

    Raises
    ------
    MILError
        If the data have no labels, or their tasks are others or of another kind.
    """
    if data.labels is None or not data.task_names:
        raise MILError("labels: expected a column for each task in the training data; found none.")
    if data.task_kind != config.task_kind:
        raise MILError(
            f"task_kind: expected that of the data, {data.task_kind!r}; found {config.task_kind!r}."
        )
    if config.tasks and tuple(config.tasks) != tuple(data.task_names):
        raise MILError(
            f"tasks: expected those of the data, {list(data.task_names)}; found {config.tasks}."
        )
    return tuple(data.task_names)


def check_aux(config: MILConfig, data: BagData) -> None:
    """Raise MILError unless the data have the auxiliary groups of the configuration."""
    for name, group in config.aux.items():
        if name not in data.aux:
            raise MILError(
                f"aux: expected the group {name!r} in the training data; "
                f"found {listed([repr(k) for k in data.aux]) or 'none'}. "
                + (did_you_mean(name, list(data.aux)) if data.aux else "")
            )
        if data.aux[name].shape[1] != len(group.columns):
            raise MILError(
                f"aux.{name}: expected {len(group.columns)} columns, {group.columns}; "
                f"found {data.aux[name].shape[1]} in the data."
            )


def check_labels(data: BagData, task_names: tuple[str, ...], stage: str, *, least: int = 1) -> None:
    """Raise MILError unless the data have these tasks, and labels of each."""
    if data.labels is None or tuple(data.task_names) != task_names:
        found = "none" if data.labels is None else f"{list(data.task_names)}"
        raise MILError(f"{stage} data: expected labels of {list(task_names)}; found {found}.")
    counts = (~np.isnan(data.labels)).sum(axis=0)
    for name, n in zip(task_names, counts, strict=True):
        if n < least:
            raise MILError(
                f"task {name!r}: expected a label in the {stage} data; found none "
                f"in {len(data)} bags."
            )
