"""Models on repeated folds.

Tukey's test against statsmodels' repeated-measures analysis of variance, scipy and a t-test.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from molpool_common import METRICS, InputError
from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores._config import CompareConfig
from molpool_pipelines.scores.comparison._compare import compare_models
from molpool_pipelines.scores.comparison._comparison import NOT_SIGNIFICANT
from molpool_pipelines.scores.comparison._folds import (
    check_assumptions,
    compare_on_folds,
    corrected_resampled_t,
    fold_scores,
    greenhouse_geisser,
    honest_differences,
    repeated_measures_tukey,
)
from molpool_pipelines.scores.comparison._paired import pair_rows
from molpool_pipelines.scores.comparison._test_set import Settings, holm
from scipy import stats
from statsmodels.stats.anova import AnovaRM
from three_models import predictions, shuffled, three

NAMES = ("good", "alike", "poor")
CHOSEN = [METRICS[m] for m in ("ma_rae", "roc_auc")]
SETTINGS = Settings(level=0.95, n_resamples=100, seed=0, practical={})


def test_scores_by_hand() -> None:
    data = pair_rows(three(folds=2), NAMES)
    found = {(s.task, s.metric): s for s in fold_scores(data, CHOSEN)}
    one = found["LogD", "ma_rae"]
    assert one.scores.shape == (10, 3)
    rows = data.rows_of((1, 2))
    rows = rows[np.isfinite(data.y_true[rows, 0])]
    expected = METRICS["ma_rae"](data.y_true[rows, 0], data.y_pred[2, rows, 0])
    assert one.scores[data.cells.index((1, 2)), 2] == pytest.approx(expected)
    mean = (one.scores + found["KSOL", "ma_rae"].scores) / 2
    np.testing.assert_allclose(found[MACRO, "ma_rae"].scores, mean)
    assert one.ratio == pytest.approx(1 / 4), "every label is tested once and trained on 4 times"


def test_p_values_are_tukeys_and_the_guards() -> None:
    data = pair_rows(three(folds=3), NAMES)
    found = compare_on_folds(data, CHOSEN, SETTINGS)
    scores = next(s for s in found.scores if (s.task, s.metric) == ("LogD", "ma_rae"))
    tukey = repeated_measures_tukey(scores.scores)
    pairs = [p for p in found.pairs if (p.task, p.metric) == ("LogD", "ma_rae")]
    at = [(0, 1), (0, 2), (1, 2)]
    raw = [
        corrected_resampled_t(scores.scores[:, i] - scores.scores[:, j], scores.ratio).p
        for i, j in at
    ]
    np.testing.assert_allclose([p.p_guard or np.nan for p in pairs], holm(raw))
    np.testing.assert_allclose([p.p_adjusted or np.nan for p in pairs], [tukey.p[x] for x in at])
    assert [p.winner for p in pairs] == [NOT_SIGNIFICANT, "good", "alike"]


def test_guard_can_be_put_away() -> None:
    """Of slightly unlike models Tukey's test tells more than the guard lets through."""
    near = [predictions("good", folds=5), predictions("alike", noise=0.6, folds=5)]
    data = pair_rows(near, NAMES[:2])
    guarded = compare_on_folds(data, CHOSEN, SETTINGS).pairs
    free = compare_on_folds(data, CHOSEN, replace(SETTINGS, guard=False)).pairs
    alone = [p for p in guarded if p.reason == "Tukey's test alone"]
    assert alone
    assert {p.winner for p in alone} == {NOT_SIGNIFICANT}
    told = {(p.task, p.metric) for p in free if p.winner != NOT_SIGNIFICANT}
    assert {(p.task, p.metric) for p in alone} <= told


def test_order_of_rows_and_models_does_not_matter() -> None:
    models = three(folds=2)
    one = compare_on_folds(pair_rows(models, NAMES), CHOSEN, SETTINGS)
    mixed = [shuffled(m, 1) for m in models[::-1]]
    other = compare_on_folds(pair_rows(mixed, NAMES[::-1]), CHOSEN, SETTINGS)
    theirs = {(p.task, p.metric, p.b, p.a): p for p in other.pairs}
    for p in one.pairs:
        q = theirs[p.task, p.metric, p.a, p.b]
        assert p.winner == q.winner
        assert (p.p_adjusted, p.p_guard) == pytest.approx((q.p_adjusted, q.p_guard), abs=1e-9)


