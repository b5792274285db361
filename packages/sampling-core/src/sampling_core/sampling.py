"""From a configuration to all that training is handed: sampler, state, loss weights, callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from sampling_core.config import CurriculumConfig, JointSamplingConfig
from sampling_core.curriculum import CurriculumState
from sampling_core.factory import sampler_from_config
from sampling_core.joint import JointSampler
from sampling_core.quality import QualityWeights


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
        Loss weight a row, for the curriculum's strategy ``weighted``.
    callbacks : list of lightning.pytorch.Callback
        What moves the curriculum.
    """

    sampler: JointSampler | None
    state: CurriculumState | None
    weights: QualityWeights | None
    callbacks: list[Any]


def sampling_from_config(
    config: JointSamplingConfig, targets: npt.ArrayLike, quality_labels: Any = None
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
    from sampling_core.callback import CurriculumCallback

    return CurriculumCallback(
        state,
        monitor=curriculum.monitor,
        reset_early_stopping_on_phase_change=curriculum.reset_early_stopping_on_phase_change,
    )
