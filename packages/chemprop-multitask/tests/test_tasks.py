from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from chemprop_multitask import ChempropError, TaskType
from chemprop_multitask._tasks import resolve_groups, resolve_task_types
from hypothesis import given
from hypothesis import strategies as st

NAMES = ["LogD", "KSOL", "hERG"]


def test_one_kind_stands_for_all() -> None:
    assert resolve_task_types(NAMES, "regression") == ("regression",) * 3
    both: tuple[TaskType, ...] = ("regression", "classification", "regression")
    assert resolve_task_types(NAMES, both) == both


@pytest.mark.parametrize(
    ("names", "kinds", "message"),
    [
        (NAMES, ["regression"], "one for each of 3 tasks; found 1"),
        (NAMES, ["regression", "ordinal", "regression"], "'KSOL'; found 'ordinal'"),
        (["a", "b", "a"], "regression", "found 'a' twice"),
        ([], "regression", "found none"),
    ],
)
def test_task_types_say_what_is_wrong(names: Any, kinds: Any, message: str) -> None:
    with pytest.raises(ChempropError, match=message):
        resolve_task_types(names, kinds)


@given(st.permutations(range(6)), st.lists(st.integers(1, 5), max_size=3))
def test_a_partition_stays_as_it_is(order: list[int], cuts: list[int]) -> None:
    names = [f"t{i}" for i in range(6)]
    edges = [0, *sorted(set(cuts)), 6]
    groups = [order[i:j] for i, j in pairwise(edges)]
    by_name = [[names[t] for t in group] for group in groups]
    expected = tuple(tuple(group) for group in groups)
    assert resolve_groups(groups, names) == resolve_groups(by_name, names) == expected


def test_an_assignment_decides_who_serves_a_shared_task() -> None:
    groups = [["LogD", "KSOL"], ["KSOL", "hERG"]]
    assert resolve_groups(groups, NAMES, {"KSOL": 1}) == ((0,), (1, 2))
    assert resolve_groups(groups, NAMES, {"KSOL": 0}) == ((0, 1), (2,))


@pytest.mark.parametrize(
    ("groups", "assignment", "message"),
    [
        ([["LogD", "KSOL", "hERGG"]], None, r"group 0: .*'hERGG'. Did you mean 'hERG'\?"),
        ([[0, 1, 3]], None, "found 3"),
        ([["LogD"], ["KSOL"]], None, "one group holds task 'hERG', or an assignment; none does"),
        ([["LogD", "KSOL"], ["KSOL", "hERG"]], None, "'KSOL', or an assignment; groups 0, 1 do"),
        ([["LogD", "KSOL"], ["hERG"]], {"LogD": 1}, "'LogD' .0, counted from 0.; found 1"),
        ([NAMES], {"logd": 0}, "assignment: .*Did you mean 'LogD'"),
        ([NAMES, []], None, "group 1; found"),
        ([["LogD", "LogD"], ["KSOL", "hERG"]], None, "different tasks in group 0"),
        ([["KSOL"], NAMES], {"KSOL": 1}, "group 0 .KSOL. serves none"),
    ],
)
def test_groups_say_what_is_wrong(groups: Any, assignment: Any, message: str) -> None:
    with pytest.raises(ChempropError, match=message):
        resolve_groups(groups, NAMES, assignment)
