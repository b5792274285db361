"""Where a metric has no value it says why; where the data are wrong it says where."""

from __future__ import annotations

import numpy as np
import pytest
from molpool_common._errors import InputError
from molpool_common.metrics import IN_UNITS, METRICS, UndefinedMetricError, mae, roc_auc
from numpy.typing import ArrayLike

CORRELATIONS = ["pearson", "spearman", "kendall"]


@pytest.mark.parametrize("name", sorted(METRICS))
def test_no_labels(name: str) -> None:
    with pytest.raises(UndefinedMetricError, match="no labels"):
        METRICS[name]([], [])


# 0.1 three times has a mean that is not 0.1: a variance alone would miss it.
@pytest.mark.parametrize("y", [[0.1, 0.1, 0.1], [7.0]])
@pytest.mark.parametrize("name", ["r2", "ma_rae", *CORRELATIONS])
def test_constant_truth(name: str, y: list[float]) -> None:
    with pytest.raises(UndefinedMetricError, match="constant truth"):
        METRICS[name](y, np.arange(len(y)))


@pytest.mark.parametrize("name", CORRELATIONS)
def test_constant_prediction(name: str) -> None:
    with pytest.raises(UndefinedMetricError, match="constant prediction"):
        METRICS[name]([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])


@pytest.mark.parametrize("label", [0, 1])
def test_a_single_class_has_no_area(label: int) -> None:
    with pytest.raises(UndefinedMetricError, match="a single class"):
        roc_auc([label] * 3, [0.1, 0.2, 0.3])


def test_average_precision_needs_a_positive_only() -> None:
    with pytest.raises(UndefinedMetricError, match="no positives"):
        METRICS["average_precision"]([0, 0], [0.1, 0.2])
    assert METRICS["average_precision"]([1, 1], [0.1, 0.2]) == 1


def test_overflow_is_undefined_not_infinite() -> None:
    with pytest.raises(UndefinedMetricError, match="double precision"):
        mae([1e308, 0.0], [-1e308, 0.0])


@pytest.mark.parametrize("name", sorted(METRICS))
def test_batch_marks_undefined_rows_alone(name: str) -> None:
    y = np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    p = np.array([[0.2, 0.3, 0.1], [0.1, 0.4, 0.2]])
    values = METRICS[name].batch(y, p)
    assert np.isnan(values[0]) == (name not in IN_UNITS)
    assert np.isfinite(values[1])


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([1.0, np.nan], [1.0, 2.0], r"y_true \(rows 1\): expected finite"),
        ([1.0, 2.0], [np.inf, 2.0], r"y_pred \(rows 0\): expected finite"),
        ([1.0, 2.0], [1.0], r"one length \[n\]; found \(2,\), \(1,\)"),
        ([[1.0]], [[1.0]], r"one length \[n\]"),
    ],
)
def test_wrong_input(y: ArrayLike, p: ArrayLike, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mae(y, p)


def test_classes_are_zero_and_one() -> None:
    with pytest.raises(InputError, match=r"expected 0 or 1 .*found 2\.0"):
        roc_auc([0, 1, 2], [0.1, 0.2, 0.3])
