"""The protocol of saved models, whatever kind they are of: SMILES in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np
import polars as pl
from molpool_common import BoolArray, FloatArray, IntArray, TaskType

Kind = Literal["chemprop", "mil", "tabular"]

GIVEN = " (input)"
"""Added to a column of the input that is called like one of ours."""


@dataclass(frozen=True)
class Predicted:
    """What a model says of N molecules; rows that it cannot predict are NaN, with a reason.

    Parameters
    ----------
    mean : ndarray [N, T]
        Values, or probabilities of class 1.
    sd : ndarray [N, T] or None
        Uncertainty, the standard deviation over members; None where the model has none.
    decisions : ndarray of bool [N, T] or None
        Whether class 1 is called, where the model has thresholds.
    reasons : list of str or None, length N
        Why a row has no prediction; None where it has one.
    ends : mapping of str to ndarray [N, T]
        Ends of intervals, by the ending of their columns: ``_lower`` and ``_upper`` of a single
        level, ``_lower_80`` and the like of several.
    at_limits : mapping of int to (mapping of str to ndarray [N])
        By task, the probability that its assay reports a limit, by the ending of its column.
    """

    mean: FloatArray
    sd: FloatArray | None
    decisions: BoolArray | None
    reasons: list[str | None]
    ends: Mapping[str, FloatArray] = field(default_factory=dict)
    at_limits: Mapping[int, Mapping[str, FloatArray]] = field(default_factory=dict)

    def to_columns(
        self, tasks: Sequence[str], types: Sequence[TaskType], rows: IntArray, n: int
    ) -> list[pl.Series]:
        """Return, of each task, ``TASK predicted``, ``TASK_sd``, intervals, limits and decisions.

        Parameters
        ----------
        tasks : sequence of str, length T
            Their names.
        types : sequence of {"regression", "classification"}, length T
            What they are.
        rows : ndarray of int64 [N]
            Places of the molecules in the columns.
        n : int
            Length of the columns, null where there is no molecule.
        """
        columns = []
        for t, task in enumerate(tasks):
            columns.append(spread(f"{task} predicted", self.mean[:, t], rows, n))
            if self.sd is not None:
                columns.append(spread(f"{task}_sd", self.sd[:, t], rows, n))
            # A probability has no interval.
            for ending, ends in self.ends.items() if types[t] == "regression" else ():
                columns.append(spread(task + ending, ends[:, t], rows, n))
            for ending, p in self.at_limits.get(t, {}).items():
                columns.append(spread(task + ending, p, rows, n))
            if self.decisions is not None:
                called = self.decisions[:, t].astype(np.float64)
                # False would say "negative" of a row that was not predicted.
                called[np.isnan(self.mean[:, t])] = np.nan
                column = spread(f"{task} decision", called, rows, n)
                columns.append(column.cast(pl.Boolean))
        return columns


def spread(name: str, values: FloatArray, rows: IntArray, n: int) -> pl.Series:
    """Return values as a column of `n` rows, null where there is none."""
    column = np.full(n, np.nan)
    column[rows] = values
    return pl.Series(name, column).fill_nan(None)


class SavedModel(Protocol):
    """A model, or an ensemble whose mean predicts, of T tasks of molecules.

    A kind of model is one file of this folder; `load_model` finds the kind of what was saved.

    Attributes
    ----------
    kind : {"chemprop", "mil", "tabular"}
        Its kind.
    task_names : tuple of str, length T
        Its tasks.
    task_types : tuple of {"regression", "classification"}, length T
        What they are.
    n_members : int
        Models whose mean predicts.
    chunk_rows : int
        Rows that are predicted at a time at most, so that progress shows.
    """

    kind: Kind
    task_names: tuple[str, ...]
    task_types: tuple[TaskType, ...]
    n_members: int
    chunk_rows: int

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a run folder, a folder of an ensemble or a model file, from a trusted source."""

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules whose SMILES RDKit reads."""
