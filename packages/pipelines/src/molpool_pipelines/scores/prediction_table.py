"""Predictions beside the truth, the common input of `score` and `compare`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from molpool_common import FloatArray, InputError, did_you_mean, listed
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars as pl

TaskType = Literal["regression", "classification"]
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
    side : ndarray of object [N] or None
        ``train``, ``val`` or ``test``.
    quality, smiles : ndarray of object [N] or None
        Quality labels and SMILES.
    repeat, fold : ndarray of int64 [N] or None
        Which repeat of the folds, and which fold predicted the row; -1 where it has none.
    n_bounds : ndarray of int64 [T]
        Labels left out because only a bound is known.
    """

    name: str
    ids: Texts
    tasks: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    y_true: FloatArray
    y_pred: FloatArray
    sd: FloatArray | None = None
    decisions: FloatArray | None = None
    side: Texts | None = None
    quality: Texts | None = None
    smiles: Texts | None = None
    repeat: NDArray[np.int64] | None = None
    fold: NDArray[np.int64] | None = None
    n_bounds: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[Any]) -> Predictions:
        """Return some rows, by position or by a mask."""
        by_row = (
            "ids", "y_true", "y_pred", "sd", "decisions", "side", "quality", "smiles", "repeat",
            "fold",
        )  # fmt: skip
        taken: dict[str, Any] = {}
        for name in by_row:
            values = getattr(self, name)
            taken[name] = None if values is None else values[rows]
        return replace(self, **taken)

    def of_side(self, side: str) -> Predictions:
        """Return the rows of one side.

        Raises
        ------
        InputError
            If rows have no side, or none has this one.
        """
        if self.side is None:
            raise InputError("--side", expected="a column of sides", found="none", where=self.name)
        sides = [str(s) for s in dict.fromkeys(self.side.tolist())]
        if side not in sides:
            raise InputError(
                "--side",
                expected=f"one of {listed(sides)}",
                found=repr(side),
                where=self.name,
                hint=did_you_mean(side, sides),
            )
        return self.take(self.side == side)

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
        return replace(
            self,
            tasks=tuple(tasks),
            task_types=tuple(self.task_types[t] for t in columns),
            y_true=self.y_true[:, columns],
            y_pred=self.y_pred[:, columns],
            sd=None if self.sd is None else self.sd[:, columns],
            decisions=None if self.decisions is None else self.decisions[:, columns],
            n_bounds=self.n_bounds[columns] if len(self.n_bounds) else self.n_bounds,
        )

    def to_frame(self) -> pl.DataFrame:
        """Return the table that `read_predictions` reads back, without bounds and decisions."""
        import polars as pl

        columns: dict[str, Any] = {"id": self.ids.tolist()}
        for name in ("side", "quality", "smiles"):
            values = getattr(self, name)
            if values is not None:
                columns["SMILES" if name == "smiles" else name] = values.tolist()
        for name in ("repeat", "fold"):
            values = getattr(self, name)
            if values is not None:
                columns[name] = pl.Series(name, values).replace(-1, None)
        for t, task in enumerate(self.tasks):
            columns[task] = pl.Series(task, self.y_true[:, t]).fill_nan(None)
            columns[f"{task} predicted"] = pl.Series(self.y_pred[:, t]).fill_nan(None)
            if self.sd is not None:
                columns[f"{task}_sd"] = pl.Series(self.sd[:, t]).fill_nan(None)
        return pl.DataFrame(columns)

    @property
    def keys(self) -> list[tuple[str, int, int]]:
        """Id, repeat and fold of each row, by which rows of several models are paired."""
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
        )
