from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import IntervalCalibration
from rt_ridge._errors import RTRidgeError
from rt_ridge._estimators import calibrate_intervals
from rt_ridge._npz import read_npz, write_npz
from rt_ridge.prediction._conformal import (
    MARGIN,
    MIN_ROWS,
    HeldOutErrors,
    RunCalibration,
    normal_quantile,
    outside_range,
)
from rt_ridge.prediction._summaries import Prediction, Stage1CoeffSummaries
from rt_ridge.studies._baselines import GroupwiseRidge
from scipy.stats import norm
from scipy.stats import t as student

ONE = np.ones(1)


def of(z: Any, support: Any, runs: Any = None, **given: Any) -> RunCalibration:
    """Return the calibration of rows that are runs of their own unless runs are given."""
    errors = HeldOutErrors()
    runs = np.arange(len(z)) if runs is None else runs
    errors.add(np.asarray(z, dtype=float), np.broadcast_to(support, np.shape(z)), runs)
    return errors.calibration(**given)


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
    ends, far = (np.zeros(1), np.ones(1)), np.ones(300, dtype=np.bool_)

    def half(z: float, n: int) -> float:
        errors = HeldOutErrors()
        errors.add(np.full(300, 0.01), np.full(300, 7), np.arange(300))
        errors.add(np.full(n, z), np.full(n, 7), np.arange(n) % 3, far[:n])
        found = errors.calibration(ends)
        rows = np.full(2, 7)
        inside, outside = found.half_width(np.ones(2), rows, 0.9, np.array([False, True]))
        assert inside == 0.01
        return float(outside)

    # Too few rows, quiet rows, and wild ones.
    assert half(9.0, MIN_ROWS - 1) == half(0.01, 300) == pytest.approx(norm.ppf(0.95))
    assert half(9.0, 300) == 9.0


def test_quantiles_are_those_of_the_noise() -> None:
    # Quantiles of 99 999 points of t with 3 degrees, and of a normal distribution, by scipy; 10 000
    # scores of each are kept, a 10 000th of the rows apart.
    p = (np.arange(99_999) + 1) / 100_000
    z = np.concatenate([student.ppf(p, 3), norm.ppf(p)])
    found = of(z, np.repeat([3, 60], 99_999))
    for level in (0.5, 0.8, 0.95, 0.99):
        half = found.half_width(np.array([2.0, 2.0]), np.array([2, 99]), level)
        exact = [2 * d.ppf((1 + level) / 2) for d in (student(3), norm)]
        np.testing.assert_allclose(half, exact, rtol=4e-3)
        assert (half >= np.array(exact) * (1 - 1e-3)).all()


@given(st.integers(200, 2_000), st.integers(0, 1_000))
def test_each_interval_holds_its_share_of_the_held_out_rows(n: int, seed: int) -> None:
    z = np.random.default_rng(seed).standard_t(2, n)
    found = of(z, 7)
    levels = np.array([0.05, 0.5, 0.8, 0.95, 0.99])
    half = [found.half_width(ONE, np.array([7]), level)[0] for level in levels]
    hit = (np.abs(z) <= np.array(half)[:, None]).mean(axis=1)
    assert (hit >= levels).all()
    # At most one row more than asked, and one for the finite sample.
    assert (hit <= levels + 2 / n + 1e-12).all()


def test_bins_of_few_rows_are_joined_with_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=5_000), 9 * rng.normal(size=50)])
    found = of(z, np.repeat([30, 1], [5_000, 50]))
    pooled = np.sort(np.abs(z))
    half = found.half_width(np.ones(3), np.array([1, 30, 0]), 0.8)
    assert half[1] == pytest.approx(np.quantile(pooled, 0.8), rel=0.01)
    # What was hardly measured is no narrower than the model itself says.
    assert half[0] >= norm.ppf(0.9)
    assert half[2] >= norm.ppf(0.9)


