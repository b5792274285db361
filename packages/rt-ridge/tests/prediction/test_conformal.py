from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import calibrate_intervals
from rt_ridge._npz import read_npz, write_npz
from rt_ridge.prediction._conformal import (
    ACCURACY,
    GRID,
    MARGIN,
    ConformalSketch,
    Extrapolation,
    IntervalCalibration,
    conformal_quantiles,
    count_scores,
    normal_quantiles,
    outside_range,
)
from rt_ridge.prediction._summaries import Prediction, Stage1CoeffSummaries
from rt_ridge.studies._baselines import GroupwiseRidge
from scipy.stats import norm
from scipy.stats import t as student

AT_95 = int(np.flatnonzero(GRID == 0.95)[0])


def test_one_part_is_told_by_its_quantiles() -> None:
    size = np.abs(np.random.default_rng(0).normal(size=5_000))
    found = conformal_quantiles(*count_scores(size, np.zeros(5_000, dtype=np.int64)))
    expected = np.quantile(size, np.minimum(GRID * (1 + 1 / 5_000), 1), method="higher")
    np.testing.assert_array_equal(found, expected)


def test_runs_that_differ_are_covered_when_they_are_new() -> None:
    # 10 runs whose errors have each a spread of their own, log-normal by 1. Quantiles of all rows
    # miss a new run's 95 % by 1.5 points on average; those that leave runs out do not. Over 400
    # draws of the 10 runs the mean coverage of new ones scatters by 0.2 points, here once drawn.
    rng = np.random.default_rng(1)
    plain, raised = [], []
    for _ in range(400):
        spread = np.exp(rng.normal(size=10))
        size = np.abs(rng.normal(size=(10, 100))) * spread[:, None]
        block = np.repeat(np.arange(10), 100)
        new = np.exp(rng.normal(size=100))

        def covered(quantile: float, new: Any = new) -> float:
            return float(np.mean(2 * norm.cdf(quantile / new) - 1))

        plain.append(covered(float(np.quantile(size, 0.95))))
        raised.append(covered(conformal_quantiles(*count_scores(size.ravel(), block))[AT_95]))
    assert np.mean(plain) < 0.94
    assert abs(np.mean(raised) - 0.95) < 0.01


@given(st.integers(0, 1_000), st.integers(2, 6))
def test_blocks_only_widen_and_their_order_is_of_no_account(seed: int, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    size, block = np.abs(rng.standard_t(2, 300)), rng.integers(0, n_blocks, 300)
    found = conformal_quantiles(*count_scores(size, block))
    assert (np.diff(found) >= 0).all()
    assert (found >= conformal_quantiles(*count_scores(size, np.zeros(300, dtype=np.int64)))).all()
    np.testing.assert_array_equal(
        found, conformal_quantiles(*count_scores(size, n_blocks - 1 - block))
    )


def test_readings_outside_the_range_are_those_outside_its_margin_too() -> None:
    low, high = np.array([0.0, -1.0]), np.array([10.0, 1.0])
    inside = [[10.0 * (1 + MARGIN) - 1e-9, 0.0], [5.0, -1.0 - 2 * MARGIN + 1e-9]]
    outside = [[10.0 * (1 + MARGIN) + 1e-9, 0.0], [5.0, -1.0 - 2 * MARGIN - 1e-9]]
    assert outside_range(np.array(inside + outside), low, high).tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert outside_range(np.zeros((3, 0)), np.zeros(0), np.zeros(0)).tolist() == [False] * 3


def test_outside_the_range_nothing_is_narrower_than_the_model_says() -> None:
    ends = np.zeros(1), np.ones(1)
    few = Extrapolation.fit(*ends, *count_scores(np.full(199, 9.0), np.zeros(199, dtype=np.int64)))
    np.testing.assert_array_equal(few.quantiles, normal_quantiles(GRID))
    quiet = Extrapolation.fit(*ends, *count_scores(np.full(300, 0.01), np.arange(300) % 3))
    np.testing.assert_array_equal(quiet.quantiles, normal_quantiles(GRID))
    wild = Extrapolation.fit(*ends, *count_scores(np.full(300, 9.0), np.arange(300) % 3))
    assert (wild.quantiles == 9.0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": np.zeros(2)}, "expected ends of each covariate"),
        ({"low": np.full(1, 2.0)}, "low <= high"),
        ({"high": np.full(1, np.inf)}, "finite ends"),
        ({"quantiles": -np.arange(3.0)}, "ascend with coverage"),
    ],
)
def test_what_is_no_range_is_refused(changes: dict[str, Any], message: str) -> None:
    values = {"low": np.zeros(1), "high": np.ones(1), "quantiles": np.arange(3.0)}
    with pytest.raises(RTRidgeError, match=message):
        Extrapolation(**(values | changes))


