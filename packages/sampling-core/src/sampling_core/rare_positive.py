"""Oversampling of rows that are positive for rare tasks, for classification."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from sampling_core.cell_sampler import Cell, CellSampler
from sampling_core.cells import FloatArray, normalized
from sampling_core.dynamic_curriculum import class_cells
from sampling_core.errors import SamplingError, listed
from sampling_core.targets import Codes, Counts, Targets, as_targets, count_labels, row_chunks


class RarePositiveSampler(CellSampler):
    """Draw a row that is positive for k rare tasks with weight min(1 + k · mult, cap).

    A task is rare whose prevalence, positives over labels, lies below the threshold. A row
    without labels counts as k = 0. Draws are with replacement.

    Parameters
    ----------
    targets : array_like, (N, T)
        0, 1 or NaN where there is no label.
    rare_prev_thr : float
        Prevalence below which a task is rare, in [0, 1].
    rare_oversample_mult : float
        Weight that each rare positive adds, >= 0.
    sample_weight_cap : float
        Largest weight of a row, >= 1.
    num_samples : int or None
        Draws an epoch, N if None.
    seed : int or None
        Seed of the stream; None draws a fresh one.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number: see `sampling_core.stream.EpochStream`.

    Attributes
    ----------
    prevalence : ndarray of float64, (T,)
        Positives over labels, NaN for a task without labels.
    rare_tasks : ndarray of int64
        Columns of the rare tasks.

    Raises
    ------
    SamplingError
        If a value is no 0, 1 or NaN, there is no label, or a number is out of range.
    """

    def __init__(
        self,
        targets: npt.ArrayLike,
        rare_prev_thr: float,
        rare_oversample_mult: float,
        sample_weight_cap: float,
        num_samples: int | None = None,
        seed: int | None = None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_range("rare_prev_thr", rare_prev_thr, 0.0, 1.0)
        _check_range("rare_oversample_mult", rare_oversample_mult, 0.0, math.inf)
        _check_range("sample_weight_cap", sample_weight_cap, 1.0, math.inf)
        table = as_targets(targets)
        positives = _count_positives(table)
        labels = count_labels(table)
        self.prevalence = np.divide(
            positives, labels, out=np.full(len(labels), np.nan), where=labels > 0
        )
        self.rare_tasks = np.flatnonzero(self.prevalence < rare_prev_thr)
        k = np.arange(len(self.rare_tasks) + 1)
        self._weights = np.minimum(1.0 + k * rare_oversample_mult, sample_weight_cap)
        super().__init__(
            class_cells(_rare_positives(table, self.rare_tasks), len(k)),
            num_samples,
            seed,
            increment_seed_per_epoch=increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )

    @classmethod
    def if_any_rare(
        cls,
        targets: npt.ArrayLike,
        rare_prev_thr: float,
        rare_oversample_mult: float,
        sample_weight_cap: float,
        seed: int | None = None,
    ) -> Self | None:
        """Return the sampler; None where it would draw evenly: no rare task, or a factor of 0."""
        if rare_oversample_mult == 0:
            return None
        sampler = cls(targets, rare_prev_thr, rare_oversample_mult, sample_weight_cap, seed=seed)
        return sampler if len(sampler.rare_tasks) else None

    def _cell_probabilities(self) -> FloatArray:
        weights = self._cells.sizes * self._weights
        return normalized(weights)

    def _cell_keys(self) -> Sequence[Cell]:
        return [Cell(rare_positives=k) for k in range(len(self._weights))]


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (low <= value <= high and math.isfinite(value)):
        to = f"a finite number >= {low:g}" if math.isinf(high) else f"{low:g} to {high:g}"
        raise SamplingError(f"{name}: expected {to}, found {value!r}")


def _count_positives(table: Targets) -> Counts:
    """Return the number of positives of each task, refusing what is no 0, 1 or NaN."""
    counts = np.zeros(table.shape[1], dtype=np.int64)
    for rows in row_chunks(*table.shape):
        chunk = table[rows]
        positive = chunk == 1
        odd = ~(positive | (chunk == 0) | np.isnan(chunk))
        if odd.any():
            places = [
                f"{chunk[i, j]} at row {rows.start + i} column {j}"
                for i, j in np.argwhere(odd)[:11]
            ]
            raise SamplingError(f"targets: expected 0, 1 or NaN, found {listed(places)}")
        counts += np.count_nonzero(positive, axis=0)
    return counts


def _rare_positives(table: Targets, rare_tasks: npt.NDArray[np.int64]) -> Codes:
    """Return the number of rare tasks that each row is positive for."""
    number = np.empty(len(table), dtype=np.min_scalar_type(-max(len(rare_tasks), 1)))
    for rows in row_chunks(*table.shape):
        number[rows] = np.count_nonzero(table[rows][:, rare_tasks] == 1, axis=1)
    return number
