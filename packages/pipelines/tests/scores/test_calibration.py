"""Calibration of uncertainty, against Chemprop's own evaluators and closed forms.

Curves and decisions of classes, against scikit-learn and by hand.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from dataclasses import replace
from types import ModuleType
from unittest import mock

import numpy as np
import pytest
from molpool_common import FloatArray
from molpool_pipelines.scores._calibration import (
    calibration_curve,
    score_classes,
    score_uncertainty,
)
from molpool_pipelines.scores._predictions import Predictions
from molpool_pipelines.scores._scores import stated_sd
from scipy.stats import norm, spearmanr
from sklearn import metrics as peer


@pytest.fixture
def rows() -> tuple[FloatArray, FloatArray, FloatArray]:
    """400 rows whose errors are 1.5 times as large as stated."""
    rng = np.random.default_rng(3)
    sd = rng.uniform(0.2, 2.0, 400)
    y = rng.normal(size=400)
    return y, y + 1.5 * sd * rng.normal(size=400), sd


@pytest.fixture
def evaluators() -> ModuleType:
    """Chemprop's evaluators alone: its packages import Lightning and all models, for long."""
    pytest.importorskip("torchmetrics.regression")
    spec = importlib.util.find_spec("chemprop")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("chemprop is not installed")
    root = spec.submodule_search_locations[0]
    bare = {"chemprop": root} | {f"chemprop.{x}": f"{root}/{x}" for x in ("utils", "uncertainty")}
    with mock.patch.dict(sys.modules):
        for name, folder in bare.items():
            sys.modules[name] = ModuleType(name)
            sys.modules[name].__path__ = [folder]
        return importlib.import_module("chemprop.uncertainty.evaluator")


def test_numbers_are_those_of_chemprops_evaluators(
    rows: tuple[FloatArray, ...], evaluators: ModuleType
) -> None:
    torch = pytest.importorskip("torch")
    y, p, sd = rows
    found = score_uncertainty(y, p, sd)
    assert found is not None
    t = [torch.from_numpy(x)[:, None] for x in (p, sd**2, y)]
    mask = torch.ones(400, 1, dtype=torch.bool)
    # Theirs sums rectangles where ours takes the trapezoid; both ends of the curve are 0. Their
    # quantiles are of single precision, so that a row or two may fall on the other side.
    area = evaluators.CalibrationAreaEvaluator().evaluate(*t, mask).item()
    assert area == pytest.approx(found.miscalibration_area, abs=1e-4)
    ence = evaluators.ExpectedNormalizedErrorEvaluator().evaluate(*t, mask, num_bins=10)
    assert ence.item() == pytest.approx(found.ence, rel=1e-6)
    assert found.rank_correlation == pytest.approx(spearmanr(np.abs(p - y), sd).statistic)
    assert found.nll == pytest.approx(-np.mean(norm.logpdf(y, p, sd)))


def test_coverage_of_known_scale(rows: tuple[FloatArray, ...]) -> None:
    """Errors 1.5 times as large as stated: z is N(0, 1.5²), whose coverage is known.

    A share of 400 rows has a standard error of at most 0.025; four of them fail once in 16 000.
    """
    found = score_uncertainty(*rows)
    assert found is not None
    assert found.coverage_95 == pytest.approx(2 * norm.cdf(1.96 / 1.5) - 1, abs=0.1)
    assert found.spread == pytest.approx(1.5, rel=0.15)
    expected = 2 * norm.cdf(norm.ppf((1 + found.levels[1:-1]) / 2) / 1.5) - 1
    np.testing.assert_allclose(found.observed[1:-1], expected, atol=0.1)


def test_curve_by_hand() -> None:
    levels, observed = calibration_curve(np.array([0.5, -0.7, 3.0, -0.1]), n_levels=4)
    # Central intervals of 25, 50 and 75 % end at 0.319, 0.674 and 1.150.
    assert levels.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert observed.tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_what_has_no_calibration_is_left_out() -> None:
    y = np.array([1.0, 2.0, np.nan, 4.0])
    p = np.array([1.1, 2.2, 3.0, 4.0])
    found = score_uncertainty(y, p, np.array([0.1, np.nan, 1.0, 0.0]))
    assert found is not None
    assert (found.n, found.n_zero, found.ence, found.rank_correlation) == (1, 1, None, None)
    assert score_uncertainty(y, p, np.full(4, np.nan)) is None


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


def test_uncertainty_beside_intervals_is_theirs() -> None:
    rng = np.random.default_rng(0)
    n, level = 2_000, 0.9
    y = rng.normal(size=(n, 1))
    p, half = np.zeros((n, 1)), np.full((n, 1), norm.ppf(0.95))
    # Members that agree by chance: as a standard deviation that is nonsense.
    agreeing = np.abs(rng.normal(size=(n, 1))) * 0.01
    found = Predictions(
        name="blend",
        ids=np.arange(n).astype(str).astype(object),
        tasks=("LogD",),
        task_types=("regression",),
        y_true=y,
        y_pred=p,
        sd=agreeing,
        n_bounds=np.zeros(1, dtype=np.int64),
    )
    alone, said = stated_sd(found)
    assert alone is agreeing
    assert said == []
    # One side is cut by a limit of the assay.
    ends = replace(found, lower=p - half, upper=p + half / 3, level=level)
    stated, said = stated_sd(ends)
    assert stated is not None
    np.testing.assert_allclose(stated, 1.0)
    assert "intervals of 90 %" in said[0]
    assert "TASK_sd" in said[0]
    scored = score_uncertainty(y[:, 0], p[:, 0], stated[:, 0])
    assert scored is not None
    # 2 000 standard normal errors: their root mean square is within .05 of 1 but for once in 10^3.
    assert abs(scored.spread - 1) < 0.05
    assert "TASK_sd" not in stated_sd(replace(ends, sd=None))[1][0]
    # Intervals without an end say nothing.
    endless = replace(ends, lower=np.full((n, 1), -np.inf), upper=np.full((n, 1), np.inf))
    assert stated_sd(endless)[0] is agreeing
