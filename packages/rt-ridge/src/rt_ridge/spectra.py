"""Within-pair sums in the coordinates where ridge shrinkage is a number a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray

_CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Spectra:
    """Eigendecomposition of L⁻¹ S_xx L⁻¹ for each pair, L = diag(√lambda).

    Parameters
    ----------
    root : ndarray, [P]
        √ of the ridge precisions (their pattern, where a common factor is estimated).
    d : ndarray, [G, P]
        Eigenvalues, not negative.
    basis : ndarray, [G, P, P]
        L U: from eigen-coordinates to covariates. ``basis.T @ m`` are the coordinates of slopes m.
    z : ndarray, [G, P]
        Coordinates of S_xy.
    h : ndarray, [G, P]
        Coordinates of the mean covariates.

    Notes
    -----
    With ψ = 1/λ and t = 1/(1 + ψd), every quantity of the ridge posterior is a sum over P
    directions, regular at ψ = 0 (slopes do not vary) as at any other value.
    """

    root: FloatArray
    d: FloatArray
    basis: FloatArray
    z: FloatArray
    h: FloatArray

    @property
    def dual(self) -> FloatArray:
        """L⁻¹ U, [G, P, P]: from eigen-coordinates to slopes."""
        return self.basis / (self.root**2)[:, None]


def decompose(
    sxx: FloatArray, sxy: FloatArray, mean_x: FloatArray, precision: FloatArray
) -> Spectra:
    """Decompose each pair's sums of squares, a chunk of pairs at a time.

    Parameters
    ----------
    sxx, sxy, mean_x : ndarray, [G, P, P], [G, P], [G, P]
        Centred sums and means.
    precision : ndarray, [P]
        Ridge precisions over σ⁻².
    """
    root = np.sqrt(precision)
    n_pairs, size = mean_x.shape
    d = np.empty((n_pairs, size))
    basis = np.empty((n_pairs, size, size))
    step = max(1, _CHUNK_BYTES // max(8 * size * size, 1))
    for start in range(0, n_pairs if size else 0, step):
        part = slice(start, start + step)
        values, vectors = np.linalg.eigh(sxx[part] / np.outer(root, root))
        # A direction without data has d = 0 exactly, not what rounding left.
        floor = size * np.finfo(float).eps * values.max(axis=1, keepdims=True)
        d[part] = np.where(values > floor, values, 0.0)
        basis[part] = root[:, None] * vectors
    inverse = basis / (root**2)[:, None]
    z = np.einsum("gpq,gp->gq", inverse, sxy)
    h = np.einsum("gpq,gp->gq", inverse, mean_x)
    return Spectra(root, d, basis, np.where(d > 0, z, 0.0), h)