def test_bins_thinner_than_all_that_was_measured_are_no_narrower_than_unseen_pairs() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([3 * rng.normal(size=1_000), 0.3 * rng.normal(size=5_000)])
    found = of(z, np.repeat([0, 7], [1_000, 5_000]))
    # Never seen, 1, 2-4 (not measured), 5-9, and 10-19 (not measured, thicker).
    half = found.half_width(np.ones(5), np.array([0, 1, 3, 7, 12]), 0.95)
    assert half[0] == half[1] == half[2] > 5
    assert half[3] == half[4] < 0.7
    # Without pairs never seen the model's own intervals stand in for them.
    half = of(z[1_000:], 7).half_width(np.ones(2), np.array([1, 7]), 0.95)
    assert half[0] == pytest.approx(norm.ppf(0.975))
    assert half[1] < 0.7


def test_above_what_the_rows_support_there_is_no_interval() -> None:
    found = of(np.random.default_rng(0).normal(size=300), 7)
    assert found.highest_level == 300 / 301
    assert np.isfinite(found.half_width(ONE, np.array([7]), 0.996)).all()
    assert np.isinf(found.half_width(ONE, np.array([7]), 0.998)).all()
    assert (found.n_rows, found.n_runs) == (300, 300)


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
    z = np.random.default_rng(0).normal(size=600)
    made = of(z, np.repeat([0, 1, 30], 200), ends=(np.zeros(1), np.ones(1)))
    summaries = dense_hierarchy(0).summaries()
    replace(summaries, calibration=made).save(tmp_path / "fit.npz")
    found = Stage1CoeffSummaries.load(tmp_path / "fit.npz").calibration
    assert found is not None
    assert found.to_arrays().keys() == made.to_arrays().keys()
    for name, array in made.to_arrays().items():
        np.testing.assert_array_equal(found.to_arrays()[name], array, err_msg=name)
    wide = replace(made, low=np.zeros(2), high=np.ones(2))
    with pytest.raises(RTRidgeError, match=r"calibration: low: expected shape \[1\]"):
        replace(summaries, calibration=wide)


COVERAGES = np.array([0.5, 0.9, 0.95])
QUANTILES = np.array([[1.0, 4.0, 6.0], [0.5, 2.0, 3.0]])


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_earlier_versions_are_read(
    dense_hierarchy: Callable[..., Any], tmp_path: Path, version: int
) -> None:
    dense_hierarchy(0).summaries().save(tmp_path / "fit.npz")
    arrays = read_npz(tmp_path / "fit.npz", "artefact") | {"schema_version": np.array(version)}
    quantiles, outside = ("reach", "beyond") if version == 1 else ("quantiles", "extrapolation")
    arrays["calibration_coverages"], arrays["calibration_edges"] = COVERAGES, np.array([1])
    arrays[f"calibration_{quantiles}"] = QUANTILES
    arrays[f"{outside}_low"], arrays[f"{outside}_high"] = np.zeros(1), np.ones(1)
    arrays[f"{outside}_{quantiles}"] = np.array([1.0, 5.0, 7.0])
    write_npz(arrays, tmp_path / "earlier.npz")
    found = Stage1CoeffSummaries.load(tmp_path / "earlier.npz").calibration
    assert found is not None
    rows = np.array([0, 5, 5])
    far = np.array([False, False, True])
    for place, level in enumerate(COVERAGES):
        half = found.half_width(np.ones(3), rows, level, far)
        far_off = max(QUANTILES[1, place], [1.0, 5.0, 7.0][place], normal_quantile(level))
        np.testing.assert_allclose(half, [*QUANTILES[:, place], far_off], rtol=1e-9)
    # Between the coverages measured they are interpolated, above stretched as normal ones are.
    assert found.half_width(ONE, ONE.astype(int), 0.7) == pytest.approx(1.25, abs=2e-3)
    stretched = 3.0 * norm.ppf(0.995) / norm.ppf(0.975)
    assert found.half_width(ONE, ONE.astype(int), 0.99) == pytest.approx(stretched, rel=1e-6)


