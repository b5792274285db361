"""Draws of a task by its label count, then of a row of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from sampling_core.alpha import check_alpha
from sampling_core.cell_sampler import Cell, CellSampler
from sampling_core.cells import CellRows, FloatArray, group_rows, normalized
from sampling_core.targets import Codes, Targets, as_targets, count_labels, label_masks
from sampling_core.task_weights import inverse_power


class TaskAwareSampler(CellSampler):
    """Draw task t with probability ∝ n_t^-α, then a row uniformly among those labelled for it.

    α = 0 is uniform over tasks, α = 1 in inverse proportion to their label counts n_t. A task
    without labels is never drawn. Draws are with replacement.

    Parameters
    ----------
    targets : array_like, (N, T)
        Labels, NaN where there is none.
    alpha : float
        The exponent α; outside [0, 1] it warns and works.
    num_samples : int or None
        Draws an epoch, N if None.
    seed : int or None
        Seed of the stream; None draws a fresh one.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number: see `sampling_core.stream.EpochStream`.

    Raises
    ------
    SamplingError
        If there is no label, a value is infinite, or a number is out of range.
    """

    def __init__(
        self,
        targets: npt.ArrayLike,
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


def label_cells(table: Targets, quality: Codes | None = None, n_qualities: int = 1) -> CellRows:
    """Return for each task and quality the rows with that label: cell t · Q + q.

    A row is in one cell for each of its labels.
    """
    n_rows, n_tasks = table.shape

    def entries() -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        for rows, labelled in label_masks(table):
            task, row = np.nonzero(labelled.T)
            row += rows.start
            yield (task if quality is None else task * n_qualities + quality[row]), row

    return group_rows(entries, n_tasks * n_qualities, n_rows, disjoint=n_tasks == 1)
