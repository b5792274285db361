"""Models of some tasks each: who predicts what, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chemprop_multitask import ChempropError, ChempropModel, Ensemble, TaskwiseModel

UNSEEN = ["CCCO", "c1ccccc1C"]


def part(settings: Any, tasks: str, serves: dict[str, int] | None, seed: int = 1) -> ChempropModel:
    kinds = ["classification" if name == "c" else "regression" for name in tasks]
    return ChempropModel.from_config(
        settings(), task_names=tasks, task_types=kinds, serves=serves, seed=seed
    )


@pytest.fixture
def parts(settings: Any) -> list[ChempropModel]:
    """Groups (c, b) and (a, b): b stands in both and is served by the second."""
    return [part(settings, "cb", {"c": 2}), part(settings, "ab", {"b": 1, "a": 0}, seed=2)]


def test_each_task_is_predicted_by_the_model_that_serves_it(parts: list[ChempropModel]) -> None:
    model = TaskwiseModel(parts)
    assert model.task_names == ("a", "b", "c")
    assert model.task_types == ("regression", "regression", "classification")
    expected = np.column_stack([parts[1].predict(UNSEEN), parts[0].predict(UNSEEN)[:, 0]])
    np.testing.assert_array_equal(model.predict(UNSEEN), expected)


def test_a_folder_of_members_of_parts_is_one_ensemble(
    parts: list[ChempropModel], settings: Any, tmp_path: Path
) -> None:
    other = [part(settings, "cb", {"c": 2}, seed=3), part(settings, "ab", {"a": 0, "b": 1}, seed=4)]
    ensemble = Ensemble([TaskwiseModel(parts), TaskwiseModel(other)])
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
    np.testing.assert_array_equal(TaskwiseModel([alone]).predict(UNSEEN), alone.predict(UNSEEN))


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
        TaskwiseModel([part(settings, "cb", first), part(settings, "ab", second)])


def test_a_model_serves_tasks_of_its_own(settings: Any) -> None:
    with pytest.raises(ChempropError, match=r"serves: expected tasks .*\['a', 'b'\]; found 'z'"):
        part(settings, "ab", {"z": 0})