def small(**changes: Any) -> RunCalibration:
    values: dict[str, Any] = {
        "intervals": IntervalCalibration((np.arange(5.0),), (np.full(5, "1"),)),
        "edges": np.array([1]),
        "classes": np.array([1, 1]),
        "thin": np.array([True, False]),
        "low": np.zeros(1),
        "high": np.ones(1),
        "n_rows": 5,
        "n_runs": 5,
    }
    return RunCalibration(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"edges": np.array([2])}, "ascending from 1"),
        ({"classes": np.zeros(3, dtype=np.int64)}, "a class of each of 2 bins"),
        ({"intervals": IntervalCalibration((np.arange(5.0),))}, "scores of one task, by class"),
        ({"low": None}, "both ends of readings or none"),
        ({"low": np.zeros(2)}, "expected ends of each covariate"),
        ({"low": np.full(1, 2.0)}, "low <= high"),
        ({"high": np.full(1, np.inf)}, "finite ends"),
    ],
)
def test_what_is_no_calibration_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RTRidgeError, match=message):
        small(**changes)


def test_damaged_arrays_are_refused() -> None:
    arrays = small().to_arrays()
    for name in ("edges", "scores", "counts"):
        with pytest.raises(RTRidgeError, match="calibration"):
            RunCalibration.from_arrays({k: v for k, v in arrays.items() if k != name})
    with pytest.raises(RTRidgeError, match="calibration"):
        RunCalibration.from_arrays(arrays | {"scores": np.full(5, np.nan)})


def test_too_few_rows_or_runs_are_refused() -> None:
    with pytest.raises(RTRidgeError, match="at least 200 held-out rows with a prediction; found"):
        of(np.ones(199), 3)
    groups, runs = np.zeros((4, 2), dtype=np.int64), np.array([0, 0, 1, 1])
    with pytest.raises(RTRidgeError, match="expected 2 to the number of runs, 2"):
        calibrate_intervals(GroupwiseRidge(), np.eye(4), np.ones(4), groups, runs, n_folds=3)
    with pytest.raises(RTRidgeError, match=r"ascending from 1; found \[2, 3\]"):
        HeldOutErrors([2, 3])


@given(st.integers(0, 1_000), st.integers(1, 5))
def test_chunks_are_of_no_account(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    n = 900
    z, support, runs = rng.standard_t(2, n), rng.integers(0, 150, n), rng.integers(0, 9, n)
    z[rng.random(n) < 0.01] = np.nan
    far, ends = rng.random(n) < 0.3, (np.zeros(1), np.ones(1))
    whole, chunked = HeldOutErrors(most=60), HeldOutErrors(most=60)
    whole.add(z, support, runs, far)
    for rows in np.array_split(np.arange(n), parts):
        chunked.add(z[rows], support[rows], runs[rows], far[rows])
    assert chunked.n_rows == whole.n_rows == (~np.isnan(z)).sum()
    one, two = whole.calibration(ends), chunked.calibration(ends)
    np.testing.assert_array_equal(one.classes, two.classes)
    np.testing.assert_array_equal(*(c.intervals.scores[0] for c in (one, two)))


def test_of_many_rows_a_share_is_held_and_says_the_same() -> None:
    rng = np.random.default_rng(0)
    errors = HeldOutErrors(most=2_000)
    for _ in range(20):
        errors.add(rng.normal(size=1_000), np.full(1_000, 7), np.arange(1_000))
    assert errors.n_rows == 20_000
    # 2 000 of 20 000: the 95 % quantile scatters by 0.05 of 1.96; 5 sd.
    half = errors.calibration().half_width(ONE, np.array([7]), 0.95)[0]
    assert abs(half - norm.ppf(0.975)) < 0.25
