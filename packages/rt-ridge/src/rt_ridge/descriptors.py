"""What the descriptors of a compound say of its intercept in pairs never seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.keys import find
from rt_ridge.lookup import LineTable


@dataclass(frozen=True)
class HeadLevel:
    """Deviation of descriptor coefficients from θ, below each node of one level.

    Parameters
    ----------
    name : {"group", "parent", "global"}
        The level; "global" has one node, with id 0 and mean 0.
    ids : ndarray of int64, [L]
        Nodes, ascending.
    mean : ndarray, [L, K]
        Mean of the deviation of the coefficients.
    cov : ndarray, [L, K, K]
        Covariance of the deviation in a group below the node: for a node that is no group, that
        of the node's own deviation and of a new group's within it.
    """

    name: str
    ids: IntArray
    mean: FloatArray
    cov: FloatArray


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
    heads : tuple of HeadLevel
        Deviations by group, by supercategory, and of new ones; empty where θ serves all.
    """

    names: tuple[str, ...]
    center: FloatArray
    ids: IntArray
    values: FloatArray
    mean: FloatArray
    cov: FloatArray
    blind_cov: FloatArray
    heads: tuple[HeadLevel, ...] = ()

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
        centred: FloatArray = z - self.center
        return centred

    def _lines(self, z: FloatArray, design: FloatArray) -> FloatArray:
        """Return what multiplies the coefficients of each row, [N, K]."""
        entries = len(self.mean) // len(self.names)
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
