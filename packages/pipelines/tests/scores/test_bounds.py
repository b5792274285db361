"""Scores that know of bounds, against loops over all pairs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_pipelines.scores import Predictions, bounds_by_task
from molpool_pipelines.scores import _bounds as bounds
from molpool_pipelines.scores._bounds import concordance, score_bounds
from scipy.stats import kendalltau

NAN = float("nan")


def known_less(one: tuple[float, int], other: tuple[float, int]) -> bool:
    """Return whether the first value is certainly below the second."""
    (a, sign), (b, other_sign) = one, other
    if sign > 0 or other_sign < 0:
        return False
    return a < b or (a == b and (sign < 0 or other_sign > 0))


def slowly(labels: list[tuple[float, int]], predicted: list[float]) -> float | None:
    right = pairs = 0.0
    for i, j in permutations(range(len(labels)), 2):
        if known_less(labels[i], labels[j]):
            pairs += 1
            right += (predicted[i] < predicted[j]) + 0.5 * (predicted[i] == predicted[j])
    return right / pairs if pairs else None


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 0, 1]), st.integers(0, 4)),
        min_size=1,
        max_size=12,
    )
)
def test_concordance_is_that_of_all_pairs(rows: list[tuple[int, int, int]]) -> None:
    labels = [(float(y), sign) for y, sign, _ in rows]
    predicted = [float(p) for *_, p in rows]
    found = concordance(
        np.array([y for y, _ in labels]), np.array([s for _, s in labels]), np.array(predicted)
    )
    expected = slowly(labels, predicted)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-12))


def test_without_bounds_it_is_kendalls_tau() -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(2, 700))
    found = concordance(y, np.zeros(700, dtype=np.int8), p)
    # Without ties C = (tau + 1) / 2.
    assert found == pytest.approx((kendalltau(y, p).statistic + 1) / 2, abs=1e-12)


def test_of_many_labels_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_MOST", 50)
    values = np.arange(1000.0)
    assert concordance(values, np.zeros(1000, dtype=np.int8), values) == 1


def test_a_bound_counts_where_it_is_contradicted() -> None:
    y = np.array([1.0, NAN, NAN, NAN])
    limits = np.array([NAN, 5.0, 5.0, 2.0])
    signs = np.array([0, 1, 1, -1], dtype=np.int8)
    found = score_bounds(y, limits, signs, np.array([1.5, 4.0, 9.0, 2.5]))
    assert found is not None
    # Errors 0.5, 1 (> 5 predicted as 4), 0 (> 5 as 9), 0.5 (< 2 as 2.5).
    assert found.mae == pytest.approx(2.0 / 4)
    assert found.contradicted == pytest.approx(2 / 3)
    assert (found.n, found.n_bounds) == (4, 3)


def test_only_tasks_with_bounds_have_them(made: Callable[..., Predictions]) -> None:
    more: dict[str, Any] = {
        "bounds": np.array([[3.0, NAN], [NAN, NAN]]),
        "signs": np.array([[1, 0], [0, 0]], dtype=np.int8),
    }
    found = made([[NAN, 1.0], [1.0, 2.0]], [[2.0, 1.0], [1.0, 2.0]], **more)
    assert list(bounds_by_task(found)) == ["t0"]
    assert bounds_by_task(found.of_tasks(["t1"])) == {}
    assert bounds_by_task(found.take(np.array([1]))) == {}
