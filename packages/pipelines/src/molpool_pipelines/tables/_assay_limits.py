"""Floors and ceilings of the assays of a table: given or found, as bounds, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import FloatArray, InputError, did_you_mean, from_scale, listed, to_scale

from molpool_pipelines.tables._molecules import MoleculeTable
from molpool_pipelines.tables._table_config import TaskType

if TYPE_CHECKING:
    from multitask_models import AssayLimits, Labels

KEY = "limits"


def assay_limits(
    asked: Sequence[str], table: MoleculeTable, kinds: Sequence[TaskType]
) -> AssayLimits:
    """Return the limits of the assays of a table, on the scale on which its tasks are learnt.

    Parameters
    ----------
    asked : sequence of str
        ``TASK=FLOOR:CEILING``, either of which may be left out, in the table's units; tasks that
        are not named have what ``auto`` (found in their labels) or ``none`` says.
    table : MoleculeTable
        N rows of T tasks, none of them tested.
    kinds : sequence of {"regression", "classification"}, length T
        What the tasks are.

    Raises
    ------
    InputError
        If a task is not there or has classes, or its limits are no numbers in order.
    """
    from multitask_models import AssayLimits

    labels = _labels(table, kinds)
    found = AssayLimits.of(None if "none" in asked else "auto", labels)
    bounds = found.bounds
    for text in asked:
        if text not in ("auto", "none"):
            task, own = _given(text, table, kinds)
            bounds[task] = own
    return AssayLimits.given(bounds, labels)


def _labels(table: MoleculeTable, kinds: Sequence[TaskType]) -> Labels:
    from multitask_models import Labels

    return Labels.checked(table.targets, table.censoring, None, list(kinds))


def _given(text: str, table: MoleculeTable, kinds: Sequence[TaskType]) -> tuple[int, FloatArray]:
    """Return the task that a text names, and its floor and ceiling on the learnt scale."""
    name, _, numbers = text.rpartition("=")
    names = list(table.task_names)
    if name not in names:
        hint = did_you_mean(name, names)
        raise InputError(KEY, expected=f"one of the tasks {listed(names)}", found=text, hint=hint)
    task = names.index(name)
    if kinds[task] == "classification":
        raise InputError(KEY, expected="tasks with values", found=f"{text}: classes")
    low, _, high = numbers.partition(":")
    try:
        said = np.array([[float(low or "-inf")], [float(high or "inf")]])
    except ValueError:
        raise InputError(KEY, expected=f"{name}=FLOOR:CEILING", found=text) from None
    if not said[0, 0] < said[1, 0]:
        raise InputError(KEY, expected="a floor below the ceiling", found=text)
    scale = table.of_scales[task]
    learnt = to_scale(said, [scale])
    if np.isnan(learnt[np.isfinite(said)]).any():
        raise InputError(
            KEY, expected=f"limits that have a {scale}, as {name} is learnt", found=text
        )
    return task, np.where(np.isfinite(said), learnt, said)[:, 0]


def as_bounds(
    table: MoleculeTable, kinds: Sequence[TaskType], limits: AssayLimits
) -> MoleculeTable:
    """Return a table whose labels at or beyond limits are bounds; the same where there are none."""
    if not limits.any.any():
        return table
    labels = limits.censor(_labels(table, kinds))
    return replace(table, targets=labels.values, censoring=labels.signs)


def limits_in_words(limits: AssayLimits, table: MoleculeTable, kinds: Sequence[TaskType]) -> str:
    """Return the limits and the share of labels that stand there, in the table's units; "" if none.

    Parameters
    ----------
    limits : AssayLimits
        Of its T tasks.
    table : MoleculeTable
        N rows.
    kinds : sequence of {"regression", "classification"}, length T
        What the tasks are.
    """
    labels, scales = _labels(table, kinds), table.of_scales
    floor, ceiling = from_scale(np.stack([limits.floor, limits.ceiling]), scales)
    return replace(limits, floor=floor, ceiling=ceiling).describe(
        replace(labels, values=from_scale(labels.values, scales)), table.task_names
    )
