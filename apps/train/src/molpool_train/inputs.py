"""The table of a run, checked and split before anything is written or anything heavy imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from molpool_common.demo import DEMO_NOTICE
from molpool_common.duplicates import merge_duplicates
from molpool_common.errors import InputError
from molpool_common.holdout import SplitTables, split_table
from molpool_common.molecules import DEMO, MoleculeTable, load_molecules

from molpool_train.config import TrainChempropConfig

TaskType = Literal["regression", "classification"]


@dataclass(frozen=True)
class Inputs:
    """A checked table and its sides.

    Parameters
    ----------
    table : MoleculeTable
        All rows.
    tables : SplitTables
        Its sides.
    task_types : tuple of {"regression", "classification"}
        Kind of each task.
    notes : list of str
        What the user should know before trusting the result.
    """

    table: MoleculeTable
    tables: SplitTables
    task_types: tuple[TaskType, ...]
    notes: list[str]


def read_inputs(config: TrainChempropConfig) -> Inputs:
    """Read, check and split the table.

    Raises
    ------
    InputError
        If anything is wrong in it.
    """
    read = _load(config)
    table = merge_duplicates(read, config.duplicates)
    tables = split_table(table, config.data, config.seed)
    notes = _notes(config, table, tables)
    if len(table) < len(read):
        notes.append(
            f"{len(read)} rows merged into {len(table)} by the {config.duplicates} of each "
            "molecule's repeats; stereoisomers count as one molecule."
        )
    return Inputs(table, tables, _task_types(config, table), notes)


def _load(config: TrainChempropConfig) -> MoleculeTable:
    joint = config.joint_sampling
    wants_quality = joint.enabled and joint.curriculum.enabled
    return load_molecules(
        config.data,
        config.data_path,
        quality_column=joint.curriculum.quality_col if wants_quality else None,
        qualities=joint.curriculum.qualities,
        on_bad_smiles=config.on_bad_smiles,
    )


def _task_types(config: TrainChempropConfig, table: MoleculeTable) -> tuple[TaskType, ...]:
    other = np.isfinite(table.targets) & ~np.isin(table.targets, (0.0, 1.0))
    if config.task_type == "classification" and other.any():
        row, task = np.argwhere(other)[0]
        raise InputError(
            f"task {table.task_names[task]!r}",
            expected="classes 0 and 1 for task_type classification",
            found=f"{table.targets[row, task]:g} in row {table.origin['row'][int(row)]}",
            where=table.origin["source"][int(row)],
        )
    if config.task_type != "auto":
        return (config.task_type,) * len(table.task_names)
    has_other = np.atleast_1d(other.any(axis=0)).tolist()
    return tuple("regression" if o else "classification" for o in has_other)


def _notes(config: TrainChempropConfig, table: MoleculeTable, tables: SplitTables) -> list[str]:
    notes = []
    if config.data.dataset == DEMO or any(s.dataset == DEMO for s in config.data.sources):
        notes.append(DEMO_NOTICE)
    if len(table.dropped):
        notes.append(
            f"{len(table.dropped)} rows left out: their SMILES do not parse (dropped_rows.csv)."
        )
    if tables.n_left_out:
        notes.append(
            f"{tables.n_left_out} rows of training-only sources left out: their molecules are "
            "held out."
        )
    return notes
