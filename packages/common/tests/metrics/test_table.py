"""The masked table of tasks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from molpool_common._errors import InputError
from molpool_common.metrics import LABELS, METRICS, MacroMean, MetricTable, mean_label, task_metrics
from sklearn import metrics as sk

NAN = np.nan


@pytest.fixture
def table() -> MetricTable:
    y = np.array(
        [[1.0, 5.0, NAN, 1.0], [2.0, NAN, NAN, 0.0], [4.0, 5.0, NAN, 1.0], [NAN, 5.0, NAN, NAN]]
    )
    p = np.array(
        [[1.5, 4.0, 0.0, 0.9], [2.0, NAN, 0.0, 0.2], [3.0, 5.0, NAN, 0.1], [9.9, 6.0, 0.0, NAN]]
    )
    return task_metrics(y, p, ["a", "b", "c", "d"], [*["regression"] * 3, "classification"])  # type: ignore[list-item]


def test_each_task_is_scored_on_its_labels(table: MetricTable) -> None:
    a, b, c, d = table.tasks
    assert [t.n for t in table.tasks] == [3, 3, 0, 3]
    assert a.values["mae"] == pytest.approx(1.5 / 3)
    assert b.values["mae"] == pytest.approx(2 / 3)
    assert c.values["mae"] is None
    peers = {
        "roc_auc": sk.roc_auc_score([1, 0, 1], [0.9, 0.2, 0.1]),
        "average_precision": sk.average_precision_score([1, 0, 1], [0.9, 0.2, 0.1]),
    }
    assert {name: d.values[name] for name in peers} == pytest.approx(peers)
    assert set(d.values) == {m.name for m in METRICS.values() if m.task_type == "classification"}


def test_reasons_stand_for_what_is_missing(table: MetricTable) -> None:
    a, b, c, _ = table.tasks
    assert a.undefined == {}
    assert b.undefined == dict.fromkeys(
        ["r2", "pearson", "spearman", "kendall", "ma_rae"], "constant truth"
    )
    assert set(c.undefined) == set(c.values)
    assert set(c.undefined.values()) == {"no labels"}


def _assert_macro(macro: MacroMean, mean: float, n_tasks: int, left_out: int) -> None:
    assert macro.mean == pytest.approx(mean)
    assert (macro.n_tasks, macro.left_out) == (n_tasks, left_out)


def test_macro_means_count_what_they_leave_out(table: MetricTable) -> None:
    macro = table.macro()
    _assert_macro(macro["mae"], (0.5 + 2 / 3) / 2, n_tasks=2, left_out=1)
    # Truth 1, 2, 4 is 4/3, 1/3, 5/3 off its mean: mean absolute deviation 10/9.
    _assert_macro(macro["ma_rae"], 0.5 / (10 / 9), n_tasks=1, left_out=2)
    assert macro["roc_auc"].n_tasks == 1


def test_the_error_ratio_of_a_task_is_rae_and_its_mean_over_tasks_ma_rae() -> None:
    assert (LABELS["ma_rae"], mean_label("ma_rae")) == ("RAE", "MA-RAE")
    assert all(mean_label(name) == LABELS[name] for name in LABELS if name != "ma_rae")


def test_macro_without_any_value_is_none() -> None:
    macro = task_metrics([[1.0], [1.0]], [[1.0], [2.0]], ["t"]).macro()
    assert macro["r2"] == MacroMean(None, n_tasks=0, left_out=1)


def test_macro_ma_rae_is_the_mean_over_tasks_not_over_labels() -> None:
    rng = np.random.default_rng(3)
    y = rng.normal(size=(50, 3)) * [1.0, 10.0, 100.0]
    y[5:, 1] = NAN
    p = np.where(np.isnan(y), 0.0, y) + rng.normal(size=y.shape)
    expected = []
    for t in range(3):
        truth, guess = y[~np.isnan(y[:, t]), t], p[~np.isnan(y[:, t]), t]
        deviation = np.mean(np.abs(truth - np.mean(truth)))
        expected.append(sk.mean_absolute_error(truth, guess) / deviation)
    macro = task_metrics(y, p, ["x", "y", "z"]).macro()["ma_rae"]
    assert macro.mean == pytest.approx(np.mean(expected), rel=1e-12)


def test_to_dict_is_json_without_nan(table: MetricTable) -> None:
    data = json.loads(json.dumps(table.to_dict(), allow_nan=False))
    assert data["tasks"]["c"]["metrics"]["rmse"] is None
    assert data["tasks"]["c"]["undefined"]["rmse"] == "no labels"
    assert data["tasks"]["d"]["type"] == "classification"
    assert data["macro"]["r2"] == {
        "mean": table.tasks[0].values["r2"],
        "n_tasks": 1,
        "left_out": 2,
    }


def test_to_frame_has_a_row_a_task(table: MetricTable) -> None:
    frame = table.to_frame()
    assert frame["task"].to_list() == ["a", "b", "c", "d"]
    assert frame["n"].to_list() == [3, 3, 0, 3]
    assert frame["r2"].is_null().to_list() == [False, True, True, True]
    assert frame["roc_auc"].is_null().to_list() == [True, True, True, False]
    assert frame.schema["r2"] == pl.Float64
    assert not any(frame[c].is_nan().any() for c in frame.columns[3:])


def test_metrics_of_absent_types_are_absent() -> None:
    table = task_metrics([[0.0], [1.0]], [[0.1], [0.9]], ["t"])
    assert "roc_auc" not in table.to_frame().columns
    assert "roc_auc" not in table.macro()


Y = [[1.0, 0.0], [2.0, 1.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Y, [[1.0], [2.0]], ["a", "b"]), r"one shape \[N, T\]; found \(2, 2\), \(2, 1\)"),
        (([1.0], [1.0], ["a"]), r"one shape \[N, T\]"),
        ((Y, Y, ["a"]), r"task_names: expected one for each of 2 columns; found 1"),
        ((Y, Y, ["a", "b"], ["regression"]), r"task_types: .* found 1"),
        ((Y, Y, ["a", "a"]), r"task_names: expected distinct names; found a"),
        ((Y, Y, ["a", "b"], ["regression", "clasification"]), r"Did you mean 'classification'\?"),
        ((Y, Y, ["a", "b"], ["classification"] * 2), r"task 'a'.*expected 0 or 1"),
        ((Y, [[1.0, NAN], [2.0, 1.0]], ["a", "b"]), r"y_pred \(task 'b', rows 0\).*found nan"),
        (([[1.0, np.inf], [2.0, 1.0]], Y, ["a", "b"]), r"y_true \(task 'b', rows 0\).*found inf"),
    ],
)
def test_wrong_input_names_task_and_rows(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        task_metrics(*arguments)
