from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import by_size
from rt_ridge.reach import GRID, MARGIN, Extrapolation, beyond, normal_reach, reach_of
from scipy.stats import norm

AT_95 = int(np.flatnonzero(GRID == 0.95)[0])


def test_one_part_is_told_by_its_quantiles() -> None:
    size = np.abs(np.random.default_rng(0).normal(size=5_000))
    found = reach_of(*by_size(size, np.zeros(5_000, dtype=np.int64)))
    expected = np.quantile(size, np.minimum(GRID * (1 + 1 / 5_000), 1), method="higher")
    np.testing.assert_array_equal(found, expected)


def test_runs_that_differ_are_covered_when_they_are_new() -> None:
    # 10 runs whose errors have each a spread of their own, log-normal by 1. Quantiles of all rows
    # miss a new run's 95 % by 1.5 points on average; those that leave runs out do not. Over 400
    # draws of the 10 runs the mean coverage of new ones scatters by 0.2 points, here once drawn.
    rng = np.random.default_rng(1)
    plain, raised = [], []
    for _ in range(400):
        spread = np.exp(rng.normal(size=10))
        size = np.abs(rng.normal(size=(10, 100))) * spread[:, None]
        part = np.repeat(np.arange(10), 100)
        new = np.exp(rng.normal(size=100))

        def covered(reach: float, new: Any = new) -> float:
            return float(np.mean(2 * norm.cdf(reach / new) - 1))

        plain.append(covered(float(np.quantile(size, 0.95))))
        raised.append(covered(reach_of(*by_size(size.ravel(), part))[AT_95]))
    assert np.mean(plain) < 0.94
    assert abs(np.mean(raised) - 0.95) < 0.01


@given(st.integers(0, 1_000), st.integers(2, 6))
def test_parts_only_widen_and_their_order_is_of_no_account(seed: int, n_parts: int) -> None:
    rng = np.random.default_rng(seed)
    size, part = np.abs(rng.standard_t(2, 300)), rng.integers(0, n_parts, 300)
    found = reach_of(*by_size(size, part))
    assert (np.diff(found) >= 0).all()
    assert (found >= reach_of(*by_size(size, np.zeros(300, dtype=np.int64)))).all()
    np.testing.assert_array_equal(found, reach_of(*by_size(size, n_parts - 1 - part)))


def test_readings_beyond_are_those_outside_the_range_and_its_margin() -> None:
    low, high = np.array([0.0, -1.0]), np.array([10.0, 1.0])
    inside = [[10.0 * (1 + MARGIN) - 1e-9, 0.0], [5.0, -1.0 - 2 * MARGIN + 1e-9]]
    outside = [[10.0 * (1 + MARGIN) + 1e-9, 0.0], [5.0, -1.0 - 2 * MARGIN - 1e-9]]
    assert beyond(np.array(inside + outside), low, high).tolist() == [False, False, True, True]
    assert beyond(np.zeros((3, 0)), np.zeros(0), np.zeros(0)).tolist() == [False] * 3


def test_beyond_nothing_is_narrower_than_the_model_says() -> None:
    ends = np.zeros(1), np.ones(1)
    few = Extrapolation.fit(*ends, *by_size(np.full(199, 9.0), np.zeros(199, dtype=np.int64)))
    np.testing.assert_array_equal(few.reach, normal_reach(GRID))
    quiet = Extrapolation.fit(*ends, *by_size(np.full(300, 0.01), np.arange(300) % 3))
    np.testing.assert_array_equal(quiet.reach, normal_reach(GRID))
    wild = Extrapolation.fit(*ends, *by_size(np.full(300, 9.0), np.arange(300) % 3))
    assert (wild.reach == 9.0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": np.zeros(2)}, "expected ends of each covariate"),
        ({"low": np.full(1, 2.0)}, "low <= high"),
        ({"high": np.full(1, np.inf)}, "finite ends"),
        ({"reach": -np.arange(3.0)}, "ascends with coverage"),
    ],
)
def test_what_is_no_range_is_refused(changes: dict[str, Any], message: str) -> None:
    values = {"low": np.zeros(1), "high": np.ones(1), "reach": np.arange(3.0)}
    with pytest.raises(RTRidgeError, match=message):
        Extrapolation(**(values | changes))
