"""Kernels over blocks of features, and their weighted sum.

A block of counts or bits has the min-max (Tanimoto) kernel, sum min(x, y) / sum max(x, y), which is
positive semi-definite on non-negative vectors (Ralaivola et al. 2005,
doi:10.1016/j.neunet.2005.07.009). Any other block has a radial kernel on standardised columns. All
have a diagonal of one, so that the weights of a sum say which share of the variance a block
explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from molpool_common import FloatArray, IntArray, listed
from scipy.spatial.distance import cdist

from multitask_models._errors import ModelError

RADIAL = ("rbf", "matern32", "matern52")
KINDS = ("tanimoto", *RADIAL)

# Values further out than this many standard deviations are drawn in, as one outlier of a
# descriptor would else make a molecule unlike every other.
CLIP = 3.0

# Above this many levels a column, unary coding costs more than absolute differences.
UNARY_LEVELS = 16

MEDIAN_ROWS = 512
"""Rows whose pairs the median of squared distances is taken over."""

FIRST_JITTER, LAST_JITTER = 1e-10, 1e-4


@dataclass
class BlockKernel:
    """The kernel of one block of columns, with what it has learned of the training molecules.

    Attributes
    ----------
    name : str
        For messages.
    columns : IntArray [F]
        The block's columns in the matrix of features.
    kind : str
        One of `KINDS`.
    centre, scale : FloatArray [F]
        Mean and standard deviation by column (radial kernels). A column without spread has the
        scale infinity, so that it counts for nothing.
    width : float
        Median squared distance of the training molecules; the lengthscale is
        sqrt(width) exp(log_ratio).
    """

    name: str
    columns: IntArray
    kind: str
    centre: FloatArray
    scale: FloatArray
    width: float = 1.0

    @classmethod
    def from_features(cls, name: str, columns: IntArray, kind: str, x: FloatArray) -> BlockKernel:
        """Learn centre, scale and median distance from the training molecules, `x` [M, F].

        Raises
        ------
        ModelError
            If the kind is unknown, or a Tanimoto block has negative values.
        """
        if kind == "auto":
            kind = "tanimoto" if _are_counts(x[:, columns]) else "matern52"
        if kind not in KINDS:
            raise ModelError(
                f"kernels, {name}: expected {listed([*KINDS, 'auto'])}; found {kind!r}."
            )
        block = np.where(np.isfinite(x[:, columns]), x[:, columns], np.nan)
        kernel = cls(name, columns, kind, np.zeros(len(columns)), np.ones(len(columns)))
        if kind == "tanimoto":
            if np.nanmin(block, initial=0.0) < 0:
                raise ModelError(
                    f"kernels, {name}: expected counts or bits for the Tanimoto kernel; found"
                    f" {np.nanmin(block):g}. Give the block a radial kernel."
                )
            return kernel
        seen = np.maximum(np.isfinite(block).sum(axis=0), 1)
        kernel.centre = np.nansum(block, axis=0) / seen
        spread = np.sqrt(np.nansum((block - kernel.centre) ** 2, axis=0) / seen)
        flat = spread <= 1e-12 * np.maximum(np.abs(kernel.centre), 1e-300)
        kernel.scale = np.where(flat, np.inf, spread)
        kernel.width = _median_squared_distance(kernel.prepare(x))
        return kernel

    def prepare(self, x: FloatArray) -> FloatArray:
        """Return the block [N, F] as the kernel takes it; a value that is missing becomes average.

        An average value is 0 after standardising, and 0 is the absence of a count.
        """
        block = np.asarray(x[:, self.columns], dtype=np.float64)
        if self.kind == "tanimoto":
            return np.where(np.isfinite(block), block, 0.0)
        block = (block - self.centre) / self.scale
        return CLIP * np.tanh(np.where(np.isfinite(block), block, 0.0) / CLIP)

    def base(self, a: FloatArray, b: FloatArray) -> FloatArray:
        """Return what does not depend on the lengthscale [N, M].

        That is the kernel itself for Tanimoto, squared distance over `width` else.
        """
        if self.kind == "tanimoto":
            return tanimoto(a, b)
        return squared_distances(a, b) / self.width

    def value(self, base: FloatArray, log_ratio: float) -> FloatArray:
        """Return the kernel [N, M] from its base."""
        if self.kind == "tanimoto":
            return base
        r2 = base * np.exp(-2 * log_ratio)
        if self.kind == "rbf":
            return np.asarray(np.exp(-0.5 * r2))
        r = np.sqrt((3 if self.kind == "matern32" else 5) * r2)
        polynomial = 1 + r if self.kind == "matern32" else 1 + r + r * r / 3
        return np.asarray(polynomial * np.exp(-r))

    def slope(self, base: FloatArray, log_ratio: float) -> FloatArray | None:
        """Return the derivative of the kernel by `log_ratio` [N, M]; None where it has none."""
        if self.kind == "tanimoto":
            return None
        r2 = base * np.exp(-2 * log_ratio)
        if self.kind == "rbf":
            return np.asarray(r2 * np.exp(-0.5 * r2))
        if self.kind == "matern32":
            return np.asarray(3 * r2 * np.exp(-np.sqrt(3 * r2)))
        r = np.sqrt(5 * r2)
        return np.asarray(5 / 3 * r2 * (1 + r) * np.exp(-r))


@dataclass
class KernelSum:
    """Sum of block kernels, weights on the simplex.

    Attributes
    ----------
    blocks : list of BlockKernel
        K of them.
    weights : FloatArray [K]
        Non-negative, sum one.
    log_ratios : FloatArray [K]
        Logarithm of lengthscale over the median distance; 0 for Tanimoto.
    """

    blocks: list[BlockKernel]
    weights: FloatArray
    log_ratios: FloatArray

    def prepare(self, x: FloatArray) -> list[FloatArray]:
        """Return each block of `x` [N, F] as its kernel takes it."""
        return [block.prepare(x) for block in self.blocks]

    def matrix(self, a: Sequence[FloatArray], b: Sequence[FloatArray]) -> FloatArray:
        """Return the kernel [N, M] between prepared molecules; one block's matrix at a time."""
        total = np.zeros((len(a[0]), len(b[0])))
        for block, weight, ratio, left, right in zip(
            self.blocks, self.weights, self.log_ratios, a, b, strict=True
        ):
            if weight > 0:
                total += weight * block.value(block.base(left, right), ratio)
        return total

    def square(self, a: Sequence[FloatArray]) -> FloatArray:
        """Return the kernel [M, M] of molecules with themselves: symmetric, diagonal one."""
        total = self.matrix(a, a)
        total = 0.5 * (total + total.T)
        np.fill_diagonal(total, 1.0)
        return total


