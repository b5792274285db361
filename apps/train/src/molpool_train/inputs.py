"""The table of a run, checked and split before anything is written or anything heavy imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from molpool_common.demo import DEMO_NOTICE
from molpool_common.duplicates import merge_duplicates
from molpool_common.errors import InputError, did_you_mean
from molpool_common.holdout import SplitTables, fold_tables, split_table
from molpool_common.modifiers import describe_signs
from molpool_common.molecules import DEMO, MoleculeTable, load_molecules
from numpy.typing import NDArray

from molpool_train.config import TrainChempropConfig
from molpool_train.unseen import Unseen, read_unseen

if TYPE_CHECKING:
    from chemprop_multitask import GraphStore

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
    folds : list of SplitTables
        What each fold of an ensemble trains and validates on; `tables` alone for a single fold.
    task_types : tuple of {"regression", "classification"}
        Kind of each task.
    notes : list of str
        What the user should know before trusting the result.
    unseen : Unseen or None
        Other molecules, to be predicted after training.
    graphs : GraphStore or None
        Featurised molecules, once there are such.
    """

    table: MoleculeTable
    tables: SplitTables
    folds: list[SplitTables]
    task_types: tuple[TaskType, ...]
    notes: list[str]
    unseen: Unseen | None = None
    graphs: GraphStore | None = None


def read_inputs(config: TrainChempropConfig) -> Inputs:
    """Read, check and split the tables.

    Raises
    ------
    InputError
        If anything is wrong in them.
    """
    unseen = read_unseen(config)  # the smaller one: what is wrong with it is said first
    read = _load(config)
    table = merge_duplicates(read, config.duplicates)
    task_types = _task_types(config, table)
    tables = split_table(table, config.data, config.seed)
    folds = fold_tables(table, tables, config.data, config.ensemble.n_folds, config.seed)
    notes = _notes(config, table, tables)
    if len(table) < len(read):
        notes.append(
            f"{len(read)} rows merged into {len(table)} by the {config.duplicates} of each "
            "molecule's repeats; stereoisomers count as one molecule."
        )
    if unseen is not None and unseen.note:
        notes.append(unseen.note)
    return Inputs(table, tables, folds, task_types, notes, unseen)


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
    for name in config.task_types:
        if name not in table.task_names:
            raise InputError(
                "task_types",
                expected="tasks of data.target_columns",
                found=repr(name),
                hint=did_you_mean(name, table.task_names),
            )
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


def _kind(config: TrainChempropConfig, name: str, has_other: bool) -> TaskType:
    if name in config.task_types:
        return config.task_types[name]
    if config.task_type != "auto":
        return config.task_type
    return "regression" if has_other else "classification"


def _refuse_cells(table: MoleculeTable, bad: NDArray[np.bool_], expected: str) -> None:
    if bad.any():
        row, task = np.argwhere(bad)[0]
        raise InputError(
            f"task {table.task_names[task]!r}",
            expected=expected,
            found=f"{table.targets[row, task]:g} in row {table.origin['row'][int(row)]}",
            where=table.origin["source"][int(row)],
        )


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
    if table.censoring is not None and (bounds := _bounds(table)):
        notes.append(
            f"Labels that are bounds: {bounds}. They are trained as bounds and left out of all "
            "metrics, which are of exact labels only."
        )
    return notes


def _bounds(table: MoleculeTable) -> str:
    assert table.censoring is not None
    return describe_signs(table.targets, table.censoring, table.task_names)
