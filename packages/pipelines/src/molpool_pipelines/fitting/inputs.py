"""The table of a run, checked and split before anything is written or anything heavy imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chemprop_multitask import with_listed_groups
from molpool_common import InputError

from molpool_pipelines.demo import DEMO_NOTICE
from molpool_pipelines.fitting.config import TrainChempropConfig
from molpool_pipelines.fitting.unseen import Unseen, read_unseen
from molpool_pipelines.tables import (
    DEMO,
    MoleculeTable,
    SplitTables,
    TaskType,
    describe_signs,
    find_task_types,
    fold_tables,
    load_molecules,
    merge_duplicates,
    split_table,
)

if TYPE_CHECKING:
    from chemprop_multitask import GraphStore


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
    task_types = find_task_types(config, table)
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


def with_groups(config: TrainChempropConfig) -> TrainChempropConfig:
    """Return the configuration with groups as lists, checked against the tasks.

    Parameters
    ----------
    config : TrainChempropConfig
        `groups` may name a JSON file: a list of lists of tasks, or an object with such a list as
        ``groups`` and, for overlapping groups, ``assignment``: the group, from 0, that serves a
        task. `group_assignment` of the configuration goes before that of the file.

    Raises
    ------
    InputError
        If the file is missing or holds something else, or groups are given and to be measured too,
        or are needed and neither.
    ChempropError
        If a group names an unknown task, or a task is in none, or in several without an assignment.
    """
    _check_origin(config)
    return with_listed_groups(config, config.data.target_columns)


def _check_origin(config: TrainChempropConfig) -> None:
    given, measured = config.groups is not None, config.task_affinity.enabled
    if given and measured:
        raise InputError(
            "groups",
            expected="none where task_affinity.enabled, which makes them",
            found="both",
            hint="Leave groups out, or --task-affinity.enabled false.",
        )
    if config.sharing == "separate" and not given and not measured:
        raise InputError(
            "sharing",
            expected="groups or task_affinity.enabled with 'separate', a model for each group",
            found="neither",
        )
    tasks = len(config.data.target_columns)
    n_groups = config.task_affinity.n_groups
    if measured and tasks and n_groups != "auto" and n_groups > tasks:
        raise InputError(
            "task_affinity.n_groups",
            expected=f"1 to {tasks}, the number of tasks, or auto",
            found=str(n_groups),
        )


def _load(config: TrainChempropConfig) -> MoleculeTable:
    joint = config.joint_sampling
    return load_molecules(
        config.data,
        config.data_path,
        quality_column=joint.curriculum.quality_col if joint.needs_quality else None,
        qualities=joint.curriculum.qualities,
        on_bad_smiles=config.on_bad_smiles,
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
