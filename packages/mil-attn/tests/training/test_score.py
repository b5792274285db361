from __future__ import annotations

import warnings

import numpy as np
import pytest
from mil_attn.errors import MILError
from mil_attn.training.score import average_precisions, fold_score, macro_ma_rae
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
    np.testing.assert_allclose(list(found.by_task.values()), expected, rtol=1e-12)
    np.testing.assert_allclose([found.macro, found.worst], [np.mean(expected), min(expected)])
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
