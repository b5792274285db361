"""From a configuration to all that training is handed: sampler, state, loss weights, callbacks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from sampling_core._config import JointSamplingConfig
from sampling_core._curriculum import CurriculumConfig, CurriculumState
from sampling_core._errors import SamplingError
from sampling_core._joint import JointSampler
from sampling_core._quality import QualityWeights


def sampler_from_config(
    config: JointSamplingConfig,
    targets: ArrayLike,
    quality_labels: Any = None,
    curriculum_state: CurriculumState | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> JointSampler | None:
    """Build the sampler that a configuration asks for.

    Parameters
    ----------
    config : JointSamplingConfig
        What to build.
    targets : array_like, (N, T)
        Labels, NaN where there is none.
    quality_labels : sequence of str or column, (N,), or None
        Quality of each row; needed where the curriculum steers the draws.
    curriculum_state : CurriculumState or None
        The state that `CurriculumCallback` moves on, likewise.
    rank, world_size : int
        This process and their number.

    Returns
    -------
    JointSampler or None
        None where plain shuffling is asked for: sampling is off, or a curriculum of the strategy
        `weighted`, which acts on the loss (`QualityWeights`), is all there is.

    Raises
    ------
    SamplingError
        If a curriculum steers the draws and labels or state are missing, and whatever
        `JointSampler` raises.
    """
    if not config.enabled:
        return None
    task = config.task_oversampling
    alpha = task.alpha if task.enabled else None
    sampled = config.curriculum.enabled and config.curriculum.strategy == "sampled"
    if not sampled and alpha is None and config.num_samples is None:
        return None
    if sampled and curriculum_state is None:
        raise SamplingError(
            "curriculum_state: curriculum.enabled with strategy 'sampled' needs the state that"
            " CurriculumCallback moves on; build it with CurriculumState.from_config"
        )
    with warnings.catch_warnings():
        # The configuration said so when it was read.
        warnings.filterwarnings("ignore", ".* lies outside", UserWarning)
        return JointSampler(
            targets,
            quality_labels if sampled else None,
            curriculum_state if sampled else None,
            alpha,
            config.composition_mode,
            config.num_samples,
            config.seed,
            increment_seed_per_epoch=config.increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )


@dataclass(frozen=True)
class Sampling:
    """How training rows are drawn and weighted.

    Parameters
    ----------
    sampler : JointSampler or None
        Draws rows; None shuffles.
    state : CurriculumState or None
        Phase of the curriculum.
    weights : QualityWeights or None
        Loss weight per row, for the curriculum's strategy ``weighted``.
    callbacks : list of lightning.pytorch.Callback
        What moves the curriculum.
    """

    sampler: JointSampler | None
    state: CurriculumState | None
    weights: QualityWeights | None
    callbacks: list[Any]


def sampling_from_config(
    config: JointSamplingConfig, targets: ArrayLike, quality_labels: Any = None
) -> Sampling:
    """Build the sampler and the curriculum that a configuration asks for.

    Parameters
    ----------
    config : JointSamplingConfig
        What to build; nothing where it is not enabled.
    targets : array_like, (N, T)
        Labels of the training rows, NaN where there is none.
    quality_labels : sequence of str or column, (N,), or None
        Quality of each row; needed where `config.needs_quality`.

    Raises
    ------
    SamplingError
        If the configuration does not fit the rows: no quality labels, a phase that draws nothing.
    ImportError
        If there is a curriculum and the extra ``lightning`` is not installed.
    """
    if not config.enabled:
        return Sampling(None, None, None, [])
    curriculum = config.curriculum
    state = CurriculumState.from_config(curriculum) if curriculum.enabled else None
    sampler = sampler_from_config(config, targets, quality_labels, state)
    if state is None:
        return Sampling(sampler, None, None, [])
    weights = None
    if curriculum.strategy == "weighted":
        weights = QualityWeights([] if quality_labels is None else quality_labels, state)
    return Sampling(sampler, state, weights, [_mover(curriculum, state)])


def _mover(curriculum: CurriculumConfig, state: CurriculumState) -> Any:
    from sampling_core._callback import CurriculumCallback

    return CurriculumCallback(
        state,
        monitor=curriculum.monitor,
        reset_early_stopping_on_phase_change=curriculum.reset_early_stopping_on_phase_change,
    )
