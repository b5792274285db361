from __future__ import annotations

import numpy as np
import pytest
from task_affinity import TaskAffinityConfig, TaskAffinityError, TaskGrouper, grouping_stability
from task_affinity._config import ClusteringMethod
from task_affinity._stability import resampled

NAMES = ["a", "b", "c", "d"]


def batches(noise: float, n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two pairs of tasks that help each other, with noise in each batch."""
    family = np.array([0, 0, 1, 1])
    signal = np.where(family[:, None] == family, 0.3, 0.0)
    values = signal + noise * np.random.default_rng(0).normal(size=(n, 4, 4))
    values = (values + values.transpose(0, 2, 1)) / 2
    return values, np.ones((n, 4, 4), dtype=int)


@pytest.mark.parametrize("method", ["agglomerative", "spectral", "tag"])
def test_clear_groups_are_always_the_same(method: ClusteringMethod) -> None:
    config = TaskAffinityConfig(n_groups=2, clustering_method=method, n_bootstrap=20)
    stable = grouping_stability(*batches(0.02), NAMES, config)
    pairs = np.kron(np.eye(2), np.ones((2, 2)))
    np.testing.assert_array_equal(stable.co_assignment, pairs)
    assert stable.agreement == 1
    assert stable.grouping.groups == [["a", "b"], ["c", "d"]]


def test_noise_shows_as_disagreement() -> None:
    config = TaskAffinityConfig(n_groups=2, n_bootstrap=50)
    unsure = grouping_stability(*batches(3.0), NAMES, config)
    assert unsure.agreement < 0.9
    np.testing.assert_array_equal(np.diag(unsure.co_assignment), 1)
    np.testing.assert_array_equal(unsure.co_assignment, unsure.co_assignment.T)
    assert 0 < unsure.co_assignment[0, 2] < 1
    again = grouping_stability(*batches(3.0), NAMES, config)
    np.testing.assert_array_equal(again.co_assignment, unsure.co_assignment)


def test_resamples_are_means_of_drawn_batches() -> None:
    # Their spread over resamples is the standard error of the mean. With 4 000 resamples the
    # ratio's own standard deviation is 0.011 (chi), so that 0.05 fails once in 10^5.
    values, counts = batches(1.0)
    drawn = np.array(list(resampled(values, counts.astype(float), 4000, seed=1)))
    expected = values[:, 0, 1].std() / np.sqrt(len(values))
    assert drawn[:, 0, 1].std() / expected == pytest.approx(1, abs=0.05)


def test_counts_weigh_and_missing_pairs_keep_their_mean() -> None:
    sums = np.zeros((2, 2, 2))
    counts = np.zeros((2, 2, 2))
    sums[0], counts[0] = 6.0, 3.0  # mean 2 over three batches; the second block has no pair
    for matrix in resampled(sums, counts, 20, seed=0):
        np.testing.assert_array_equal(matrix, 2.0)
    sums[1], counts[1] = 1.0, 1.0
    seen = {round(float(m[0, 1]), 9) for m in resampled(sums, counts, 50, seed=0)}
    assert seen == {2.0, 7 / 4, 1.0}


def test_products_are_normalised_after_the_mean() -> None:
    sums = np.array([[[4.0, 1.0], [1.0, 1.0]], [[2.0, 2.0], [2.0, 8.0]]])
    for matrix in resampled(sums, np.ones((2, 2, 2)), 10, seed=0, normalize=True):
        np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-12)
    stable = grouping_stability(
        sums, np.ones((2, 2, 2)), ["a", "b"], TaskAffinityConfig(n_groups=1), normalize=True
    )
    assert stable.grouping.groups == [["a", "b"]]


def test_the_grouping_by_all_batches_is_the_groupers() -> None:
    values, counts = batches(1.0)
    config = TaskAffinityConfig(n_groups="auto", n_bootstrap=2)
    stable = grouping_stability(values, counts, NAMES, config)
    assert stable.grouping.groups == TaskGrouper("auto").cluster(values.mean(axis=0), NAMES)


@pytest.mark.parametrize(
    ("shape", "n_bootstrap", "message"),
    [
        ((3, 4, 5), 10, r"found \(3, 4, 5\)"),
        ((4, 4), 10, r"found \(4, 4\)"),
        ((1, 4, 4), 10, "two batches or more"),
        ((3, 4, 4), 0, "n_bootstrap: expected 1 or more; found 0"),
    ],
)
def test_bad_input(shape: tuple[int, ...], n_bootstrap: int, message: str) -> None:
    config = TaskAffinityConfig(n_groups=2, n_bootstrap=n_bootstrap)
    with pytest.raises(TaskAffinityError, match=message):
        grouping_stability(np.ones(shape), np.ones(shape), NAMES, config)
