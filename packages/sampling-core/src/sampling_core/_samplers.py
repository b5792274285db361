"""The samplers that weigh one thing each: label counts, quality, rare positives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from molpool_common import FloatArray, IntArray, listed
from numpy.typing import ArrayLike, NDArray

from sampling_core._cells import Codes, normalized
from sampling_core._curriculum import CurriculumState
from sampling_core._errors import SamplingError, check_alpha
from sampling_core._quality import encode_quality, phase_vector, refuse_empty_phases
from sampling_core._stream import Cell, CellSampler
from sampling_core._targets import (
    LabelMask,
    as_targets,
    as_values,
    class_cells,
    count_labels,
    inverse_power,
    label_cells,
    row_chunks,
)


class TaskAwareSampler(CellSampler):
    """Draw task t with probability ∝ n_t^-α, then a row uniformly among those labelled for it.

    α = 0 is uniform over tasks, α = 1 in inverse proportion to their label counts n_t. A task
    without labels is never drawn. Draws are with replacement.

    Parameters
    ----------
    targets : array_like, (N, T), or LabelMask
        Labels, NaN where there is none.
    alpha : float
        The exponent α; outside [0, 1] it warns and works.
    num_samples : int or None
        Draws per epoch, N if None.
    seed : int or None
        Seed of the stream; None draws a fresh one.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number; the ranks share one stream of draws.

    Raises
    ------
    SamplingError
        If there is no label, a value is infinite, or a number is out of range.
    """

    def __init__(
        self,
        targets: ArrayLike | LabelMask,
        alpha: float = 0.3,
        num_samples: int | None = None,
        seed: int | None = None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        table = as_targets(targets)
        self.alpha = check_alpha(alpha)
        self.label_counts = count_labels(table)
        super().__init__(
            label_cells(table),
            num_samples,
            seed,
            increment_seed_per_epoch=increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )

    def _cell_probabilities(self) -> FloatArray:
        weights = inverse_power(self.label_counts, self.alpha)
        return normalized(weights)

    def _cell_keys(self) -> Sequence[Cell]:
        return [Cell(task=task) for task in range(len(self.label_counts))]


class DynamicCurriculumSampler(CellSampler):
    """Draw rows with the weight of their quality in the current phase of the curriculum.

    Without `count_normalize` the weights are those of a row: p(row) ∝ q(quality). With it they
    are shares of the draws: p(quality) ∝ q(quality), rows of it uniformly. The state is read each
    time that an iteration starts.

    Parameters
    ----------
    quality_labels : sequence of str or column, (N,)
        Quality of each row: text, a pandas or polars column of it (categoricals are fastest), or
        integers that number `curriculum_state.qualities`.
    curriculum_state : CurriculumState
        Holds the phase; something else moves it on, `CurriculumCallback` for one.
    num_samples : int or None
        Draws per epoch, N if None.
    seed : int or None
        Seed of the stream; None draws a fresh one.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number; the ranks share one stream of draws.

    Raises
    ------
    SamplingError
        If a label is missing or unknown, or this phase or a later one gives every row weight 0.
    """

    def __init__(
        self,
        quality_labels: Any,
        curriculum_state: CurriculumState,
        num_samples: int | None = None,
        seed: int | None = None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.curriculum_state = curriculum_state
        codes = encode_quality(quality_labels, curriculum_state.qualities)
        cells = class_cells(codes, len(curriculum_state.qualities))
        refuse_empty_phases(curriculum_state, cells.sizes)
        super().__init__(
            cells,
            num_samples,
            seed,
            increment_seed_per_epoch=increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )

    def _cell_probabilities(self) -> FloatArray:
        sizes = self._cells.sizes
        # With count_normalize the vector is divided by the sizes, which cancel: p(quality) ∝
        # q(quality).
        weights = sizes * phase_vector(self.curriculum_state, self.curriculum_state.phase, sizes)
        return normalized(weights)

    def _cell_keys(self) -> Sequence[Cell]:
        return [Cell(quality=label) for label in self.curriculum_state.qualities]


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
        Draws per epoch, N if None.
    seed : int or None
        Seed of the stream; None draws a fresh one.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number; the ranks share one stream of draws.

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
        targets: ArrayLike,
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
        table = as_values(targets)
        positives = _count_positives(table)
        labels = count_labels(table)
        self.prevalence = np.divide(
            positives, labels, out=np.full(len(labels), np.nan), where=labels > 0
        )
        # NaN, the prevalence of a task without labels, compares as False and is not rare.
        self.rare_tasks = np.flatnonzero(self.prevalence < rare_prev_thr)
        # A row's weight depends on its number of rare positives alone: cells by k, whatever N is.
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
        targets: ArrayLike,
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


def _count_positives(table: NDArray[np.generic]) -> IntArray:
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


def _rare_positives(table: NDArray[np.generic], rare_tasks: IntArray) -> Codes:
    """Return the number of rare tasks that each row is positive for."""
    # The smallest signed type that holds every count: one byte per row up to 127 rare tasks.
    number = np.empty(len(table), dtype=np.min_scalar_type(-max(len(rare_tasks), 1)))
    for rows in row_chunks(*table.shape):
        number[rows] = np.count_nonzero(table[rows][:, rare_tasks] == 1, axis=1)
    return number
