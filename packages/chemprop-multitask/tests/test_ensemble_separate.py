"""Models of some tasks each: who predicts what, and how they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import (
    ChempropError,
    ChempropModel,
    Ensemble,
    SeparateModels,
    SharedChempropConfig,
    TaskType,
    build_model,
    separate_groups,
    with_listed_groups,
)

UNSEEN = ["CCCO", "c1ccccc1C"]


def part(settings: Any, tasks: str, serves: dict[str, int] | None, seed: int = 1) -> ChempropModel:
    kinds: list[TaskType] = ["classification" if name == "c" else "regression" for name in tasks]
    return ChempropModel.from_config(
        settings(), task_names=tasks, task_types=kinds, serves=serves, seed=seed
    )


@pytest.fixture
def parts(settings: Any) -> list[ChempropModel]:
    """Groups (c, b) and (a, b): b stands in both and is served by the second."""
    return [part(settings, "cb", {"c": 2}), part(settings, "ab", {"b": 1, "a": 0}, seed=2)]


def test_each_task_is_predicted_by_the_model_that_serves_it(parts: list[ChempropModel]) -> None:
    model = SeparateModels(parts)
    assert model.task_names == ("a", "b", "c")
    assert model.task_types == ("regression", "regression", "classification")
    expected = np.column_stack([parts[1].predict(UNSEEN), parts[0].predict(UNSEEN)[:, 0]])
    np.testing.assert_array_equal(model.predict(UNSEEN), expected)


def test_a_folder_of_members_of_parts_is_one_ensemble(
    parts: list[ChempropModel], settings: Any, tmp_path: Path
) -> None:
    other = [part(settings, "cb", {"c": 2}, seed=3), part(settings, "ab", {"a": 0, "b": 1}, seed=4)]
    ensemble = Ensemble([SeparateModels(parts), SeparateModels(other)])
    ensemble.save(tmp_path / "models")
    names = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert names == [f"member-00{m}-group-00{g}.pt" for m in (0, 1) for g in (0, 1)]
    loaded = Ensemble.load(tmp_path)  # as a run folder
    assert loaded.task_names == ("a", "b", "c")
    for said, given in zip(loaded.predict(UNSEEN), ensemble.predict(UNSEEN), strict=True):
        np.testing.assert_array_equal(said, given)
    alone = ChempropModel.load(tmp_path / "models" / names[1])
    assert alone.task_names == ("a", "b")
    assert alone.serves == {"b": 1, "a": 0}


def test_a_single_part_serves_its_own_tasks(settings: Any) -> None:
    alone = part(settings, "ab", None)
    np.testing.assert_array_equal(SeparateModels([alone]).predict(UNSEEN), alone.predict(UNSEEN))


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"c": 2}, {"a": 0}, r"a, c in columns \[0, 2\]"),
        ({"c": 2, "b": 1}, {"a": 0, "b": 1}, r"a, b, b, c in columns \[0, 1, 1, 2\]"),
        ({}, {}, r"none in columns \[\]"),
    ],
)
def test_tasks_served_twice_or_never_are_named(
    settings: Any, first: dict[str, int], second: dict[str, int], found: str
) -> None:
    with pytest.raises(ChempropError, match=f"serve each task once, .*; found {found}"):
        SeparateModels([part(settings, "cb", first), part(settings, "ab", second)])


def test_a_model_serves_tasks_of_its_own(settings: Any) -> None:
    with pytest.raises(ChempropError, match=r"serves: expected tasks .*\['a', 'b'\]; found 'z'"):
        part(settings, "ab", {"z": 0})


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
    kinds: tuple[TaskType, ...] = ("regression", "regression", "classification")
    parts = [build_model(config, TASKS, kinds, group, seed=3) for group in groups]
    assert [part.task_types for part in parts] == [kinds[:0:-1], kinds[:2]]
    whole = SeparateModels(parts)
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
    kinds: tuple[TaskType, ...] = ("regression", "regression", "classification")
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
