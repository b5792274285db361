"""Sampler, state, weights and callbacks of one configuration belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sampling_core import (
    CurriculumCallback,
    JointSampler,
    JointSamplingConfig,
    Sampling,
    SamplingError,
    sampling_from_config,
)

Y = np.array([[1.0, np.nan], [1.0, 2.0], [np.nan, 3.0], [1.0, np.nan]])
QUALITY = ["high", "medium", "low", "high"]


def build(quality: list[str] | None = QUALITY, **settings: Any) -> Sampling:
    return sampling_from_config(JointSamplingConfig.model_validate(settings), Y, quality)


def test_nothing_where_it_is_off() -> None:
    assert build(None) == Sampling(None, None, None, [])


def test_tasks_alone_have_no_state() -> None:
    sampling = build(None, enabled=True)
    assert isinstance(sampling.sampler, JointSampler)
    assert (sampling.state, sampling.weights, sampling.callbacks) == (None, None, [])


def test_one_state_is_drawn_by_and_moved_on() -> None:
    curriculum = {
        "enabled": True,
        "monitor": "loss",
        "reset_early_stopping_on_phase_change": True,
        "patience": 2,
    }
    sampling = build(enabled=True, curriculum=curriculum)
    (callback,) = sampling.callbacks
    assert isinstance(callback, CurriculumCallback)
    assert callback.state is sampling.state is sampling.sampler.curriculum_state  # type: ignore[union-attr]
    assert (callback.monitor, callback.reset_early_stopping_on_phase_change) == ("loss", True)
    assert sampling.state is not None
    assert sampling.state.patience == 2
    assert sampling.weights is None


def test_weighted_rows_follow_the_phase() -> None:
    sampling = build(enabled=True, curriculum={"enabled": True, "strategy": "weighted"})
    assert sampling.weights is not None
    assert sampling.state is not None
    assert [sampling.weights[row] for row in range(4)] == [0.9, 0.1, 0.0, 0.9]
    for _ in range(6):  # the first is the best, then five without improvement
        sampling.state.update(1.0)
    assert [sampling.weights[row] for row in range(4)] == [0.6, 0.3, 0.1, 0.6]


@pytest.mark.parametrize("strategy", ["sampled", "weighted"])
def test_a_curriculum_needs_quality(strategy: str) -> None:
    settings: dict[str, Any] = {"enabled": True, "curriculum": {"enabled": True}}
    settings["curriculum"]["strategy"] = strategy
    assert JointSamplingConfig.model_validate(settings).needs_quality
    assert not JointSamplingConfig.model_validate(settings | {"enabled": False}).needs_quality
    with pytest.raises(SamplingError, match="quality"):
        build(None, **settings)
