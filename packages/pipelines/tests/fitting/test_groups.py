"""Groups of tasks from the configuration or from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chemprop_multitask import ChempropError
from molpool_common import InputError, validate_values
from molpool_pipelines.fitting import TrainChempropConfig, with_groups

TASKS = ["LogP", "LogS", "QED"]
LISTS = [["LogP", "LogS"], ["LogS", "QED"]]


def configuration(groups: Any, **more: Any) -> TrainChempropConfig:
    return validate_values(
        TrainChempropConfig, {"data": {"target_columns": TASKS}, "groups": groups, **more}
    )


def test_lists_stay_as_they_are() -> None:
    given = configuration([["LogP"], ["LogS", "QED"]])
    assert with_groups(given) is given
    assert with_groups(configuration(None)).groups is None


@pytest.mark.parametrize("as_object", [False, True])
def test_a_file_holds_lists(tmp_path: Path, as_object: bool) -> None:
    path = tmp_path / "groups.json"
    content = {"groups": LISTS, "assignment": {"LogS": 1}, "method": "tag"}
    path.write_text(json.dumps(content if as_object else LISTS))
    more = {} if as_object else {"group_assignment": {"LogS": 0}}
    read = with_groups(configuration(str(path), **more))
    assert read.groups == LISTS
    assert read.group_assignment == {"LogS": int(as_object)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "groups: expected lists of tasks or a JSON file; found no file"),
        ("[[", r"groups \(groups\.json\): expected a JSON file"),
        ('["LogP", "LogS"]', r"expected a list of lists of tasks, .* found \[\"LogP\""),
        ('{"group": []}', "alone or as 'groups' of an object"),
        ("[[1.5]]", "groups"),
    ],
)
def test_another_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "groups.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message):
        with_groups(configuration(str(path)))


def test_a_task_in_two_groups_needs_an_assignment() -> None:
    with pytest.raises(ChempropError, match=r"task 'LogS', or an assignment; groups 0, 1 do"):
        with_groups(configuration(LISTS))


MEASURED = {"enabled": True, "n_groups": 2}


@pytest.mark.parametrize(
    ("groups", "more", "message"),
    [
        (LISTS, {"task_affinity": MEASURED}, "groups: expected none where task_affinity.enabled"),
        (None, {"sharing": "separate"}, "sharing: expected groups or task_affinity.enabled"),
        (
            None,
            {"task_affinity": MEASURED | {"n_groups": 4}},
            "task_affinity.n_groups: expected 1 to 3, the number of tasks, or auto; found 4",
        ),
    ],
)
def test_groups_have_one_origin(groups: Any, more: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        with_groups(configuration(groups, **more))


@pytest.mark.parametrize("affinity", [MEASURED, {"enabled": False, "n_groups": 9}])
def test_groups_to_be_measured_are_none_yet(affinity: Any) -> None:
    given = configuration(None, task_affinity=affinity)
    assert with_groups(given) is given


def test_sharing_may_stand_beside_groups_or_in_its_section() -> None:
    inside = configuration(None, task_affinity=MEASURED | {"sharing": "separate"})
    assert inside == configuration(None, task_affinity=MEASURED, sharing="separate")
    with pytest.raises(InputError, match="sharing: expected 'heads' or 'separate'"):
        configuration(None, task_affinity=MEASURED | {"sharing": "seperate"})
