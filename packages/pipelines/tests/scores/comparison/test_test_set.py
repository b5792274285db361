"""Models on one test set: values, verdicts, and what must not matter.

Paired bootstrap against scipy's, by simulation and by its invariances.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import METRICS, mae, resampled_scores, spearman
from molpool_pipelines.runs import MACRO
from molpool_pipelines.scores.comparison._comparison import (
    NOT_SIGNIFICANT,
    Pair,
    Value,
    practical_verdict,
)
from molpool_pipelines.scores.comparison._paired import PairedRows, pair_rows
from molpool_pipelines.scores.comparison._test_set import (
    Settings,
    compare_on_test_set,
    difference_test,
    holm,
)
from scipy import stats
from statsmodels.stats.multitest import multipletests
from three_models import predictions, shuffled, three

NAMES = ("good", "alike", "poor")
CHOSEN = [METRICS[m] for m in ("ma_rae", "mae", "spearman", "roc_auc")]
SETTINGS = Settings(level=0.95, n_resamples=600, seed=3, practical={"ma_rae": 0.1})


def compared(data: PairedRows, settings: Settings = SETTINGS) -> tuple[list[Value], list[Pair]]:
    return compare_on_test_set(data, CHOSEN, settings)


def pair(pairs: list[Pair], task: str, metric: str, *models: str) -> Pair:
    (found,) = (
        p for p in pairs if (p.task, p.metric) == (task, metric) and {p.a, p.b} == set(models)
    )
    return found


def test_values_are_the_metrics_and_the_mean_over_tasks_their_mean() -> None:
    data = pair_rows(three(), NAMES)
    values, pairs = compared(data)
    by_place = {(v.task, v.metric, v.model): v for v in values}
    for m, model in enumerate(NAMES):
        own = []
        for t, task in ((0, "LogD"), (1, "KSOL")):
            rows = np.isfinite(data.y_true[:, t])
            expected = METRICS["ma_rae"](data.y_true[rows, t], data.y_pred[m, rows, t])
            assert by_place[task, "ma_rae", model].value == pytest.approx(expected)
            assert by_place[task, "ma_rae", model].n == rows.sum()
            own.append(expected)
        assert by_place[MACRO, "ma_rae", model].value == pytest.approx(np.mean(own))
    assert (MACRO, "mae", "good") not in by_place, "units of tasks differ"
    assert (MACRO, "roc_auc", "good") not in by_place, "a single task"
    one = pair(pairs, "LogD", "ma_rae", "good", "poor")
    first, second = (by_place["LogD", "ma_rae", n].value for n in ("good", "poor"))
    assert first is not None
    assert second is not None
    assert one.difference == pytest.approx(first - second)


def test_who_wins_follows_the_direction_of_the_metric() -> None:
    _, pairs = compared(pair_rows(three(), NAMES))
    for task, metric in (("LogD", "ma_rae"), ("LogD", "spearman"), (MACRO, "ma_rae")):
        assert pair(pairs, task, metric, "good", "poor").winner == "good"
        assert pair(pairs, task, metric, "alike", "poor").winner == "alike"
    assert pair(pairs, "KSOL", "ma_rae", "good", "alike").winner == NOT_SIGNIFICANT


def test_p_values_are_adjusted_over_the_pairs_of_a_task_and_metric() -> None:
    _, pairs = compared(pair_rows(three(), NAMES))
    family = [p for p in pairs if (p.task, p.metric) == ("LogD", "mae")]
    raw = [np.nan if p.p is None else p.p for p in family]
    np.testing.assert_allclose([p.p_adjusted or np.nan for p in family], holm(raw))


def test_order_of_rows_does_not_matter() -> None:
    models = three()
    mixed = [shuffled(m, seed) for seed, m in enumerate(models)]
    assert compared(pair_rows(models, NAMES)) == compared(pair_rows(mixed, NAMES))


def test_order_of_models_does_not_matter() -> None:
    first, second, third = three()
    _, one = compared(pair_rows([first, second, third], NAMES))
    _, other = compared(pair_rows([third, first, second], ["poor", "good", "alike"]))
    for p in one:
        q = pair(other, p.task, p.metric, p.a, p.b)
        assert p.difference is not None
        assert q.difference is not None
        sign = 1 if (p.a, p.b) == (q.a, q.b) else -1
        low, high = (q.low, q.high) if sign == 1 else (q.high, q.low)
        assert low is not None
        assert high is not None
        assert q.difference == pytest.approx(sign * p.difference, abs=1e-12)
        assert (p.low, p.high) == pytest.approx((sign * low, sign * high), abs=1e-12)
        assert (p.winner, p.p, p.practical) == (q.winner, q.p, q.practical)


def test_a_handful_of_labels_is_not_judged() -> None:
    models = three()
    y = models[0].y_true.copy()
    labelled = np.flatnonzero(np.isfinite(y[:, 0]))
    y[labelled[12:], 0] = np.nan
    few = [replace(m, y_true=y) for m in models]
    values, pairs = compared(pair_rows(few, NAMES))
    one = pair(pairs, "LogD", "ma_rae", "good", "poor")
    assert one.winner == NOT_SIGNIFICANT
    assert one.reason == "12 labels, fewer than 20"
    assert one.difference is not None
    of_mean = [v for v in values if (v.task, v.metric) == (MACRO, "ma_rae")]
    assert not of_mean or {v.n for v in of_mean} == {int(np.isfinite(y[:, 1]).sum())}
    enough = replace(SETTINGS, min_labels=12)
    _, judged = compared(pair_rows(few, NAMES), enough)
    assert pair(judged, "LogD", "ma_rae", "good", "poor").p is not None


def test_few_of_one_class_are_not_judged() -> None:
    models = three()
    y = models[0].y_true.copy()
    positives = np.flatnonzero(y[:, 2] == 1)
    y[positives[3:], 2] = 0
    _, pairs = compared(pair_rows([replace(m, y_true=y) for m in models], NAMES))
    one = pair(pairs, "hERG", "roc_auc", "good", "poor")
    assert one.reason == "3 labels of the rarer class, fewer than 5"


def test_undefined_metrics_are_left_out_and_said() -> None:
    models = three()
    y = models[0].y_true.copy()
    y[np.isfinite(y[:, 2]), 2] = 0
    values, pairs = compared(pair_rows([replace(m, y_true=y) for m in models], NAMES))
    assert pair(pairs, "hERG", "roc_auc", "good", "poor").reason == "a single class"
    assert all(v.value is None for v in values if v.metric == "roc_auc")


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [
        (0.2, 0.3, "relevant"),
        (-0.3, -0.11, "relevant"),
        (-0.1, 0.1, "negligible"),
        (0.01, 0.05, "negligible"),
        (0.05, 0.3, "inconclusive"),
        (-0.3, 0.3, "inconclusive"),
    ],
)
def test_practical_side(low: float, high: float, side: str) -> None:
    assert practical_verdict(low, high, 0.1) == side
    assert practical_verdict(-high, -low, 0.1) == side
    assert practical_verdict(low, high, None) is None


def test_identical_models() -> None:
    good = predictions("good")
    _, pairs = compared(pair_rows([good, good], ["one", "two"]))
    assert {p.winner for p in pairs} == {NOT_SIGNIFICANT}
    assert {p.p for p in pairs if p.p is not None} == {1.0}


def sample(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    return y, np.stack([y + rng.normal(0, s, n) for s in (0.5, 0.7)])


def test_interval_is_that_of_scipy() -> None:
    """Ends of two sets of 20 000 resamples: 0.004 is five of their Monte Carlo errors and more."""
    y, p = sample(0)

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(a).mean(axis=axis) - np.abs(b).mean(axis=axis)

    peer = stats.bootstrap(
        (p[0] - y, p[1] - y), difference, paired=True, vectorized=True, method="percentile",
        n_resamples=20_000, rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    drawn = resampled_scores(y[:, None], p[:, :, None], [[mae]], n=20_000, seed=2)[0]["mae"]
    found = difference_test(drawn[:, 0] - drawn[:, 1], 0.95)
    assert found is not None
    interval, _ = found
    assert (interval.low, interval.high) == pytest.approx(tuple(peer), abs=0.004)
    assert (interval.n, interval.dropped) == (20_000, 0)


def test_same_errors_are_the_same_model() -> None:
    found = difference_test(np.zeros(100), 0.95)
    assert found is not None
    interval, p = found
    assert (interval.low, interval.high, p) == (0.0, 0.0, 1.0)


def test_p_value_by_hand_and_never_zero() -> None:
    d = np.concatenate([-np.ones(3), np.ones(96)])
    found = difference_test(d, 0.95)
    assert found is not None
    interval, p = found
    assert p == pytest.approx(2 * (3 + 1) / 100)
    sure = difference_test(np.ones(99), 0.95)
    assert sure is not None
    _, least = sure
    assert least == pytest.approx(2 / 100)
    other = difference_test(-d, 0.95)
    assert other is not None
    turned, again = other
    assert (turned.low, turned.high, again) == pytest.approx((-interval.high, -interval.low, p))


def test_undefined_resamples_are_counted() -> None:
    found = difference_test(np.array([np.nan, 1.0, 2.0]), 0.5)
    assert found is not None
    interval, _ = found
    assert (interval.n, interval.dropped) == (2, 1)
    assert difference_test(np.array([np.nan]), 0.5) is None


def test_covers_the_true_difference() -> None:
    """200 tables of 60 molecules, nominal 95 %: below 88 % fails once in 5 000 were it 94 %.

    The mean |N(0, s)| is s √(2/π), so that the true difference of MAE is known.
    """
    true = (0.5 - 0.7) * np.sqrt(2 / np.pi)
    covered = 0
    for seed in range(200):
        y, p = sample(1000 + seed, 60)
        drawn = resampled_scores(y[:, None], p[:, :, None], [[mae]], n=400, seed=seed)[0]["mae"]
        found = difference_test(drawn[:, 0] - drawn[:, 1], 0.95)
        assert found is not None
        interval, p_value = found
        covered += interval.low <= true <= interval.high
        assert p_value > 0.05 or not interval.low <= 0 <= interval.high, "p and interval agree"
    assert covered >= 176


def test_equal_models_differ_no_more_often_than_stated() -> None:
    """200 tables at 5 %: above 24 false findings (12 %) fails once in 10 000 were it 6 %."""
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=60)
        p = y + rng.normal(0, 0.5, (2, 60))
        scores = resampled_scores(y[:, None], p[:, :, None], [[spearman]], n=400, seed=rng)
        drawn = scores[0]["spearman"]
        found = difference_test(drawn[:, 0] - drawn[:, 1], 0.95)
        assert found is not None
        _, p_value = found
        false += p_value <= 0.05
    assert false <= 24


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
