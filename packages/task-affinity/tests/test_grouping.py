from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from task_affinity import (
    Grouping,
    TaskAffinityConfig,
    TaskAffinityError,
    TaskGrouper,
    affinity_matrix_to_dataframe,
    select_groups,
)
from task_affinity._clustering import choose_n_groups, silhouette
from task_affinity._config import ClusteringMethod

METHODS: tuple[ClusteringMethod, ...] = ("agglomerative", "spectral", "tag")
SEED = np.array(  # "Reading the Affinity Matrix" of the seed
    [
        [1.000, 0.872, 0.234, -0.156, 0.089],
        [0.872, 1.000, 0.189, -0.201, 0.045],
        [0.234, 0.189, 1.000, 0.445, 0.123],
        [-0.156, -0.201, 0.445, 1.000, 0.567],
        [0.089, 0.045, 0.123, 0.567, 1.000],
    ]
)
SEED_TASKS = ["LogD", "KSOL", "PAMPA", "hERG", "CLint"]


def cosines(n_tasks: int, seed: int = 0) -> np.ndarray:
    return np.corrcoef(np.random.default_rng(seed).normal(size=(n_tasks, 6)))


def names(n_tasks: int) -> list[str]:
    return [f"t{i}" for i in range(n_tasks)]


def labels(groups: list[list[str]], tasks: list[str]) -> list[int]:
    return [next(k for k, g in enumerate(groups) if t in g) for t in tasks]


@pytest.mark.parametrize("method", METHODS)
def test_the_seeds_matrix_in_two_groups(method: ClusteringMethod) -> None:
    groups = TaskGrouper(2, method).cluster(SEED, SEED_TASKS)
    assert groups == [["LogD", "KSOL"], ["PAMPA", "hERG", "CLint"]]


@pytest.mark.parametrize("n_groups", [2, 3, 5, 8])
def test_agglomerative_is_scikit_learns(n_groups: int) -> None:
    matrix = cosines(11)
    peer = AgglomerativeClustering(n_groups, metric="precomputed", linkage="average")
    groups = TaskGrouper(n_groups).cluster(matrix, names(11))
    assert adjusted_rand_score(peer.fit_predict(1 - matrix), labels(groups, names(11))) == 1


@pytest.mark.parametrize("n_groups", [2, 4])
def test_spectral_is_scikit_learns(n_groups: int) -> None:
    matrix = cosines(11)
    peer = SpectralClustering(n_groups, affinity="precomputed", random_state=42)
    groups = TaskGrouper(n_groups, "spectral").cluster(matrix, names(11))
    assert adjusted_rand_score(peer.fit_predict((matrix + 1) / 2), labels(groups, names(11))) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(METHODS), st.integers(2, 4))
def test_order_of_tasks_does_not_matter(seed: int, method: ClusteringMethod, n_groups: int) -> None:
    rng = np.random.default_rng(seed)
    # Three families, clear enough for spectral's random starts to agree.
    family = rng.integers(3, size=7)
    matrix = np.where(family[:, None] == family, 0.8, 0.0) + 0.05 * cosines(7, seed)
    n_groups = min(n_groups, len(set(family)))
    order = rng.permutation(7)
    straight = TaskGrouper(n_groups, method).cluster(matrix, names(7))
    turned = TaskGrouper(n_groups, method).cluster(
        matrix[np.ix_(order, order)], [names(7)[i] for i in order]
    )
    assert {frozenset(g) for g in straight} == {frozenset(g) for g in turned}


@pytest.mark.parametrize("method", ["agglomerative", "spectral"])
@pytest.mark.parametrize("matrix", [np.ones((6, 6)), np.zeros((6, 6)), cosines(6)])
def test_partitions_have_the_number_asked_for(method: ClusteringMethod, matrix: np.ndarray) -> None:
    for n_groups in range(1, 7):
        grouper = TaskGrouper(n_groups, method)
        groups = grouper.cluster(matrix, names(6))
        assert len(groups) == n_groups == grouper.n_groups_
        assert sorted(t for g in groups for t in g) == names(6)
        assert all(task in groups[k] for task, k in grouper.assignment_.items())


def test_agglomerative_takes_the_mean_of_both_directions() -> None:
    matrix = np.random.default_rng(0).normal(size=(8, 8))
    mean = (matrix + matrix.T) / 2
    assert TaskGrouper(3).cluster(matrix, names(8)) == TaskGrouper(3).cluster(mean, names(8))


@pytest.mark.parametrize("method", METHODS)
def test_auto_finds_planted_families(method: ClusteringMethod) -> None:
    family = np.arange(12) % 3  # ceil(12 / 2.5) = 5: two steps away
    matrix = np.where(family[:, None] == family, 0.6, 0.1) + 0.02 * cosines(12)
    grouper = TaskGrouper("auto", method)
    assert len(grouper.cluster(matrix, names(12))) == 3
    assert set(grouper.scores_) >= {2, 3, 4, 5, 6}
    assert max(grouper.scores_, key=grouper.scores_.__getitem__) == 3


