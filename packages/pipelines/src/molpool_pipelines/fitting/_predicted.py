"""Rows of a run with what its models say of them, whatever kind of model it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from molpool_common import FloatArray, from_scale, spread_from_scale

from molpool_pipelines.runs import SplitName
from molpool_pipelines.tables import MoleculeTable, exact_labels


@dataclass(frozen=True)
class PredictedRows:
    """Rows of a split that the same models predict, with what they say.

    Parameters
    ----------
    split : {"train", "val", "test"}
        That they are of.
    table : MoleculeTable [N]
        The rows.
    mean : ndarray [N, T]
        Predictions.
    sd : ndarray [N, T] or None
        Their uncertainty; None where the models have none.
    fold : int or None
        The fold, from 0, whose models predict them; None: all models.
    with_folds : bool
        Whether the run has folds, so that the rows name theirs.
    each : sequence of ndarray [N, T]
        Predictions of each member of an ensemble.
    ends : (ndarray [N, T], ndarray [N, T]) or None
        Lower and upper end of the intervals; infinite where too few rows calibrate.
    distance : ndarray [N] or None
        1 - Tanimoto similarity to the nearest molecule that trained what predicts the row.
    called : ndarray [N, T] or None
        Whether class 1 is called, NaN for tasks without a threshold.
    at_limits : mapping of int to (mapping of str to ndarray [N])
        By task, the probability that its assay reports a limit, by the ending of its column.
    """

    split: SplitName
    table: MoleculeTable
    mean: FloatArray
    sd: FloatArray | None = None
    fold: int | None = None
    with_folds: bool = False
    each: Sequence[FloatArray] = ()
    ends: tuple[FloatArray, FloatArray] | None = None
    distance: FloatArray | None = None
    called: FloatArray | None = None
    at_limits: Mapping[int, Mapping[str, FloatArray]] = field(default_factory=dict)

    def in_units(self) -> PredictedRows:
        """Return the rows with all that is said of them in the units of the table."""
        names = self.table.of_scales
        if not self.table.scales:
            return self
        ends = self.ends
        return replace(
            self,
            table=self.table.in_units(),
            mean=from_scale(self.mean, names),
            sd=None if self.sd is None else spread_from_scale(self.sd, self.mean, names),
            each=[from_scale(one, names) for one in self.each],
            ends=None if ends is None else (from_scale(ends[0], names), from_scale(ends[1], names)),
        )

    @property
    def exact(self) -> FloatArray:
        """Targets [N, T] that are no bounds."""
        return exact_labels(self.table.targets, self.table.censoring)

    def of_predicted(self) -> PredictedRows:
        """Return the rows without the labels of which nothing is predicted.

        A model that trained on no label of a task, as those of a fold may not, predicts none.
        """
        targets = np.where(np.isnan(self.mean), np.nan, self.table.targets)
        return replace(self, table=replace(self.table, targets=targets))
