from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rt_ridge.baselines import GroupwiseRidge
from rt_ridge.errors import RTRidgeError
from rt_ridge.intervals import IntervalCalibration, calibrate_intervals
from rt_ridge.reach import GRID, Extrapolation
from rt_ridge.summaries import Prediction, Stage1CoeffSummaries
from scipy.stats import norm
from scipy.stats import t as student

ONE = np.ones(1)


def small(**changes: Any) -> IntervalCalibration:
    values = {
        "coverages": np.array([0.5, 0.9]),
        "reach": np.array([[1.0, 4.0], [0.5, 2.0]]),
        "edges": np.array([1]),
    }
    return IntervalCalibration(**(values | changes))


def test_reach_is_that_of_the_noise() -> None:
    # Quantiles of 99 999 points of t with 3 degrees, and of a normal distribution, by scipy.
    p = (np.arange(99_999) + 1) / 100_000
    z = np.concatenate([student.ppf(p, 3), norm.ppf(p)])
    support = np.repeat([3, 60], 99_999)
    found = IntervalCalibration.fit(z, support)
    for coverage in (0.5, 0.8, 0.95, 0.99):
        half = found.half_width(np.array([2.0, 2.0]), np.array([2, 99]), coverage)
        exact = [2 * d.ppf((1 + coverage) / 2) for d in (student(3), norm)]
        np.testing.assert_allclose(half, exact, rtol=1e-3)


@given(st.integers(200, 2_000), st.integers(0, 1_000))
def test_each_interval_holds_its_share_of_the_held_out_rows(n: int, seed: int) -> None:
    z = np.random.default_rng(seed).standard_t(2, n)
    found = IntervalCalibration.fit(z, np.full(n, 7))
    half = [found.half_width(ONE, np.array([7]), c)[0] for c in GRID]
    hit = (np.abs(z) <= np.array(half)[:, None]).mean(axis=1)
    assert (hit >= GRID).all()
    # At most one row more than asked, and one for the finite sample.
    assert (hit <= GRID + 2 / n + 1e-12).all()


def test_bins_of_few_rows_take_the_reach_of_all() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=5_000), 9 * rng.normal(size=50)])
    found = IntervalCalibration.fit(z, np.repeat([30, 1], [5_000, 50]))
    pooled = np.sort(np.abs(z))
    near = np.array([1, 30, 0])
    half = found.half_width(np.ones(3), near, 0.8)
    assert half[0] == pytest.approx(np.quantile(pooled, 0.8), rel=0.01)
    assert half[1] < half[0]
    # Pairs never seen were not measured: no narrower than the model itself says.
    assert half[2] >= norm.ppf(0.9)


def test_bins_thinner_than_all_that_was_measured_are_no_narrower_than_unseen_pairs() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([3 * rng.normal(size=1_000), 0.3 * rng.normal(size=5_000)])
    found = IntervalCalibration.fit(z, np.repeat([0, 7], [1_000, 5_000]))
    # Never seen, 1, 2-4 (not measured), 5-9, and 10-19 (not measured, thicker).
    half = found.half_width(np.ones(5), np.array([0, 1, 3, 7, 12]), 0.95)
    assert half[0] == half[1] == half[2] > 5
    assert half[3] == half[4] < 0.7
    # Without pairs never seen the model's own intervals stand in for them.
    found = IntervalCalibration.fit(z[1_000:], np.full(5_000, 7))
    half = found.half_width(np.ones(2), np.array([1, 7]), 0.95)
    assert half[0] == pytest.approx(norm.ppf(0.975))
    assert half[1] < 0.7


def test_between_and_beyond_the_coverages_measured() -> None:
    found = small()
    one = np.array([1])
    assert found.half_width(ONE, one, 0.25) == pytest.approx(0.25)
    assert found.half_width(ONE, one, 0.7) == pytest.approx(1.25)
    stretched = 2.0 * norm.ppf(0.995) / norm.ppf(0.95)
    assert found.half_width(ONE, one, 0.99) == pytest.approx(stretched)


