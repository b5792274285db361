"""Resamples by counts against the metric itself on rows repeated so often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common.errors import InputError
from molpool_common.metrics import METRICS, Metric, UndefinedMetricError, mae, resampled, roc_auc


def by_repetition(metric: Metric, y: np.ndarray, p: np.ndarray, counts: np.ndarray) -> float:
    rows = np.repeat(np.arange(len(y)), counts)
    try:
        return metric(y[rows], p[rows])
    except UndefinedMetricError:
        return float("nan")


@pytest.mark.parametrize("metric", METRICS.values(), ids=list(METRICS))
@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 12), ties=st.booleans())
def test_equals_the_metric_of_repeated_rows(metric: Metric, seed: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    p = rng.normal(size=n).round(0 if ties else 8)
    y = rng.normal(size=n).round(0 if ties else 8) + 100
    if metric.task_type == "classification":
        y = rng.integers(0, 2, n).astype(float)
    counts = rng.integers(0, 3, size=(6, n))
    found = resampled(metric, y, p, counts)
    expected = [by_repetition(metric, y, p, c) for c in counts]
    # Sums of a dozen numbers about 100: rounding stays far below.
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_nothing_drawn_is_undefined() -> None:
    assert np.isnan(resampled(mae, [1.0, 2.0], [1.0, 3.0], [[0, 0]])).all()
    assert resampled(mae, [], [], np.empty((2, 0))).shape == (2,)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="counts: expected one for each of 2 rows"):
        resampled(mae, [1.0, 2.0], [1.0, 3.0], [[1, 1, 1]])
    with pytest.raises(InputError, match="0 or 1"):
        resampled(roc_auc, [1.0, 2.0], [1.0, 3.0], [[1, 1]])
