"""A model a group: which tasks are whose, and what of the configuration is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import (
    ChempropError,
    SharedChempropConfig,
    TaskwiseModel,
    build_model,
    separate_groups,
    with_listed_groups,
)

TASKS = ("a", "b", "c")
GROUPS = [["c", "b"], ["a", "b"]]


def configuration(**values: Any) -> SharedChempropConfig:
    small = {"message_passing": {"hidden_size": 8}, "ffn": {"hidden_size": 8}}
    return SharedChempropConfig.model_validate({"model": small, **values})


def test_heads_or_no_groups_are_one_model() -> None:
    assert separate_groups(configuration(groups=GROUPS, group_assignment={"b": 1}), TASKS) == []
    assert separate_groups(configuration(sharing="separate"), TASKS) == []


def test_each_group_has_its_tasks_and_serves_those_assigned_to_it() -> None:
    config = configuration(groups=GROUPS, group_assignment={"b": 1}, sharing="separate")
    groups = separate_groups(config, TASKS)
    assert [(g.number, g.columns, g.served) for g in groups] == [
        (0, (2, 1), (2,)),
        (1, (0, 1), (0, 1)),
    ]
    kinds = ("regression", "regression", "classification")
    parts = [build_model(config, TASKS, kinds, group, seed=3) for group in groups]
    assert [part.task_types for part in parts] == [kinds[:0:-1], kinds[:2]]
    whole = TaskwiseModel(parts)
    assert (whole.task_names, whole.task_types) == (TASKS, kinds)


def test_without_a_group_the_model_is_of_all() -> None:
    one = build_model(configuration(), TASKS, ("regression",) * 3, seed=3)
    again = build_model(configuration(), TASKS, ("regression",) * 3, seed=3)
    assert (one.task_names, one.serves) == (TASKS, None)
    np.testing.assert_array_equal(one.predict(["CCO"]), again.predict(["CCO"]))


def test_what_is_of_other_tasks_is_left_out() -> None:
    config = configuration(
        groups=[["a", "b"], ["c"]],
        sharing="separate",
        training={"loss": "huber", "task_weights": {"a": 2.0, "c": 3.0}},
    )
    kinds = ("regression", "regression", "classification")
    first, second = (
        build_model(config, TASKS, kinds, g, seed=1) for g in separate_groups(config, TASKS)
    )
    assert first.config.training.task_weights == {"a": 2.0}
    assert (first.config.training.loss, second.config.training.loss) == ("huber", "auto")
    assert first.config.groups is None


def test_groups_of_a_file_become_lists_of_the_same_configuration(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"groups": GROUPS, "assignment": {"b": 1}}))
    config = configuration(groups=str(path), sharing="separate", training={"epochs": 7})
    listed = with_listed_groups(config, TASKS)
    assert (listed.groups, listed.group_assignment) == (GROUPS, {"b": 1})
    assert (type(listed), listed.training.epochs) == (SharedChempropConfig, 7)
    with pytest.raises(ChempropError, match="task 'd'"):
        with_listed_groups(config, ("a", "b", "c", "d"))
