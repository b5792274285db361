"""What the class of a compound says of its slopes in pairs never seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.compound_classes import UNCLASSED
from rt_ridge.keys import find
from rt_ridge.lookup import LineTable


@dataclass(frozen=True)
class ClassTable:
    """Effects of classes, or of classes within supercategories.

    Parameters
    ----------
    ids : ndarray of int64, [K]
        Classes, or keys (supercategory << 32) + class; ascending.
    mean, cov : ndarray, [K, D], [K, D, D]
        Effect on [b, w]; of a class within a supercategory, all that its class adds there.
    new_cov : ndarray, [D, D]
        Covariance of what is added for one never seen, which has mean 0.
    """

    ids: IntArray
    mean: FloatArray
    cov: FloatArray
    new_cov: FloatArray

    def moments(self, design: FloatArray, place: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of each row's effect, [N], of the entry at `place` or new."""
        mean = np.concatenate([self.mean, np.zeros((1, self.mean.shape[1]))])
        # Place -1, of what was never seen, is the last.
        return LineTable(mean, np.concatenate([self.cov, self.new_cov[None]])).moments(
            design, place
        )


@dataclass(frozen=True)
class ClassEffect:
    """What classes add to the coefficients of pairs never seen.

    Parameters
    ----------
    compounds, classes : ndarray of int64, [C]
        Compounds whose class is known, ascending, and the class of each.
    own : ClassTable or None
        Of classes, whatever the supercategory.
    within : ClassTable or None
        Of classes within supercategories.
    """

    compounds: IntArray
    classes: IntArray
    own: ClassTable | None
    within: ClassTable | None

    def moments(
        self, design: FloatArray, compounds: IntArray, parents: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance, [N], of what is to be added.

        Parameters
        ----------
        design : ndarray, [N, D]
            Ones and regressors.
        compounds, parents : ndarray of int64, [N]
            Of the rows; -1 for a supercategory that is not known.
        """
        classes = np.append(self.classes, UNCLASSED)[find(self.compounds, compounds)]
        mean, variance = np.zeros((2, len(design)))
        if self.own is not None:
            mean, variance = self.own.moments(design, find(self.own.ids, classes))
        if self.within is None:
            return mean, variance
        place = find(self.within.ids, np.where(parents < 0, -1, (parents << 32) + classes))
        joint = self.within.moments(design, place)
        # A class not seen in its supercategory differs there by an amount that is not known.
        unseen = place < 0
        return np.where(unseen, mean, joint[0]), np.where(unseen, variance + joint[1], joint[1])
