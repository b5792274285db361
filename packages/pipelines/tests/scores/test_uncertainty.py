"""Calibration of uncertainty, against Chemprop's own evaluators and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from molpool_common import FloatArray
from molpool_pipelines.scores.uncertainty import calibration_curve, score_uncertainty
from scipy.stats import norm, spearmanr


@pytest.fixture
def rows() -> tuple[FloatArray, FloatArray, FloatArray]:
    """400 rows whose errors are 1.5 times as large as stated."""
    rng = np.random.default_rng(3)
    sd = rng.uniform(0.2, 2.0, 400)
    y = rng.normal(size=400)
    return y, y + 1.5 * sd * rng.normal(size=400), sd


def test_numbers_are_those_of_chemprops_evaluators(rows: tuple[FloatArray, ...]) -> None:
    torch = pytest.importorskip("torch")
    peers = pytest.importorskip("chemprop.uncertainty.evaluator")
    y, p, sd = rows
    found = score_uncertainty(y, p, sd)
    assert found is not None
    t = [torch.from_numpy(x)[:, None] for x in (p, sd**2, y)]
    mask = torch.ones(400, 1, dtype=torch.bool)
    # Theirs sums rectangles where ours takes the trapezoid; both ends of the curve are 0. Their
    # quantiles are of single precision, so that a row or two may fall on the other side.
    area = peers.CalibrationAreaEvaluator().evaluate(*t, mask).item()
    assert area == pytest.approx(found.miscalibration_area, abs=1e-4)
    ence = peers.ExpectedNormalizedErrorEvaluator().evaluate(*t, mask, num_bins=10)
    assert ence.item() == pytest.approx(found.ence, rel=1e-6)
    assert found.rank_correlation == pytest.approx(spearmanr(np.abs(p - y), sd).statistic)
    assert found.nll == pytest.approx(-norm.logpdf(y, p, sd).mean())


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
