"""Curves and decisions of classes, against scikit-learn and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from molpool_pipelines.scores.classes import score_classes
from sklearn import metrics as peer


def test_numbers_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    y = (rng.random(300) < 0.3).astype(float)
    p = np.clip(0.3 * y + rng.random(300) * 0.7, 0, 1)
    found = score_classes(y, p)
    assert found is not None
    called = p >= 0.5
    own = found.numbers()
    assert own["mcc"] == pytest.approx(peer.matthews_corrcoef(y, called), rel=1e-12)
    assert own["precision"] == pytest.approx(peer.precision_score(y, called), rel=1e-12)
    assert own["recall"] == pytest.approx(peer.recall_score(y, called), rel=1e-12)
    assert own["f1"] == pytest.approx(peer.f1_score(y, called), rel=1e-12)
    expected = peer.balanced_accuracy_score(y, called)
    assert own["balanced_accuracy"] == pytest.approx(expected, rel=1e-12)
    assert own["brier"] == pytest.approx(peer.brier_score_loss(y, p), rel=1e-12)
    assert found.roc is not None
    area = np.trapezoid(found.roc.y, found.roc.x)
    assert area == pytest.approx(peer.roc_auc_score(y, p), rel=1e-9)


def test_calibration_by_hand() -> None:
    y = np.array([0, 0, 1, 1, 1, 0, np.nan])
    p = np.array([0.05, 0.07, 0.06, 0.95, 1.0, 0.55, 0.5])
    found = score_classes(y, p)
    assert found is not None
    bins = [(round(mean, 9), share, n) for mean, share, n in found.bins]
    assert bins == [(0.06, pytest.approx(1 / 3), 3), (0.55, 0.0, 1), (0.975, 1.0, 2)]
    gaps = 3 * abs(0.06 - 1 / 3) + abs(0.55 - 0) + 2 * abs(0.975 - 1)
    assert found.ece == pytest.approx(gaps / 6)


def test_stored_decisions_go_before_the_threshold() -> None:
    y, p = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.2, 0.1, 0.9, 0.3])
    stored = score_classes(y, p, np.array([1.0, 0.0, 1.0, 1.0]))
    assert stored is not None
    assert (stored.table, stored.threshold) == ((2, 1, 0, 1), None)
    own = score_classes(y, p)
    assert own is not None
    assert (own.table, own.threshold) == ((1, 0, 1, 2), 0.5)


def test_one_class_has_no_curve() -> None:
    found = score_classes(np.zeros(5), np.linspace(0, 1, 5))
    assert found is not None
    assert found.roc is None
    assert found.precision_recall is None
    assert found.mcc is None
    assert json.dumps(found.to_dict(), allow_nan=False)
    assert score_classes(np.full(3, np.nan), np.ones(3)) is None


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    found = score_classes(np.array([0.0, 1.0]), np.array([-3.0, 4.0]), threshold=0)
    assert found is not None
    assert (found.bins, found.brier, found.mcc) == ((), None, 1.0)
