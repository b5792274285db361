"""Draws by task and by quality together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray, did_you_mean, listed
from numpy.typing import ArrayLike

from sampling_core._cells import CellRows, Codes, normalized
from sampling_core._config import CompositionMode
from sampling_core._curriculum import CurriculumState
from sampling_core._errors import SamplingError, check_alpha
from sampling_core._quality import check_length, encode_quality, phase_vector, refuse_empty_phases
from sampling_core._stream import Cell, CellSampler
from sampling_core._targets import (
    COUNT_OFFSET,
    LabelMask,
    Targets,
    as_targets,
    class_cells,
    count_codes,
    count_labels,
    inverse_power,
    label_cells,
    primary_tasks,
)


class JointSampler(CellSampler):
    """Draw rows by the label count of their tasks and by their quality in the current phase.

    With `composition_mode="multiplicative"` a row has the weight
    (n + 1e-6)^-α · q(quality), n the label count of its primary task, which is its labelled task
    with the fewest labels (ties: lowest column). With `"hierarchical"` a task is drawn first,
    ∝ n_t^-α, then a quality within it ∝ n_tq · q(quality), then a row uniformly. The latter
    rebalances far harder: rare labels come more often, from fewer distinct rows.

    Parameters
    ----------
    targets : array_like, (N, T), or LabelMask
        Labels, NaN where there is none. A row without any is never drawn. Of a table larger than
        memory a `LabelMask` is enough.
    quality_labels : sequence of str or column, (N,), or None
        Quality of each row: text, a pandas or polars column of it (categoricals are fastest), or
        integers that number `curriculum_state.qualities`. Needed with a curriculum.
    curriculum_state : CurriculumState or None
        Holds the phase and its weights q, read each time that an iteration starts; None leaves
        quality out. With `count_normalize` q is divided by the number of drawable rows of the
        quality (multiplicative), or the quality within a task is drawn ∝ q (hierarchical).
    task_alpha : float or None
        The exponent α; None leaves tasks out. Outside [0, 1] it warns and works.
    composition_mode : {"multiplicative", "hierarchical"}
        See above.
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
        If there is no label, a value is infinite, a quality is missing or unknown, this phase or
        a later one gives every row weight 0, or a number is out of range.

    Warns
    -----
    UserWarning
        Once for rows without labels, and once in each hierarchical phase for tasks left out
        because all their rows have weight 0 in it.
    """

    def __init__(
        self,
        targets: ArrayLike | LabelMask,
        quality_labels: Any = None,
        curriculum_state: CurriculumState | None = None,
        task_alpha: float | None = None,
        composition_mode: CompositionMode = "multiplicative",
        num_samples: int | None = None,
        seed: int | None = None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_mode(composition_mode, task_alpha)
        table = as_targets(targets)
        self.task_alpha = None if task_alpha is None else check_alpha(task_alpha, "task_alpha")
        self.composition_mode = composition_mode
        self.curriculum_state = curriculum_state
        self.label_counts = count_labels(table)
        codes = _quality_codes(quality_labels, curriculum_state, len(table))
        primary = primary_tasks(table, self.label_counts)
        self._quality_counts = _drawable_by_quality(primary, codes, self._n_qualities)
        if curriculum_state is not None:
            refuse_empty_phases(curriculum_state, self._quality_counts)
        self._warned_phases: set[str] = set()
        super().__init__(
            self._group(table, primary, codes),
            num_samples,
            seed,
            increment_seed_per_epoch=increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )

    @property
    def _n_qualities(self) -> int:
        return 1 if self.curriculum_state is None else len(self.curriculum_state.qualities)

    def _group(self, table: Targets, primary: Codes, codes: Codes | None) -> CellRows:
        if self.composition_mode == "hierarchical":
            return label_cells(table, codes, self._n_qualities)
        n_cells = len(self.label_counts) * self._n_qualities
        if codes is not None:
            # Codes task * Q + quality in place, in the smallest type that holds them: N may be 1e9.
            wide = primary.astype(np.min_scalar_type(-n_cells))
            wide *= self._n_qualities
            wide += codes
            # A row without labels stays below 0 only if its quality adds nothing.
            wide[primary < 0] = -1
            primary = wide
        return class_cells(primary, n_cells)

    def _cell_probabilities(self) -> FloatArray:
        sizes = self._cells.sizes.reshape(-1, self._n_qualities)
        if self.composition_mode == "hierarchical":
            return self._hierarchical(sizes).ravel()
        task = np.ones(len(sizes))
        if self.task_alpha is not None:
            task = inverse_power(self.label_counts, self.task_alpha, COUNT_OFFSET)
        # p(cell) ∝ size · w_task · w_quality: the row distribution summed over equal rows
        # (models.md, section 1).
        weights = sizes * task[:, None] * self._phase_weights(self._quality_counts)
        return normalized(weights.ravel())

    def _hierarchical(self, sizes: IntArray) -> FloatArray:
        """Return p(task) · p(quality | task) (T, Q) for label counts by task and quality (T, Q)."""
        assert self.task_alpha is not None
        state = self.curriculum_state
        if state is not None and state.count_normalize:
            # Count-normalised weights are shares within a task: the counts of rows drop out.
            within = (sizes > 0) * np.array(list(state.weights(state.phase).values()))
        else:
            within = sizes * self._phase_weights(self._quality_counts)
        mass = within.sum(axis=1)
        drawable = mass > 0
        self._warn_left_out(drawable)
        # A count of 0 has probability 0, which leaves undrawable tasks out of the normalisation
        # too.
        task = inverse_power(np.where(drawable, self.label_counts, 0), self.task_alpha)
        share = np.divide(normalized(task), mass, out=np.zeros_like(mass), where=drawable)
        probabilities: FloatArray = within * share[:, None]
        return probabilities

    def _phase_weights(self, counts: IntArray) -> FloatArray:
        if self.curriculum_state is None:
            return np.ones(1)
        return phase_vector(self.curriculum_state, self.curriculum_state.phase, counts)

    def _warn_left_out(self, drawable: BoolArray) -> None:
        left_out = np.flatnonzero(~drawable & (self.label_counts > 0))
        state = self.curriculum_state
        if state is None or not len(left_out) or state.phase in self._warned_phases:
            return
        self._warned_phases.add(state.phase)
        warnings.warn(
            f"phase {state.phase!r} gives every row of task {listed(left_out.tolist())} weight 0;"
            " the other tasks are drawn without it",
            UserWarning,
            stacklevel=2,
        )

    def _cell_keys(self) -> Sequence[Cell]:
        state = self.curriculum_state
        labels: Sequence[str | None] = [None] if state is None else state.qualities
        tasks = range(len(self.label_counts))
        return [Cell(task=task, quality=label) for task in tasks for label in labels]


def _check_mode(mode: str, task_alpha: float | None) -> None:
    modes = get_args(CompositionMode)
    if mode not in modes:
        raise SamplingError(f"composition_mode: unknown {mode!r}. {did_you_mean(mode, modes)}")
    if mode == "hierarchical" and task_alpha is None:
        raise SamplingError(
            "task_alpha: composition_mode='hierarchical' draws a task first and needs a number,"
            " found None; 0 draws tasks uniformly"
        )


def _quality_codes(labels: Any, state: CurriculumState | None, n_rows: int) -> Codes | None:
    if labels is not None:
        check_length(labels, n_rows)
    if state is None:
        return None
    if labels is None:
        raise SamplingError("quality_labels: a curriculum needs the quality of each row")
    return encode_quality(labels, state.qualities)


def _drawable_by_quality(primary: Codes, codes: Codes | None, n_qualities: int) -> IntArray:
    """Return the labelled rows of each quality (Q,), and warn of rows without labels."""
    labelled = primary >= 0
    without = len(primary) - np.count_nonzero(labelled)
    if without:
        warnings.warn(
            f"{without} of {len(primary)} rows have no label and are never drawn",
            UserWarning,
            stacklevel=3,
        )
    if codes is None:
        return np.array([len(primary) - without])
    return count_codes(np.where(labelled, codes, codes.dtype.type(-1)), n_qualities)
