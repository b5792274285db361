"""Tukey's test against statsmodels' repeated-measures analysis of variance, scipy and a t-test."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from molpool_pipelines.scores.comparison.tukey import honest_differences, repeated_measures_tukey
from scipy import stats
from statsmodels.stats.anova import AnovaRM

MODELS = ("a", "b", "c", "d")


def scores(seed: int, n_folds: int = 12, n_models: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = rng.normal(0.0, 2.0, (n_folds, 1))
    return hard + rng.normal(0.0, 0.3, (n_folds, n_models)) + np.arange(n_models) * 0.2


def test_equals_anova_of_statsmodels_with_the_studentised_range_by_hand() -> None:
    x = scores(0)
    k, m = x.shape
    long = pd.DataFrame(
        [(f, MODELS[i], x[f, i]) for f in range(k) for i in range(m)],
        columns=["fold", "model", "score"],
    )
    anova = AnovaRM(long, "score", "fold", within=["model"]).fit().anova_table.iloc[0]
    between = k * np.square(x.mean(axis=0) - x.mean()).sum() / (m - 1)
    error = between / anova["F Value"]  # the mean square that F divides by
    found = repeated_measures_tukey(x)
    assert found.df == anova["Den DF"] == (k - 1) * (m - 1)
    assert found.residual_sd == pytest.approx(np.sqrt(error), rel=1e-9)
    for i in range(m):
        for j in range(m):
            difference = x[:, i].mean() - x[:, j].mean()
            q = abs(difference) / np.sqrt(error / k)
            half = stats.studentized_range.ppf(0.95, m, found.df) * np.sqrt(error / k)
            assert found.difference[i, j] == pytest.approx(difference, abs=1e-12)
            assert found.low[i, j] == pytest.approx(difference - half, abs=1e-9)
            assert found.high[i, j] == pytest.approx(difference + half, abs=1e-9)
            expected = stats.studentized_range.sf(q, m, found.df) if i != j else 1.0
            assert found.p[i, j] == pytest.approx(expected, abs=1e-9)


def test_equals_scipy_on_a_balanced_design_without_blocks() -> None:
    x = scores(1, n_models=3)
    k, m = x.shape
    error = float(x.var(axis=0, ddof=1).mean())
    found = honest_differences(x.mean(axis=0), k, error, m * (k - 1))
    peer = stats.tukey_hsd(*x.T)
    ends = peer.confidence_interval(0.95)
    np.testing.assert_allclose(found.p, peer.pvalue, atol=1e-9)
    # scipy leaves the diagonal without an interval of its own.
    off = ~np.eye(m, dtype=bool)
    np.testing.assert_allclose(found.low[off], ends.low[off], atol=1e-6)
    np.testing.assert_allclose(found.high[off], ends.high[off], atol=1e-6)


def test_is_the_paired_t_test_for_two_models() -> None:
    x = scores(2, n_models=2)
    found = repeated_measures_tukey(x)
    peer = stats.ttest_rel(x[:, 0], x[:, 1])
    assert found.p[0, 1] == pytest.approx(peer.pvalue, rel=1e-6)
    ends = peer.confidence_interval(0.95)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx(tuple(ends), rel=1e-6)


def test_hard_folds_and_the_order_of_folds_and_models_do_not_matter() -> None:
    x = scores(3)
    found = repeated_measures_tukey(x)
    harder = repeated_measures_tukey(x + 10.0 * np.arange(len(x))[:, None])
    np.testing.assert_allclose(harder.p, found.p, atol=1e-9)
    order = np.array([2, 0, 3, 1])
    turned = repeated_measures_tukey(x[::-1][:, order])
    np.testing.assert_allclose(turned.p, found.p[np.ix_(order, order)], atol=1e-9)
    np.testing.assert_allclose(turned.low, found.low[np.ix_(order, order)], atol=1e-12)


def test_two_models_are_told_where_intervals_of_half_the_width_are_apart() -> None:
    x = scores(4)
    found = repeated_measures_tukey(x)
    means, half = x.mean(axis=0), found.half_width / 2
    apart = np.abs(means[:, None] - means) > 2 * half
    np.testing.assert_array_equal(apart, found.p < 0.05)


def test_models_that_differ_by_the_same_on_every_fold() -> None:
    base = np.arange(5.0)
    found = repeated_measures_tukey(np.column_stack([base, base + 1.0, base]))
    assert found.p[0, 1] == pytest.approx(0.0, abs=1e-9)
    assert found.p[0, 2] == 1.0


def test_family_of_pairs_errs_as_often_as_it_says() -> None:
    """400 families of 3 equal models at 5 %: 5 to 40 errors fail less than once in 10 000."""
    rng = np.random.default_rng(5)
    errors, critical = 0, _critical()
    for _ in range(400):
        x = rng.normal(size=(8, 1)) + rng.normal(size=(8, 3))
        means = x.mean(axis=0)
        rest = x - x.mean(axis=1, keepdims=True) - means + x.mean()
        half = critical * np.sqrt(np.square(rest).sum() / 14 / 8)
        errors += bool(np.ptp(means) > half)
    assert 5 <= errors <= 40
    assert repeated_measures_tukey(x).half_width == pytest.approx(half, rel=1e-6)


def _critical() -> float:
    """Return the 5 % point for 3 means and 14 degrees of freedom: 3.70 (Pearson and Hartley)."""
    value = 3.701394
    assert stats.studentized_range.sf(value, 3, 14) == pytest.approx(0.05, abs=1e-6)
    return value


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (4,)])
def test_too_few(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 2 folds and 2 models"):
        repeated_measures_tukey(np.zeros(shape))
