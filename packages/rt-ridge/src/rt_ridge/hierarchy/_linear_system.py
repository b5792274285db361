"""The joint Gaussian of all locations given the scales, solved by block elimination.

The levels above the pairs are columns of one linear system. The largest factor leaves it first, in
small Cholesky blocks by the thousand; what is left is dense.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray
from scipy.linalg import cho_solve, cholesky, lapack
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from rt_ridge._errors import RTRidgeError

FLAT = -1
"""In place of a scale: a flat prior (or the normal one of the grand intercept)."""

NO_DESCRIPTOR = -1
"""In place of a descriptor: the column adds its effect as it is."""

CROSSED = "parent_class"
"""The factor of classes within supercategories."""

UNSOLVABLE = (
    "scales: expected values at which the system of locations is positive definite; found none "
    "within rounding, at scales many orders of magnitude apart"
)
MAX_DENSE = 10_000
"""Most columns that stay dense: 0.8 GB per matrix, a minute per evaluation."""

MAX_COUPLING = 10**8
"""Most entries of the coupling of crossed factors: 0.8 GB, of which four exist at a time."""

WORTH_THREADS = 1_000
"""Dense coefficients from which on one product is worth sharing.

At 261 of them two threads that wait for each other take twice the time of one, and thrice where
two chains run side by side.
"""


@dataclass(frozen=True)
class Factor:
    """All effects that share one index: of compounds, of groups, ...

    Column j of a level adds ``weight * effect`` to entry ``rows[j]`` of the location [η, m].

    Parameters
    ----------
    name : str
        "global", "parent", "group", "compound", "class" or "parent_class".
    ids : ndarray of int64, [L]
        What the levels are in the data.
    level : ndarray of int64, [G]
        Level of each pair.
    rows : ndarray of int64, [d]
        Entry of the location that each column adds to.
    scale : ndarray of int64, [L, d]
        Place of each effect's standard deviation among the scales, or `FLAT`.
    descriptor : ndarray of int64, [d]
        Number of the descriptor that multiplies each column, or `NO_DESCRIPTOR`.
    weights : ndarray, [G, d], or None
        1 unless a column multiplies a descriptor.
    """

    name: str
    ids: IntArray
    level: IntArray
    rows: IntArray
    scale: IntArray
    descriptor: IntArray
    weights: FloatArray | None = None

    @property
    def described(self) -> npt.NDArray[np.bool_]:
        """Whether a descriptor multiplies each column, [d]."""
        return np.asarray(self.descriptor != NO_DESCRIPTOR)

    @property
    def n_levels(self) -> int:
        """Number of levels, L."""
        return len(self.ids)

    @property
    def size(self) -> int:
        """Number of columns of all levels, L d."""
        return self.scale.size


@dataclass(frozen=True)
class Arrangement:
    """Which factor is eliminated first, and where the columns of the others stand.

    Levels of the eliminated factor are independent of each other given all else, so that they
    leave the system block by block; the rest is dense. Pairs that differ in no level are summed
    first: *cells* are the distinct combinations of levels of the dense factors, and *joints* those
    of a cell and a level of the eliminated factor.

    Parameters
    ----------
    eliminated : Factor or None
        The factor that leaves first.
    dense : tuple of Factor
        The others.
    columns : dict
        For each dense factor, the place [L, d] of its columns; those with a flat prior come last.
    scale : ndarray of int64, [R]
        Place of the standard deviation of each dense column among the scales, or `FLAT`.
    cell_columns : ndarray of int64, [n_cells, m]
        Columns that act on a cell.
    rows : ndarray of int64, [m]
        Entry of the location that each of them adds to.
    cell_weights : ndarray, [n_cells, m], or None
        Their weights.
    joint_of_pair, cell_of_joint, level_of_joint : ndarray of int64, [G], [n_joints], [n_joints]
        The maps between pairs, joints, cells and levels.
    joint_weights : ndarray, [n_joints, d], or None
        Weights of the eliminated factor.
    """

    eliminated: Factor | None
    dense: tuple[Factor, ...]
    columns: dict[str, IntArray]
    scale: IntArray
    cell_columns: IntArray
    rows: IntArray
    cell_weights: FloatArray | None
    joint_of_pair: IntArray
    cell_of_joint: IntArray
    level_of_joint: IntArray
    joint_weights: FloatArray | None

    @property
    def n_dense(self) -> int:
        """Dense columns, R."""
        return len(self.scale)

    @property
    def n_flat(self) -> int:
        """Dense columns with a flat prior: the last ones."""
        return int((self.scale == FLAT).sum())

    @property
    def n_cells(self) -> int:
        """Distinct combinations of dense levels."""
        return len(self.cell_columns)

    @property
    def n_joints(self) -> int:
        """Distinct combinations of all levels."""
        return len(self.cell_of_joint)

    @property
    def nested(self) -> bool:
        """Whether each level of the eliminated factor lies in one cell: cost is then linear."""
        return self.eliminated is not None and self.n_joints == self.eliminated.n_levels


def arrange(factors: tuple[Factor, ...], compound: IntArray) -> Arrangement:
    """Choose the factor to eliminate, the largest, and number the columns of the rest.

    Parameters
    ----------
    factors : tuple of Factor
        All of them; those with flat priors only in "global".
    compound : ndarray of int64, [G]
        Compound of each pair, on which the weights of descriptors depend.
    """
    candidates = [f for f in factors if f.name != "global"]
    # The rest is dense and costs its cube, so the largest factor leaves.
    eliminated = max(candidates, key=lambda f: f.size, default=None)
    dense = tuple(f for f in factors if f is not eliminated)
    columns, scale = _number(dense)
    weighted = any(f.weights is not None for f in factors)
    # Weights of descriptors differ by compound: only its own pairs may then share a cell.
    keys = [f.level for f in dense] + ([compound] if weighted else [])
    n_pairs = len(compound)
    cell_first, cell = _distinct(keys, n_pairs)
    level = np.zeros(n_pairs, dtype=np.int64) if eliminated is None else eliminated.level
    joint_first, joint = _distinct([level, cell], n_pairs)
    if len(joint_first) == n_pairs:
        # In the order of the pairs, so that neither need be copied into the other's.
        joint_first = joint = np.arange(n_pairs)
    return Arrangement(
        eliminated=eliminated,
        dense=dense,
        columns=columns,
        scale=scale,
        cell_columns=_stack([columns[f.name][f.level[cell_first]] for f in dense], len(cell_first)),
        rows=np.concatenate([f.rows for f in dense]) if dense else np.zeros(0, dtype=np.int64),
        cell_weights=_weights(dense, cell_first) if weighted else None,
        joint_of_pair=joint,
        cell_of_joint=cell[joint_first],
        level_of_joint=level[joint_first],
        joint_weights=_weights((eliminated,), joint_first) if weighted and eliminated else None,
    )


def _number(dense: tuple[Factor, ...]) -> tuple[dict[str, IntArray], IntArray]:
    """Place the columns of the dense factors, flat ones last."""
    scale = np.concatenate([f.scale.ravel() for f in dense]) if dense else np.zeros(0, np.int64)
    # Flat columns last: `solve_dense` profiles the trailing block.
    order = np.argsort(scale == FLAT, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    columns, start = {}, 0
    for factor in dense:
        columns[factor.name] = place[start : start + factor.size].reshape(factor.scale.shape)
        start += factor.size
    return columns, scale[order]


def _distinct(keys: list[IntArray], n_pairs: int) -> tuple[IntArray, IntArray]:
    """Return the first pair of each distinct combination, and the combination of each pair."""
    code = np.zeros(n_pairs, dtype=np.int64)
    for key in keys:
        # Renumbered after each key, so that no code overflows.
        joined = code * (int(key.max()) + 1) + key
        code = np.unique(joined, return_inverse=True)[1]
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return first, inverse


def _stack(parts: list[IntArray], n_rows: int) -> IntArray:
    return np.concatenate(parts, axis=1) if parts else np.zeros((n_rows, 0), dtype=np.int64)


def _weights(factors: tuple[Factor, ...], pairs: IntArray) -> FloatArray:
    ones = [np.ones((len(pairs), len(f.rows))) for f in factors]
    parts = [
        one if f.weights is None else f.weights[pairs] for f, one in zip(factors, ones, strict=True)
    ]
    return np.concatenate(parts, axis=1) if parts else np.ones((len(pairs), 0))


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
        alone = at.n_joints == len(at.joint_of_pair)
        self._to_joint = None if alone else segment_sum(at.joint_of_pair, at.n_joints)
        self._to_cell = segment_sum(at.cell_of_joint, at.n_cells)
        cells = at.cell_columns
        self._square = (cells[:, :, None] * R + cells[:, None, :]).ravel()

    @cached_property
    def level_maps(self) -> tuple[csr_array, csr_array, csr_array]:
        """From h [n, D] and J [n, D, D] of the joints to what they say of the eliminated factor.

        That is its linear term [L, d], its precision [L, d, d], and its coupling: to the columns of
        its one cell [L, d, m] if nested, else to all [L, d, R]; all raveled, and effects not over
        their standard deviations. Transposed, they take moments of effects to those of locations.
        """
        at, D = self.arrangement, self.n_entries
        e = at.eliminated
        assert e is not None
        n, d, m = at.n_joints, len(e.rows), len(at.rows)
        columns = np.tile(np.arange(m), (n, 1)) if at.nested else at.cell_columns[at.cell_of_joint]
        width = m if at.nested else at.n_dense
        effect = at.level_of_joint[:, None] * d + np.arange(d)
        entry = np.arange(n)[:, None] * D + e.rows
        weight, other = np.ones((n, d)), np.ones((n, m))
        if at.joint_weights is not None and at.cell_weights is not None:
            weight, other = at.joint_weights, at.cell_weights[at.cell_of_joint]
        effects, entries, weights = effect[:, :, None], D * entry[:, :, None], weight[:, :, None]
        return (
            weighted_sum(weight, effect, entry, (e.size, n * D)),
            weighted_sum(
                weights * weight[:, None, :],
                effects * d + np.arange(d),
                entries + e.rows,
                (e.size * d, n * D**2),
            ),
            weighted_sum(
                weights * other[:, None, :],
                effects * width + columns[:, None, :],
                entries + at.rows,
                (e.size * width, n * D**2),
            ),
        )

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
        # Columns are over their standard deviations: prior precisions are 1, and a scale of
        # exactly 0 is an ordinary value.
        J, h = self._joints(precision, linear)
        S, b = self._dense_part(J, h, scales)
        evidence = add_prior(S, b, self.arrangement, prior)
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
        # Schur complement S − BᵀA⁻¹B, as half = A^(−½)B.
        self._subtract(S, b, half, np.einsum("lij,lj->li", root, c))
        # In the place of the coupling: memory that is new takes longer than the product.
        gain = blockwise(root.transpose(0, 2, 1), half, out=B)
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

    @cached_property
    def _levels_to_cell(self) -> csr_array:
        return segment_sum(self.level_cell, self.arrangement.n_cells)

    def _joints(self, precision: FloatArray, linear: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Sum messages over the pairs of each joint."""
        size = self.n_entries
        if self._to_joint is None:
            return precision, linear
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
        # Prior precision: 1 of a standardised effect, 0 of a flat one.
        S[np.diag_indices(R)] += at.scale != FLAT
        return S, b * s

    def _level_part(
        self, J: FloatArray, h: FloatArray, scales: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return precision [L, d, d] and linear term [L, d] of the eliminated, and coupling."""
        at = self.arrangement
        e = at.eliminated
        assert e is not None
        terms, own, coupling = self.level_maps
        s = scales[e.scale]
        L, d = s.shape
        # Scaled after it is summed, as `_dense_part` is: at the edge of rounding both must agree.
        A = (own @ J.ravel()).reshape(L, d, d)
        A *= s[:, :, None]
        A *= s[:, None, :]
        # Prior precision of the standardised effects.
        A[:, np.arange(d), np.arange(d)] += 1
        c = (terms @ h.ravel()).reshape(L, d) * s
        B = (coupling @ J.ravel()).reshape(L, d, -1)
        B *= s[:, :, None]
        B *= self.coupled_scales(scales)
        return A, c, B

    def coupled_scales(self, scales: FloatArray) -> FloatArray:
        """Return the standard deviations of the columns in the coupling, [L, 1, m] or [R]."""
        sR = dense_scales(self.arrangement, scales)
        return sR[self._level_columns][:, None, :] if self.arrangement.nested else sR

    def _subtract(self, S: FloatArray, b: FloatArray, half: FloatArray, c: FloatArray) -> None:
        """Take what the eliminated factor explains out of the dense system, in place.

        `half` and `c` are its coupling and linear term over the root of its precision.
        """
        at = self.arrangement
        R = at.n_dense
        if not at.nested:
            flat = half.reshape(-1, R)
            # Of one array numpy takes half the product and lets other chains go on meanwhile, as
            # `scipy.linalg.blas` does not.
            S -= flat.T @ flat
            b -= flat.T @ c.ravel()
            return
        sums = self._levels_to_cell
        explained = np.matmul(half.transpose(0, 2, 1), half).reshape(len(half), -1)
        S -= np.bincount(self._square, (sums @ explained).ravel(), R * R).reshape(R, R)
        terms = sums @ np.einsum("ldm,ld->lm", half, c)
        b -= np.bincount(at.cell_columns.ravel(), terms.ravel(), R)


def dense_scales(arrangement: Arrangement, scales: FloatArray) -> FloatArray:
    """Return the standard deviation of each dense column, 1 where its prior is flat."""
    # FLAT points to the last entry.
    return np.append(scales, 1.0)[arrangement.scale]


def segment_sum(index: IntArray, size: int) -> csr_array:
    """Return the matrix [size, len(index)] that sums rows with the same index."""
    return weighted_sum(np.ones(len(index)), index, np.arange(len(index)), (size, len(index)))


def weighted_sum(
    weights: FloatArray, to: IntArray, of: IntArray, shape: tuple[int, int]
) -> csr_array:
    """Return the matrix that adds weighted entries `of` a vector to the entries `to` of another."""
    # Products read all indices: as short as they may be.
    kind = np.int32 if max(*shape, weights.size) < 2**31 else np.int64
    places = to.ravel().astype(kind), of.ravel().astype(kind)
    return csr_array((weights.ravel(), places), shape=shape)


def add_prior(
    S: FloatArray, b: FloatArray, arrangement: Arrangement, prior: tuple[float, float] | None
) -> float:
    """Add the grand intercept's normal prior in place; return its share of the log density."""
    if prior is None:
        return 0.0
    mean, sd = prior
    # The grand intercept is the first flat column.
    column = arrangement.n_dense - arrangement.n_flat
    S[column, column] += sd**-2
    b[column] += mean / sd**2
    return float(-np.log(sd) - (mean / sd) ** 2 / 2) - float(np.log(2 * np.pi)) / 2


class UnsolvableError(RTRidgeError):
    """Scales so far apart that rounding leaves no positive definite system."""


def blockwise(A: FloatArray, B: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """Return the products of [L, d, d] and [L, d, m] blocks; blocks of one entry are scaled."""
    product = np.multiply if A.shape[1] == 1 else np.matmul
    return np.asarray(product(A, B, out=out))


def inverse_root(A: FloatArray) -> tuple[FloatArray, float]:
    """Return the inverse Cholesky factors of [L, d, d] blocks and the blocks' log determinant."""
    if A.shape[1] == 1:
        return 1 / np.sqrt(A), float(np.log(A).sum())
    try:
        factor = np.linalg.cholesky(A)
    except np.linalg.LinAlgError:
        raise UnsolvableError(UNSOLVABLE) from None
    diagonal = np.diagonal(factor, axis1=1, axis2=2)
    return np.linalg.inv(factor), 2 * float(np.log(diagonal).sum())


def solve_dense(
    S: FloatArray, b: FloatArray, n_flat: int, profile: bool
) -> tuple[float, FloatArray, FloatArray]:
    """Return log evidence, mean and covariance; flat columns come last."""
    R = len(b)
    if R == 0:
        return 0.0, b, S
    try:
        factor = cholesky(S, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        raise UnsolvableError(UNSOLVABLE) from None
    mean = cho_solve((factor, True), b, check_finite=False)
    log_diagonal = np.log(np.diagonal(factor))
    n_random = R - n_flat
    quadratic = float(b @ mean) / 2
    # Integrated with density 1 each flat column adds ½ log 2π to the evidence.
    if not profile:
        evidence = quadratic - float(log_diagonal.sum()) + n_flat * float(np.log(2 * np.pi)) / 2
        return evidence, mean, _inverse(factor)
    # Maximised over, flat columns count as known and add no determinant.
    cov = np.zeros_like(S)
    cov[:n_random, :n_random] = _inverse(factor[:n_random, :n_random])
    return quadratic - float(log_diagonal[:n_random].sum()), mean, cov


def _inverse(factor: FloatArray) -> FloatArray:
    """Return the inverse of the matrix whose Cholesky factor is given."""
    if not len(factor):
        return factor
    # `dpotri` fills one triangle alone.
    lower = np.tril(lapack.dpotri(np.asfortranarray(factor), lower=1)[0])
    inverse: FloatArray = lower + lower.T
    inverse[np.diag_indices(len(factor))] /= 2
    return inverse


@contextmanager
def matched_threads(n_dense: int) -> Iterator[None]:
    """Let the linear algebra library use one thread where systems are small.

    Parameters
    ----------
    n_dense : int
        Coefficients of the dense system.
    """
    if n_dense >= WORTH_THREADS:
        yield
        return
    with threadpool_limits(limits=1, user_api="blas"):
        yield
