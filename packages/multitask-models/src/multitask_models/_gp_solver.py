"""Solves with the covariance of observed pairs, by the cheapest exact road, or by inducing points.

With n labels of T tasks over M molecules and B = W W' + diag(v), W [T, R], the covariance is

    C = blockdiag_t(D_t) + U U',   D_t = v_t K_t + noise_t,   U_t = w_t' (x) L_t,   K = L L'

where K_t and L_t are the rows of the molecules that task t has labels for. Then

    C^-1 = D^-1 - D^-1 U G^-1 U' D^-1,   G = I + sum_t (w_t w_t') (x) (L_t' D_t^-1 L_t)

costs one Cholesky factor of R M and one a task, instead of one of n: 25 000 labels of nine tasks
over 5 000 molecules need systems of 5 000 to 10 000 instead of 25 000. The same formula with L of q
columns, from q inducing molecules, and the rest of the variance on the diagonal is FITC (Snelson
and Ghahramani 2006).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import scipy.linalg
from molpool_common import FloatArray, IntArray

from multitask_models._gp_likelihood import Pairs, Scales, inverse_of_factor
from multitask_models._kernels import KernelSum, cholesky_with_jitter

STRIP = 1024
"""Columns of a staircase that are solved for at a time."""

COLUMNS = 2048
"""Columns that are handled at a time where a product would else be as large as a factor."""


class Solver(Protocol):
    """What the Gaussian process asks of a factorised covariance of n labels."""

    name: str

    def solve(self, rhs: FloatArray) -> FloatArray:
        """Return C^-1 rhs [n] or [n, k]."""

    def log_determinant(self) -> float:
        """Return log |C|."""

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of C^-1 [n]."""

    def explained(self, cross: FloatArray) -> FloatArray:
        """Return c' C^-1 c [T, N] for the pairs of each task and N molecules.

        `cross` [M, N] is their kernel with the training molecules; c is that by B.
        """


class DenseSolver:
    """One Cholesky factor of all labels."""

    name = "dense"

    def __init__(self, kernel: FloatArray, scales: Scales, pairs: Pairs) -> None:
        self._pairs, self._tasks = pairs, scales.tasks
        covariance = kernel[np.ix_(pairs.molecule, pairs.molecule)]
        covariance *= self._tasks[np.ix_(pairs.task, pairs.task)]
        covariance[np.diag_indices(len(pairs))] += pairs.noise(scales.noise)
        self._factor, _ = cholesky_with_jitter(covariance, "covariance of labels")

    def solve(self, rhs: FloatArray) -> FloatArray:
        """Return C^-1 rhs."""
        return np.asarray(scipy.linalg.cho_solve((self._factor, True), rhs, check_finite=False))

    def log_determinant(self) -> float:
        """Return log |C|."""
        return 2 * float(np.log(self._factor.diagonal()).sum())

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of C^-1."""
        return inverse_of_factor(self._factor).diagonal().copy()

    def explained(self, cross: FloatArray) -> FloatArray:
        """Return c' C^-1 c by task and molecule."""
        rows = cross[self._pairs.molecule]
        out = np.empty((len(self._tasks), cross.shape[1]))
        for task, with_task in enumerate(self._tasks):
            half = _half_solve(self._factor, rows * with_task[self._pairs.task][:, None])
            out[task] = np.einsum("ij,ij->j", half, half)
        return out


