"""From a configuration to a sampler."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from sampling_core.config import JointSamplingConfig
from sampling_core.curriculum import CurriculumState
from sampling_core.errors import SamplingError
from sampling_core.joint import JointSampler


def sampler_from_config(
    config: JointSamplingConfig,
    targets: npt.ArrayLike,
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
