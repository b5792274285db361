"""What the class and the descriptors of a compound add to the coefficients of pairs never seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.tables._compounds import UNCLASSED
from rt_ridge.tables._keys import find

_CHUNK = 16_384
"""Rows at a time, so that memory does not grow with the table."""


class LineTable:
    """Means and covariances of coefficients, evaluated at the rows of a design.

    Parameters
    ----------
    mean : ndarray, [L, D]
        Coefficients.
    cov : ndarray, [L, D, D]
        Their covariances.
    """

    def __init__(self, mean: FloatArray, cov: FloatArray) -> None:
        self._mean = mean
        # Upper triangles, off-diagonals doubled: half the numbers to fetch for each row.
        self._i, self._j = np.triu_indices(cov.shape[-1])
        self._packed = cov[:, self._i, self._j] * np.where(self._i == self._j, 1.0, 2.0)

    def moments(self, design: FloatArray, place: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return x·m and x·Cx of each row of the design [N, D], of table rows `place` [N]."""
        mean, variance = np.empty(len(place)), np.empty(len(place))
        for start in range(0, len(place), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            x, at = design[chunk], place[chunk]
            mean[chunk] = np.einsum("nd,nd->n", x, self._mean[at])
            products = x[:, self._i] * x[:, self._j]
            variance[chunk] = np.einsum("nt,nt->n", products, self._packed[at])
        return mean, variance


@dataclass(frozen=True)
class BackoffLevel:
    """What is expected below each node of one level, of a pair never seen.

    Parameters
    ----------
    name : {"group", "parent", "global"}
        The level; "global" has one node, with id 0.
    ids : ndarray of int64, [L]
        Nodes, ascending.
    mean : ndarray, [L, D]
        Mean of [b, w]; or, among descriptors' heads, of the deviation of the coefficients.
    cov : ndarray, [L, D, D]
        Its covariance in a *new* pair below the node: that of the node's own location and of
        every level between it and the pair. Where the model has compound effects their part is
        left out, since it is added by `CompoundEffect`.
    """

    name: str
    ids: IntArray
    mean: FloatArray
    cov: FloatArray


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
        # The same packing as of pairs; -1 is no key, since ids are not negative.
        place = find(self.within.ids, np.where(parents < 0, -1, (parents << 32) + classes))
        joint = self.within.moments(design, place)
        # A class not seen in its supercategory differs there by an amount that is not known.
        unseen = place < 0
        return np.where(unseen, mean, joint[0]), np.where(unseen, variance + joint[1], joint[1])


@dataclass(frozen=True)
class DescriptorEffect:
    """Intercepts, and slopes, by descriptor: (z - center)·(θ + deviation of the group).

    Parameters
    ----------
    names : tuple of str
        The Q descriptors.
    center : ndarray, [Q]
        What is subtracted from them.
    ids : ndarray of int64, [C]
        Compounds whose descriptors are known, ascending.
    values : ndarray, [C, Q]
        Their descriptors.
    mean, cov : ndarray, [K] and [K, K]
        Of θ, for compounds never seen; those of compounds seen are within `CompoundEffect`. The
        K = Q E coefficients are of the first E entries of [b, w], by descriptor: of the intercept
        alone (E = 1), or of slopes too.
    blind_cov : ndarray, [D, D]
        Covariance of the effect of a new compound whose descriptors are not known.
    heads : tuple of BackoffLevel
        Deviations by group, by supercategory, and of new ones; empty where θ serves all.
    """

    names: tuple[str, ...]
    center: FloatArray
    ids: IntArray
    values: FloatArray
    mean: FloatArray
    cov: FloatArray
    blind_cov: FloatArray
    heads: tuple[BackoffLevel, ...] = ()

    def rows(self, compounds: IntArray, given: FloatArray | None) -> FloatArray:
        """Return the centred descriptors of each row, NaN where they are not known, [N, Q].

        Parameters
        ----------
        compounds : ndarray of int64, [N]
            Compounds of the rows.
        given : ndarray, [N, Q], or None
            Descriptors of compounds that the fit has not seen, NaN where unknown.
        """
        place = find(self.ids, compounds)
        unknown = np.full((1, len(self.names)), np.nan)
        z = np.concatenate([self.values, unknown])[place]
        if given is not None:
            z = np.where((place >= 0)[:, None], z, given)
        # Centred as in the fit, where θ is the effect of a deviation and the intercept that of the
        # mean.
        centred: FloatArray = z - self.center
        return centred

    def _lines(self, z: FloatArray, design: FloatArray) -> FloatArray:
        """Return what multiplies the coefficients of each row, [N, K]."""
        entries = len(self.mean) // len(self.names)
        # The Kronecker product z ⊗ x by row: an interaction is linear in its Q E coefficients.
        return np.asarray((z[:, :, None] * design[:, None, :entries]).reshape(len(z), -1))

    def of_new_compound(self, z: FloatArray, design: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of what θ adds to each row, [N].

        Parameters
        ----------
        z : ndarray, [N, Q]
            Centred descriptors.
        design : ndarray, [N, D]
            Ones and regressors.
        """
        place = np.zeros(len(z), dtype=np.int64)
        return LineTable(self.mean[None], self.cov[None]).moments(self._lines(z, design), place)

    def of_group(
        self, z: FloatArray, design: FloatArray, ids: dict[str, IntArray]
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of what deviations add, [N], at the nearest node known.

        Parameters
        ----------
        z, design : ndarray, [N, Q], [N, D]
            As above.
        ids : dict of str to ndarray of int64, [N]
            Node of each row at each level.
        """
        mean, variance = np.zeros(len(z)), np.zeros(len(z))
        open_rows, lines = np.arange(len(z)), self._lines(z, design)
        for head in self.heads:
            place = find(head.ids, ids[head.name][open_rows])
            rows, at = open_rows[place >= 0], place[place >= 0]
            mean[rows], variance[rows] = LineTable(head.mean, head.cov).moments(lines[rows], at)
            open_rows = open_rows[place < 0]
        return mean, variance
