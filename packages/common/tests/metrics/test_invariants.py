"""Laws that hold for any data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import FloatArray
from molpool_common.metrics import METRICS, UndefinedMetricError, ma_rae, r2, task_metrics

Pairs = list[tuple[float, float]]

# Multiples of 1/8 of moderate size: products and sums of a few are exact, so that a law is not
# blamed for rounding.
numbers = st.integers(-800, 800).map(lambda i: i / 8)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30)
REGRESSION = sorted(n for n, m in METRICS.items() if m.task_type == "regression")
CLASSIFICATION = sorted(n for n, m in METRICS.items() if m.task_type == "classification")


def _value(name: str, y: FloatArray, p: FloatArray) -> float | str:
    if METRICS[name].task_type == "classification":
        y = (y > 0).astype(float)
    try:
        return METRICS[name](y, p)
    except UndefinedMetricError as reason:
        return str(reason)


def _columns(data: Pairs) -> tuple[FloatArray, FloatArray]:
    y, p = np.array(data).T
    return y, p


def _close(value: float | str) -> object:
    """Return what equals a value, or the reason why there is none."""
    # 1e-9: sums of up to 30 numbers below 1e5 in another order.
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", sorted(METRICS))
@given(data=pairs, seed=st.integers(0, 1000))
def test_order_of_rows_does_not_matter(name: str, data: Pairs, seed: int) -> None:
    y, p = _columns(data)
    order = np.random.default_rng(seed).permutation(len(y))
    assert _value(name, y[order], p[order]) == _close(_value(name, y, p))


@given(data=pairs, masked=st.lists(numbers, max_size=10), seed=st.integers(0, 1000))
def test_rows_without_label_change_nothing(data: Pairs, masked: list[float], seed: int) -> None:
    y, p = _columns(data)
    order = np.random.default_rng(seed).permutation(len(y) + len(masked))
    # Where there is no label, not even a NaN prediction matters.
    predictions = [v if i % 2 else np.nan for i, v in enumerate(masked)]
    longer_y = np.concatenate([y, np.full(len(masked), np.nan)])[order]
    longer_p = np.concatenate([p, predictions])[order]
    alone = task_metrics(y[:, None], p[:, None], ["t"]).tasks[0]
    among = task_metrics(longer_y[:, None], longer_p[:, None], ["t"]).tasks[0]
    assert among.n == alone.n == len(y)
    assert among.undefined == alone.undefined
    for name, value in alone.values.items():
        same = among.values[name]
        expected = _close("undefined" if value is None else value)
        assert ("undefined" if same is None else same) == expected


@pytest.mark.parametrize("name", ["ma_rae", "r2", "pearson", "spearman", "kendall"])
@given(data=pairs, scale=st.sampled_from([0.25, 2.0, 64.0]), shift=numbers)
def test_one_affine_map_of_both_changes_nothing(
    name: str, data: Pairs, scale: float, shift: float
) -> None:
    y, p = _columns(data)
    assert _value(name, scale * y + shift, scale * p + shift) == _close(_value(name, y, p))


@pytest.mark.parametrize("name", ["mae", "rmse"])
@given(data=pairs, scale=st.sampled_from([-2.0, 0.25, 64.0]), shift=numbers)
def test_errors_scale_with_the_unit(name: str, data: Pairs, scale: float, shift: float) -> None:
    y, p = _columns(data)
    value = METRICS[name](y, p)
    scaled = METRICS[name](scale * y + shift, scale * p + shift)
    assert scaled == pytest.approx(abs(scale) * value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["spearman", "kendall", *CLASSIFICATION])
@given(data=pairs)
def test_ranking_metrics_ignore_monotone_maps(name: str, data: Pairs) -> None:
    y, p = _columns(data)
    assert _value(name, y, p**3) == _close(_value(name, y, p))


@given(data=pairs)
def test_turning_the_scores_mirrors_the_area(data: Pairs) -> None:
    y, p = _columns(data)
    value = _value("roc_auc", y, p)
    if not isinstance(value, str):
        assert _value("roc_auc", y, -p) == pytest.approx(1 - value, abs=1e-12)


@given(data=pairs)
def test_predicting_the_mean_is_the_unit(data: Pairs) -> None:
    y, _ = _columns(data)
    if np.ptp(y) == 0:
        return
    mean = np.full_like(y, y.mean())
    assert ma_rae(y, mean) == pytest.approx(1, rel=1e-9)
    assert r2(y, mean) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", sorted(METRICS))
@given(data=pairs)
def test_truth_is_the_best_prediction(name: str, data: Pairs) -> None:
    y, p = _columns(data)
    ideal, value = _value(name, y, y), _value(name, y, p)
    if isinstance(ideal, str) or isinstance(value, str):
        return
    better = ideal - value if METRICS[name].higher_is_better else value - ideal
    assert better >= -1e-9
