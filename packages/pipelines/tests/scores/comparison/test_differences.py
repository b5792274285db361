"""Paired bootstrap against scipy's, by simulation and by its invariances."""

from __future__ import annotations

import numpy as np
import pytest
from molpool_common import mae, resampled_scores, spearman
from molpool_pipelines.scores.comparison.differences import summarise
from scipy import stats


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
    found = summarise(drawn[:, 0] - drawn[:, 1], 0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(tuple(peer), abs=0.004)
    assert (found.n, found.dropped) == (20_000, 0)


def test_same_errors_are_the_same_model() -> None:
    found = summarise(np.zeros(100), 0.95)
    assert found is not None
    assert (found.low, found.high, found.p) == (0.0, 0.0, 1.0)


def test_p_value_by_hand_and_never_zero() -> None:
    d = np.concatenate([-np.ones(3), np.ones(96)])
    found = summarise(d, 0.95)
    assert found is not None
    assert found.p == pytest.approx(2 * (3 + 1) / 100)
    sure = summarise(np.ones(99), 0.95)
    assert sure is not None
    assert sure.p == pytest.approx(2 / 100)
    other = summarise(-d, 0.95)
    assert other is not None
    assert (other.low, other.high, other.p) == pytest.approx((-found.high, -found.low, found.p))


def test_undefined_resamples_are_counted() -> None:
    found = summarise(np.array([np.nan, 1.0, 2.0]), 0.5)
    assert found is not None
    assert (found.n, found.dropped) == (2, 1)
    assert summarise(np.array([np.nan]), 0.5) is None


def test_covers_the_true_difference() -> None:
    """200 tables of 60 molecules, nominal 95 %: below 88 % fails once in 5 000 were it 94 %.

    The mean |N(0, s)| is s √(2/π), so that the true difference of MAE is known.
    """
    true = (0.5 - 0.7) * np.sqrt(2 / np.pi)
    covered = 0
    for seed in range(200):
        y, p = sample(1000 + seed, 60)
        drawn = resampled_scores(y[:, None], p[:, :, None], [[mae]], n=400, seed=seed)[0]["mae"]
        found = summarise(drawn[:, 0] - drawn[:, 1], 0.95)
        assert found is not None
        covered += found.low <= true <= found.high
        assert found.p > 0.05 or not found.low <= 0 <= found.high, "p and interval agree"
    assert covered >= 176


def test_equal_models_are_told_apart_no_more_often_than_said() -> None:
    """200 tables at 5 %: above 24 false findings (12 %) fails once in 10 000 were it 6 %."""
    false = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = rng.normal(size=60)
        p = y + rng.normal(0, 0.5, (2, 60))
        drawn = resampled_scores(y[:, None], p[:, :, None], [[spearman]], n=400, seed=rng)[0][
            "spearman"
        ]
        found = summarise(drawn[:, 0] - drawn[:, 1], 0.95)
        assert found is not None
        false += found.p <= 0.05
    assert false <= 24
