"""What a measurement gives: cosines of a batch, means over the batches, their errors, and the file.

A pair of tasks has an affinity in those batches only that had labels of both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import (
    BoolArray,
    DamagedFileError,
    Float32Array,
    FloatArray,
    IntArray,
    atomic_path,
    listed,
    read_npz,
)
from numpy.typing import NDArray

from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import TaskAffinityError

if TYPE_CHECKING:
    import pandas as pd


_ARRAYS = ("matrix", "standard_errors", "counts", "block_sums", "block_counts")

_BLOCK_NUMBERS = 1 << 22
"""Entries [S, T, T] of all blocks together: 16 MB of float32 sums."""
_MIN_BLOCKS = 16


def cosines(gramian: FloatArray) -> FloatArray:
    """Return cosines of gradients from their dot products; 0 for a gradient of zero.

    Parameters
    ----------
    gramian : ndarray [T, T]
        Dot products of all gradients with all, symmetric.

    Returns
    -------
    ndarray [T, T]
    """
    units = inverse_lengths(gramian)
    ratios = np.clip(gramian * units * units[:, None], -1.0, 1.0)
    np.fill_diagonal(ratios, units > 0)
    return ratios


def inverse_lengths(gramian: FloatArray) -> FloatArray:
    """Return 1 / length of T vectors by their dot products [T, T]; 0 for a vector of zero."""
    lengths = np.sqrt(np.diag(gramian))
    inverse: FloatArray = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return inverse


class PairAccumulator:
    """Adds up the affinities of batches.

    Parameters
    ----------
    n_tasks : int
        Number of tasks T.
    normalize : bool
        Divide the mean of i and j at the end by the root of the means of (i, i) and (j, j).

    Attributes
    ----------
    counts : ndarray of int [T, T]
        Batches that had both tasks of a pair.
    """

    def __init__(self, n_tasks: int, *, normalize: bool = False) -> None:
        square = (n_tasks, n_tasks)
        self.counts = np.zeros(square, np.int32)
        self.blocks = BatchBlocks(n_tasks)
        self._normalize = normalize
        self._sums = np.zeros(square)
        self._squares = np.zeros(square)
        # Moments with the diagonal of the same batch, for the error of a ratio of means.
        self._with_diagonal = np.zeros(square)
        self._diagonal = np.zeros(square)
        self._diagonal_squares = np.zeros(square)
        self._diagonals = np.zeros(square)

    def add(self, tasks: IntArray, affinities: FloatArray) -> None:
        """Add a batch.

        Parameters
        ----------
        tasks : ndarray of int [K]
            Tasks that it has.
        affinities : ndarray [K, K]
            Their affinities; a value that is not finite is left out.
        """
        at = np.ix_(tasks, tasks)
        known = np.isfinite(affinities)
        x = np.where(known, affinities, 0.0)
        self.counts[at] += known
        self._sums[at] += x
        self._squares[at] += x**2
        self.blocks.add(at, x, known)
        if self._normalize:
            d = np.diag(x)[:, None] * known
            self._with_diagonal[at] += x * d
            self._diagonal[at] += d
            self._diagonal_squares[at] += d**2
            self._diagonals[at] += d * d.T

    @property
    def matrix(self) -> FloatArray:
        """Affinities [T, T]; NaN for a pair that no batch had."""
        mean = _ratio(self._sums, self.counts)
        if not self._normalize:
            return mean
        scale = self._scale(mean)
        normalized = mean * scale
        # A task with itself is 1, and 0 where its gradients vanish.
        np.fill_diagonal(normalized, np.where(np.diag(self.counts) > 0, np.diag(scale) > 0, np.nan))
        return normalized

    @property
    def standard_errors(self) -> FloatArray:
        """Standard errors [T, T] over batches; NaN for a pair that fewer than two had.

        Those of normalised dot products follow from the first order of the ratio of means.
        """
        mean = _ratio(self._sums, self.counts)
        square = _ratio(self._squares, self.counts)
        variance = square - mean**2
        if self._normalize:
            variance = self._ratio_variance(mean, square)
        n = np.where(self.counts > 1, self.counts, np.nan)
        errors: FloatArray = np.sqrt(np.maximum(variance, 0.0) / (n - 1))
        return errors

    def _scale(self, mean: FloatArray) -> FloatArray:
        inverse = inverse_lengths(mean)
        scale: FloatArray = inverse * inverse[:, None]
        return scale

    def _ratio_variance(self, mean: FloatArray, square: FloatArray) -> FloatArray:
        """Variance of x_ij/√(D_i D_j) − A_ij/2 (x_ii/D_i + x_jj/D_j), the influence of a batch."""
        n = self.counts
        scale = self._scale(mean)
        own = np.diag(mean)[:, None]
        half = np.divide(mean * scale, 2 * own, out=np.zeros_like(mean), where=own > 0)
        d, dd = _ratio(self._diagonal, n), _ratio(self._diagonal_squares, n)
        dx, both = _ratio(self._with_diagonal, n), _ratio(self._diagonals, n)
        first = mean * scale - half * d - half.T * d.T
        second = square * scale**2 + half**2 * dd + half.T**2 * dd.T
        second += 2 * half * half.T * both - 2 * scale * (half * dx + half.T * dx.T)
        variance = second - first**2
        np.fill_diagonal(variance, 0.0)
        return variance


class BatchBlocks:
    """Sums over blocks of consecutive batches, few enough to hold whatever the run's length.

    A block is a batch until there is no more room; then neighbours are added up, and so on.

    Parameters
    ----------
    n_tasks : int
        Number of tasks T.
    """

    def __init__(self, n_tasks: int) -> None:
        room = max(_MIN_BLOCKS, _BLOCK_NUMBERS // max(n_tasks, 1) ** 2)
        self._room = min(room - room % 2, 4096)
        self._n_tasks = n_tasks
        self._sums: list[Float32Array] = []
        self._counts: list[NDArray[Any]] = []
        self._width = 1
        self._in_last = 0

    def add(
        self,
        at: tuple[IntArray, ...],
        values: FloatArray,
        known: BoolArray,
    ) -> None:
        """Add a batch: its values at these places, where they are known."""
        if self._in_last == 0:
            if len(self._sums) == self._room:
                self._halve()
            self._sums.append(np.zeros((self._n_tasks,) * 2, np.float32))
            self._counts.append(np.zeros((self._n_tasks,) * 2, self._count_type))
        self._sums[-1][at] += values.astype(np.float32)
        self._counts[-1][at] += known
        self._in_last = (self._in_last + 1) % self._width

    @property
    def _count_type(self) -> type[np.unsignedinteger[Any]]:
        """The smallest type that holds a block's batches: at many tasks memory is scarce."""
        kinds = (np.uint8, np.uint16, np.uint32)
        return next(kind for kind in kinds if self._width <= np.iinfo(kind).max)

    def _halve(self) -> None:
        self._width *= 2
        self._sums = [a + b for a, b in zip(self._sums[::2], self._sums[1::2], strict=True)]
        pairs = zip(self._counts[::2], self._counts[1::2], strict=True)
        self._counts = [np.add(a, b, dtype=self._count_type) for a, b in pairs]

    @property
    def sums(self) -> Float32Array:
        """Sums of affinities in each block, [S, T, T]."""
        return np.array(self._sums, np.float32).reshape(-1, self._n_tasks, self._n_tasks)

    @property
    def counts(self) -> NDArray[np.int32]:
        """Batches of each block that had the pair, [S, T, T]."""
        return np.array(self._counts, np.int32).reshape(-1, self._n_tasks, self._n_tasks)