@pytest.mark.parametrize(("n_tasks", "expected"), [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("method", METHODS)
def test_auto_of_few_tasks(n_tasks: int, expected: int, method: ClusteringMethod) -> None:
    matrix = np.full((n_tasks, n_tasks), 0.2)
    assert len(TaskGrouper("auto", method).cluster(matrix, names(n_tasks))) <= expected


def test_auto_climbs_from_the_seeds_rule() -> None:
    tried: list[int] = []

    def score(n: int) -> float:
        tried.append(n)
        return -abs(n - 11.0)

    best, scores = choose_n_groups(20, score)  # ceil(20 / 2.5) = 8
    assert best == 11
    assert tried[:5] == [8, 4, 2, 7, 9]
    assert sorted(tried) == sorted(scores) == [2, 4, 7, 8, 9, 10, 11, 12]


def test_auto_finds_few_families_of_many_tasks() -> None:
    family = np.arange(120) % 6  # ceil(120 / 2.5) = 48
    noise = 0.05 * np.random.default_rng(0).normal(size=(120, 120))
    grouper = TaskGrouper("auto")
    grouper.cluster(np.where(family[:, None] == family, 0.3, 0.0) + noise, names(120))
    assert grouper.n_groups_ == 6


def test_silhouette_by_hand() -> None:
    # Pairs at distance 0.1, 0.9 across: each point scores 1 - 0.1 / 0.9.
    matrix = np.array([[1, 0.9, 0.1, 0.1], [0.9, 1, 0.1, 0.1]] + [[0.1, 0.1, 1, 0.9]] * 2)
    matrix[3] = [0.1, 0.1, 0.9, 1]
    assert silhouette(matrix, np.array([0, 0, 1, 1])) == pytest.approx(1 - 0.1 / 0.9)
    assert math.isnan(silhouette(matrix, np.zeros(4, dtype=int)))
    assert math.isnan(silhouette(matrix, np.arange(4)))


@pytest.mark.parametrize("n_groups", [0, 6, -1, 2.5, True, "many", None])
@pytest.mark.parametrize("method", METHODS)
def test_n_groups_out_of_range(method: ClusteringMethod, n_groups: Any) -> None:
    with pytest.raises(TaskAffinityError, match=r"n_groups: expected 1 to 5.*found"):
        TaskGrouper(n_groups, method).cluster(SEED, SEED_TASKS)


def test_the_default_number_is_no_more_than_there_are_tasks() -> None:
    found = select_groups(SEED[:2, :2], SEED_TASKS[:2], TaskAffinityConfig())
    assert found.groups == [["LogD"], ["KSOL"]]
    with pytest.raises(TaskAffinityError, match=r"n_groups: expected 1 to 2.*found 4"):
        select_groups(SEED[:2, :2], SEED_TASKS[:2], TaskAffinityConfig(n_groups=4))


def test_nan_names_the_pairs() -> None:
    matrix = SEED.copy()
    matrix[0, 3] = matrix[2, 1] = np.nan
    for method in METHODS:
        with pytest.raises(TaskAffinityError, match="LogD and hERG, KSOL and PAMPA"):
            TaskGrouper(2, method).cluster(matrix, SEED_TASKS)


def test_the_diagonal_is_not_read() -> None:
    matrix = SEED.copy()
    np.fill_diagonal(matrix, np.nan)
    for method in METHODS:
        assert TaskGrouper(2, method).cluster(matrix, SEED_TASKS)[0] == ["LogD", "KSOL"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.triu, "symmetric matrix for method 'spectral'; found 0.872 from KSOL to LogD and 0"),
        (lambda m: m * 3, "from -1 to 1 for method 'spectral'; found 2.616 between LogD and KSOL"),
    ],
)
def test_what_spectral_refuses(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    with pytest.raises(TaskAffinityError, match=message):
        TaskGrouper(2, "spectral").cluster(change(SEED), SEED_TASKS)


@pytest.mark.parametrize(
    ("matrix", "tasks", "message"),
    [
        (SEED[:3], SEED_TASKS, r"square matrix, one row per task; found shape \(3, 5\)"),
        (SEED, SEED_TASKS[:3], "one per row of the matrix, 5; found 3"),
        (SEED, [*SEED_TASKS[:4], "LogD"], "each task once; found twice: LogD"),
        (np.empty((0, 0)), [], "square matrix"),
    ],
)
def test_matrix_and_names_must_fit(matrix: np.ndarray, tasks: list[str], message: str) -> None:
    with pytest.raises(TaskAffinityError, match=message):
        TaskGrouper(2).cluster(matrix, tasks)


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(TaskAffinityError, match="Did you mean 'agglomerative'"):
        TaskGrouper(2, "aglomerative")  # pyrefly: ignore[bad-argument-type]


def test_select_groups_reads_the_configuration(tmp_path: Path) -> None:
    config = TaskAffinityConfig(n_groups="auto", clustering_method="tag")
    grouping = select_groups(SEED, SEED_TASKS, config)
    assert grouping.groups == TaskGrouper("auto", "tag").cluster(SEED, SEED_TASKS)
    assert grouping.exact
    path = tmp_path / "groups.json"
    grouping.save(path)
    assert Grouping.load(path) == grouping
    assert json.loads(path.read_text())["groups"] == grouping.groups


def test_scores_without_a_value_are_null_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "groups.json"
    select_groups(SEED, SEED_TASKS, TaskAffinityConfig(n_groups=1)).save(path)
    assert json.loads(path.read_text())["score"] is None
    assert math.isnan(Grouping.load(path).score)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"groups": 3}', "\x00"])
def test_a_file_without_groups(tmp_path: Path, text: str) -> None:
    path = tmp_path / "groups.json"
    path.write_text(text)
    with pytest.raises(TaskAffinityError, match=r"groups\.json"):
        Grouping.load(path)
    with pytest.raises(TaskAffinityError, match="cannot read"):
        Grouping.load(tmp_path / "none.json")


def test_matrix_as_a_table() -> None:
    frame = affinity_matrix_to_dataframe(SEED, SEED_TASKS)
    assert frame.loc["PAMPA", "hERG"] == 0.445
    assert list(frame.index) == list(frame.columns) == SEED_TASKS
    with pytest.raises(TaskAffinityError, match="found 2"):
        affinity_matrix_to_dataframe(SEED, ["a", "b"])
