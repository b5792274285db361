"""The joint Gaussian of all locations given the scales, solved by block elimination."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from molpool_common import FloatArray, IntArray
from scipy.linalg import blas
from scipy.sparse import csr_array

from rt_ridge.block_algebra import blockwise, inverse_root, solve_dense
from rt_ridge.errors import RTRidgeError
from rt_ridge.levels import FLAT, Arrangement

MAX_DENSE = 10_000
"""Most columns that stay dense: 0.8 GB a matrix, a minute an evaluation."""
MAX_COUPLING = 10**8
"""Most entries of the coupling of crossed factors: 0.8 GB, of which four are kept at a time."""


def segment_sum(index: IntArray, size: int) -> csr_array:
    """Return the matrix [size, len(index)] that sums rows with the same index."""
    ones = np.ones(len(index))
    return csr_array((ones, (index, np.arange(len(index)))), shape=(size, len(index)))


@dataclass(frozen=True)
class Solution:
    """Posterior of the columns, each over its standard deviation.

    Parameters
    ----------
    log_evidence : float
        ½ quadratic − ½ log determinant (and 2π of flat columns): what the locations add to the
        sum of the messages' constants.
    dense_mean, dense_cov : ndarray, [R], [R, R]
        Of the dense columns.
    level_mean : ndarray, [L, d]
        Of the eliminated factor.
    level_inverse : ndarray, [L, d, d]
        Its covariance given the dense columns.
    gain : ndarray
        By how much the eliminated factor falls as the dense columns rise: [L, d, m] on the columns
        of its one cell if nested, else [L, d, R].
    """

    log_evidence: float
    dense_mean: FloatArray
    dense_cov: FloatArray
    level_mean: FloatArray
    level_inverse: FloatArray
    gain: FloatArray

    @cached_property
    def falls(self) -> FloatArray:
        """Gain times dense covariance, [L, d, R]: minus the covariance of levels and columns."""
        R = len(self.dense_mean)
        return np.asarray((self.gain.reshape(-1, R) @ self.dense_cov).reshape(self.gain.shape))

    @cached_property
    def level_cov(self) -> FloatArray:
        """Covariance of each level of an eliminated factor that crosses others, [L, d, d]."""
        if self.gain.shape[1] == 1:
            variance = np.einsum("lr,lr->l", self.falls[:, 0], self.gain[:, 0])
            return np.asarray(self.level_inverse + variance[:, None, None])
        own = np.matmul(self.falls, self.gain.transpose(0, 2, 1))
        return np.asarray(self.level_inverse + own)


class LinearSystem:
    """Assembles and solves the normal equations of the locations, again for each set of scales.

    Parameters
    ----------
    arrangement : Arrangement
        Which columns there are.
    n_entries : int
        D, the entries of a location.
    """

    def __init__(self, arrangement: Arrangement, n_entries: int) -> None:
        self.arrangement = arrangement
        self.n_entries = n_entries
        R = arrangement.n_dense
        eliminated = 0 if arrangement.eliminated is None else arrangement.eliminated.size
        coupling = 0 if arrangement.nested else eliminated * R
        if R > MAX_DENSE or coupling > MAX_COUPLING:
            raise RTRidgeError(
                f"hierarchy: {eliminated} effects of one factor cross {R} of the others, expected "
                f"at most {MAX_DENSE} of the others and a product of {MAX_COUPLING:.0e}; use a "
                "global slope head, fewer descriptor heads, or fit parts of the data"
            )
        at = arrangement
        self._to_joint = segment_sum(at.joint_of_pair, at.n_joints)
        self._to_cell = segment_sum(at.cell_of_joint, at.n_cells)
        levels = at.eliminated.n_levels if at.eliminated else 0
        self._to_level = segment_sum(at.level_of_joint, max(levels, 1))
        cells = at.cell_columns
        self._square = (cells[:, :, None] * R + cells[:, None, :]).ravel()

    @cached_property
    def _cross(self) -> IntArray:
        """Where the entries [n_joints, d, m] of the coupling stand in [L, d, R]."""
        at = self.arrangement
        assert at.eliminated is not None
        d, R = len(at.eliminated.rows), at.n_dense
        row = at.level_of_joint[:, None] * d + np.arange(d)
        columns = at.cell_columns[at.cell_of_joint]
        return np.asarray((row[:, :, None] * R + columns[:, None, :]).ravel())

    def solve(
        self,
        precision: FloatArray,
        linear: FloatArray,
        scales: FloatArray,
        prior: tuple[float, float] | None,
        *,
        profile: bool,
    ) -> Solution:
        """Return the posterior of all columns.

        Parameters
        ----------
        precision, linear : ndarray, [G, D, D], [G, D]
            Messages of the pairs.
        scales : ndarray
            Standard deviations that the arrangement points to.
        prior : tuple of float, or None
            Mean and standard deviation of the grand intercept, the first flat column.
        profile : bool
            Maximise over flat columns (`ml`) instead of integrating over them.
        """
        J, h = self._joints(precision, linear)
        S, b = self._dense_part(J, h, scales)
        evidence = _add_prior(S, b, self.arrangement, prior)
        if self.arrangement.eliminated is None:
            empty = np.zeros((0, 0))
            found = solve_dense(S, b, self.arrangement.n_flat, profile)
            return Solution(
                evidence + found[0], *found[1:], empty, empty[:, :, None], empty[:, :, None]
            )
        A, c, B = self._level_part(J, h, scales)
        root, log_det = inverse_root(A)
        inverse = np.matmul(root.transpose(0, 2, 1), root)
        y = np.einsum("lij,lj->li", inverse, c)
        half = blockwise(root, B)
        evidence += float(np.einsum("li,li->", c, y)) / 2 - log_det / 2
        self._subtract(S, b, half, np.einsum("lij,lj->li", root, c))
        gain = blockwise(root.transpose(0, 2, 1), half)
        log_evidence, mean, cov = solve_dense(S, b, self.arrangement.n_flat, profile)
        seen = mean[self._level_columns] if self.arrangement.nested else None
        fall = gain @ mean if seen is None else np.einsum("ldm,lm->ld", gain, seen)
        return Solution(evidence + log_evidence, mean, cov, y - fall, inverse, gain)

    @cached_property
    def level_cell(self) -> IntArray:
        """The one cell of each level of a nested factor, [L]."""
        cell = np.empty(self.arrangement.n_joints, dtype=np.int64)
        cell[self.arrangement.level_of_joint] = self.arrangement.cell_of_joint
        return cell

    @cached_property
    def _level_columns(self) -> IntArray:
        return self.arrangement.cell_columns[self.level_cell]

    def _joints(self, precision: FloatArray, linear: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sum messages over the pairs of each joint."""
        size = self.n_entries
        J = self._to_joint @ precision.reshape(len(precision), -1)
        return J.reshape(-1, size, size), self._to_joint @ linear

    def _dense_part(
        self, J: FloatArray, h: FloatArray, scales: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return precision [R, R] and linear term [R] of the dense columns alone."""
        at, size = self.arrangement, self.n_entries
        R = at.n_dense
        Jc = (self._to_cell @ J.reshape(len(J), -1)).reshape(-1, size, size)
        hc = self._to_cell @ h
        blocks = Jc[:, at.rows[:, None], at.rows[None, :]]
        terms = hc[:, at.rows]
        if at.cell_weights is not None:
            blocks = blocks * at.cell_weights[:, :, None] * at.cell_weights[:, None, :]
            terms = terms * at.cell_weights
        s = dense_scales(at, scales)
        sums = np.bincount(self._square, blocks.ravel(), R * R).reshape(R, R)
        b = np.bincount(at.cell_columns.ravel(), terms.ravel(), R)
        S: FloatArray = sums * s[:, None] * s[None, :]
        S[np.diag_indices(R)] += at.scale != FLAT
        return S, b * s

    def _level_part(
        self, J: FloatArray, h: FloatArray, scales: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return precision [L, d, d] and linear term [L, d] of the eliminated, and coupling."""
        at = self.arrangement
        e = at.eliminated
        assert e is not None
        d, R, L = len(e.rows), at.n_dense, e.n_levels
        own = J[:, e.rows[:, None], e.rows[None, :]]
        terms = h[:, e.rows]
        coupling = J[:, e.rows[:, None], at.rows[None, :]]
        if at.joint_weights is not None and at.cell_weights is not None:
            w = at.joint_weights
            own = own * w[:, :, None] * w[:, None, :]
            terms = terms * w
            coupling = coupling * w[:, :, None] * at.cell_weights[at.cell_of_joint][:, None, :]
        s = scales[e.scale]
        A = (self._to_level @ own.reshape(len(own), -1)).reshape(L, d, d)
        A = A * s[:, :, None] * s[:, None, :]
        A[:, np.arange(d), np.arange(d)] += 1
        c = (self._to_level @ terms) * s
        sR = dense_scales(at, scales)
        if at.nested:
            B = (self._to_level @ coupling.reshape(len(coupling), -1)).reshape(L, d, -1)
            return A, c, B * s[:, :, None] * sR[self._level_columns][:, None, :]
        B = np.bincount(self._cross, coupling.ravel(), L * d * R).reshape(L, d, R)
        return A, c, B * s[:, :, None] * sR

    def _subtract(self, S: FloatArray, b: FloatArray, half: FloatArray, c: FloatArray) -> None:
        """Take what the eliminated factor explains out of the dense system, in place.

        `half` and `c` are its coupling and linear term over the root of its precision; of `S` only
        the lower triangle is kept right, the one that is factorised.
        """
        at = self.arrangement
        R = at.n_dense
        if not at.nested:
            flat = half.reshape(-1, R)
            S -= blas.dsyrk(1.0, flat.T, lower=1)
            b -= flat.T @ c.ravel()
            return
        sums = segment_sum(self.level_cell, at.n_cells)
        explained = np.matmul(half.transpose(0, 2, 1), half).reshape(len(half), -1)
        S -= np.bincount(self._square, (sums @ explained).ravel(), R * R).reshape(R, R)
        terms = sums @ np.einsum("ldm,ld->lm", half, c)
        b -= np.bincount(at.cell_columns.ravel(), terms.ravel(), R)


def dense_scales(arrangement: Arrangement, scales: FloatArray) -> FloatArray:
    """Return the standard deviation of each dense column, 1 where its prior is flat."""
    # FLAT points to the last entry.
    return np.append(scales, 1.0)[arrangement.scale]


def _add_prior(
    S: FloatArray, b: FloatArray, arrangement: Arrangement, prior: tuple[float, float] | None
) -> float:
    """Add the grand intercept's normal prior in place; return its share of the log density."""
    if prior is None:
        return 0.0
    mean, sd = prior
    column = arrangement.n_dense - arrangement.n_flat
    S[column, column] += sd**-2
    b[column] += mean / sd**2
    return float(-np.log(sd) - (mean / sd) ** 2 / 2) - float(np.log(2 * np.pi)) / 2
