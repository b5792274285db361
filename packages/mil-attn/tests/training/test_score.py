from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn._errors import MILError
from mil_attn.training._score import (
    average_precisions,
    decision_thresholds,
    fold_score,
    macro_ma_rae,
)
from sklearn import metrics
from sklearn.metrics import average_precision_score

TASKS = ("a", "b", "c")


def test_it_is_sklearns_on_what_is_labelled() -> None:
    rng = np.random.default_rng(1)
    y = (rng.random((200, 3)) < [0.5, 0.1, 0.03]).astype(float)
    p = rng.normal(size=y.shape) + y
    y[rng.random(y.shape) < 0.2] = np.nan
    found = average_precisions(y, p, TASKS)
    expected = [
        average_precision_score(y[there, t], p[there, t])
        for t in range(3)
        for there in [~np.isnan(y[:, t])]
    ]
    values = np.array(list(found.by_task.values()), dtype=float)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    ends = np.array([found.macro, found.worst], dtype=float)
    np.testing.assert_allclose(ends, [np.mean(expected), min(expected)])
    assert found.left_out == ()


def test_fault_average_precision_0_for_a_fold_without_positives() -> None:
    y = np.array([[1.0, 0.0, np.nan], [0.0, 0.0, np.nan]])
    p = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0]])
    with pytest.warns(UserWarning, match="no positive label of 'b', 'c'"):
        found = average_precisions(y, p, TASKS)
    assert found.by_task == {"a": 1.0, "b": None, "c": None}
    assert (found.macro, found.worst) == (1.0, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nothing = average_precisions(y[:, 1:], p[:, 1:], ("b", "c"), warn=False)
    assert (nothing.macro, nothing.worst) == (None, None)


def test_fold_score_by_hand() -> None:
    assert fold_score(0.5, 0.2, 0.25) == pytest.approx(0.425, rel=1e-15)
    assert fold_score(0.5, 0.2, 0) == 0.5
    assert fold_score(0.5, 0.2, 1) == 0.2
    with pytest.raises(MILError, match=r"min_w: expected 0 to 1; found 1\.5"):
        fold_score(0.5, 0.2, 1.5)


def test_shapes_that_disagree_are_named() -> None:
    with pytest.raises(MILError, match=r"\[N, 3\] of both; found \[4, 2\] and \[4, 3\]"):
        average_precisions(np.zeros((4, 2)), np.zeros((4, 3)), TASKS)


def test_relative_absolute_error_by_hand() -> None:
    y = np.array([[0.0, 5.0, np.nan], [2.0, 5.0, np.nan], [4.0, np.nan, 1.0]])
    p = np.array([[1.0, 9.0, 0.0], [2.0, 9.0, 0.0], [2.0, 9.0, 0.0]])
    # (1 + 0 + 2)/3 over (2 + 0 + 2)/3; the constant task and that of one label are left out.
    assert macro_ma_rae(y, p) == pytest.approx(3 / 4)
    assert macro_ma_rae(10 * y + 3, 10 * p + 3) == pytest.approx(3 / 4)
    assert macro_ma_rae(y[:, 1:], p[:, 1:]) is None


PEERS = {
    "f1": lambda y, c: metrics.f1_score(y, c, zero_division=0),
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "mcc": metrics.matthews_corrcoef,
}


@pytest.mark.parametrize("name", PEERS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_cut_is_better_by_sklearns_metrics(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 30))
    y = np.r_[0.0, 1.0, rng.integers(0, 2, n)]
    p = np.round(rng.random(n + 2), 1)  # with ties
    (found,) = decision_thresholds(y[:, None], p[:, None], name)
    best = max(PEERS[name](y, p >= cut) for cut in [*np.unique(p), 2.0])
    assert PEERS[name](y, p >= found) == pytest.approx(best, abs=1e-12)


def test_halfway_between_what_is_told_apart() -> None:
    y = np.array([[0.0, 0.0], [1.0, np.nan], [1.0, 0.0], [np.nan, np.nan]])
    p = np.array([[0.1, 0.9], [0.3, 0.9], [0.9, 0.9], [0.2, 0.2]])
    np.testing.assert_allclose(decision_thresholds(y, p, "accuracy"), [0.2, 0.5])


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(MILError, match="Did you mean 'f1'"):
        decision_thresholds(np.zeros((2, 1)), np.zeros((2, 1)), "F2")
    with pytest.raises(MILError, match=r"found \[2, 1\] and \[3, 1\]"):
        decision_thresholds(np.zeros((2, 1)), np.zeros((3, 1)))


def test_a_threshold_takes_enough_labels_of_either_class() -> None:
    labels = np.array([[0, 0], [1, 0], [1, 0], [1, 1.0]])
    scores = np.array([[0.1, 0.1], [0.8, 0.2], [0.9, 0.3], [0.95, 0.9]])
    np.testing.assert_allclose(decision_thresholds(labels, scores), [0.45, 0.6])
    assert (decision_thresholds(labels, scores, least=2) == 0.5).all()
    many = np.tile(labels, (2, 1)), np.tile(scores, (2, 1))
    np.testing.assert_allclose(decision_thresholds(*many, least=2), [0.45, 0.6])