class DenseBlock:
    """D_t = v_t K_t + noise, as it is."""

    def __init__(self, kernel: FloatArray, specific: float, noise: FloatArray) -> None:
        covariance = specific * kernel
        covariance[np.diag_indices(len(noise))] += noise
        self._factor, _ = cholesky_with_jitter(covariance, "covariance of a task")

    def solve(self, rhs: FloatArray) -> FloatArray:
        """Return D_t^-1 rhs."""
        return np.asarray(scipy.linalg.cho_solve((self._factor, True), rhs, check_finite=False))

    def gram(self, factor: FloatArray) -> FloatArray:
        """Return L_t' D_t^-1 L_t, symmetric to the last digit.

        L_t is a staircase, rows of a lower triangle: zeros above a strip's first value stay zero
        in the solve, and take no part. That leaves a third of the work.
        """
        q = factor.shape[1]
        half, out = np.zeros_like(factor, order="F"), np.zeros((q, q))
        for start in range(0, q, STRIP):
            stop = min(start + STRIP, q)
            filled = np.flatnonzero(factor[:, start:stop].any(axis=1))
            if not filled.size:
                continue
            rows = slice(filled[0], None)
            half[rows, start:stop] = _half_solve(self._factor[rows, rows], factor[rows, start:stop])
            out[start:stop, :stop] = half[rows, start:stop].T @ half[rows, :stop]
        lower = np.tril(out)
        lower += np.tril(out, -1).T
        return np.asarray(lower)

    def log_determinant(self) -> float:
        """Return log |D_t|."""
        return 2 * float(np.log(self._factor.diagonal()).sum())

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of D_t^-1."""
        return inverse_of_factor(self._factor).diagonal().copy()


class InducedBlock:
    """D_t = v_t L_t L_t' + diagonal, by the matrix inversion lemma."""

    def __init__(self, factor: FloatArray, specific: float, diagonal: FloatArray) -> None:
        self._factor, self._diagonal = np.sqrt(specific) * factor, diagonal
        self._root = np.sqrt(specific)
        inner = _gram(self._factor / np.sqrt(diagonal)[:, None])
        inner[np.diag_indices(len(inner))] += 1
        self._inner, _ = cholesky_with_jitter(inner, "covariance of a task")

    def solve(self, rhs: FloatArray) -> FloatArray:
        """Return D_t^-1 rhs."""
        scaled = (rhs.T / self._diagonal).T
        inner = scipy.linalg.cho_solve(
            (self._inner, True), self._factor.T @ scaled, check_finite=False
        )
        return np.asarray(scaled - ((self._factor @ inner).T / self._diagonal).T)

    def gram(self, factor: FloatArray) -> FloatArray:
        """Return L_t' D_t^-1 L_t; `factor` is the one that the block was made from.

        With S = v L' diag^-1 L it is (S - S (I + S)^-1 S) / v = (I - (I + S)^-1) / v.
        """
        inverse = inverse_of_factor(self._inner)
        return np.asarray((np.eye(len(inverse)) - inverse) / self._root**2)

    def log_determinant(self) -> float:
        """Return log |D_t|."""
        inner = 2 * float(np.log(self._inner.diagonal()).sum())
        return inner + float(np.log(self._diagonal).sum())

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of D_t^-1."""
        half = _half_solve(self._inner, self._factor.T)
        return np.asarray(1 / self._diagonal - (half**2).sum(axis=0) / self._diagonal**2)


class FactorSolver:
    """Blocks by task, and one system of the factors that they share.

    Parameters
    ----------
    factor : FloatArray [M, q]
        L: the Cholesky factor of the kernel (exact), or that of q inducing molecules.
    blocks : sequence of DenseBlock or InducedBlock
        D_t for each task.
    scales : Scales
    pairs : Pairs
    name : str
        `factors` or `inducing`.
    """

    def __init__(
        self,
        factor: FloatArray,
        blocks: Sequence[DenseBlock | InducedBlock],
        scales: Scales,
        pairs: Pairs,
        name: str,
    ) -> None:
        self.name = name
        self._factor, self._blocks, self._pairs = factor, blocks, pairs
        self._loadings, self._tasks = scales.loadings, scales.tasks
        self._spans = pairs.spans(len(blocks))
        self._inner = self._shared_system() if scales.loadings.shape[1] else np.zeros((0, 0))

    def _each(self) -> Iterator[tuple[int, DenseBlock | InducedBlock, slice, IntArray]]:
        """Tasks that have labels: number, block, where they stand, and their molecules."""
        for task, (block, span) in enumerate(zip(self._blocks, self._spans, strict=True)):
            if span.stop > span.start:
                yield task, block, span, self._pairs.molecule[span]

    def _shared_system(self) -> FloatArray:
        """Return the factor of G [R q, R q]."""
        q, rank = self._factor.shape[1], self._loadings.shape[1]
        # LAPACK's own order of memory, so that the factor takes the matrix's place.
        inner = np.zeros((rank * q, rank * q), order="F")
        for task, block, _, molecules in self._each():
            gram = block.gram(self._factor[molecules])
            loading = self._loadings[task]
            for r in range(rank):
                for s in range(r + 1):
                    rows, columns = slice(r * q, (r + 1) * q), slice(s * q, (s + 1) * q)
                    inner[rows, columns] += loading[r] * loading[s] * gram
        inner[np.diag_indices(len(inner))] += 1
        return np.asarray(
            scipy.linalg.cholesky(inner, lower=True, overwrite_a=True, check_finite=False)
        )

    def _project(self, solved: FloatArray, molecules: IntArray) -> FloatArray:
        return np.asarray(self._factor[molecules].T @ solved)

    def solve(self, rhs: FloatArray) -> FloatArray:
        """Return C^-1 rhs."""
        out = np.empty_like(rhs, dtype=np.float64)
        rank, q = self._loadings.shape[1], self._factor.shape[1]
        shared = np.zeros((rank, q, *rhs.shape[1:]))
        for task, block, span, molecules in self._each():
            out[span] = block.solve(rhs[span])
            if rank:
                shared += np.multiply.outer(
                    self._loadings[task], self._project(out[span], molecules)
                )
        if not rank:
            return out
        flat = shared.reshape(rank * q, -1)
        inner = scipy.linalg.cho_solve((self._inner, True), flat, check_finite=False)
        inner = inner.reshape(shared.shape)
        for task, block, span, molecules in self._each():
            mixed = np.tensordot(self._loadings[task], inner, axes=1)
            out[span] -= block.solve(self._factor[molecules] @ mixed)
        return out

    def log_determinant(self) -> float:
        """Return log |C|."""
        inner = 2 * float(np.log(self._inner.diagonal()).sum())
        return inner + sum(block.log_determinant() for _, block, _, _ in self._each())

    def inverse_diagonal(self) -> FloatArray:
        """Return the diagonal of C^-1."""
        out = np.empty(len(self._pairs))
        rank, q = self._loadings.shape[1], self._factor.shape[1]
        inverse = inverse_of_factor(self._inner) if rank else self._inner
        for task, block, span, molecules in self._each():
            out[span] = block.inverse_diagonal()
            if not rank:
                continue
            loading = self._loadings[task]
            middle = np.zeros((q, q))
            for r in range(rank):
                for s in range(rank):
                    part = inverse[r * q : (r + 1) * q, s * q : (s + 1) * q]
                    middle += loading[r] * loading[s] * part
            solved = block.solve(self._factor[molecules])
            for start in range(0, len(solved), COLUMNS):
                rows = slice(start, start + COLUMNS)
                product = solved[rows] @ middle
                out[span][rows] -= np.einsum("ij,ij->i", product, solved[rows])
        return out

    def explained(self, cross: FloatArray) -> FloatArray:
        """Return c' C^-1 c by task and molecule."""
        n_tasks, width = len(self._tasks), cross.shape[1]
        rank, q = self._loadings.shape[1], self._factor.shape[1]
        own = np.zeros((n_tasks, width))
        projected = np.zeros((n_tasks, q, width))
        for task, block, _, molecules in self._each():
            solved = block.solve(cross[molecules])
            own[task] = np.einsum("ij,ij->j", cross[molecules], solved)
            projected[task] = self._project(solved, molecules)
        total = (self._tasks**2) @ own
        if not rank:
            return total
        for task, with_task in enumerate(self._tasks):
            mixing = with_task[:, None] * self._loadings
            shared = np.tensordot(mixing.T, projected, axes=1).reshape(rank * q, width)
            half = _half_solve(self._inner, shared)
            total[task] -= np.einsum("ij,ij->j", half, half)
        return np.asarray(total)