ONE = np.ones(1)


def small(**changes: Any) -> IntervalCalibration:
    values: dict[str, Any] = {
        "coverages": np.array([0.5, 0.9]),
        "quantiles": np.array([[1.0, 4.0], [0.5, 2.0]]),
        "edges": np.array([1]),
    }
    return IntervalCalibration(**(values | changes))


def test_quantiles_are_those_of_the_noise() -> None:
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


def test_bins_of_few_rows_take_the_conformal_quantiles_all() -> None:
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


def test_between_and_above_the_coverages_measured() -> None:
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
        calibration = calibrate_intervals(
            model, X[kept], y[kept], groups[kept], runs[kept], n_folds=5
        )
        new = model.summaries_.predict(X[~kept], *groups[~kept].T)
        aware = replace(model.summaries_, calibration=calibration).predict(
            X[~kept], *groups[~kept].T
        )
        error = np.abs(y[~kept] - new.mean)
        calibrated.append([(error <= aware.half_width(c)).mean() for c in (0.5, 0.95)])
        plain.append((error <= new.half_width(0.5)).mean())
    share = np.mean(calibrated, axis=0)
    assert abs(share[1] - 0.95) < 0.03
    assert abs(share[0] - 0.5) < 0.06
    assert np.mean(plain) > 0.6


def test_rows_outside_the_training_are_no_narrower_than_normal_ones() -> None:
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(60), 20)
    groups = np.stack([np.zeros_like(runs), np.tile(np.arange(20), 60)], axis=1)
    X = rng.uniform(size=(60, 1))[runs]
    # Most rows are far quieter than the few that σ is of.
    noise = np.where(rng.random(len(runs)) < 0.02, 2.0, 0.01)
    y = 5 + X[:, 0] + noise * rng.normal(size=len(runs))
    model = GroupwiseRidge().fit(X, y, groups)
    calibration = calibrate_intervals(model, X, y, groups, runs, n_folds=5)
    aware = replace(model.summaries_, calibration=calibration)
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
    for part in ("low", "high", "quantiles"):
        np.testing.assert_array_equal(getattr(found.extrapolation, part), getattr(ends, part))
    wide = replace(ends, low=np.zeros(2), high=np.ones(2))
    with pytest.raises(RTRidgeError, match=r"calibration: low: expected shape \[1\]"):
        replace(summaries, calibration=small(extrapolation=wide))
    for part in ("coverages", "quantiles", "edges"):
        np.testing.assert_array_equal(getattr(found, part), getattr(small(), part))


