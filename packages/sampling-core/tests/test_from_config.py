"""Sampler, state, weights and callbacks of one configuration belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sampling_core import (
    CurriculumCallback,
    CurriculumState,
    JointSampler,
    JointSamplingConfig,
    Sampling,
    SamplingError,
    sampler_from_config,
    sampling_from_config,
)

Y = np.array([[1.0, np.nan], [1.0, 2.0], [np.nan, 3.0], [1.0, np.nan]])
QUALITY = ["high", "medium", "low", "high"]
CURRICULUM = {"curriculum": {"enabled": True}}
WEIGHTED = {"curriculum": {"enabled": True, "strategy": "weighted"}}


def build(data: dict[str, Any], **arguments: Any) -> JointSampler | None:
    config = JointSamplingConfig.model_validate({"enabled": True} | data)
    return sampler_from_config(config, Y, **arguments)


@pytest.mark.parametrize("data", [{"enabled": False}, WEIGHTED | {"task_alpha": None}])
def test_plain_shuffling_needs_no_sampler(data: dict[str, Any]) -> None:
    assert build(data) is None


def test_an_exponent_beyond_one_is_said_once() -> None:
    with pytest.warns(UserWarning, match="lies outside"):
        config = JointSamplingConfig.model_validate({"enabled": True, "task_alpha": 1.5})
    sampler = sampler_from_config(config, Y)  # warnings are errors
    assert sampler is not None
    assert sampler.task_alpha == 1.5


@pytest.mark.parametrize("mode", ["multiplicative", "hierarchical"])
def test_sampler_is_that_of_the_configuration(mode: Any) -> None:
    state = CurriculumState()
    sampler = build(
        CURRICULUM
        | {
            "task_alpha": 0.4,
            "composition_mode": mode,
            "num_samples": 50,
            "seed": 3,
            "increment_seed_per_epoch": False,
        },
        quality_labels=QUALITY,
        curriculum_state=state,
        rank=1,
        world_size=2,
    )
    twin = JointSampler(
        Y, QUALITY, state, 0.4, mode, 50, 3, increment_seed_per_epoch=False, rank=1, world_size=2
    )
    assert sampler is not None
    assert sampler.draws(9).tolist() == twin.draws(0).tolist()


def test_weighted_quality_leaves_the_draws_to_the_tasks() -> None:
    sampler = build(WEIGHTED, quality_labels=QUALITY, curriculum_state=CurriculumState())
    assert sampler is not None
    assert sampler.curriculum_state is None
    expected = JointSampler(Y, task_alpha=0.3, seed=0).probabilities()
    assert sampler.probabilities().tolist() == expected.tolist()


def test_curriculum_alone_leaves_tasks_out() -> None:
    sampler = build(
        CURRICULUM | {"task_alpha": None},
        quality_labels=QUALITY,
        curriculum_state=CurriculumState(),
    )
    assert sampler is not None
    np.testing.assert_allclose(sampler.probabilities(), np.array([9, 1, 0, 9]) / 19, rtol=1e-15)


def test_number_of_draws_alone_draws_uniformly() -> None:
    sampler = build(WEIGHTED | {"task_alpha": None, "num_samples": 9})
    assert sampler is not None
    assert len(sampler) == 9
    assert sampler.probabilities().tolist() == [0.25] * 4


def test_state_and_labels_are_asked_for() -> None:
    with pytest.raises(SamplingError, match="needs the state"):
        build(CURRICULUM, quality_labels=QUALITY)
    with pytest.raises(SamplingError, match="needs the quality"):
        build(CURRICULUM, curriculum_state=CurriculumState())


def configured(quality: list[str] | None = QUALITY, **settings: Any) -> Sampling:
    return sampling_from_config(JointSamplingConfig.model_validate(settings), Y, quality)


def test_nothing_where_it_is_off() -> None:
    assert configured(None) == Sampling(None, None, None, [])


def test_tasks_alone_have_no_state() -> None:
    sampling = configured(None, enabled=True)
    assert isinstance(sampling.sampler, JointSampler)
    assert (sampling.state, sampling.weights, sampling.callbacks) == (None, None, [])


def test_one_state_is_drawn_by_and_moved_on() -> None:
    curriculum = {
        "enabled": True,
        "monitor": "loss",
        "reset_early_stopping_on_phase_change": True,
        "patience": 2,
    }
    sampling = configured(enabled=True, curriculum=curriculum)
    (callback,) = sampling.callbacks
    assert isinstance(callback, CurriculumCallback)
    assert callback.state is sampling.state is sampling.sampler.curriculum_state  # type: ignore[union-attr]
    assert (callback.monitor, callback.reset_early_stopping_on_phase_change) == ("loss", True)
    assert sampling.state is not None
    assert sampling.state.patience == 2
    assert sampling.weights is None


def test_weighted_rows_follow_the_phase() -> None:
    sampling = configured(enabled=True, curriculum={"enabled": True, "strategy": "weighted"})
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
        configured(None, **settings)
