"""Scores of rows that err together by group, against their definition and in simulation."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import scores_of_new_groups
from scipy.stats import norm


def by_definition(scores, groups):
    """Return each score at the place among all rows that it has among those of other groups."""
    ordered, n, places = np.sort(scores), len(scores), []
    for score, group in zip(scores, groups, strict=True):
        others = scores[groups != group]
        share = Fraction(int((others < score).sum()), len(others))
        places.append(min(math.ceil(share * (n - 1)), n - 1))
    return np.maximum(ordered[sorted(places)], ordered)


@pytest.mark.core
@given(st.integers(0, 1_000), st.integers(2, 40))
def test_rows_that_are_groups_of_their_own_keep_their_scores(seed, n):
    scores = np.abs(np.random.default_rng(seed).normal(size=n))
    for groups in (np.arange(n), np.zeros(n, dtype=np.int64)):
        np.testing.assert_array_equal(scores_of_new_groups(scores, groups), np.sort(scores))


@pytest.mark.core
@given(st.integers(0, 1_000), st.integers(2, 6))
def test_scores_only_grow_and_neither_order_nor_numbers_of_groups_matter(seed, n_groups):
    rng = np.random.default_rng(seed)
    scores, groups = np.abs(rng.standard_t(2, 300)), rng.integers(0, n_groups, 300)
    found = scores_of_new_groups(scores, groups)
    assert (found >= np.sort(scores)).all()
    assert (np.diff(found) >= 0).all()
    order = rng.permutation(300)
    np.testing.assert_array_equal(found, scores_of_new_groups(scores[order], (10 - groups)[order]))


@given(st.integers(0, 1_000), st.integers(2, 5))
def test_each_score_is_held_against_other_groups(seed, n_groups):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, 60)])
    # Rounded, so that scores are tied.
    scores = np.abs(rng.normal(size=len(groups))).round(1) * (1 + groups)
    np.testing.assert_array_equal(
        scores_of_new_groups(scores, groups), by_definition(scores, groups)
    )


def test_no_scores_are_no_scores():
    assert len(scores_of_new_groups(np.empty(0), np.empty(0, dtype=np.int64))) == 0


def test_new_groups_are_covered_where_quantiles_of_all_rows_miss_them():
    # 10 groups whose errors have each a spread of their own, log-normal by 1. Quantiles of all rows
    # miss a new group's 95 % by 1.5 points on average. Over 400 draws of the 10 groups the mean
    # coverage of new ones scatters by 0.2 points, here once drawn.
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(10), 100)
    plain, raised = [], []
    for _ in range(400):
        size = np.abs(rng.normal(size=1000)) * np.exp(rng.normal(size=10))[groups]
        new = np.exp(rng.normal(size=100))

        def covered(scores: Any, new: Any = new) -> float:
            half = np.sort(scores)[950]  # the ceil(1001 x .95)-th
            return float(np.mean(2 * norm.cdf(half / new) - 1))

        plain.append(covered(size))
        raised.append(covered(scores_of_new_groups(size, groups)))
    assert np.mean(plain) < 0.94
    assert abs(np.mean(raised) - 0.95) < 0.01
