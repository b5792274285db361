from __future__ import annotations

import copy
from typing import Any

import pytest
from sampling_core import JointSamplingConfig, SamplingError, map_legacy, migrate_legacy

OFF = {"enabled": False, "task_oversampling": {"enabled": False}}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({}, {}, []),
        ({"optimization": {"task_sampling_alpha": None}, "joint_sampling": {}}, {}, ["null"]),
        (
            {"optimization": {"task_sampling_alpha": 0.1, "lr": 1.0}},
            {
                "enabled": True,
                "task_oversampling": {"enabled": True, "alpha": 0.1},
                "composition_mode": "hierarchical",
            },
            ["composition_mode hierarchical"],
        ),
        (
            {"curriculum": {"enabled": True, "patience": 3}},
            {
                "enabled": True,
                "task_oversampling": {"enabled": False},
                "curriculum": {"enabled": True, "patience": 3},
            },
            ["switched on as before"],
        ),
        (
            {"optimization": {"task_sampling_alpha": 0.1}, "curriculum": {"enabled": True}},
            {
                "enabled": True,
                "task_oversampling": {"enabled": False, "alpha": 0.1},
                "curriculum": {"enabled": True},
            },
            ["curriculum.enabled overruled it", "switched on as before"],
        ),
        (
            {"optimization": {"task_sampling_alpha": 0.2}, "curriculum": {"patience": 3}},
            {
                "enabled": True,
                "task_oversampling": {"enabled": True, "alpha": 0.2},
                "composition_mode": "hierarchical",
                "curriculum": {"enabled": False, "patience": 3},
            },
            ["composition_mode hierarchical", "switched off as before"],
        ),
        (
            {"curriculum": {"enabled": False}},
            OFF | {"curriculum": {"enabled": False}},
            ["switched off as before"],
        ),
        (
            {"sampling": {"enabled": True, "seed": 7}, "curriculum": {"enabled": True}},
            {"enabled": True, "seed": 7},
            ["renamed to joint_sampling", "curriculum: dropped"],
        ),
        (
            {"sampling": {"enabled": False}, "optimization": {"task_sampling_alpha": 0.1}},
            {
                "enabled": True,
                "task_oversampling": {"enabled": True, "alpha": 0.1},
                "composition_mode": "hierarchical",
            },
            ["sampling: dropped", "composition_mode hierarchical"],
        ),
        ({"sampling": {"seed": 3}}, {"seed": 3}, ["renamed"]),
    ],
)
def test_mapping(old: dict[str, Any], new: dict[str, Any], told: list[str]) -> None:
    before = copy.deepcopy(old)
    joint, notes = map_legacy(old)
    assert joint == new
    assert len(notes) == len(told)
    assert all(part in note for part, note in zip(told, notes, strict=True))
    assert old == before
    JointSamplingConfig.model_validate(joint)


def test_misspelt_keys_are_left_for_validation() -> None:
    joint, _ = map_legacy({"curriculum": {"enabled": True, "patiense": 3}})
    with pytest.raises(ValueError, match=r"curriculum\.patiense"):
        JointSamplingConfig.model_validate(joint)


def test_old_and_new_together_are_refused() -> None:
    config = {"joint_sampling": {}, "optimization": {"task_sampling_alpha": 0.1}}
    with pytest.raises(SamplingError, match=r"joint_sampling and .*task_sampling_alpha"):
        map_legacy(config)


@pytest.mark.parametrize("key", ["curriculum", "sampling"])
def test_section_that_is_no_mapping_is_refused(key: str) -> None:
    with pytest.raises(SamplingError, match=f"{key}: expected a mapping, found True"):
        map_legacy({key: True})


@pytest.mark.parametrize(
    ("old", "rest"),
    [
        ({"optimization": {"task_sampling_alpha": 0.1}, "seed": 3}, {"seed": 3}),
        ({"optimization": {"task_sampling_alpha": 0.1, "lr": 1}}, {"optimization": {"lr": 1}}),
        ({"curriculum": {"enabled": True}, "sampling": {}}, {}),
    ],
)
def test_a_whole_configuration_keeps_the_rest(old: dict[str, Any], rest: dict[str, Any]) -> None:
    joint, told = map_legacy(old)
    assert migrate_legacy(old) == ({**rest, "joint_sampling": joint}, told)
    assert migrate_legacy(rest) == (rest, [])
