"""TAG's groups against brute force, and what its objective is by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from task_affinity import TaskGrouper
from task_affinity import _tag as exact
from task_affinity._tag import (
    ALONE,
    beam_search,
    move_gains,
    polished,
    random_states,
    received,
    tag,
    tag_score,
    without_diagonal,
)


def by_loops(matrix: np.ndarray, groups: list[tuple[int, ...]]) -> float:
    """The objective of models.md read literally."""
    total = 0.0
    for i in range(len(matrix)):
        in_groups = [
            sum(matrix[i, j] for j in g if j != i) / (len(g) - 1) if len(g) > 1 else -1e6
            for g in groups
            if i in g
        ]
        total += max(in_groups, default=-np.inf)
    return total / len(matrix)


def brute_force(matrix: np.ndarray, n_groups: int) -> float:
    """The best objective over all choices of at most `n_groups` of all groups."""
    tasks = range(len(matrix))
    every = [g for size in range(1, len(matrix) + 1) for g in combinations(tasks, size)]
    worth = np.full((len(every), len(matrix)), -np.inf)
    for row, g in zip(worth, every, strict=True):
        for i in g:
            row[i] = np.mean([matrix[i, j] for j in g if j != i]) if len(g) > 1 else -1e6
    k = min(n_groups, len(every))
    choices = np.array(list(combinations(range(len(every)), k)))
    return worth[choices].max(axis=1).mean(axis=1).max()


finite = st.floats(-2, 2, width=32)
coarse = st.sampled_from([-1.0, 0.0, 0.5, 1.0])  # many ties


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    n_tasks, n_groups = draw(st.sampled_from([(2, 2), (3, 3), (4, 2), (4, 3), (5, 2), (5, 3)]))
    matrix = draw(
        arrays(float, (n_tasks, n_tasks), elements=draw(st.sampled_from([finite, coarse])))
    )
    shape = draw(st.sampled_from(["any", "symmetric", "positive", "negative"]))
    if shape == "symmetric":
        matrix = (matrix + matrix.T) / 2
    if shape in ("positive", "negative"):
        matrix = np.abs(matrix) * (1 if shape == "positive" else -1)
    return matrix, n_groups


@settings(max_examples=150, deadline=None)
@given(matrices())
@example((-np.ones((4, 4)), 3))
@example((np.zeros((5, 5)), 2))
def test_as_good_as_brute_force(case: tuple[np.ndarray, int]) -> None:
    matrix, n_groups = case
    members, proven = tag(matrix, n_groups, seed=0)
    assert proven
    assert len(members) <= n_groups
    groups = [tuple(np.flatnonzero(g).tolist()) for g in members]
    # 1e-7: the solver's tolerance of 1e-6 on values scaled to a width of 1e3.
    np.testing.assert_allclose(by_loops(matrix, groups), brute_force(matrix, n_groups), atol=1e-7)
    np.testing.assert_allclose(tag_score(matrix, members), by_loops(matrix, groups), atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_solver_agrees_where_the_bound_does_not_close(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-3, 4, size=(5, 5)).astype(float)  # integers tie often
    every = ((np.arange(1, 32)[:, None] >> np.arange(5)) & 1).astype(bool)
    values = received(matrix, every[every.sum(axis=1) > 1])
    chosen, proven = exact.solved(values, 3)
    assert proven
    np.testing.assert_allclose(values[chosen].max(axis=0).mean(), brute_force(matrix, 3), atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_prices_bound_every_choice(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(5, 5))
    every = ((np.arange(1, 32)[:, None] >> np.arange(5)) & 1).astype(bool)
    bound, surplus = exact.lowest_bound(received(matrix, every), 2, np.zeros(5), -100.0)
    assert bound / 5 >= brute_force(matrix, 2) - 1e-12
    assert len(surplus) == 31


def test_what_is_dominated_can_be_left_out() -> None:
    values = np.array([[1.0, 2.0, -np.inf], [1.0, 2.0, 0.5], [3.0, -np.inf, -np.inf]])
    assert sorted(exact.undominated(values)) == [1, 2]
    assert len(exact.undominated(np.repeat(values[:1], 3, axis=0))) == 1


def test_row_receives_from_column() -> None:
    # b gives much to a and harms c; c gives a little to b. Nothing else is exchanged.
    affinity = np.zeros((3, 3))
    affinity[0, 1], affinity[2, 1], affinity[1, 2] = 1.0, -1.0, 0.1
    grouper = TaskGrouper(2, "tag")
    assert grouper.cluster(affinity, ["a", "b", "c"]) == [["a", "b"], ["a", "c"]]
    assert grouper.score_ == pytest.approx(1 / 3)
    assert brute_force(affinity.T, 2) == pytest.approx(1.1 / 3)


def test_a_task_of_two_groups_is_served_by_the_better() -> None:
    # a is good for b and for c, which harm each other.
    affinity = np.array([[0, 0.3, 0.2], [0.9, 0, -0.9], [0.8, -0.9, 0]])
    grouper = TaskGrouper(2, "tag")
    assert grouper.cluster(affinity, ["a", "b", "c"]) == [["a", "b"], ["a", "c"]]
    assert grouper.assignment_ == {"a": 0, "b": 0, "c": 1}
    assert grouper.score_ == pytest.approx((0.3 + 0.9 + 0.8) / 3)
    assert grouper.exact_


@pytest.mark.parametrize(("n_tasks", "n_groups"), [(1, 1), (2, 2), (3, 1), (9, 4), (12, 5)])
def test_all_are_served_by_few_enough_groups(n_tasks: int, n_groups: int) -> None:
    affinity = np.random.default_rng(0).normal(size=(n_tasks, n_tasks))
    grouper = TaskGrouper(n_groups, "tag")
    groups = grouper.cluster(affinity, [f"t{i}" for i in range(n_tasks)])
    assert len(groups) <= n_groups
    assert {t for g in groups for t in g} == set(grouper.assignment_)
    assert all(task in groups[k] for task, k in grouper.assignment_.items())
    assert set(grouper.assignment_.values()) == set(range(len(groups)))
    assert grouper.exact_
    if n_tasks == 1:
        assert grouper.score_ == ALONE


def test_two_tasks_share_a_group_whatever_they_do_to_each_other() -> None:
    assert TaskGrouper(2, "tag").cluster(-np.ones((2, 2)), ["a", "b"]) == [["a", "b"]]


@pytest.mark.parametrize("n_groups", [2, 4])
def test_beam_search_finds_what_is_exact(n_groups: int) -> None:
    # Ten random matrices; the search found all twenty optima, and is asked for nine in ten.
    missed = 0
    for seed in range(10):
        affinity = np.random.default_rng(seed).normal(size=(8, 8))
        best, proven = tag(affinity, n_groups, 0)
        assert proven
        beam = tag_score(affinity, beam_search(affinity, n_groups, seed))
        assert beam <= tag_score(affinity, best) + 1e-9
        missed += beam < tag_score(affinity, best) - 1e-9
    assert missed <= 1


def test_beam_search_recovers_planted_groups_of_many_tasks() -> None:
    family = np.arange(20) % 4
    noise = np.random.default_rng(0).normal(scale=0.05, size=(20, 20))
    affinity = np.where(family[:, None] == family, 0.8, -0.2) + noise
    grouper = TaskGrouper(4, "tag")
    groups = grouper.cluster(affinity, [f"t{i}" for i in range(20)])
    assert groups == [[f"t{i}" for i in range(k, 20, 4)] for k in range(4)]
    assert not grouper.exact_


@pytest.mark.parametrize("seed", range(5))
def test_gain_of_a_move_is_the_difference_of_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    affinity = rng.normal(size=(6, 6))
    groups = random_states(6, 3, 1, rng)[0]
    rest = np.delete(received(affinity, groups), 0, axis=0).max(axis=0)
    gains = move_gains(without_diagonal(affinity), rest, groups[0])
    for task in range(6):
        moved = groups.copy()
        moved[0, task] ^= True
        difference = 6 * (tag_score(affinity, moved) - tag_score(affinity, groups))
        # 1e-8: scores of groups of one are -1e6.
        np.testing.assert_allclose(gains[task], difference, atol=1e-8)


def test_polishing_ends_where_no_move_helps() -> None:
    rng = np.random.default_rng(1)
    affinity = rng.normal(size=(7, 7))
    groups = polished(affinity, random_states(7, 3, 1, rng)[0])
    for k in range(3):
        for task in range(7):
            moved = groups.copy()
            moved[k, task] ^= True
            assert tag_score(affinity, moved) <= tag_score(affinity, groups) + 1e-12
