from __future__ import annotations

import warnings
from typing import Any

import pytest
from pydantic import ValidationError
from sampling_core import CurriculumConfig, JointSamplingConfig, TaskOversamplingConfig


def test_defaults() -> None:
    assert JointSamplingConfig().model_dump() == {
        "enabled": False,
        "task_oversampling": {"enabled": True, "alpha": 0.3},
        "curriculum": {
            "enabled": False,
            "quality_col": "Quality",
            "qualities": ["high", "medium", "low"],
            "patience": 5,
            "phase_epochs": None,
            "strategy": "sampled",
            "reset_early_stopping_on_phase_change": False,
            "count_normalize": False,
            "phase_weights": None,
            "monitor": "val_loss",
            "min_delta": 0.0,
        },
        "composition_mode": "multiplicative",
        "num_samples": None,
        "seed": 42,
        "increment_seed_per_epoch": True,
        "log_weight_statistics": True,
        "log_to_mlflow": True,
    }


def test_dump_reads_back() -> None:
    config = JointSamplingConfig(enabled=True, curriculum=CurriculumConfig(enabled=True))
    assert JointSamplingConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    "data",
    [
        {"task_alpha": 0.1},
        {"task_alpha": 0.1, "task_oversampling": {"alpha": 0.1}},
        {"task_alpha": 0.1, "task_oversampling": {"enabled": True}},
        {"task_alpha": 0.1, "task_oversampling": TaskOversamplingConfig(alpha=0.1)},
    ],
)
def test_task_alpha_is_short_for_task_oversampling(data: dict[str, Any]) -> None:
    config = JointSamplingConfig.model_validate(data)
    section = config.task_oversampling
    assert (section.enabled, section.alpha, config.task_alpha) == (True, 0.1, 0.1)


def test_null_task_alpha_switches_tasks_off() -> None:
    config = JointSamplingConfig.model_validate({"task_alpha": None})
    assert not config.task_oversampling.enabled
    assert config.task_alpha is None


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_outside_the_unit_interval_warns(alpha: float) -> None:
    with pytest.warns(UserWarning, match=r"task_oversampling.alpha = .* outside \[0, 1\]"):
        assert TaskOversamplingConfig(alpha=alpha).alpha == alpha
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TaskOversamplingConfig(alpha=0.0)
        TaskOversamplingConfig(alpha=1.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"enabled": True, "task_alpha": None}, "neither task_oversampling.enabled nor"),
        (
            {
                "enabled": True,
                "composition_mode": "hierarchical",
                "task_oversampling": {"enabled": False},
                "curriculum": {"enabled": True},
            },
            "needs\n? ?task_oversampling.enabled",
        ),
        ({"task_alpha": 0.1, "task_oversampling": {"alpha": 0.2}}, "differ"),
        ({"task_alpha": 0.1, "task_oversampling": {"enabled": False}}, "differ"),
        ({"task_alpha": "x"}, "valid number"),
        ({"task_alpha": 0.1, "task_oversampling": 3}, "task_oversampling"),
        ({"task_oversampling": {"alpha": float("inf")}}, "finite"),
        ({"curriculum": {"qualities": ["a", "a"]}}, "each label once"),
        ({"curriculum": {"qualities": []}}, "at least 1 item"),
        ({"curriculum": {"qualities": ["a", "b", "c", "d"]}}, "no default weights"),
        ({"curriculum": {"phase_weights": {"polihs": {}}}}, "Did you mean 'polish'"),
        ({"curriculum": {"patience": 0}}, "greater than or equal to 1"),
        ({"curriculum": {"strategy": "drawn"}}, "'sampled' or 'weighted'"),
        ({"composition_mode": "sum"}, "'multiplicative' or 'hierarchical'"),
        ({"num_samples": 0}, "greater than or equal to 1"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"alpha": 0.1}, "Extra inputs"),
        ({"curriculum": {"quality": "Q"}}, "Extra inputs"),
        ("joint", "dictionary"),
    ],
)
def test_invalid_configurations_are_refused(data: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        JointSamplingConfig.model_validate(data)


def test_parts_are_not_compared_while_switched_off() -> None:
    off = {"composition_mode": "hierarchical", "task_oversampling": {"enabled": False}}
    assert not JointSamplingConfig.model_validate(off).enabled