def _ratio(sums: FloatArray, counts: NDArray[np.int32]) -> FloatArray:
    unknown = np.full(sums.shape, np.nan)
    mean: FloatArray = np.divide(sums, counts, out=unknown, where=counts > 0)
    return mean


@dataclass(frozen=True, eq=False)
class AffinityResult:
    """Affinities of T tasks.

    Parameters
    ----------
    task_names : tuple of str
        Names of the tasks, in the order of rows and columns.
    matrix : ndarray [T, T]
        Affinities; row i receives from column j. NaN for a pair that no measured batch had.
    standard_errors : ndarray [T, T]
        Their standard errors over batches; NaN for a pair that fewer than two had.
    counts : ndarray of int [T, T]
        Measured batches that had both tasks.
    block_sums : ndarray [S, T, T]
        Sums of affinities in blocks of consecutive batches, of a batch each in a short run; before
        normalisation where `dot_product` is normalised.
    block_counts : ndarray of int [S, T, T]
        Batches of each block that had the pair.
    config : TaskAffinityConfig
        How it was measured.
    estimator : str
        ``exact`` or ``probe``: what ran.
    n_steps : int
        Training steps that were taken.
    n_measured : int
        How many of them were measured.
    """

    task_names: tuple[str, ...]
    matrix: FloatArray
    standard_errors: FloatArray
    counts: IntArray
    block_sums: Float32Array
    block_counts: NDArray[np.int32]
    config: TaskAffinityConfig
    estimator: str
    n_steps: int
    n_measured: int

    @property
    def samples(self) -> Float32Array:
        """Mean affinities of each block of batches, [S, T, T]; NaN where a block had no pair."""
        missing = np.full(self.block_sums.shape, np.nan, np.float32)
        return np.divide(
            self.block_sums, self.block_counts, out=missing, where=self.block_counts > 0
        )

    def save(self, path: str | Path) -> None:
        """Write everything to an npz file, which numpy opens without pickle.

        Parameters
        ----------
        path : str or Path
            File to write or replace, atomically.
        """
        about = {
            "config": self.config.model_dump(mode="json"),
            "estimator": self.estimator,
            "n_steps": self.n_steps,
            "n_measured": self.n_measured,
        }
        arrays: dict[str, Any] = {name: getattr(self, name) for name in _ARRAYS}
        arrays["task_names"] = np.array(self.task_names, dtype=np.str_)
        arrays["about"] = np.array(json.dumps(about))
        with atomic_path(Path(path)) as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> AffinityResult:
        """Read what `save` wrote.

        Raises
        ------
        TaskAffinityError
            If the file is missing, damaged or something else.
        """
        try:
            arrays: dict[str, Any] = read_npz(path)
        except DamagedFileError as error:
            raise TaskAffinityError(
                f"{path}: expected {error.expected}; found {error.found}"
            ) from None
        except OSError as error:
            raise TaskAffinityError(
                f"{path}: expected an npz file of affinities; found {error}"
            ) from None
        missing = [name for name in (*_ARRAYS, "task_names", "about") if name not in arrays]
        if missing:
            raise TaskAffinityError(
                f"{path}: expected an npz file of affinities; found one without {listed(missing)}"
            )
        try:
            about = json.loads(str(arrays.pop("about")))
            about["config"] = TaskAffinityConfig.model_validate(about["config"])
            names = tuple(str(name) for name in arrays.pop("task_names"))
            return cls(task_names=names, **{name: arrays[name] for name in _ARRAYS}, **about)
        except (ValueError, KeyError, TypeError) as error:
            raise TaskAffinityError(
                f"{path}: expected an npz file of affinities; found {error}"
            ) from None


def affinity_matrix_to_dataframe(affinity: Any, task_names: Sequence[str]) -> pd.DataFrame:
    """Return the matrix with the tasks as labels of rows and columns.

    Parameters
    ----------
    affinity : array_like [T, T]
        Row i receives from column j; entries may be NaN.
    task_names : sequence of str
        The tasks, in the order of rows and columns.

    Returns
    -------
    DataFrame [T, T]
        The values, unchanged.

    Raises
    ------
    TaskAffinityError
        If the matrix has not one row and one column per name.
    """
    import pandas as pd

    matrix = np.asarray(affinity)
    names = list(task_names)
    if matrix.shape != (len(names), len(names)):
        raise TaskAffinityError(
            f"task_names: expected a name for each row and column of the matrix of shape"
            f" {matrix.shape}; found {len(names)}"
        )
    return pd.DataFrame(matrix, index=names, columns=names)
