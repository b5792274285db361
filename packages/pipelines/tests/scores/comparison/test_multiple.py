from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_pipelines.scores.comparison.multiple import holm
from statsmodels.stats.multitest import multipletests

PROBABILITIES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1, none below the one before: 0.03, 0.04, 0.04.
    np.testing.assert_allclose(holm([0.02, 0.04, 0.01]), [0.04, 0.04, 0.03])


@given(PROBABILITIES)
@settings(deadline=None, max_examples=30)
def test_equals_statsmodels(p: list[float]) -> None:
    expected = multipletests(p, method="holm")[1]
    np.testing.assert_allclose(holm(p), expected, atol=1e-12)


@given(PROBABILITIES)
@settings(deadline=None, max_examples=30)
def test_order_does_not_matter(p: list[float]) -> None:
    order = np.random.default_rng(len(p)).permutation(len(p))
    np.testing.assert_array_equal(holm(p)[order], holm(np.array(p)[order]))


def test_a_test_without_result_is_not_of_the_family() -> None:
    found = holm([0.02, np.nan, 0.04])
    np.testing.assert_allclose(found, [0.04, np.nan, 0.04])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize("p", [[1.0, 1.0], [0.6, 0.9]])
def test_never_above_one(p: list[float]) -> None:
    assert holm(p).max() <= 1.0