def build_blocks(
    x: FloatArray, widths: Sequence[int] | None, kinds: str | Sequence[str]
) -> list[BlockKernel]:
    """Return a kernel for each block of `x` [M, F].

    Parameters
    ----------
    x : FloatArray [M, F]
    widths : sequence of int, optional
        Of the blocks, in order; all columns are one block by default.
    kinds : str or sequence of str
        For all blocks or by block: one of `KINDS`, or `auto`: Tanimoto for counts and bits, else
        Matern of 5/2, which had the higher likelihood of the nine ExpansionRx endpoints.

    Raises
    ------
    ModelError
        If the widths do not make up the features, or there are not as many kinds as blocks.
    """
    widths = [x.shape[1]] if widths is None else [int(width) for width in widths]
    if sum(widths) != x.shape[1] or min(widths) < 1:
        raise ModelError(
            f"blocks: expected widths from 1 on that make up {x.shape[1]} features; found"
            f" {widths}, {sum(widths)} together."
        )
    names = [kinds] * len(widths) if isinstance(kinds, str) else list(kinds)
    if len(names) != len(widths):
        raise ModelError(
            f"kernels: expected one, or one for each of {len(widths)} blocks; found {len(names)}."
        )
    ends = np.cumsum(widths)
    return [
        BlockKernel.from_features(f"block {i}", np.arange(end - width, end), kind, x)
        for i, (end, width, kind) in enumerate(zip(ends, widths, names, strict=True))
    ]


