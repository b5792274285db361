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
    resampled,
    rmse,
    roc_auc,
    spearman,
)
from rdkit.ML.Scoring import Scoring
from scipy import stats
from scipy.integrate import quad
from sklearn import metrics as sk

# Sums of a few hundred terms in another order: a few ulps times the condition of the sums.
RTOL = 1e-10


def _relative_absolute_error(y: FloatArray, p: FloatArray) -> float:
    return float(sum(abs(p - y)) / sum(abs(y - sum(y) / len(y))))


def _places(y: FloatArray, p: FloatArray, value: Callable[[FloatArray], float]) -> FloatArray:
    """Return what an active at each place of the ranking is worth, tied places alike.

    By RDKit's own loop: a list with an active at one place only.
    """
    n = len(y)
    worth = np.array([value(np.eye(n)[:, [i]]) for i in range(n)])
    order = np.argsort(-p, kind="stable")
    for tie in np.unique(p):
        worth[p[order] == tie] = worth[p[order] == tie].mean()
    return np.asarray(worth[np.argsort(order)] * y / y.sum())


def _enrichment(share: float) -> Callable[[FloatArray, FloatArray], float]:
    def value(y: FloatArray, p: FloatArray) -> float:
        return float(_places(y, p, lambda one: Scoring.CalcEnrichment(one, 0, [share])[0]).sum())

    return value


def _bedroc(y: FloatArray, p: FloatArray) -> float:
    """Of RDKit's RIE, by equation 36 of Truchon and Bayly in its hyperbolic form."""
    rie = _places(y, p, lambda one: Scoring.CalcRIE(one, 0, 20.0)).sum()
    share, half = y.mean(), 10.0
    factor = share * np.sinh(half) / (np.cosh(half) - np.cosh(half - 20.0 * share))
    return float(rie * factor + 1 / (1 - np.exp(20.0 * (1 - share))))


def _log_auc(y: FloatArray, p: FloatArray) -> float:
    """Integrate scikit-learn's ROC curve over log10 of its rate, and take chance off."""
    x, up, _ = sk.roc_curve(y, p, drop_intermediate=False)
    total = 0.0
    for a, b, low, high in zip(x[:-1], x[1:], up[:-1], up[1:], strict=True):
        if b > max(a, 1e-3):

            def height(
                u: float, a: float = a, b: float = b, low: float = low, high: float = high
            ) -> float:
                return float(low + (high - low) * (10**u - a) / (b - a))

            total += quad(height, np.log10(max(a, 1e-3)), np.log10(b), epsabs=1e-13)[0]
    # 14.46 % (Mysinger and Shoichet 2010), here to all digits.
    return total / 3 - float(quad(lambda u: 10**u, -3, 0, epsabs=1e-13)[0]) / 3


def _within(distance: float) -> Callable[[FloatArray, FloatArray], float]:
    return lambda y, p: sum(abs(a - b) <= distance for a, b in zip(y, p, strict=True)) / len(y)


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
    "within_0.3": _within(0.3),
    "within_0.5": _within(0.5),
    "within_1": _within(1.0),
    "ef_1": _enrichment(0.01),
    "ef_5": _enrichment(0.05),
    "ef_10": _enrichment(0.10),
    "bedroc": _bedroc,
    "log_auc": _log_auc,
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


def test_early_recognition_of_the_best_the_worst_and_a_random_order() -> None:
    y = np.array([1.0] * 5 + [0.0] * 95)
    order = np.arange(100.0)
    assert METRICS["ef_5"](y, -order) == pytest.approx(20)
    assert METRICS["bedroc"](y, -order) == pytest.approx(1)
    assert METRICS["bedroc"](y, order) == pytest.approx(0, abs=1e-12)
    # All area is under a curve at 1, less that of chance: 1 - 0.1446.
    assert METRICS["log_auc"](y, -order) == pytest.approx(0.8554, abs=5e-5)
    nothing_known = np.zeros(100)
    assert METRICS["ef_1"](y, nothing_known) == pytest.approx(1)
    assert METRICS["log_auc"](y, nothing_known) == pytest.approx(0, abs=1e-12)


def test_enrichment_of_a_shuffled_library_is_that_of_rdkit() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(437) < 0.1).astype(float)
    p = rng.normal(size=437) + y
    ranked = np.c_[-p, y][np.argsort(-p)]
    theirs = Scoring.CalcEnrichment(ranked, 1, [0.01, 0.05, 0.1])
    assert [METRICS[f"ef_{k}"](y, p) for k in (1, 5, 10)] == pytest.approx(theirs, rel=1e-12)
    assert METRICS["bedroc"](y, p) == pytest.approx(Scoring.CalcBEDROC(ranked, 1, 20), rel=1e-12)


def test_shares_within_count_labels_of_two_decimals() -> None:
    # 7.3 - 7.0 is more than 0.3 in binary.
    assert METRICS["within_0.3"]([7.0, 7.0], [7.3, 7.31]) == 0.5


def test_shares_within_are_of_decades_where_a_task_is_learnt_on_a_logarithm() -> None:
    y, p = np.array([1.0, 10.0, 1000.0, 2.0]), np.array([1.9, 30.0, 900.0, -1.0])
    for name, expected in (("within_0.3", 0.5), ("within_0.5", 0.75), ("within_1", 0.75)):
        for unit in (1.0, 1e-9):
            # Factors of 1.9, 3 and 0.9; what is not above 0 is as far off as can be.
            on = METRICS[name].on("log10")
            assert on(unit * y, unit * p) == expected
            drawn = resampled(on, unit * y, unit * p, np.ones((1, 4)))
            assert drawn.tolist() == [expected]
    for name in ("mae", "spearman"):
        assert METRICS[name].on("log10") is METRICS[name]
    assert METRICS["within_1"].on("asinh") is METRICS["within_1"]
