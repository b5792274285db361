from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mil_attn.errors import MILError
from mil_attn.training.thresholds import decision_thresholds
from sklearn import metrics

PEERS = {
    "f1": lambda y, c: metrics.f1_score(y, c, zero_division=0.0),
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
