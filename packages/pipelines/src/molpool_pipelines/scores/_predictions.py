"""Predictions beside the truth, the common input of scores, comparisons and pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from molpool_common import (
    FloatArray,
    InputError,
    IntArray,
    ScaleName,
    TaskType,
    checked,
    did_you_mean,
    listed,
    parse_smiles,
)
from numpy.typing import NDArray

from molpool_pipelines.runs import PREDICTIONS, split_column, truth_column

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Texts = NDArray[np.object_]


@dataclass(frozen=True)
class Predictions:
    """What a model says of N rows and T tasks, and what is true of them.

    Make one with `read_predictions`.

    Parameters
    ----------
    name : str
        Of the model: its run folder's or file's.
    ids : ndarray of object [N]
        Names of the rows. With `repeat` and `fold` they are distinct.
    tasks : tuple of str, length T
        Names of the tasks.
    task_types : tuple of {"regression", "classification"}, length T
        Kind of each.
    y_true : ndarray [N, T]
        Truth, NaN where there is none or only a bound is known.
    y_pred : ndarray [N, T]
        Values, or probabilities of class 1; NaN where there is no prediction.
    sd : ndarray [N, T] or None
        Uncertainty, NaN where there is none; None where no task has any.
    decisions : ndarray [N, T] or None
        1 where class 1 was called, 0 where not, NaN for tasks without decisions.
    split : ndarray of object [N] or None
        ``train``, ``val`` or ``test``.
    quality, smiles : ndarray of object [N] or None
        Quality labels and SMILES.
    repeat, fold : ndarray of int64 [N] or None
        Which repeat of the folds, and which fold predicted the row; -1 where it has none.
    n_bounds : ndarray of int64 [T]
        Labels left out because only a bound is known.
    lower, upper : ndarray [N, T] or None
        Ends of intervals, NaN where there are none.
    bounds : ndarray [N, T] or None
        Labels that are bounds, NaN where there are none; None without any.
    signs : ndarray of int8 [N, T] or None
        -1 where a bound is an upper one (``<``), +1 where it is a lower one (``>``).
    times : ndarray of object [N] or None
        When rows were measured, as written.
    similarity : ndarray [N] or None
        Tanimoto similarity to the nearest training molecule, NaN where it is not known.
    at_limits : ndarray [N, T, 2] or None
        Probabilities that the assay reports its floor and its ceiling, NaN where there are none.
    limits : ndarray [T, 2] or None
        These floors and ceilings, NaN where there are none, if the file says them.
    level : float or None
        Share of molecules that the intervals shall cover, where it is known.
    further : mapping of float to (ndarray [N, T], ndarray [N, T])
        Ends of intervals at other levels than `level`.
    strata : mapping of str to ndarray of object [N]
        Series, project or the like of each row, by column.
    scales : tuple of str, length T, or empty
        On which the model learnt the tasks, where that is known; values are in units of the table.
    notes : tuple of str
        What to know of how they were read: tasks without a truth, how a truth was joined.
    rejected : DataFrame or None
        Rows of the truth that have no prediction, as `rejected_rows` has them.
    noun : str
        What a row is.
    """

    name: str
    ids: Texts
    tasks: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    y_true: FloatArray
    y_pred: FloatArray
    sd: FloatArray | None = None
    decisions: FloatArray | None = None
    split: Texts | None = None
    quality: Texts | None = None
    smiles: Texts | None = None
    repeat: IntArray | None = None
    fold: IntArray | None = None
    n_bounds: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    lower: FloatArray | None = None
    upper: FloatArray | None = None
    bounds: FloatArray | None = None
    signs: NDArray[np.int8] | None = None
    times: Texts | None = None
    similarity: FloatArray | None = None
    at_limits: FloatArray | None = None
    limits: FloatArray | None = None
    level: float | None = None
    further: Mapping[float, tuple[FloatArray, FloatArray]] = field(default_factory=dict)
    strata: Mapping[str, Texts] = field(default_factory=dict)
    scales: tuple[ScaleName, ...] = ()
    notes: tuple[str, ...] = ()
    rejected: pl.DataFrame | None = None
    noun: str = "molecule"

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[Any]) -> Predictions:
        """Return some rows, by position or by a mask."""
        by_row = (
            *("ids", "y_true", "y_pred", "sd", "decisions", "split", "quality", "smiles"),
            *("repeat", "fold", "lower", "upper", "bounds", "signs", "times", "similarity"),
            "at_limits",
        )
        taken: dict[str, Any] = {}
        for name in by_row:
            values = getattr(self, name)
            taken[name] = None if values is None else values[rows]
        taken["strata"] = {k: of[rows] for k, of in self.strata.items()}
        taken["further"] = {k: (low[rows], up[rows]) for k, (low, up) in self.further.items()}
        return replace(self, **taken)

    def levels(self) -> Iterator[Predictions]:
        """Yield the same with the intervals of each level alone."""
        yield replace(self, further={})
        for level, (lower, upper) in self.further.items():
            yield replace(self, lower=lower, upper=upper, level=level, further={})

    @property
    def with_bounds(self) -> tuple[FloatArray, NDArray[np.int8]]:
        """Labels [N, T], bounds among them, and signs: -1 for ``<``, +1 for ``>``, else 0."""
        if self.bounds is None or self.signs is None:
            return self.y_true, np.zeros(self.y_true.shape, dtype=np.int8)
        bound = np.isfinite(self.bounds)
        return np.where(bound, self.bounds, self.y_true), np.where(bound, self.signs, np.int8(0))

    @property
    def splits(self) -> list[str]:
        """The splits that rows are of, in order of appearance; empty where it is not known."""
        # In order of appearance: a run writes train, val, test, and other tools' names have no
        # order.
        return [] if self.split is None else [str(s) for s in dict.fromkeys(self.split.tolist())]

    def of_split(self, split: str) -> Predictions:
        """Return the rows of one split.

        Raises
        ------
        InputError
            If rows have no split, or none has this one.
        """
        if self.split is None:
            raise InputError("--split", expected="a column of it", found="none", where=self.name)
        if split not in self.splits:
            raise InputError(
                "--split",
                expected=f"one of {listed(self.splits)}",
                found=repr(split),
                where=self.name,
                hint=did_you_mean(split, self.splits),
            )
        return self.take(self.split == split)

    def of_tasks(self, tasks: Sequence[str]) -> Predictions:
        """Return some tasks, in this order.

        Raises
        ------
        InputError
            If one is unknown.
        """
        for task in tasks:
            if task not in self.tasks:
                raise InputError(
                    "tasks",
                    expected=f"tasks of {self.name}",
                    found=repr(task),
                    hint=did_you_mean(task, self.tasks),
                )
        columns = [self.tasks.index(task) for task in tasks]
        taken: dict[str, Any] = {}
        by_task = ("y_true", "y_pred", "sd", "decisions", "lower", "upper", "bounds", "signs")
        for name in (*by_task, "at_limits"):
            values = getattr(self, name)
            taken[name] = None if values is None else values[:, columns]
        return replace(
            self,
            **taken,
            tasks=tuple(tasks),
            task_types=tuple(self.task_types[t] for t in columns),
            n_bounds=self.n_bounds[columns] if len(self.n_bounds) else self.n_bounds,
            limits=None if self.limits is None else self.limits[columns],
            further={k: (lo[:, columns], up[:, columns]) for k, (lo, up) in self.further.items()},
            scales=tuple(self.scales[t] for t in columns) if self.scales else (),
        )

    def to_frame(self) -> pl.DataFrame:
        """Return the table that `read_predictions` reads back, without bounds and decisions."""
        columns: dict[str, Any] = {"id": self.ids.tolist()}
        for name in ("split", "quality", "smiles"):
            values = getattr(self, name)
            if values is not None:
                columns["SMILES" if name == "smiles" else name] = values.tolist()
        for name in ("repeat", "fold"):
            values = getattr(self, name)
            if values is not None:
                # -1 stands for "no fold" inside only; a file has null there.
                columns[name] = pl.Series(name, values).replace(-1, None)
        for t, task in enumerate(self.tasks):
            columns[truth_column(task)] = pl.Series(task, self.y_true[:, t]).fill_nan(None)
            columns[f"{task} predicted"] = pl.Series(self.y_pred[:, t]).fill_nan(None)
            if self.sd is not None:
                columns[f"{task}_sd"] = pl.Series(self.sd[:, t]).fill_nan(None)
        return pl.DataFrame(columns)

    @property
    def keys(self) -> list[tuple[str, int, int]]:
        """Id, repeat and fold of each row, by which rows of several models are paired."""
        # A number rather than None, so that keys sort.
        none = np.full(len(self), -1)
        repeat = none if self.repeat is None else self.repeat
        fold = none if self.fold is None else self.fold
        return list(zip(self.ids.tolist(), repeat.tolist(), fold.tolist(), strict=True))


def repeated(names: Iterable[Any]) -> dict[Any, int]:
    """Return what stands there more than once, with its count, in order of appearance."""
    counts: dict[Any, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return {name: n for name, n in counts.items() if n > 1}


def refuse_repeated(names: Iterable[Any], column: str, where: str) -> None:
    """Raise `InputError` unless every id stands there once; says how many do not, and the first."""
    twice = repeated(names)
    if twice:
        raise InputError(
            f"column {column!r}",
            expected="each id once",
            found=f"{len(twice)} ids more than once: "
            f"{listed([f'{name!r} ({n} times)' for name, n in twice.items()], limit=5)}",
            where=where,
        )


def refuse_missing(missing: Sequence[Any], of: int, column: str, where: str) -> None:
    """Raise `InputError` unless nothing is missing; says how many rows are, and the first."""
    if missing:
        raise InputError(
            f"column {column!r}",
            expected="a prediction for each row of the data",
            found=f"none for {len(missing)} of {of} rows, ids "
            f"{listed([repr(name) for name in missing], limit=5)}",
            where=where,
            hint="Predict these too, or leave them out of the data.",
        )


@dataclass(frozen=True)
class TrainingMolecules:
    """M different molecules.

    Parameters
    ----------
    ids : list of str
        Their names; of several rows of one SMILES, the first.
    smiles : list of str
        Their SMILES.
    mols : list of Mol
        Parsed.
    """

    ids: list[str]
    smiles: list[str]
    mols: list[Mol]


def training_molecules(path: Path) -> TrainingMolecules | None:
    """Return the molecules that trained any model of a run.

    Parameters
    ----------
    path : Path
        A run folder.

    Returns
    -------
    TrainingMolecules or None
        None where the folder has no predictions with ids, SMILES and splits.

    Notes
    -----
    With folds, a row that validates one model trains the others, so that it counts.
    """
    file = path / PREDICTIONS
    if not file.is_file():
        return None
    names = list(pl.read_parquet_schema(file))
    split = split_column(names)
    if split is None or not {"id", "SMILES"} <= set(names):
        return None
    # With folds each validation row trained the models of the other folds, so that it is known to
    # the ensemble.
    with_folds = "fold" in names
    frame = pl.read_parquet(checked(file), columns=["id", "SMILES", split, *["fold"] * with_folds])
    trained = pl.col(split).is_in(["train", "val"] if with_folds else ["train"])
    # By SMILES as written: parsing is the slow part, and exact repeats need it once.
    rows = frame.filter(trained).unique("SMILES", keep="first", maintain_order=True)
    parsed = parse_smiles(rows["SMILES"].to_list())
    rows = rows.filter(pl.Series([mol is not None for mol in parsed.mols], dtype=pl.Boolean))
    mols = [mol for mol in parsed.mols if mol is not None]
    if not mols:
        return None
    return TrainingMolecules(rows["id"].cast(pl.String).to_list(), rows["SMILES"].to_list(), mols)
