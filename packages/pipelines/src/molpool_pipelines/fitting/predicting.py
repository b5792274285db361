"""Which models predict which rows, so that no held-out row is predicted by one that saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from chemprop_multitask import GraphStore, MoleculeData
from numpy.typing import NDArray

from molpool_pipelines.fitting.inputs import Inputs
from molpool_pipelines.fitting.separate import wholes
from molpool_pipelines.fitting.trainees import Trainee
from molpool_pipelines.tables import MoleculeTable, SplitTables, exact_labels

Side = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Part:
    """Rows that the same models predict.

    Parameters
    ----------
    side : {"train", "val", "test"}
        Side of the split that they are on.
    table : MoleculeTable
        The rows.
    fold : int or None
        The fold, from 0, whose models predict them; None: all models.
    data : MoleculeData or None
        The rows featurised, where they are already.
    """

    side: Side
    table: MoleculeTable
    fold: int | None = None
    data: MoleculeData | None = None


@dataclass(frozen=True)
class Predicted:
    """A part with its predictions.

    Parameters
    ----------
    side, table, fold
        As in `Part`.
    each : ndarray [K, N, T]
        Predictions of K models.
    with_folds : bool
        Whether the run has folds.
    is_ensemble : bool
        Whether the run has several models.
    """

    side: Side
    table: MoleculeTable
    fold: int | None
    each: NDArray[np.float64]
    with_folds: bool
    is_ensemble: bool

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the models [N, T]."""
        # The mean of one would round its numbers' last bit on some machines.
        mean: NDArray[np.float64] = self.each[0] if len(self.each) == 1 else self.each.mean(axis=0)
        return mean

    @property
    def sd(self) -> NDArray[np.float64] | None:
        """Sample standard deviation of the models [N, T], NaN of one; None for a single model."""
        if not self.is_ensemble:
            return None
        if len(self.each) == 1:
            return np.full(self.each[0].shape, np.nan)
        sd: NDArray[np.float64] = self.each.std(axis=0, ddof=1)
        return sd

    @property
    def exact(self) -> NDArray[np.float64]:
        """Targets [N, T] that are no bounds."""
        return exact_labels(self.table.targets, self.table.censoring)


def parts_of(inputs: Inputs, trainees: Sequence[Trainee]) -> list[Part]:
    """Return all rows that are predicted, sides in the order train, val, test.

    With folds every row that is not tested validates once, predicted by the models of that fold
    alone (out of fold); only rows of training-only sources remain as ``train``.
    """
    test = Part("test", inputs.tables.test)
    folds = {t.fold: t for t in trainees}
    if len(inputs.folds) == 1:
        sides = [
            _side("train", inputs.tables, None, trainees[0]),
            _side("val", inputs.tables, None, trainees[0]),
        ]
    else:
        tested = set(inputs.tables.test.groups)
        table = inputs.table
        extra = [
            i for i in np.flatnonzero(~table.hold_out).tolist() if table.groups[i] not in tested
        ]
        sides = [
            Part("train", table.take(np.array(extra, dtype=np.int64))),
            *(_side("val", inputs.folds[f], f, t) for f, t in sorted(folds.items())),
        ]
    return [part for part in (*sides, test) if len(part.table)]


def _side(
    side: Literal["train", "val"], tables: SplitTables, fold: int | None, trainee: Trainee
) -> Part:
    """Return a side's rows; those of a group's model are not all, so they are not its data."""
    data = getattr(trainee, side) if trainee.group is None else None
    return Part(side, getattr(tables, side), fold, data)


def predict_part(
    part: Part, trainees: Sequence[Trainee], graphs: GraphStore | None = None
) -> Predicted:
    """Let the models of a part predict it; `graphs` may hold its molecules."""
    members = wholes(trainees)
    data = part.data if part.data is not None else MoleculeData(part.table.smiles, cache=graphs)
    chosen = [m.model for m in members if part.fold is None or m.fold == part.fold]
    return Predicted(
        part.side,
        part.table,
        part.fold,
        np.stack([model.predict(data) for model in chosen]),
        with_folds=any(m.fold for m in members),
        is_ensemble=len(members) > 1,
    )
