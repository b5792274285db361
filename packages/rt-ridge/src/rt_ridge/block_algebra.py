"""Cholesky algebra of small blocks by the thousand, and of one dense system."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray
from scipy.linalg import cho_solve, cholesky, lapack

from rt_ridge.errors import RTRidgeError

UNSOLVABLE = (
    "scales: expected values at which the system of locations is positive definite; found none "
    "within rounding, at scales many orders of magnitude apart"
)


class UnsolvableError(RTRidgeError):
    """Scales so far apart that rounding leaves no positive definite system."""


def blockwise(A: FloatArray, B: FloatArray) -> FloatArray:
    """Return the products of [L, d, d] and [L, d, m] blocks; blocks of one entry are scaled."""
    return A * B if A.shape[1] == 1 else np.matmul(A, B)


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
    if not profile:
        evidence = quadratic - float(log_diagonal.sum()) + n_flat * float(np.log(2 * np.pi)) / 2
        return evidence, mean, _inverse(factor)
    cov = np.zeros_like(S)
    cov[:n_random, :n_random] = _inverse(factor[:n_random, :n_random])
    return quadratic - float(log_diagonal[:n_random].sum()), mean, cov


def _inverse(factor: FloatArray) -> FloatArray:
    """Return the inverse of the matrix whose Cholesky factor is given."""
    if not len(factor):
        return factor
    lower = np.tril(lapack.dpotri(np.asfortranarray(factor), lower=1)[0])
    inverse: FloatArray = lower + lower.T
    inverse[np.diag_indices(len(factor))] /= 2
    return inverse
