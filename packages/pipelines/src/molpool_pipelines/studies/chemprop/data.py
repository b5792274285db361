"""The rows of a study: all but the outer test side, divided into inner folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from molpool_common import InputError, kfold, listed
from numpy.typing import NDArray

from molpool_pipelines.demo import DEMO_NOTICE
from molpool_pipelines.studies.chemprop.config import HPOChempropConfig
from molpool_pipelines.tables import (
    DEMO,
    DataConfig,
    MoleculeTable,
    TaskType,
    find_task_types,
    load_molecules,
    merge_duplicates,
    split_table,
)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class InnerFold:
    """Rows to train on and rows to score, both without the outer test.

    Parameters
    ----------
    train, val : MoleculeTable
        Disjoint in molecules; `val` holds rows of sources with ``hold_out`` only.
    columns : tuple of int
        The tasks, by column of all, with at least two labels in `train`; no other is trained here,
        and the tables have no other.
    """

    train: MoleculeTable
    val: MoleculeTable
    columns: tuple[int, ...]


@dataclass(frozen=True)
class StudyData:
    """What a study sees.

    Parameters
    ----------
    rest : MoleculeTable
        All rows but those of molecules of the outer test side.
    folds : list of InnerFold
        Each validates rows of its own.
    task_types : tuple of {"regression", "classification"}
        Kind of each task.
    n_test : int
        Rows of the outer test side, of which nothing else is kept.
    notes : list of str
        What the user should know.
    """

    rest: MoleculeTable
    folds: list[InnerFold]
    task_types: tuple[TaskType, ...]
    n_test: int
    notes: list[str]

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the T tasks."""
        return self.rest.task_names


def read_study_data(config: HPOChempropConfig, *, needs_quality: bool = False) -> StudyData:
    """Read and check the table, keep the outer test out, and make the inner folds.

    Parameters
    ----------
    config : HPOChempropConfig
        Its table, split and ``study`` section.
    needs_quality : bool
        Whether rows must have quality labels; otherwise they have where all do.

    Raises
    ------
    InputError
        If anything is wrong with table, split or folds.
    """
    study = config.study
    read = _load(config, needs_quality=needs_quality or config.joint_sampling.needs_quality)
    stored = _stored_folds(config, read) if study.fold_type == "stored" else None
    table = merge_duplicates(read, config.duplicates)
    kinds = find_task_types(config, table)
    outer = split_table(table, config.data, config.seed)
    tested = set(outer.test.groups)
    rest = table.take(_where(g not in tested for g in table.groups))
    seed = study.seed if study.seed is not None else config.seed
    folds = [_fold(rest, train, val) for train, val in _parts(config, rest, stored, seed)]
    notes = [DEMO_NOTICE] if _is_demo(config.data) else []
    notes += _fold_notes(rest.task_names, folds)
    return StudyData(rest, folds, kinds, len(outer.test), notes)


def _load(config: HPOChempropConfig, *, needs_quality: bool) -> MoleculeTable:
    data = _with_times(config)
    curriculum = config.joint_sampling.curriculum
    column = curriculum.quality_col
    try:
        return load_molecules(
            data,
            config.data_path,
            quality_column=column,
            qualities=curriculum.qualities,
            on_bad_smiles=config.on_bad_smiles,
        )
    except InputError as error:
        about_quality = (f"column {column!r}", "joint_sampling.curriculum.quality_col")
        if needs_quality or error.parameter not in about_quality:
            raise
    # No curriculum is tried then, which is no fault of the table.
    return load_molecules(data, config.data_path, on_bad_smiles=config.on_bad_smiles)


def _with_times(config: HPOChempropConfig) -> DataConfig:
    """Return the data section, which brings times where the folds want them and not the split."""
    if config.study.fold_type != "time" or config.data.split_type == "time":
        return config.data
    if config.data.time_column is None:
        raise InputError(
            "data.time_column", expected="a column for study.fold_type time", found="none"
        )
    return config.data.model_copy(update={"split_type": "time"})