def test_files_of_version_1_are_read(dense_hierarchy: Callable[..., Any], tmp_path: Path) -> None:
    ends = Extrapolation(np.zeros(1), np.ones(1), np.array([1.0, 2.0]))
    summaries = replace(dense_hierarchy(0).summaries(), calibration=small(extrapolation=ends))
    summaries.save(tmp_path / "fit.npz")
    arrays = read_npz(tmp_path / "fit.npz", "artefact") | {"schema_version": np.array(1)}
    arrays["calibration_reach"] = arrays.pop("calibration_quantiles")
    for part, before in (("low", "low"), ("high", "high"), ("quantiles", "reach")):
        arrays[f"beyond_{before}"] = arrays.pop(f"extrapolation_{part}")
    write_npz(arrays, tmp_path / "earlier.npz")
    Stage1CoeffSummaries.load(tmp_path / "earlier.npz").save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "fit.npz").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantiles": np.ones((3, 2))}, r"expected quantiles \[2, 2\]"),
        ({"coverages": np.array([0.5, 1.0])}, r"coverages in \(0, 1\)"),
        ({"edges": np.array([2])}, "edges from 1 on"),
        ({"quantiles": np.array([[1.0, np.nan], [0.5, 2.0]])}, "finite quantiles"),
        ({"quantiles": np.array([[2.0, 1.0], [0.5, 2.0]])}, "ascend with coverage"),
        (
            {"extrapolation": Extrapolation(np.zeros(1), np.ones(1), np.ones(3))},
            r"expected quantiles \[2\] outside the range",
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


@given(
    st.integers(200, 4_000),
    st.integers(0, 1_000),
    st.integers(1, 4),
    st.sampled_from([1e-3, 1.0, 1e6, 1e12]),
)
def test_no_narrower_than_all_rows_at_once_and_hardly_wider(
    n: int, seed: int, parts: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    z, support = scale * rng.standard_t(2, n), rng.integers(0, 150, n)
    z[rng.random(n) < 0.01] = np.nan
    if (~np.isnan(z)).sum() < 200:
        return
    exact = IntervalCalibration.fit(z, support)
    sketch = ConformalSketch()
    for rows in np.array_split(rng.permutation(n), parts):
        sketch.update(z[rows], support[rows])
    found = sketch.calibration()
    assert sketch.n_rows == (~np.isnan(z)).sum()
    assert (found.quantiles >= exact.quantiles * (1 - 1e-12)).all()
    if scale > 1e6:  # above the cells the largest error stands for all
        return
    # Below the smallest cell, 1e-4 standard deviations, the width is absolute.
    np.testing.assert_allclose(found.quantiles, exact.quantiles, rtol=1.001 * ACCURACY, atol=1e-4)


def test_blocks_and_rows_outside_the_range_agree_with_all_rows_at_once() -> None:
    rng = np.random.default_rng(0)
    n = 6_000
    block, support = rng.integers(0, 5, n), rng.integers(0, 150, n)
    z = rng.normal(size=n) * np.array([0.5, 1.0, 2.0, 1.0, 0.2])[block]
    far = rng.random(n) < 0.1
    z[far] *= 4
    sketch = ConformalSketch()
    for rows in np.array_split(np.arange(n), 3):
        sketch.update(z[rows], support[rows], block[rows], far[rows])
    ends = np.zeros(2), np.ones(2)
    found = sketch.calibration(ends)
    exact = IntervalCalibration.fit(z[~far], support[~far], block[~far])
    outside = Extrapolation.fit(*ends, *count_scores(np.abs(z[far]), block[far]))
    # A candidate level more or less, of 0.1 % where it matters, beside the width of a cell.
    np.testing.assert_allclose(found.quantiles[:, 9:], exact.quantiles[:, 9:], rtol=0.03)
    assert found.extrapolation is not None
    np.testing.assert_allclose(found.extrapolation.quantiles, outside.quantiles, rtol=0.03)


def test_too_few_rows_and_wrong_edges_are_refused() -> None:
    sketch = ConformalSketch()
    sketch.update(np.ones(199), np.ones(199, dtype=np.int64))
    with pytest.raises(RTRidgeError, match="at least 200 held-out rows with a prediction; found"):
        sketch.calibration()
    with pytest.raises(RTRidgeError, match=r"ascending from 1; found \[2, 3\]"):
        ConformalSketch([2, 3])
