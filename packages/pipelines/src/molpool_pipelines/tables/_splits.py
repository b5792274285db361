"""Split a molecule table whose sources may be for training only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import InputError, IntArray, MoleculeTable, kfold, split

from molpool_pipelines.tables._table_config import DataConfig


@dataclass(frozen=True)
class SplitTables:
    """The three splits of a table.

    Parameters
    ----------
    train, val, test : MoleculeTable
        Disjoint in molecules. `val` and `test` hold rows of sources with ``hold_out`` only.
    n_left_out : int
        Rows of training-only sources left out because their molecule is held out.
    """

    train: MoleculeTable
    val: MoleculeTable
    test: MoleculeTable
    n_left_out: int


def split_table(table: MoleculeTable, config: DataConfig, seed: int) -> SplitTables:
    """Split the rows of sources with ``hold_out``; the other sources train.

    Parameters
    ----------
    table : MoleculeTable
        All sources, stacked.
    config : DataConfig
        Split type and ratios.
    seed : int
        Seed of the split where the configuration gives none.

    Returns
    -------
    SplitTables

    Raises
    ------
    InputError
        If no source may be held out, a split stays empty that should not, or a task has fewer than
        two training labels.
    """
    rows = np.flatnonzero(table.hold_out)
    if not rows.size:
        raise InputError(
            "data.sources", expected="a source with hold_out: true", found="none of them"
        )
    held = table.take(rows)
    splits = split(
        config.split_type,
        config.split_ratios,
        groups=held.groups,
        smiles=held.smiles,
        times=held.times,
        targets=held.targets,
        seed=config.split_seed if config.split_seed is not None else seed,
    )
    train, val, test = (rows[part] for part in splits)
    if config.train_on_val:
        train, val = np.sort(np.concatenate([train, val])), val[:0]
    unseen = {table.groups[i] for i in (*val, *test)}
    extra = np.flatnonzero(~table.hold_out)
    kept = np.array([i for i in extra if table.groups[i] not in unseen], dtype=np.int64)
    tables = SplitTables(
        train=table.take(np.concatenate([train, kept])),
        val=table.take(val),
        test=table.take(test),
        n_left_out=extra.size - kept.size,
    )
    _check_training_labels(tables.train)
    return tables


def fold_tables(
    table: MoleculeTable, tables: SplitTables, config: DataConfig, n_folds: int, seed: int
) -> list[SplitTables]:
    """Divide what is not tested into folds, each of which validates once.

    Parameters
    ----------
    table : MoleculeTable
        All sources, stacked.
    tables : SplitTables
        Its split; the test split stays as it is.
    config : DataConfig
        Split type: folds keep scaffolds or clusters together as the split does. Folds of a time
        split are of random molecules, since a member trained on the earliest rows alone would be
        a weak one; its test split is later than all of them.
    n_folds : int
        One gives back `tables`.
    seed : int
        Seed of the folds where the configuration gives none.

    Returns
    -------
    list of SplitTables
        Training-only sources train in each, less the molecules that are held out there.

    Raises
    ------
    InputError
        If there are fewer molecules (scaffolds, clusters) than folds, or a fold leaves a task with
        fewer than two training labels.
    """
    if n_folds == 1:
        return [tables]
    tested = set(tables.test.groups)
    pool = np.array(
        [i for i in np.flatnonzero(table.hold_out) if table.groups[i] not in tested], dtype=np.int64
    )
    extra = np.array(
        [i for i in np.flatnonzero(~table.hold_out) if table.groups[i] not in tested],
        dtype=np.int64,
    )
    held = table.take(pool)
    folds = kfold(
        "random" if config.split_type == "time" else config.split_type,
        n_folds,
        groups=held.groups,
        val_ratio=0,
        smiles=held.smiles,
        targets=held.targets,
        seed=config.split_seed if config.split_seed is not None else seed,
    )
    return [_fold(table, tables, pool[f.train], pool[f.test], extra) for f in folds]


def _fold(
    table: MoleculeTable,
    tables: SplitTables,
    train: IntArray,
    val: IntArray,
    extra: IntArray,
) -> SplitTables:
    unseen = {table.groups[i] for i in val}
    kept = np.array([i for i in extra if table.groups[i] not in unseen], dtype=np.int64)
    fold = SplitTables(
        train=table.take(np.concatenate([train, kept])),
        val=table.take(val),
        test=tables.test,
        n_left_out=extra.size - kept.size,
    )
    _check_training_labels(fold.train)
    return fold


def _check_training_labels(train: MoleculeTable) -> None:
    labels = np.isfinite(train.targets).sum(axis=0)
    for name, n in zip(train.task_names, labels, strict=True):
        if n < 2:
            raise InputError(
                f"task {name!r}",
                expected="at least two labels in the training part",
                found="one" if n == 1 else "none",
                hint="Another split_type or split_seed, or leave the task out.",
            )