def _stored_folds(config: HPOChempropConfig, table: MoleculeTable) -> dict[str, str]:
    """Return the fold of each molecule that may be held out, by its group."""
    column = config.study.fold_column
    # Read as times are: raw values, row by row, of sources that may be held out.
    as_times = {"split_type": "time", "time_column": column}
    try:
        read = load_molecules(
            config.data.model_copy(update=as_times),
            config.data_path,
            on_bad_smiles=config.on_bad_smiles,
        )
    except InputError as error:
        key = "study.fold_column" if error.parameter == "data.time_column" else error.parameter
        raise InputError(
            key, expected=error.expected, found=error.found, where=error.where, hint=error.hint
        ) from None
    assert read.times is not None
    rows: list[int] = np.flatnonzero(table.hold_out).tolist()
    missing = [i for i in rows if read.times[i] is None or str(read.times[i]).strip() == ""]
    if missing:
        raise InputError(
            "study.fold_column",
            expected=f"a fold in {column!r} of each row",
            found=f"none in {len(missing)} rows: {listed(_places(table, missing))}",
        )
    folds: dict[str, str] = {}
    for i in rows:
        if folds.setdefault(table.groups[i], str(read.times[i])) != str(read.times[i]):
            raise InputError(
                "study.fold_column",
                expected="all rows of a molecule in one fold",
                found=f"folds {folds[table.groups[i]]!r} and {str(read.times[i])!r} of "
                f"{table.smiles[i]!r} ({_places(table, [i])[0]})",
            )
    return folds


def _places(table: MoleculeTable, rows: list[int]) -> list[str]:
    origin = table.origin
    return [f"row {origin['row'][i]} of {origin['source'][i]}" for i in rows]


def _parts(
    config: HPOChempropConfig, rest: MoleculeTable, stored: dict[str, str] | None, seed: int
) -> Iterator[tuple[Rows, Rows]]:
    """Yield rows to train on and to validate on, of all rows that are not tested."""
    rows, extra = np.flatnonzero(rest.hold_out), np.flatnonzero(~rest.hold_out)
    held = rest.take(rows)
    for train, val in _divided(config, held, stored, seed):
        unseen = {held.groups[i] for i in val}
        kept = extra[_where(rest.groups[i] not in unseen for i in extra)]
        yield np.concatenate([rows[train], kept]), rows[val]


def _divided(
    config: HPOChempropConfig, held: MoleculeTable, stored: dict[str, str] | None, seed: int
) -> list[tuple[Rows, Rows]]:
    study = config.study
    if stored is None:
        return _made(study.fold_type, study.n_folds, held, seed)
    names = np.array([stored[group] for group in held.groups])
    distinct = np.unique(names)
    if len(distinct) < 2:
        raise InputError(
            "study.fold_column",
            expected="two folds or more outside the test side",
            found=f"{len(distinct)}: {listed(distinct.tolist())}",
        )
    return [(np.flatnonzero(names != name), np.flatnonzero(names == name)) for name in distinct]


def _made(method: str, n_folds: int, held: MoleculeTable, seed: int) -> list[tuple[Rows, Rows]]:
    try:
        folds = kfold(
            method,
            n_folds,
            groups=held.groups,
            val_ratio=0,
            smiles=held.smiles,
            times=held.times if method == "time" else None,
            seed=seed,
        )
    except InputError as error:
        keys = {"k": "study.n_folds", "times": "data.time_column"}
        raise InputError(
            keys.get(error.parameter, error.parameter),
            expected=error.expected,
            found=error.found,
            where=error.where,
            hint=error.hint,
        ) from None
    return [(fold.train, fold.test) for fold in folds]


def _fold(rest: MoleculeTable, train: Rows, val: Rows) -> InnerFold:
    labels = np.isfinite(rest.targets[train]).sum(axis=0)
    columns = tuple(np.flatnonzero(labels >= 2).tolist())
    if not columns:
        raise InputError(
            "study.n_folds",
            expected="a task with two training labels in every fold",
            found="a fold without one",
        )
    # Rows without a label of theirs are nothing to learn from or to score.
    return InnerFold(rest.take(train).of_tasks(columns), rest.take(val).of_tasks(columns), columns)


def _fold_notes(tasks: tuple[str, ...], folds: list[InnerFold]) -> list[str]:
    sizes = ", ".join(f"{len(fold.train)} + {len(fold.val)}" for fold in folds)
    notes = [f"{len(folds)} inner folds of training + validation rows: {sizes}."]
    for number, fold in enumerate(folds, start=1):
        out = [name for t, name in enumerate(tasks) if t not in fold.columns]
        if out:
            notes.append(
                f"Fold {number} neither trains nor scores {listed(out)}: fewer than two training "
                "labels."
            )
    return notes


def _is_demo(data: DataConfig) -> bool:
    return data.dataset == DEMO or any(source.dataset == DEMO for source in data.sources)


def _where(chosen: Iterator[bool]) -> Rows:
    return np.flatnonzero(np.fromiter(chosen, dtype=bool))