def exact_factors(kernel: FloatArray, scales: Scales, pairs: Pairs) -> FactorSolver:
    """Return the solver whose factor is that of the whole kernel [M, M]; `kernel` is overwritten.

    A kernel that is singular, as where a molecule stands twice, gets the jitter of
    `cholesky_with_jitter`, in the factor as in the blocks.
    """
    factor, _ = cholesky_with_jitter(kernel, "kernel of molecules")
    spans = pairs.spans(len(scales.noise))
    noise = pairs.noise(scales.noise)
    blocks = []
    for specific, span in zip(scales.specific, spans, strict=True):
        molecules = pairs.molecule[span]
        blocks.append(DenseBlock(kernel[np.ix_(molecules, molecules)], specific, noise[span]))
    return FactorSolver(factor, blocks, scales, pairs, "factors")


class InducingPoints:
    """The kernel as seen through some training molecules.

    Parameters
    ----------
    kernel : KernelSum
    prepared : sequence of FloatArray [M, F_k]
        Training molecules.
    chosen : IntArray [q]
        Which of them are the inducing ones.

    Attributes
    ----------
    training : FloatArray [M, q]
        Their factor.
    """

    def __init__(self, kernel: KernelSum, prepared: Sequence[FloatArray], chosen: IntArray) -> None:
        self.chosen = chosen
        self._kernel, self._seeds = kernel, [part[chosen] for part in prepared]
        self._root, _ = cholesky_with_jitter(
            kernel.square(self._seeds), "kernel of inducing molecules"
        )
        self.training = self.factor(prepared)

    def factor(self, prepared: Sequence[FloatArray]) -> FloatArray:
        """Return L [N, q] of molecules; L L' is their kernel through the inducing ones."""
        cross = self._kernel.matrix(self._seeds, prepared)
        return np.ascontiguousarray(_half_solve(self._root, cross).T)


