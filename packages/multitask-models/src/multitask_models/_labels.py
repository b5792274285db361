"""Labels of T tasks where most rows miss most of them, and some are bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray, SignArray, listed
from numpy.typing import ArrayLike

from multitask_models._errors import ModelError

TaskKind = Literal["regression", "classification"]


@dataclass(frozen=True)
class Labels:
    """Labels as models learn them.

    Parameters
    ----------
    values : ndarray [N, T]
        NaN where there is no label.
    signs : ndarray of int8 [N, T]
        -1 where the truth is at most the label, +1 where it is at least the label, 0 where it is
        the label and where there is none.
    weights : ndarray [N]
        Of the rows.
    classification : ndarray of bool [T]
        Tasks whose labels are 0 and 1.
    """

    values: FloatArray
    signs: SignArray
    weights: FloatArray
    classification: BoolArray

    @classmethod
    def checked(
        cls,
        values: FloatArray,
        censoring: ArrayLike | None,
        weights: ArrayLike | None,
        kinds: TaskKind | Sequence[TaskKind],
    ) -> Labels:
        """Return the labels that a caller gave.

        Raises
        ------
        ModelError
            At another shape, sign, class or weight than it must be, naming row and task.
        """
        n, n_tasks = values.shape
        classification = _classification(kinds, n_tasks)
        present = ~np.isnan(values)
        wrong = present & classification & (values != 0) & (values != 1)
        if wrong.any():
            row, task = np.argwhere(wrong)[0]
            raise ModelError(
                f"labels of classification task {task}: expected 0, 1 or NaN; found "
                f"{values[row, task]:g} in row {row}."
            )
        signs = np.where(present, _signs(censoring, values.shape), np.int8(0))
        bound = (signs != 0) & classification
        if bound.any():
            row, task = np.argwhere(bound)[0]
            raise ModelError(
                f"censoring of classification task {task}: expected 0; found {signs[row, task]} "
                f"in row {row}."
            )
        return cls(values, signs, _weights(weights, n), classification)

    @property
    def present(self) -> BoolArray:
        """Return where there is a label, [N, T]."""
        return ~np.isnan(self.values)

    @property
    def exact(self) -> FloatArray:
        """Return the labels [N, T] with NaN for those that are bounds."""
        return np.where(self.signs == 0, self.values, np.nan)

    @property
    def n_labels(self) -> IntArray:
        """Return the number of labels of each task, [T]."""
        return np.asarray(self.present.sum(axis=0))

    def rows(self, rows: BoolArray | IntArray) -> Labels:
        """Return the labels of some rows, by mask or number."""
        return replace(
            self, values=self.values[rows], signs=self.signs[rows], weights=self.weights[rows]
        )

    def tasks(self, tasks: BoolArray | IntArray) -> Labels:
        """Return the labels of some tasks, by mask or number."""
        return replace(
            self,
            values=self.values[:, tasks],
            signs=self.signs[:, tasks],
            classification=self.classification[tasks],
        )

    def single_values(self) -> FloatArray:
        """Return the value of each task whose labels, bounds too, are all equal, else NaN; [T]."""
        low = np.where(self.present, self.values, np.inf).min(axis=0, initial=np.inf)
        high = np.where(self.present, self.values, -np.inf).max(axis=0, initial=-np.inf)
        return np.where(low == high, low, np.nan)

    def centre_and_spread(self) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of each task's labels, [T] each.

        Bounds count as values, and weights do not count. 0 and 1 for classification tasks.
        """
        n = self.n_labels
        centre = np.where(self.present, self.values, 0.0).sum(axis=0) / n
        squares = np.where(self.present, (self.values - centre) ** 2, 0.0).sum(axis=0)
        return (
            np.where(self.classification, 0.0, centre),
            np.where(self.classification, 1.0, np.sqrt(squares / n)),
        )


def _classification(kinds: TaskKind | Sequence[TaskKind], n_tasks: int) -> BoolArray:
    names = [kinds] * n_tasks if isinstance(kinds, str) else list(kinds)
    unknown = [kind for kind in names if kind not in get_args(TaskKind)]
    if unknown:
        raise ModelError(
            f"task_kinds: expected {listed(get_args(TaskKind))}; found {unknown[0]!r}."
        )
    if len(names) != n_tasks:
        raise ModelError(
            f"task_kinds: expected one kind, or one for each of {n_tasks} tasks; found "
            f"{len(names)}."
        )
    return np.array([kind == "classification" for kind in names], dtype=bool)


def _signs(censoring: ArrayLike | None, shape: tuple[int, ...]) -> SignArray:
    if censoring is None:
        return np.zeros(shape, dtype=np.int8)
    given = np.asarray(censoring)
    signs = given.reshape(-1, 1) if given.ndim == 1 and shape[1] == 1 else given
    if signs.shape != shape:
        raise ModelError(f"censoring: expected shape {shape} as the labels; found {given.shape}.")
    wrong = ~np.isin(signs, (-1, 0, 1))
    if wrong.any():
        row, task = np.argwhere(wrong)[0]
        raise ModelError(
            f"censoring: expected -1, 0 or 1; found {signs[row, task]} in row {row}, task {task}."
        )
    return signs.astype(np.int8)


def _weights(weights: ArrayLike | None, n: int) -> FloatArray:
    if weights is None:
        return np.ones(n)
    given = np.asarray(weights, dtype=np.float64)
    if given.shape != (n,):
        raise ModelError(f"sample_weight: expected one for each of {n} rows; found {given.shape}.")
    wrong = np.flatnonzero(~(np.isfinite(given) & (given >= 0)))
    if len(wrong):
        raise ModelError(
            f"sample_weight: expected numbers from 0 on; found {given[wrong[0]]} in row {wrong[0]}."
        )
    return given


def as_matrix(values: Any) -> FloatArray:
    """Return labels [N] or [N, T] as float64 [N, T]."""
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(-1, 1) if array.ndim == 1 else array
