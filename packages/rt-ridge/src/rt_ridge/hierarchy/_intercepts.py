"""Crossed intercepts: the system of locations where these are one number a pair.

Then a cell of the dense factors is one number too, the sum of its columns, and each joint couples
a level to one cell. So the coupling is [levels, cells] with an entry a joint, and pairs need of the
posterior the covariance of cells alone. What `LinearSystem` does for any locations costs here twice
the time, which sampling feels: it evaluates thousands of points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from molpool_common import FloatArray
from scipy.sparse import csr_array

from rt_ridge.hierarchy._linear_system import (
    FLAT,
    Arrangement,
    add_prior,
    dense_scales,
    segment_sum,
    solve_dense,
)


@dataclass(frozen=True)
class Intercepts:
    """Posterior of the intercepts that pairs are pooled towards, at given scales.

    Parameters
    ----------
    log_evidence : float
        As of `Solution`.
    dense_mean, dense_variance : ndarray, [R]
        Of the dense columns, each over its standard deviation.
    level_mean, level_variance : ndarray, [L]
        Of the eliminated factor, likewise.
    mean, variance : ndarray, [G]
        Of the location of each pair.
    """

    log_evidence: float
    dense_mean: FloatArray
    dense_variance: FloatArray
    level_mean: FloatArray
    level_variance: FloatArray
    mean: FloatArray
    variance: FloatArray


class InterceptSystem:
    """Solves crossed intercepts; see the module.

    Parameters
    ----------
    arrangement : Arrangement
        Of intercepts alone; see `fits`.
    """

    def __init__(self, arrangement: Arrangement) -> None:
        at = self.arrangement = arrangement
        assert at.eliminated is not None
        self._to_joint = segment_sum(at.joint_of_pair, at.n_joints)
        self._to_level = segment_sum(at.level_of_joint, at.eliminated.n_levels)
        self._to_cell = segment_sum(at.cell_of_joint, at.n_cells)
        # Each joint has an entry of its own, so that none is added to another.
        self._place = at.level_of_joint * at.n_cells + at.cell_of_joint

    @staticmethod
    def fits(arrangement: Arrangement, n_entries: int) -> bool:
        """Whether locations are intercepts, crossed and without weights, in few cells."""
        at = arrangement
        crossed = at.eliminated is not None and not at.nested
        return crossed and n_entries == 1 and at.cell_weights is None and at.n_cells <= at.n_dense

    @cached_property
    def _columns(self) -> csr_array:
        """Which columns each cell is the sum of, [cells, R]."""
        columns = self.arrangement.cell_columns
        first = np.arange(0, columns.size + 1, columns.shape[1])
        shape = (len(columns), self.arrangement.n_dense)
        return csr_array((np.ones(columns.size), columns.ravel(), first), shape=shape)

    @cached_property
    def _cells(self) -> csr_array:
        return csr_array(self._columns.T)

    def solve(
        self,
        precision: FloatArray,
        linear: FloatArray,
        scales: FloatArray,
        prior: tuple[float, float] | None,
    ) -> Intercepts:
        """Return what `LinearSystem.solve` and `pair_locations` say.

        Parameters
        ----------
        precision, linear : ndarray, [G]
            Messages of the pairs.
        scales : ndarray
            Standard deviations that the arrangement points to.
        prior : tuple of float, or None
            Mean and standard deviation of the grand intercept.
        """
        at = self.arrangement
        assert at.eliminated is not None
        J, h = self._to_joint @ precision, self._to_joint @ linear
        s, sR = scales[at.eliminated.scale[:, 0]], dense_scales(at, scales)
        root = 1 / np.sqrt(1 + s**2 * (self._to_level @ J))
        c = root * s * (self._to_level @ h)
        # The coupling over the root of the levels' precision.
        entry = J * (root * s)[at.level_of_joint]
        half = np.zeros((len(s), at.n_cells))
        half.ravel()[self._place] = entry
        # Products of one array release the interpreter, those of `scipy.linalg.blas` do not.
        K = -np.matmul(half.T, half)
        K[np.diag_indices(at.n_cells)] += self._to_cell @ J
        S = self._cells @ (self._cells @ K).T * sR[:, None] * sR
        S[np.diag_indices(at.n_dense)] += at.scale != FLAT
        b = sR * (self._cells @ (self._to_cell @ h - c @ half))
        evidence = add_prior(S, b, at, prior)
        log_evidence, mean, cov = solve_dense(S, b, at.n_flat, profile=False)
        evidence += log_evidence + float(c @ c) / 2 + float(np.log(root).sum())
        of_cell = self._columns @ (sR * mean)
        between = self._columns @ (self._columns @ (cov * sR[:, None] * sR)).T
        fall = np.matmul(half, between).ravel()[self._place]
        level_mean = root * (c - half @ of_cell)
        level_variance = root**2 * (1 + self._to_level @ (fall * entry))
        own, cell = s[at.level_of_joint], at.cell_of_joint
        location = of_cell[cell] + (s * level_mean)[at.level_of_joint]
        variance = np.diagonal(between)[cell] + (s**2 * level_variance)[at.level_of_joint]
        variance -= 2 * own * root[at.level_of_joint] * fall
        return Intercepts(
            evidence,
            mean,
            np.diagonal(cov),
            level_mean,
            level_variance,
            location[at.joint_of_pair],
            variance[at.joint_of_pair],
        )
