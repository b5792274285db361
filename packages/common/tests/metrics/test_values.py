"""Values against scikit-learn, SciPy and hand-computed examples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from molpool_common import FloatArray
from molpool_common.metrics import (
    METRICS,
    average_precision,
    kendall,
    ma_rae,
    mae,
    pearson,
    r2,
    rmse,
    roc_auc,
    spearman,
)
from scipy import stats
from sklearn import metrics as sk

# Sums of a few hundred terms in another order: a few ulps times the condition of the sums.
RTOL = 1e-10


def _relative_absolute_error(y: FloatArray, p: FloatArray) -> float:
    return float(sum(abs(p - y)) / sum(abs(y - sum(y) / len(y))))


PEERS: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
    "pearson": lambda y, p: float(stats.pearsonr(y, p).statistic),
    "spearman": lambda y, p: float(stats.spearmanr(y, p).statistic),
    "kendall": lambda y, p: float(stats.kendalltau(y, p).statistic),
    "ma_rae": _relative_absolute_error,
    "roc_auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
}


def _data(name: str, seed: int, n: int, ties: bool) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    y, p = rng.normal(5, 2, size=n), rng.normal(5, 2, size=n)
    p += 0.5 * y
    if ties:
        y, p = np.round(y), np.round(p)
    if METRICS[name].task_type == "classification":
        y = (y > 6).astype(float)
        y[:2] = 0, 1
    return y, p


def test_every_metric_has_a_peer() -> None:
    assert set(PEERS) == set(METRICS)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [5, 40, 700])
@pytest.mark.parametrize("name", sorted(METRICS))
def test_agrees_with_peer(name: str, n: int, ties: bool) -> None:
    y, p = _data(name, seed=n, n=n, ties=ties)
    assert METRICS[name](y, p) == pytest.approx(PEERS[name](y, p), rel=RTOL, abs=RTOL)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_batch_agrees_with_single(name: str) -> None:
    sets = [_data(name, seed=s, n=30, ties=True) for s in range(6)]
    values = METRICS[name].batch(np.stack([y for y, _ in sets]), np.stack([p for _, p in sets]))
    np.testing.assert_allclose(values, [PEERS[name](y, p) for y, p in sets], rtol=RTOL, atol=RTOL)


def test_errors_by_hand() -> None:
    y, p = [1.0, 2.0, 3.0, 6.0], [2.0, 2.0, 5.0, 3.0]
    # Errors 1, 0, 2, -3; truth about its mean 3: -2, -1, 0, 3.
    assert mae(y, p) == pytest.approx(6 / 4)
    assert rmse(y, p) == pytest.approx((14 / 4) ** 0.5)
    assert r2(y, p) == pytest.approx(1 - 14 / 14)
    assert ma_rae(y, p) == pytest.approx(6 / 6)


def test_correlations_by_hand() -> None:
    y, p = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]
    # One swapped pair of six; rank differences 0, 1, -1, 0.
    assert kendall(y, p) == pytest.approx((5 - 1) / 6)
    assert spearman(y, p) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert pearson(y, p) == pytest.approx(4 / 5)


def test_tau_b_by_hand() -> None:
    # Five pairs: one tied in truth, so 5 comparable of 6, all concordant: 5 / sqrt(5 * 6).
    assert kendall([1, 1, 2, 3], [1, 2, 3, 4]) == pytest.approx(5 / 30**0.5)


def test_classification_by_hand() -> None:
    y, p = [1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]
    assert roc_auc(y, p) == pytest.approx(3 / 4)
    assert average_precision(y, p) == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_one_score_for_all_is_chance() -> None:
    y = [1, 0, 0, 0]
    assert roc_auc(y, [0.3] * 4) == 0.5
    assert average_precision(y, [0.3] * 4) == 0.25


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_correlation_survives_extreme_scales(scale: float) -> None:
    y = np.array([1.0, 2.0, 3.0, 5.0])
    p = np.array([1.0, 3.0, 2.0, 5.0])
    assert pearson(y * scale, p) == pytest.approx(pearson(y, p), rel=1e-12)


def test_perfect_correlation_is_at_most_one() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        y = rng.normal(size=7)
        assert pearson(y, 3 * y + 1) <= 1