def tanimoto(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return sum min / sum max of non-negative rows [N, M]; 1 where both rows are empty."""
    sums = a.sum(axis=1)[:, None] + b.sum(axis=1)
    shared = _shared_counts(a, b) if _are_counts(a) and _are_counts(b) else None
    if shared is None:
        shared = 0.5 * (sums - cdist(a, b, "cityblock"))
    either = sums - shared
    # Two molecules without a single feature are alike, and unlike any other.
    return np.asarray(np.divide(shared, either, out=np.ones_like(either), where=either > 0))


def _shared_counts(a: FloatArray, b: FloatArray) -> FloatArray | None:
    """Return sum min(x, y) of counts [N, M] as a product of unary codes; None if they are long.

    min(x, y) is the number of levels that both reach. Sums of ones are exact in float32 below
    2**24, at twice the speed of float64.
    """
    top = np.minimum(a.max(axis=0, initial=0), b.max(axis=0, initial=0)).astype(np.int64)
    if top.sum() > UNARY_LEVELS * max(a.shape[1], 1):
        return None
    column = np.repeat(np.arange(len(top)), top)
    level = np.arange(len(column)) - np.repeat(np.cumsum(top) - top, top) + 1
    right = (b[:, column] >= level).astype(np.float32).T
    shared = np.empty((len(a), len(b)))
    for start in range(0, len(a), 1024):
        rows = slice(start, start + 1024)
        shared[rows] = (a[rows][:, column] >= level).astype(np.float32) @ right
    return shared


def squared_distances(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return squared Euclidean distances of rows [N, M], not below 0."""
    total = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)
    total -= 2 * (a @ b.T)
    return np.asarray(np.maximum(total, 0.0, out=total))


def cholesky_with_jitter(matrix: FloatArray, what: str) -> tuple[FloatArray, float]:
    """Return the lower factor of a matrix [n, n] and the jitter that its diagonal took.

    The jitter rule of every kernel here: none first, then 1e-10 of the mean diagonal, ten times
    more at each failure, up to 1e-4. The matrix is overwritten.

    Raises
    ------
    ModelError
        If 1e-4 does not do: the matrix is not a covariance.
    """
    diagonal = matrix.diagonal().copy()
    jitter = 0.0
    while True:
        try:
            factor = scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            jitter = 10 * jitter if jitter else FIRST_JITTER
            if jitter > LAST_JITTER * 1.001:
                raise ModelError(
                    f"{what}: expected a positive definite matrix; found one that a jitter of"
                    f" {LAST_JITTER:g} does not mend"
                ) from None
            np.fill_diagonal(matrix, diagonal + jitter * diagonal.mean())
        else:
            return factor, jitter * float(diagonal.mean())


def _are_counts(block: FloatArray) -> bool:
    """Whether all values that are there are whole and not negative."""
    there = block[np.isfinite(block)]
    return bool(there.size) and bool((there >= 0).all() and (there == np.floor(there)).all())


def _median_squared_distance(prepared: FloatArray) -> float:
    """Return the median over pairs of rows that differ; 1 where none do."""
    # In the order of their sums, so that the rows' own order does not decide which are taken.
    ordered = prepared[np.argsort(prepared.sum(axis=1), kind="stable")]
    some = ordered[:: max(1, len(prepared) // MEDIAN_ROWS)]
    distances = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    apart = distances[distances > 1e-12]
    return float(np.median(apart)) if apart.size else 1.0
