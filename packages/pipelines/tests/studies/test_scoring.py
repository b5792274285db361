"""The score over tasks, its interval, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from molpool_common import FloatArray
from molpool_pipelines.studies._scoring import (
    Contender,
    MacroScore,
    difference_interval,
    outer_scores,
    score_interval,
)
from sklearn.metrics import average_precision_score, mean_absolute_error


@pytest.fixture
def classes() -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(0)
    y = (rng.random((150, 3)) < [0.5, 0.2, 0.1]).astype(float)
    p = y + rng.normal(size=y.shape)
    y[rng.random(y.shape) < 0.2] = np.nan
    return y, p


def by_hand(y: FloatArray, p: FloatArray, weight: float) -> float:
    each = []
    for t in range(y.shape[1]):
        there = ~np.isnan(y[:, t])
        each.append(average_precision_score(y[there, t], p[there, t]))
    return float((1 - weight) * np.mean(each) + weight * min(each))


def test_macro_plus_min_by_hand(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3, 0.25)
    assert score(y, p) == pytest.approx(by_hand(y, p, 0.25), rel=1e-12)
    assert score.direction == "maximize"
    assert MacroScore(("average_precision", None, None))(y, p) == score.by_task(y, p)[0]


def test_worst_is_the_largest_error() -> None:
    y = np.array([[0.0, 0.0], [2.0, 2.0], [4.0, 4.0]])
    p = np.array([[1.0, 3.0], [2.0, 3.0], [4.0, 3.0]])
    spread = 4 / 3
    rae = [mean_absolute_error(y[:, t], p[:, t]) / spread for t in range(2)]
    score = MacroScore(("ma_rae", "ma_rae"), 0.5)
    assert score(y, p) == pytest.approx(0.5 * np.mean(rae) + 0.5 * max(rae))


def test_undefined_tasks_are_left_out(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    y[:, 2] = 0
    score = MacroScore(("average_precision",) * 3, 0.25)
    assert score(y, p) == pytest.approx(by_hand(y[:, :2], p[:, :2], 0.25))
    assert score(np.full((4, 3), np.nan), np.zeros((4, 3))) is None
    rng = np.random.default_rng(0)
    assert score_interval(score, np.full((4, 3), np.nan), np.zeros((4, 3)), rng=rng) is None


def test_resamples_are_the_score_of_the_rows_drawn(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3, 0.4)
    rows = np.random.default_rng(2).integers(len(y), size=(20, len(y)))
    counts = np.stack([np.bincount(r, minlength=len(y)) for r in rows]).astype(float)
    expected = [by_hand(y[r], p[r], 0.4) for r in rows]
    np.testing.assert_allclose(score.resampled(y, p, counts), expected, rtol=1e-9)


def test_interval_is_that_of_a_bootstrap_by_hand(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3, 0.0)
    found = score_interval(score, y, p, rng=np.random.default_rng(0), n=2000)
    rng = np.random.default_rng(1)
    values = [by_hand(y[r], p[r], 0.0) for r in rng.integers(len(y), size=(2000, len(y)))]
    low, high = np.quantile(values, [0.025, 0.975])
    assert found is not None
    # Ends of 2 000 resamples: standard error of a 2.5 % quantile about 0.09 of the spread's sd; two
    # of them differ by more than 0.5 sd in less than one of 10^4 runs; seeds are fixed.
    assert found.low == pytest.approx(low, abs=0.5 * np.std(values))
    assert found.high == pytest.approx(high, abs=0.5 * np.std(values))


def test_paired_differences_are_narrower_than_apart(classes: tuple[FloatArray, FloatArray]) -> None:
    y, p = classes
    score = MacroScore(("average_precision",) * 3)
    almost = p + 0.05 * np.random.default_rng(3).normal(size=p.shape)
    rng = np.random.default_rng
    same = difference_interval(score, y, (p, p), rng=rng(0), n=200)
    assert same == (0.0, 0.0)
    difference = difference_interval(score, y, (p, almost), rng=rng(0), n=200)
    alone = score_interval(score, y, p, rng=rng(0), n=200)
    assert difference is not None
    assert alone is not None
    assert difference.high - difference.low < 0.5 * (alone.high - alone.low)


@pytest.mark.parametrize("metric", ["mae", "average_precision"])
def test_optimism_is_above_0_where_the_inner_score_was_too_good(metric: str) -> None:
    rng = np.random.default_rng(0)
    y = (rng.random((60, 1)) < 0.5).astype(float)
    good, bad = y + 0.3 * rng.normal(size=y.shape), y + 2 * rng.normal(size=y.shape)
    score = MacroScore((metric,))
    value = score(y, bad)
    assert value is not None
    better = value - 0.1 if metric == "mae" else value + 0.1
    contenders = [Contender("trial 3", bad, (better, better)), Contender("defaults", good)]
    best, other = outer_scores(contenders, y, ["a"], score, seed=1, n=200)
    assert (best.outer, best.inner) == (value, pytest.approx(better))
    assert best.optimism == pytest.approx(0.1)
    assert best.interval is not None
    assert best.optimism_interval is not None
    assert best.optimism_interval.low < 0.1 < best.optimism_interval.high
    width = best.interval.high - best.interval.low
    assert best.optimism_interval.high - best.optimism_interval.low == pytest.approx(width)
    assert best.gain is None
    assert (other.inner, other.optimism) == (None, None)
    # The best trial is worse than the defaults here, whatever the direction of the score.
    assert other.gain is not None
    assert other.gain < 0
    assert other.gain_interval is not None
    assert other.gain_interval.low < other.gain < other.gain_interval.high < 0
