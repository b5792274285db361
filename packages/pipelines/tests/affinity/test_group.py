"""Ranks of pairs and partners, against a plain loop over the matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_pipelines.affinity._group import Pair, best_partners, ranked_pairs
from task_affinity import AffinityResult, TaskAffinityConfig


def matrices(n_tasks: int, seed: int) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    matrix = generator.standard_normal((n_tasks, n_tasks))
    matrix[generator.random(matrix.shape) < 0.2] = np.nan
    errors, counts = generator.random(matrix.shape), generator.integers(1, 9, matrix.shape)
    return [f"t{i}" for i in range(n_tasks)], matrix, errors, counts


@given(st.integers(1, 7), st.integers(0, 99), st.booleans(), st.integers(1, 4))
def test_pairs_are_those_of_a_loop(n_tasks: int, seed: int, symmetric: bool, limit: int) -> None:
    names, matrix, errors, counts = matrices(n_tasks, seed)
    every = [
        (matrix[i, j], names[i], names[j], errors[i, j], counts[i, j])
        for i in range(n_tasks)
        for j in range(n_tasks)
        if (i < j if symmetric else i != j) and np.isfinite(matrix[i, j])
    ]
    every.sort(key=lambda entry: -entry[0])
    expected = [Pair(k + 1, a, b, v, e, n) for k, (v, a, b, e, n) in enumerate(every)]
    assert ranked_pairs(names, matrix, errors, counts, symmetric=symmetric) == expected
    ends = ranked_pairs(names, matrix, errors, counts, symmetric=symmetric, limit=limit)
    assert ends == (
        expected if len(expected) <= 2 * limit else expected[:limit] + expected[-limit:]
    )


@pytest.mark.parametrize(
    ("affinity", "error", "reading"),
    [(0.3, 0.1, "agree"), (-0.3, 0.1, "conflict"), (0.1, 0.1, "unclear"), (1, math.nan, "unclear")],
)
def test_reading_goes_by_the_error(affinity: float, error: float, reading: str) -> None:
    assert Pair(1, "a", "b", affinity, error, 5).reading == reading


def test_best_partner_and_its_lead() -> None:
    matrix = np.array([[1, 0.5, 0.1], [0.5, 1, 0.45], [np.nan, np.nan, 1]])
    result = AffinityResult(
        task_names=("a", "b", "c"),
        matrix=matrix,
        standard_errors=np.full((3, 3), 0.05),
        counts=np.ones((3, 3), np.int64),
        block_sums=np.zeros((0, 3, 3), np.float32),
        block_counts=np.zeros((0, 3, 3), np.int32),
        config=TaskAffinityConfig(),
        estimator="exact",
        n_steps=1,
        n_measured=1,
    )
    a, b = best_partners(result)  # nothing is known of what c receives
    assert (a.best, a.second, a.reading) == ("b", "c", "clear")
    assert a.lead == pytest.approx(0.4)
    assert (b.best, b.second, b.reading) == ("a", "c", "unclear")