def test_a_fold_without_positives_is_left_out_and_said() -> None:
    models = three(folds=2)
    y = models[0].y_true.copy()
    fold, repeat = models[0].fold, models[0].repeat
    assert fold is not None
    assert repeat is not None
    y[(fold == 0) & (repeat == 1) & np.isfinite(y[:, 2]), 2] = 0
    found = compare_models(
        pair_rows([replace(m, y_true=y) for m in models], NAMES),
        CompareConfig(metrics=["average_precision", "roc_auc"]),
    )
    assert found.design == "folds"
    assert {p.n for p in found.pairs} == {9}
    assert "hERG, average_precision: 1 of 10 folds left out, no positives." in found.notes
    assert "hERG, roc_auc: 1 of 10 folds left out, a single class." in found.notes


def test_a_fold_column_with_a_missing_value_is_refused() -> None:
    models = three(folds=2)
    fold = models[0].fold
    assert fold is not None
    gaps = fold.copy()
    gaps[[3, 7]] = -1
    data = pair_rows([replace(m, fold=gaps) for m in models], NAMES)
    with pytest.raises(InputError, match=r"a fold in every row; found none in 2 of 240 rows, ids"):
        compare_models(data, CompareConfig())


def test_designs_that_rows_do_not_allow() -> None:
    with pytest.raises(InputError, match="two folds or more, in column fold; found none"):
        compare_models(pair_rows(three(), NAMES), CompareConfig(design="folds"))
    with pytest.raises(InputError, match="molecules in several repeats or folds"):
        compare_models(pair_rows(three(folds=2), NAMES), CompareConfig(design="test_set"))


def test_a_metric_of_no_task_is_refused() -> None:
    only = [m.of_tasks(["LogD"]) for m in three()]
    with pytest.raises(InputError, match="a metric of regression tasks; found roc_auc"):
        compare_models(pair_rows(only, NAMES), CompareConfig(metrics=["roc_auc"]))


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
    ends: Any = peer.confidence_interval(0.95)
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
    ends: Any = peer.confidence_interval(0.95)
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
    ends: Any = peer.confidence_interval(0.95)
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


def test_figures_are_those_of_scipy() -> None:
    x = np.random.default_rng(0).normal(size=(15, 3)) + np.arange(15)[:, None]
    rest = x - x.mean(axis=1, keepdims=True) - x.mean(axis=0) + x.mean()
    found = check_assumptions(x)
    assert found.normality_p == pytest.approx(stats.shapiro(rest.ravel()).pvalue)
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*x.T).pvalue)
    variances = x.var(axis=0, ddof=1)
    assert found.variance_ratio == pytest.approx(variances.max() / variances.min())


@pytest.mark.parametrize("seed", range(5))
def test_epsilon_by_the_eigenvalues_of_contrasts(seed: int) -> None:
    """(Σλ)² / ((M - 1) Σλ²) of the covariance of orthonormal contrasts."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(12, 4)) * [1, 2, 3, 4]
    basis = np.linalg.qr(np.column_stack([np.ones(4), rng.normal(size=(4, 3))]))[0][:, 1:]
    eigenvalues = np.linalg.eigvalsh(basis.T @ np.cov(x, rowvar=False) @ basis)
    expected = eigenvalues.sum() ** 2 / (3 * np.square(eigenvalues).sum())
    found = greenhouse_geisser(x)
    assert found == pytest.approx(expected)
    assert found is not None
    assert 1 / 3 <= found <= 1


def test_two_models_are_always_spherical() -> None:
    assert greenhouse_geisser(np.random.default_rng(0).normal(size=(9, 2))) == pytest.approx(1.0)


def test_doubts_are_said() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_t(1.0, size=(40, 3)) * [1, 1, 30]
    doubts = " ".join(check_assumptions(x).doubts)
    for word in ("not normal", "variances of the models are unlike", "differences vary unalike"):
        assert word in doubts


def test_scores_without_doubt_and_scores_that_do_not_vary() -> None:
    assert check_assumptions(np.random.default_rng(3).normal(size=(20, 3))).doubts == ()
    still = check_assumptions(np.zeros((5, 3)))
    assert (still.normality_p, still.epsilon, still.friedman_p) == (None, None, None)
    assert still.variance_ratio == 1.0
