from __future__ import annotations

import numpy as np
import pytest
from molpool_pipelines.scores.comparison.corrected_t import corrected_resampled_t
from molpool_pipelines.scores.comparison.tukey import repeated_measures_tukey
from scipy import stats


def test_by_hand() -> None:
    """Mean 2, s² 2.5 over 5 folds of 5: variance of the mean (1/5 + 1/4) 2.5 = 1.125."""
    found = corrected_resampled_t([0.0, 1.0, 2.0, 3.0, 4.0], 1 / 4)
    assert found.difference == 2.0
    assert found.t == pytest.approx(2 / np.sqrt(1.125))
    assert found.df == 4
    # 2.776445 is the 97.5 % point of t with 4 degrees of freedom in any table.
    assert found.high == pytest.approx(2 + 2.776445 * np.sqrt(1.125), rel=1e-6)
    assert found.p == pytest.approx(2 * stats.t.sf(2 / np.sqrt(1.125), 4))


def test_is_the_t_test_where_no_row_is_shared() -> None:
    d = np.random.default_rng(0).normal(0.2, 1.0, 20)
    peer = stats.ttest_1samp(d, 0.0)
    found = corrected_resampled_t(d, 1e-12)
    assert found.p == pytest.approx(peer.pvalue, rel=1e-6)
    ends = peer.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(ends), rel=1e-6)


def test_sign_follows_the_order_of_the_models() -> None:
    d = np.random.default_rng(1).normal(0.2, 1.0, 10)
    one, other = corrected_resampled_t(d, 0.25), corrected_resampled_t(-d[::-1], 0.25)
    assert (one.low, one.p) == pytest.approx((-other.high, other.p))


def test_folds_that_do_not_vary() -> None:
    assert corrected_resampled_t([1.0, 1.0], 0.25).p == 0.0
    assert corrected_resampled_t([0.0, 0.0], 0.25).p == 1.0


def test_guards_where_folds_depend_on_one_another() -> None:
    """5 x 5 folds whose differences correlate by 1/5, as the test supposes, and no true difference.

    Of 400 at 5 %, 5 to 40 false wins: fails less than once in 10 000. A t-test that takes folds for
    independent errs several times as often, which is what the guard is for.
    """
    rng = np.random.default_rng(2)
    guarded = naive = 0
    for _ in range(400):
        shared, own = rng.normal(), rng.normal(size=25)
        d = np.sqrt(0.2) * shared + np.sqrt(0.8) * own
        guarded += corrected_resampled_t(d, 0.25).p <= 0.05
        naive += stats.ttest_1samp(d, 0.0).pvalue <= 0.05
    assert 5 <= guarded <= 40
    assert naive > 3 * guarded
    # And Tukey's test of two models is that t-test.
    two = repeated_measures_tukey(np.column_stack([d, np.zeros(25)]))
    assert two.p[0, 1] == pytest.approx(stats.ttest_1samp(d, 0.0).pvalue, abs=1e-6)


@pytest.mark.parametrize(("d", "ratio"), [([1.0], 0.25), ([[1.0, 2.0]], 0.25), ([1.0, 2.0], 0.0)])
def test_bad_arguments(d: list[float], ratio: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        corrected_resampled_t(d, ratio)
