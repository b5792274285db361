"""Draws of rows by their quality, as the phase of a curriculum has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sampling_core.cell_sampler import Cell, CellSampler
from sampling_core.cells import CellRows, FloatArray, group_rows, normalized
from sampling_core.curriculum import CurriculumState
from sampling_core.quality import encode_quality, phase_vector, refuse_empty_phases
from sampling_core.targets import Codes, row_chunks


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
        weights = sizes * phase_vector(self.curriculum_state, self.curriculum_state.phase, sizes)
        return normalized(weights)

    def _cell_keys(self) -> Sequence[Cell]:
        return [Cell(quality=label) for label in self.curriculum_state.qualities]


def class_cells(codes: Codes, n_classes: int) -> CellRows:
    """Return the rows of each class; code -1 is in none."""

    def entries() -> Iterator[tuple[Codes, npt.NDArray[np.int64]]]:
        for rows in row_chunks(len(codes)):
            yield codes[rows], np.arange(rows.start, rows.stop)

    return group_rows(entries, n_classes, len(codes), disjoint=True)
