"""The rows of a study of molecules, divided into inner folds, and the score of a fold.

All rows but those of the outer test split are here; each fold's validation rows are scored by one
metric, averaged over tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from molpool_common import (
    IN_UNITS,
    LABELS,
    METRICS,
    FloatArray,
    InputError,
    IntArray,
    Metric,
    ReadConfig,
    UndefinedMetricError,
    did_you_mean,
    listed,
    mean_label,
)
from sampling_core import JointSamplingConfig

from molpool_pipelines.demo import DEMO_NOTICE
from molpool_pipelines.runs import TableRows, rejected_note
from molpool_pipelines.studies._config import StudyConfig
from molpool_pipelines.tables import (
    DEMO,
    DataConfig,
    MoleculeTable,
    OnBadSmiles,
    TaskType,
    exact_labels,
    find_task_types,
    fold_rows,
    has_names,
    load_molecules,
    merge_duplicates,
    split_table,
)


class StudyOfMolecules(Protocol):
    """What the configurations of studies of molecules share: a table, its split, a study."""

    seed: int
    data_path: str | None
    data: DataConfig
    read: ReadConfig
    on_bad_smiles: OnBadSmiles
    duplicates: Literal["error", "mean", "median", "keep"]
    task_type: Literal["auto", "regression", "classification"]
    task_types: dict[str, TaskType]
    joint_sampling: JointSamplingConfig
    study: StudyConfig


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
        All rows but those of molecules of the outer test split.
    folds : list of InnerFold
        Each validates rows of its own.
    task_types : tuple of {"regression", "classification"}
        Kind of each task.
    n_test : int
        Rows of the outer test split, of which nothing else is here.
    notes : list of str
        What the user should know.
    rows : TableRows
        Digests of the whole table.
    """

    rest: MoleculeTable
    folds: list[InnerFold]
    task_types: tuple[TaskType, ...]
    n_test: int
    notes: list[str]
    rows: TableRows

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the T tasks."""
        return self.rest.task_names


def read_study_data(config: StudyOfMolecules, *, needs_quality: bool = False) -> StudyData:
    """Read and check the table, keep the outer test out, and make the inner folds.

    Parameters
    ----------
    config : HPOChempropConfig or HPOTabularConfig
        Its table, split and ``study`` section.
    needs_quality : bool
        Whether rows must have quality labels; otherwise they have where all do.

    Raises
    ------
    InputError
        If anything is wrong with table, split or folds.
    """
    read = _load(config, needs_quality=needs_quality or config.joint_sampling.needs_quality)
    # Before merging: fold columns are of rows, and a merged row has the first one's.
    stored = _stored_folds(config, read) if config.study.fold_type == "stored" else None
    table = merge_duplicates(read, config.duplicates)
    kinds = find_task_types(config, table)
    outer = split_table(table, config.data, config.seed)
    tested = set(outer.test.units)
    # By molecule, so that no training-only source brings a test molecule back.
    rest = table.take(np.flatnonzero([unit not in tested for unit in table.units]))
    folds = [_fold(rest, train, val) for train, val in _folds(config, rest, stored)]
    notes = [*read.notes, *([DEMO_NOTICE] if _is_demo(config.data) else [])]
    notes += rejected_note(read.dropped)
    notes += _fold_notes(rest.task_names, folds)
    rows = TableRows.of_molecules(read, named=has_names(config.data))
    return StudyData(rest, folds, kinds, len(outer.test), notes, rows)


def _load(config: StudyOfMolecules, *, needs_quality: bool) -> MoleculeTable:
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
            read=config.read,
        )
    except InputError:
        if needs_quality:
            raise
    # No curriculum is tried then, which is no fault of the table; any other is found again.
    return load_molecules(
        data, config.data_path, on_bad_smiles=config.on_bad_smiles, read=config.read
    )


def _with_times(config: StudyOfMolecules) -> DataConfig:
    """Return the data section, which brings times where the folds want them and not the split."""
    if config.study.fold_type != "time" or config.data.split_type == "time":
        return config.data
    if config.data.time_column is None:
        raise InputError(
            "data.time_column", expected="a column for study.fold_type time", found="none"
        )
    return config.data.model_copy(update={"split_type": "time"})


def _stored_folds(config: StudyOfMolecules, table: MoleculeTable) -> dict[str, str]:
    """Return the fold of each molecule that may be held out, by its group."""
    column = config.study.fold_column
    # Read as times are: raw values, row by row, of sources that may be held out.
    as_times = {"split_type": "time", "time_column": column}
    try:
        read = load_molecules(
            config.data.model_copy(update=as_times),
            config.data_path,
            on_bad_smiles=config.on_bad_smiles,
            check_times=False,
            read=config.read,
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


def _folds(
    config: StudyOfMolecules, rest: MoleculeTable, stored: dict[str, str] | None
) -> list[tuple[IntArray, IntArray]]:
    """Return rows to train on and to validate on, of all rows that are not tested."""
    study = config.study
    seed = config.seed if study.seed is None else study.seed
    try:
        return fold_rows(
            rest, study.fold_type, study.n_folds, seed=seed, names=stored, config=config.data
        )
    except InputError as error:
        keys = {"k": "study.n_folds", "times": "data.time_column", "names": "study.fold_column"}
        raise InputError(
            keys.get(error.parameter, error.parameter),
            expected=error.expected,
            found=error.found,
            where=error.where,
            hint=error.hint,
        ) from None


def _fold(rest: MoleculeTable, train: IntArray, val: IntArray) -> InnerFold:
    labels = np.isfinite(rest.targets[train]).sum(axis=0)
    # Two, since one label has no variance to standardise by.
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
    for number, fold in enumerate(folds):
        out = [name for t, name in enumerate(tasks) if t not in fold.columns]
        if out:
            notes.append(
                f"Fold {number} neither trains nor scores {listed(out)}: fewer than two training "
                "labels."
            )
    return notes


def _is_demo(data: DataConfig) -> bool:
    return data.dataset == DEMO or any(source.dataset == DEMO for source in data.sources)


DEFAULTS: dict[TaskType, str] = {"regression": "ma_rae", "classification": "roc_auc"}
"""Metric by kind of task where ``study.metric`` names none."""


def choose_metric(name: str | None, task_types: Sequence[TaskType]) -> Metric:
    """Return the metric of a study.

    Parameters
    ----------
    name : str or None
        ``study.metric``; None: the default of the more frequent kind of task.
    task_types : sequence of {"regression", "classification"}
        Kind of each task.

    Raises
    ------
    InputError
        If there is no such metric, or no task that it is for.
    """
    if name is None:
        n_classes = sum(kind == "classification" for kind in task_types)
        return METRICS[
            DEFAULTS["classification" if 2 * n_classes > len(task_types) else "regression"]
        ]
    if name not in METRICS:
        raise InputError(
            "study.metric",
            expected=listed(list(METRICS)),
            found=repr(name),
            hint=did_you_mean(name, list(METRICS)),
        )
    metric = METRICS[name]
    if metric.task_type not in task_types:
        fitting = [other.name for other in METRICS.values() if other.task_type in task_types]
        raise InputError(
            "study.metric",
            expected=f"a metric of {task_types[0]}: {listed(fitting)}",
            found=f"{name!r}, of {metric.task_type}",
        )
    return metric


def label(metric: Metric, n_tasks: int) -> str:
    """Return the name of the score for readers."""
    return LABELS[metric.name] if n_tasks == 1 else f"macro {mean_label(metric.name)}"


@dataclass(frozen=True)
class _Task:
    name: str
    column: int
    rows: IntArray
    truth: FloatArray


class FoldScorer:
    """The metric on a fold's validation rows, exact labels alone, each task counting once.

    Parameters
    ----------
    metric : Metric
        Of one kind of task; tasks of the other kind are not scored.
    fold : InnerFold
        Rows of V molecules and their tasks.
    task_types : sequence of {"regression", "classification"}
        Kind of each task of the study.

    Attributes
    ----------
    left_out : dict of str to str
        Why a task of the fold is not scored whatever is predicted, by its name.
    """

    def __init__(self, metric: Metric, fold: InnerFold, task_types: Sequence[TaskType]) -> None:
        self.metric = metric
        self.left_out: dict[str, str] = {}
        self._tasks: list[_Task] = []
        exact = exact_labels(fold.val.targets, fold.val.censoring)
        for t, (name, column) in enumerate(zip(fold.val.task_names, fold.columns, strict=True)):
            if task_types[column] != metric.task_type:
                continue
            rows = np.flatnonzero(np.isfinite(exact[:, t]))
            truth = exact[rows, t]
            try:
                # Perfect predictions: what is undefined then is undefined for any model.
                metric(truth, truth)
            except UndefinedMetricError as reason:
                self.left_out[name] = str(reason)
            else:
                self._tasks.append(_Task(name, t, rows, truth))

    def __len__(self) -> int:
        """Return the number of tasks that are scored."""
        return len(self._tasks)

    def __call__(self, predicted: FloatArray) -> dict[str, float]:
        """Return the metric of each task.

        Parameters
        ----------
        predicted : ndarray [V, T]
            Of all tasks of the fold.
        """
        return {task.name: self._score(task, predicted) for task in self._tasks}

    def _score(self, task: _Task, predicted: FloatArray) -> float:
        try:
            return self.metric(task.truth, predicted[task.rows, task.column])
        except UndefinedMetricError:
            # The truth allows it, so the prediction is constant: no correlation with anything. To
            # leave the task out would reward a model for giving up on it.
            return 0.0


def make_scorers(metric: Metric, data: StudyData) -> list[FoldScorer]:
    """Return the scorer of each fold.

    Raises
    ------
    InputError
        If a fold has no task on which the metric is defined.
    """
    scorers = [FoldScorer(metric, fold, data.task_types) for fold in data.folds]
    for number, scorer in enumerate(scorers):
        if not len(scorer):
            reasons = [f"{task} ({why})" for task, why in scorer.left_out.items()]
            raise InputError(
                "study.metric",
                expected="a metric that is defined for a task of every fold",
                found=f"{metric.name!r}, undefined in fold {number}: "
                f"{listed(reasons) or 'it trains no task of that kind'}",
                hint="Fewer study.n_folds, or another study.fold_type.",
            )
    return scorers


def scorer_notes(metric: Metric, data: StudyData, scorers: Sequence[FoldScorer]) -> list[str]:
    """Return what the score leaves out and what it means."""
    notes = []
    other = [
        name
        for name, kind in zip(data.task_names, data.task_types, strict=True)
        if kind != metric.task_type
    ]
    if other:
        notes.append(f"Trained but not scored by {LABELS[metric.name]}: {listed(other)}.")
    if metric.name in IN_UNITS and len(data.task_names) - len(other) > 1:
        notes.append(
            f"The mean of {LABELS[metric.name]} over tasks mixes their units; ma_rae does not."
        )
    for number, scorer in enumerate(scorers):
        if scorer.left_out:
            reasons = [f"{task} ({why})" for task, why in scorer.left_out.items()]
            notes.append(f"Fold {number} does not score {listed(reasons)}.")
    return notes
