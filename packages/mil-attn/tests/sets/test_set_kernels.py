"""Kernels and distances of sets against loops over all pairs of instances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn import (
    MILError,
    Sets,
    bag_distances,
    clique_weights,
    mean_kernel,
    mmd_squared,
    set_kernel,
    set_kernels,
)
from mil_attn.sets import _set_kernels
from molpool_common import FloatArray
from scipy.spatial.distance import cdist

TOLERANCE = 1e-10


def some_sets(sizes: tuple[int, ...], seed: int = 0, *, weighed: bool = True) -> Sets:
    draw = np.random.default_rng(seed)
    m = sum(sizes)
    weights = draw.random(m) if weighed else None
    return Sets(draw.normal(3, 1, size=(m, 4)), np.concatenate([[0], np.cumsum(sizes)]), weights)


def members(sets: Sets, b: int) -> tuple[FloatArray, FloatArray]:
    rows = slice(sets.offsets[b], sets.offsets[b + 1])
    return sets.instances[rows], sets.member_weights[rows]


def looped(a: Sets, b: Sets, gamma: float) -> FloatArray:
    found = np.zeros((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            (x, u), (y, v) = members(a, i), members(b, j)
            for p in range(len(x)):
                for q in range(len(y)):
                    found[i, j] += u[p] * v[q] * np.exp(-gamma * ((x[p] - y[q]) ** 2).sum())
    return found


@pytest.fixture(params=[2, 1024])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of fewer instances than a set has, and of all of them."""
    monkeypatch.setattr(_set_kernels, "_ROWS", request.param)


@pytest.mark.usefixtures("block")
def test_a_mean_kernel_is_the_sum_over_all_pairs() -> None:
    a, b = some_sets((1, 3, 2)), some_sets((4, 1), seed=1, weighed=False)
    for left, right, other in ((a, b, b), (a, a, None)):
        expected = looped(left, right, 0.3)
        np.testing.assert_allclose(
            mean_kernel(left, other, gamma=0.3), expected, rtol=0, atol=TOLERANCE
        )


@pytest.mark.usefixtures("block")
def test_a_set_kernel_is_normalised_and_its_doublings_are_those_of_doubled_widths() -> None:
    a, b = some_sets((1, 3, 2)), some_sets((4, 1), seed=1)
    for k, found in enumerate(set_kernels(a, b, gamma=0.1, n=3)):
        gamma = 0.1 * 2**k
        of_a, of_b = (np.diagonal(looped(s, s, gamma)) for s in (a, b))
        expected = looped(a, b, gamma) / np.sqrt(np.outer(of_a, of_b))
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(np.diagonal(set_kernel(a, gamma=0.1)), 1, atol=TOLERANCE)


def test_a_discrepancy_is_none_of_a_set_with_itself_and_large_of_sets_apart() -> None:
    a = some_sets((3, 4), weighed=False)
    far = Sets(a.instances + 1e3, a.offsets)
    gamma = 0.5
    own, other = looped(a, a, gamma), looped(a, far, gamma)
    expected = np.diagonal(own)[:, None] + np.diagonal(own) - 2 * other
    np.testing.assert_allclose(mmd_squared(a, far, gamma=gamma), expected, atol=TOLERANCE)
    np.testing.assert_allclose(np.diagonal(mmd_squared(a, gamma=gamma)), 0, atol=TOLERANCE)


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("kind", ["hausdorff", "mean_min"])
def test_distances_are_those_of_nearest_instances(kind: Any) -> None:
    a, b = some_sets((1, 3, 2)), some_sets((4, 2), seed=1)
    b.instances[0] = a.instances[2]  # an instance of both, nowhere apart from itself
    found = bag_distances(a, b, kind=kind)
    for i in range(len(a)):
        for j in range(len(b)):
            apart = cdist(members(a, i)[0], members(b, j)[0])
            near = apart.min(axis=1), apart.min(axis=0)
            expected = {
                "hausdorff": max(near[0].max(), near[1].max()),
                "mean_min": (near[0].mean() + near[1].mean()) / 2,
            }
            assert abs(found[i, j] - expected[kind]) < TOLERANCE


def test_instances_that_are_alike_share_their_weight() -> None:
    x = np.array([[0.0], [0.0], [0.0], [5.0], [1.0]])
    weights = clique_weights(Sets(x, np.array([0, 4, 5]))).member_weights
    # Three together and one apart: two groups, and each has half.
    np.testing.assert_allclose(weights, [1 / 6, 1 / 6, 1 / 6, 1 / 2, 1])


sizes_of_sets = st.lists(st.integers(1, 5), min_size=1, max_size=6).map(tuple)


@settings(max_examples=25, deadline=None)
@given(sizes_of_sets, st.integers(0, 99), st.floats(1e-3, 10))
def test_kernels_are_positive_semidefinite(sizes: tuple[int, ...], seed: int, gamma: float) -> None:
    sets = some_sets(sizes, seed)
    plain = Sets(sets.instances, sets.offsets)
    for found in (
        mean_kernel(sets, gamma=gamma),
        set_kernel(sets, gamma=gamma),
        set_kernel(clique_weights(sets), gamma=gamma),
        np.exp(-mmd_squared(plain, gamma=gamma)),
    ):
        np.testing.assert_allclose(found, found.T, rtol=0, atol=1e-12)
        assert np.linalg.eigvalsh(found).min() > -1e-9


@settings(max_examples=25, deadline=None)
@given(sizes_of_sets, st.integers(0, 99))
def test_order_within_a_set_and_the_sets_beside_it_count_for_nothing(
    sizes: tuple[int, ...], seed: int
) -> None:
    sets, others = some_sets(sizes, seed), some_sets((2, 3), seed=seed + 100)
    draw = np.random.default_rng(seed)
    bounds = zip(sets.offsets, sets.offsets[1:], strict=False)
    at = np.concatenate([draw.permutation(np.arange(a, b)) for a, b in bounds])
    turned = Sets(sets.instances[at], sets.offsets, sets.member_weights[at])
    expected = set_kernel(sets, others, gamma=0.4)
    found = set_kernel(turned, others, gamma=0.4)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
    alone = [set_kernel(sets.take(np.array([b])), others, gamma=0.4) for b in range(len(sets))]
    np.testing.assert_allclose(np.vstack(alone), expected, rtol=0, atol=TOLERANCE)


def test_sets_that_are_none_are_refused() -> None:
    x = np.zeros((3, 1))
    with pytest.raises(MILError, match="number 1 from 0"):
        Sets(x, np.array([0, 3, 3]))
    with pytest.raises(MILError, match="weights"):
        Sets(x, np.array([0, 3]), np.array([1.0, -1.0, 1.0]))
    with pytest.raises(MILError, match="finite"):
        Sets(x + np.nan, np.array([0, 3]))
