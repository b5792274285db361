from __future__ import annotations

from typing import Any

import pytest
from chemprop_multitask import ChempropConfig, EnsembleConfig, TrainingConfig
from pydantic import ValidationError


def test_defaults_are_those_of_the_documents() -> None:
    config = ChempropConfig()
    mp, ffn, training = config.model.message_passing, config.model.ffn, config.training
    assert (mp.depth, mp.hidden_size, ffn.num_layers, ffn.hidden_size) == (3, 300, 2, 300)
    assert (training.epochs, training.batch_size, training.learning_rate) == (50, 64, 1e-3)
    assert (training.warmup_epochs, training.loss_average) == (2, "task")


def test_a_round_trip_keeps_everything() -> None:
    config = EnsembleConfig(groups=[["a"], ["b"]], n_seeds=3)
    config.training.task_weights = {"a": 0.5}
    assert EnsembleConfig.model_validate_json(config.model_dump_json()) == config


def test_max_lr_goes_before_learning_rate() -> None:
    assert TrainingConfig(learning_rate=2e-3).peak_lr == 2e-3
    assert TrainingConfig(learning_rate=2e-3, max_lr=5e-3).peak_lr == 5e-3


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "rmse"},
        {"huber_delta": 0},
        {"focal_gamma": -1},
        {"task_weights": {"a": -1.0}},
        {"checkpoint_every_steps": 0},
        {"loss_avreage": "task"},
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingConfig.model_validate(wrong)
