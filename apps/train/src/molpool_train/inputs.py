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
    task_type : {"regression", "classification"}
        Kind of the tasks.
    notes : list of str
        What the user should know before trusting the result.
    """

    table: MoleculeTable
    tables: SplitTables
    task_type: TaskType
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
    return Inputs(table, tables, _task_type(config, table), notes)


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


def _task_type(config: TrainChempropConfig, table: MoleculeTable) -> TaskType:
    other = np.argwhere(np.isfinite(table.targets) & ~np.isin(table.targets, (0.0, 1.0)))
    if config.task_type == "classification" and len(other):
        row, task = other[0]
        raise InputError(
            f"task {table.task_names[task]!r}",
            expected="classes 0 and 1 for task_type classification",
            found=f"{table.targets[row, task]:g} in row {table.origin['row'][int(row)]}",
            where=table.origin["source"][int(row)],
        )
    if config.task_type != "auto":
        return config.task_type
    return "regression" if len(other) else "classification"


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