def test_intervals_hold_on_new_runs_where_normal_ones_do_not() -> None:
    # A run shifts all its rows by t noise of 2 degrees, so that its rows err together. With all
    # rows of a run alike, 400 test and 200 calibration runs scatter the share within 95 % by 1.1
    # and 1.5 points, within 50 % by 2.5 and 3.5: over five seeds 0.9 and 1.9 points. The bars of
    # 3 and 6 would fail once in 400 choices of seeds.
    calibrated, plain = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        runs = np.repeat(np.arange(600), 20)
        groups = np.stack([np.zeros_like(runs), np.tile(np.arange(20), 600)], axis=1)
        X = rng.normal(size=(600, 1))[runs]
        y = 5 + X[:, 0] + rng.standard_t(2, 600)[runs] + 0.1 * rng.normal(size=len(runs))
        kept = runs < 200
        model = GroupwiseRidge().fit(X[kept], y[kept], groups[kept])
        reach = calibrate_intervals(model, X[kept], y[kept], groups[kept], runs[kept], n_folds=5)
        new = model.summaries_.predict(X[~kept], *groups[~kept].T)
        aware = replace(model.summaries_, calibration=reach).predict(X[~kept], *groups[~kept].T)
        error = np.abs(y[~kept] - new.mean)
        calibrated.append([(error <= aware.half_width(c)).mean() for c in (0.5, 0.95)])
        plain.append((error <= new.half_width(0.5)).mean())
    share = np.mean(calibrated, axis=0)
    assert abs(share[1] - 0.95) < 0.03
    assert abs(share[0] - 0.5) < 0.06
    assert np.mean(plain) > 0.6


def test_rows_beyond_the_training_are_no_narrower_than_normal_ones() -> None:
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(60), 20)
    groups = np.stack([np.zeros_like(runs), np.tile(np.arange(20), 60)], axis=1)
    X = rng.uniform(size=(60, 1))[runs]
    # Most rows are far quieter than the few that σ is of.
    noise = np.where(rng.random(len(runs)) < 0.02, 2.0, 0.01)
    y = 5 + X[:, 0] + noise * rng.normal(size=len(runs))
    model = GroupwiseRidge().fit(X, y, groups)
    reach = calibrate_intervals(model, X, y, groups, runs, n_folds=5)
    aware = replace(model.summaries_, calibration=reach)
    rows = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    found = aware.predict([[1.05], [1.3]], *rows)
    half, normal = found.half_width(0.95), found.std * norm.ppf(0.975)
    assert half[0] < 0.7 * normal[0]
    assert half[1] == pytest.approx(normal[1])
    taken = found.take(np.array([False, True]))
    assert taken.half_width(0.95)[0] == half[1]


def test_without_calibration_intervals_are_normal() -> None:
    none = np.zeros(1, dtype=np.int8)
    plain = Prediction(ONE, 2 * ONE, ONE, none)
    assert plain.half_width(0.9) == pytest.approx(2 * norm.ppf(0.95), rel=1e-12)
    with pytest.raises(RTRidgeError, match=r"coverage: expected a number in \(0, 1\); found 95"):
        plain.half_width(95)


def test_the_file_keeps_it(dense_hierarchy: Callable[..., Any], tmp_path: Path) -> None:
    ends = Extrapolation(np.zeros(1), np.ones(1), np.array([1.0, 2.0]))
    summaries = dense_hierarchy(0).summaries()
    calibrated = replace(summaries, calibration=small(extrapolation=ends))
    calibrated.save(tmp_path / "fit.npz")
    found = Stage1CoeffSummaries.load(tmp_path / "fit.npz").calibration
    assert found is not None
    assert found.extrapolation is not None
    for part in ("low", "high", "reach"):
        np.testing.assert_array_equal(getattr(found.extrapolation, part), getattr(ends, part))
    wide = replace(ends, low=np.zeros(2), high=np.ones(2))
    with pytest.raises(RTRidgeError, match=r"calibration: low: expected shape \[1\]"):
        replace(summaries, calibration=small(extrapolation=wide))
    for part in ("coverages", "reach", "edges"):
        np.testing.assert_array_equal(getattr(found, part), getattr(small(), part))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reach": np.ones((3, 2))}, r"expected reach \[2, 2\]"),
        ({"coverages": np.array([0.5, 1.0])}, r"coverages in \(0, 1\)"),
        ({"edges": np.array([2])}, "edges from 1 on"),
        ({"reach": np.array([[1.0, np.nan], [0.5, 2.0]])}, "finite reach"),
        ({"reach": np.array([[2.0, 1.0], [0.5, 2.0]])}, "ascends with coverage"),
        (
            {"extrapolation": Extrapolation(np.zeros(1), np.ones(1), np.ones(3))},
            r"expected reach \[2\] of rows beyond",
        ),
    ],
)
def test_what_is_no_calibration_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RTRidgeError, match=message):
        small(**changes)


def test_too_few_rows_or_runs_are_refused() -> None:
    few = np.full(199, 3)
    with pytest.raises(RTRidgeError, match="at least 200 held-out rows with a prediction; found"):
        IntervalCalibration.fit(np.ones(199), few)
    groups, runs = np.zeros((4, 2), dtype=np.int64), np.array([0, 0, 1, 1])
    with pytest.raises(RTRidgeError, match="expected 2 to the number of runs, 2"):
        calibrate_intervals(GroupwiseRidge(), np.eye(4), np.ones(4), groups, runs, n_folds=3)
