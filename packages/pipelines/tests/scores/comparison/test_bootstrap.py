"""Models on one test set: values, verdicts, and what must not matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluate_tables import predictions, shuffled, three
from molpool_common import METRICS
from molpool_pipelines.scores.comparison.aligned import Aligned, align
from molpool_pipelines.scores.comparison.bootstrap import Settings, compare_on_test_set
from molpool_pipelines.scores.comparison.multiple import holm
from molpool_pipelines.scores.comparison.result import (
    CANNOT_TELL,
    MACRO,
    Pair,
    Value,
    practical_side,
)

NAMES = ("good", "alike", "poor")
CHOSEN = [METRICS[m] for m in ("ma_rae", "mae", "spearman", "roc_auc")]
SETTINGS = Settings(level=0.95, n_resamples=600, seed=3, practical={"ma_rae": 0.1})


def compared(data: Aligned, settings: Settings = SETTINGS) -> tuple[list[Value], list[Pair]]:
    return compare_on_test_set(data, CHOSEN, settings)


def pair(pairs: list[Pair], task: str, metric: str, *models: str) -> Pair:
    (found,) = (
        p for p in pairs if (p.task, p.metric) == (task, metric) and {p.a, p.b} == set(models)
    )
    return found


def test_values_are_the_metrics_and_the_mean_over_tasks_their_mean() -> None:
    data = align(three(), NAMES)
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
    _, pairs = compared(align(three(), NAMES))
    for task, metric in (("LogD", "ma_rae"), ("LogD", "spearman"), (MACRO, "ma_rae")):
        assert pair(pairs, task, metric, "good", "poor").winner == "good"
        assert pair(pairs, task, metric, "alike", "poor").winner == "alike"
    assert pair(pairs, "KSOL", "ma_rae", "good", "alike").winner == CANNOT_TELL


def test_p_values_are_adjusted_over_the_pairs_of_a_task_and_metric() -> None:
    _, pairs = compared(align(three(), NAMES))
    family = [p for p in pairs if (p.task, p.metric) == ("LogD", "mae")]
    raw = [np.nan if p.p is None else p.p for p in family]
    np.testing.assert_allclose([p.p_adjusted or np.nan for p in family], holm(raw))


def test_order_of_rows_does_not_matter() -> None:
    models = three()
    mixed = [shuffled(m, seed) for seed, m in enumerate(models)]
    assert compared(align(models, NAMES)) == compared(align(mixed, NAMES))


def test_order_of_models_does_not_matter() -> None:
    first, second, third = three()
    _, one = compared(align([first, second, third], NAMES))
    _, other = compared(align([third, first, second], ["poor", "good", "alike"]))
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
    values, pairs = compared(align(few, NAMES))
    one = pair(pairs, "LogD", "ma_rae", "good", "poor")
    assert one.winner == CANNOT_TELL
    assert one.reason == "12 labels, fewer than 20"
    assert one.difference is not None
    of_mean = [v for v in values if (v.task, v.metric) == (MACRO, "ma_rae")]
    assert not of_mean or {v.n for v in of_mean} == {int(np.isfinite(y[:, 1]).sum())}
    enough = replace(SETTINGS, min_labels=12)
    _, judged = compared(align(few, NAMES), enough)
    assert pair(judged, "LogD", "ma_rae", "good", "poor").p is not None


def test_few_of_one_class_are_not_judged() -> None:
    models = three()
    y = models[0].y_true.copy()
    positives = np.flatnonzero(y[:, 2] == 1)
    y[positives[3:], 2] = 0
    _, pairs = compared(align([replace(m, y_true=y) for m in models], NAMES))
    one = pair(pairs, "hERG", "roc_auc", "good", "poor")
    assert one.reason == "3 labels of the rarer class, fewer than 5"


def test_undefined_metrics_are_left_out_and_said() -> None:
    models = three()
    y = models[0].y_true.copy()
    y[np.isfinite(y[:, 2]), 2] = 0
    values, pairs = compared(align([replace(m, y_true=y) for m in models], NAMES))
    assert pair(pairs, "hERG", "roc_auc", "good", "poor").reason == "a single class"
    assert all(v.value is None for v in values if v.metric == "roc_auc")


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [
        (0.2, 0.3, "relevant"),
        (-0.3, -0.11, "relevant"),
        (-0.1, 0.1, "negligible"),
        (0.01, 0.05, "negligible"),
        (0.05, 0.3, "cannot tell"),
        (-0.3, 0.3, "cannot tell"),
    ],
)
def test_practical_side(low: float, high: float, side: str) -> None:
    assert practical_side(low, high, 0.1) == side
    assert practical_side(-high, -low, 0.1) == side
    assert practical_side(low, high, None) is None


def test_identical_models() -> None:
    good = predictions("good")
    _, pairs = compared(align([good, good], ["one", "two"]))
    assert {p.winner for p in pairs} == {CANNOT_TELL}
    assert {p.p for p in pairs if p.p is not None} == {1.0}
