"""The table of a measurement, checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from molpool_common import InputError, listed

from molpool_pipelines.affinity._config import AffinityCommandConfig
from molpool_pipelines.demo import DEMO_NOTICE
from molpool_pipelines.runs import rejected_beside, rejected_note
from molpool_pipelines.tables import (
    DEMO,
    MoleculeTable,
    TaskType,
    describe_signs,
    exact_labels,
    find_task_types,
    load_molecules,
    split_table,
)

_NO_STEPS = "No gradient steps were performed."


@dataclass(frozen=True)
class Inputs:
    """A checked table.

    Parameters
    ----------
    table : MoleculeTable
        Rows that have a label, with exact labels alone.
    task_types : tuple of {"regression", "classification"}
        Kind of each task: classes where all labels are 0 or 1.
    labels : dict of str to int
        Labels of each task.
    notes : list of str
        What the user should know before trusting the result.
    """

    table: MoleculeTable
    task_types: tuple[TaskType, ...]
    labels: dict[str, int]
    notes: list[str]
    rejected: pl.DataFrame


def read_inputs(config: AffinityCommandConfig) -> Inputs:
    """Read and check the table.

    Raises
    ------
    InputError
        If anything is wrong in it or does not fit the configuration.
    """
    _check_tasks(config)
    read = load_molecules(
        config.data,
        config.data_path,
        on_bad_smiles=config.on_bad_smiles,
        min_labels=0,
        read=config.read,
    )
    # The split of the training run, so that no test molecule helps to choose the groups.
    table = split_table(read, config.data, config.seed).train if config.rows == "train" else read
    # A bound has no gradient of the loss that the measurement differentiates.
    exact = exact_labels(table.targets, table.censoring)
    labels = dict(zip(table.task_names, np.isfinite(exact).sum(axis=0).tolist(), strict=True))
    _check_labels(labels)
    labelled = np.isfinite(exact).any(axis=1)
    _check_batch(config, int(labelled.sum()))
    # Of all rows, as in training: those to measure may happen to hold 0 and 1 alone.
    kinds = find_task_types(config, read)
    measured = replace(table, targets=exact, censoring=None).take(np.flatnonzero(labelled))
    notes = _notes(config, read, table)
    return Inputs(measured, kinds, labels, notes, read.dropped)


def _check_tasks(config: AffinityCommandConfig) -> None:
    """Refuse numbers of groups that cannot be before minutes of reading and training."""
    n_tasks = len(config.data.target_columns)
    n_groups = config.n_groups_of(n_tasks)
    if n_tasks and n_groups != "auto" and n_groups > n_tasks:
        raise InputError(
            "n_groups",
            expected=f"1 to {n_tasks}, the number of tasks, or auto",
            found=str(config.n_groups),
        )
    if n_tasks == 1 and config.plot_dendrogram is not None:
        raise InputError("plot_dendrogram", expected="two tasks or more", found="one")


def _check_labels(labels: dict[str, int]) -> None:
    empty = [name for name, n in labels.items() if n == 0]
    if empty:
        raise InputError(
            "data.target_columns",
            expected="labels of each task, other than bounds, in the rows to measure",
            found=f"none of {listed(empty)}",
            hint=f"{_NO_STEPS} Leave them out.",
        )


def _check_batch(config: AffinityCommandConfig, n_rows: int) -> None:
    if config.batch_size_of(n_rows) > n_rows:
        raise InputError(
            "affinity_batch_size",
            expected=f"at most the {n_rows} molecules that have a label",
            found=str(config.affinity_batch_size),
            hint=f"{_NO_STEPS} Reduce affinity_batch_size.",
        )


def _notes(config: AffinityCommandConfig, read: MoleculeTable, table: MoleculeTable) -> list[str]:
    notes = list(read.notes)
    if config.data.dataset == DEMO or any(s.dataset == DEMO for s in config.data.sources):
        notes.append(DEMO_NOTICE)
    notes += rejected_note(read.dropped, rejected_beside(config.save_path).name)
    if config.rows == "train":
        notes.append(
            f"Measured on the training split of split_type {config.data.split_type},"
            f" {len(table):,} of {len(read):,} rows."
        )
    if table.censoring is not None and (
        bounds := describe_signs(table.targets, table.censoring, table.task_names)
    ):
        notes.append(f"Labels that are bounds are left out: {bounds}.")
    return notes