def inducing_factors(factor: FloatArray, scales: Scales, pairs: Pairs) -> FactorSolver:
    """Return the FITC solver of a factor [M, q] of inducing molecules.

    What the factor leaves of each molecule's variance, 1 - |L_m|^2, is on the diagonal.
    """
    rest = np.maximum(1 - np.einsum("ij,ij->i", factor, factor), 0.0)
    noise = pairs.noise(scales.noise)
    noise += scales.tasks.diagonal()[pairs.task] * rest[pairs.molecule]
    blocks: list[DenseBlock | InducedBlock] = []
    for specific, span in zip(scales.specific, pairs.spans(len(scales.noise)), strict=True):
        rows = factor[pairs.molecule[span]]
        if len(rows) > factor.shape[1]:
            blocks.append(InducedBlock(rows, specific, noise[span]))
        else:
            blocks.append(DenseBlock(rows @ rows.T, specific, noise[span]))
    return FactorSolver(factor, blocks, scales, pairs, "inducing")


def cost(n_labels: int, by_task: IntArray, n_molecules: int, rank: int) -> dict[str, float]:
    """Return multiply-adds of the two exact roads: `dense` and `factors`."""
    counts = by_task.astype(np.float64)
    own = (counts**3 / 6).sum()
    shared = (counts**2 * n_molecules / 2 + counts * n_molecules**2 / 2).sum() if rank else 0.0
    inner = (rank * n_molecules) ** 3 / 6
    kernel = n_molecules**3 / 6 if rank else 0.0
    return {"dense": n_labels**3 / 6, "factors": float(own + shared + inner + kernel)}


def memory(n_labels: int, by_task: IntArray, n_molecules: int, rank: int) -> dict[str, float]:
    """Return bytes that the two exact roads hold at once."""
    counts = by_task.astype(np.float64)
    largest = counts.max(initial=0)
    shared = (counts**2).sum() + (rank * n_molecules) ** 2 + 2 * n_molecules**2
    shared += largest * n_molecules * 2
    return {"dense": 16.0 * n_labels**2 + 8.0 * n_molecules**2, "factors": 8.0 * float(shared)}


def _half_solve(factor: FloatArray, rhs: FloatArray) -> FloatArray:
    return np.asarray(scipy.linalg.solve_triangular(factor, rhs, lower=True, check_finite=False))


def _gram(half: FloatArray) -> FloatArray:
    """Return half' half [q, q] by a symmetric product: half the work, and symmetric."""
    lower = scipy.linalg.blas.dsyrk(1.0, np.asfortranarray(half), trans=1, lower=1)
    return np.asarray(lower + np.tril(lower, -1).T)
