"""Conformal intervals against their definition, MAPIE, and coverage in simulations."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapie.regression import SplitConformalRegressor
from molpool_common import InputError, IntervalCalibration, coverage_range, needed_points
from molpool_common.conformal import Difficulty, conformity_scores
from scipy.stats import binom
from sklearn.base import BaseEstimator, RegressorMixin


class Identity(RegressorMixin, BaseEstimator):
    """Predicts its input."""

    def fit(self, X, y):
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X):
        return X[:, 0]


def by_definition(scores, level):
    """Return the ceil((n + 1) level)-th smallest score, counted in whole numbers."""
    n = len(scores)
    # Levels here are multiples of 1/1000, so the rank is exact.
    rank = -(-(n + 1) * round(level * 1000) // 1000)
    return np.sort(scores)[rank - 1] if rank <= n else np.inf


@pytest.mark.core
@given(
    scores=st.lists(st.floats(0, 1e6), min_size=1, max_size=60),
    level=st.integers(1, 999).map(lambda k: k / 1000),
)
def test_half_width_is_the_quantile_of_the_definition(scores, level):
    y = np.array(scores)[:, None]
    calibration = IntervalCalibration.fit(y, np.zeros_like(y))
    found = calibration.half_widths((2, 1), level)
    assert (found == by_definition(y[:, 0], level)).all()


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_as_few_rows_as_the_level_needs_give_a_finite_interval(level):
    n = needed_points(level)
    assert n == round(1 / (1 - level)) - 1
    y = np.arange(1.0, n + 1)[:, None]
    assert np.isfinite(IntervalCalibration.fit(y, 0 * y).half_widths((1, 1), level)).all()
    if n > 1:
        fewer = IntervalCalibration.fit(y[1:], 0 * y[1:])
        assert np.isinf(fewer.half_widths((1, 1), level)).all()
        assert fewer.highest_level(0) < level


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_equals_mapie(level):
    rng = np.random.default_rng(1)
    mean, new = rng.normal(size=(203, 1)), rng.normal(size=(50, 1))
    y = mean + rng.standard_t(3, size=mean.shape)
    peer = SplitConformalRegressor(Identity().fit(mean, y), confidence_level=level, prefit=True)
    _, theirs = peer.conformalize(mean, y[:, 0]).predict_interval(new)
    lower, upper = IntervalCalibration.fit(y, mean).intervals(new, level)
    np.testing.assert_allclose(lower[:, 0], theirs[:, 0, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(upper[:, 0], theirs[:, 1, 0], rtol=0, atol=1e-12)


def test_coverage_over_a_thousand_draws_is_within_its_binomial_error():
    rng = np.random.default_rng(20)
    n, level, draws = 79, 0.8, 1000
    inside = 0
    for _ in range(draws):
        spread = rng.uniform(0.5, 3, size=(n + 1, 1))
        y = rng.normal(scale=spread)
        calibration = IntervalCalibration.fit(
            y[:n], np.zeros((n, 1)), features=spread[:n, :, None], names=["sd"]
        )
        half = calibration.half_widths((1, 1), level, features=spread[n:, :, None])
        inside += int(abs(y[n, 0]) <= half[0, 0])
    # (n + 1) 0.8 is whole: coverage is 0.8 exactly, and the test fails by chance once in 1000.
    assert binom.ppf(0.0005, draws, level) <= inside <= binom.ppf(0.9995, draws, level)


def test_a_spread_that_tells_the_error_shortens_the_intervals_and_one_that_does_not_is_left_out():
    rng = np.random.default_rng(3)
    spread, noise = rng.uniform(0.2, 3, size=(2, 600, 2))
    errors = np.abs(rng.normal(scale=spread))
    chosen = Difficulty.choose(errors, np.stack([spread, noise], axis=2), ["sd", "noise"])
    assert chosen.powers == (1.0, 0.0)
    none = Difficulty.choose(np.abs(rng.normal(size=(600, 2))), noise[:, :, None], ["noise"])
    assert none.powers == (0.0,)


def test_few_rows_choose_no_power():
    rng = np.random.default_rng(3)
    spread = rng.uniform(0.2, 3, size=(30, 1))
    chosen = Difficulty.choose(np.abs(rng.normal(scale=spread)), spread[:, :, None], ["sd"])
    assert chosen.powers == (0.0,)


def test_each_stratum_has_its_own_width_and_an_unknown_one_an_infinite_width():
    y = np.concatenate([np.full(40, 1.0), np.full(40, 5.0)])[:, None]
    calibration = IntervalCalibration.fit(y, 0 * y, strata=["a"] * 40 + ["b"] * 40)
    half = calibration.half_widths((3, 1), 0.9, strata=["b", "a", "new"])
    assert half[:, 0].tolist() == [5.0, 1.0, np.inf]


def test_a_bound_is_off_only_by_what_it_proves():
    y = np.array([[200.0], [200.0], [3.0], [3.0]])
    mean = np.array([[250.0], [150.0], [2.0], [5.0]])
    signs = np.array([[1], [1], [-1], [-1]], dtype=np.int8)
    scores = conformity_scores(y, mean, np.ones_like(y), signs)
    assert scores[:, 0].tolist() == [0, 50, 0, 2]


def test_a_change_of_unit_changes_the_intervals_by_the_unit():
    rng = np.random.default_rng(5)
    y, mean = rng.normal(size=(2, 80, 2))
    sd = rng.uniform(0.5, 2, size=(80, 2))
    one = IntervalCalibration.fit(y, mean, features=sd[:, :, None], names=["sd"])
    other = IntervalCalibration.fit(
        1e3 * y, 1e3 * mean, features=1e3 * sd[:, :, None], names=["sd"]
    )
    assert one.difficulty.powers == other.difficulty.powers
    np.testing.assert_allclose(
        1e3 * one.half_widths((80, 2), 0.9, features=sd[:, :, None]),
        other.half_widths((80, 2), 0.9, features=1e3 * sd[:, :, None]),
        rtol=1e-12,
    )


def test_intervals_end_at_the_limits_of_the_assay():
    y = np.arange(1.0, 20)[:, None]
    limits = np.array([0.0]), np.array([250.0])
    lower, upper = IntervalCalibration.fit(y, 0 * y).intervals(
        np.array([[5.0], [245.0]]), 0.9, limits=limits
    )
    assert lower[:, 0].tolist() == [0.0, 227.0]
    assert upper[:, 0].tolist() == [23.0, 250.0]


@pytest.mark.parametrize("kind", ["plain", "strata", "weights", "features"])
def test_arrays_hold_all_of_it(kind, tmp_path):
    rng = np.random.default_rng(7)
    y, mean = rng.normal(size=(2, 90, 2))
    y[:70, 1] = np.nan
    sd = rng.uniform(0.1, 3, size=(90, 2, 1))
    given_: dict[str, Any] = {
        "plain": {},
        "strata": {"strata": ["a"] * 45 + ["b"] * 45},
        "weights": {"weights": rng.uniform(size=90)},
        "features": {
            "features": sd,
            "names": ["sd"],
            "difficulty": Difficulty(("sd",), (1.0,), (0.01,)),
        },
    }[kind]
    calibration = IntervalCalibration.fit(y, mean, **given_)
    assert calibration.n_points == (90, 20)
    np.savez(tmp_path / "c.npz", **calibration.to_arrays())
    with np.load(tmp_path / "c.npz", allow_pickle=False) as stored:
        again = IntervalCalibration.from_arrays(dict(stored))
    asked = {k: v for k, v in given_.items() if k in ("features", "strata", "weights")}
    np.testing.assert_array_equal(
        calibration.half_widths((90, 2), 0.8, **asked), again.half_widths((90, 2), 0.8, **asked)
    )


def test_damaged_arrays_are_refused():
    arrays = IntervalCalibration.fit(np.ones((5, 1)), np.zeros((5, 1))).to_arrays()
    for wrong in ({"scores": arrays["scores"][:-1]}, {"scores": np.full(5, np.nan)}):
        with pytest.raises(InputError, match="calibration"):
            IntervalCalibration.from_arrays(arrays | wrong)
    with pytest.raises(InputError, match="lengths"):
        IntervalCalibration.from_arrays({"scores": arrays["scores"]})


def test_what_is_needed_and_not_given_is_named():
    y = np.ones((60, 1))
    with pytest.raises(InputError, match="level"):
        IntervalCalibration.fit(y, 0 * y).half_widths((1, 1), 1.0)
    stratified = IntervalCalibration.fit(y, 0 * y, strata=["a"] * 60)
    with pytest.raises(InputError, match="strata"):
        stratified.half_widths((1, 1), 0.9)
    scaled = IntervalCalibration.fit(
        y, 0 * y, features=np.ones((60, 1, 1)), difficulty=Difficulty(("sd",), (1.0,), (0.1,))
    )
    with pytest.raises(InputError, match=r"features.*sd"):
        scaled.half_widths((1, 1), 0.9)
    with pytest.raises(InputError, match="mean"):
        IntervalCalibration.fit(y, np.zeros((59, 1)))


def test_thin_strata_and_unknown_ones_share_an_interval():
    y = np.concatenate([np.full(40, 1.0), np.full(9, 5.0), np.full(9, 7.0)])[:, None]
    strata = ["a"] * 40 + ["b"] * 9 + ["c"] * 9
    calibration = IntervalCalibration.fit(y, 0 * y, strata=strata, least_rows=19)
    half = calibration.half_widths((4, 1), 0.9, strata=["a", "b", "c", "new"])
    assert half[:, 0].tolist() == [1.0, 7.0, 7.0, 7.0]
    # Without any stratum that is thin there is nothing to say of one that is new.
    whole = IntervalCalibration.fit(y[:40], 0 * y[:40], strata=strata[:40], least_rows=19)
    assert np.isinf(whole.half_widths((1, 1), 0.9, strata=["new"])).all()


def test_weights_given_later_are_those_given_at_once(tmp_path):
    rng = np.random.default_rng(8)
    y, mean = rng.normal(size=(2, 60, 2))
    y[rng.random((60, 2)) < 0.3] = np.nan
    weights, new = rng.uniform(0.3, 3, 60), rng.uniform(0.3, 3, 5)
    at_once = IntervalCalibration.fit(y, mean, weights=weights)
    np.savez(tmp_path / "c.npz", **IntervalCalibration.fit(y, mean).to_arrays())
    with np.load(tmp_path / "c.npz", allow_pickle=False) as stored:
        later = IntervalCalibration.from_arrays(dict(stored)).weighted(weights)
    np.testing.assert_array_equal(
        at_once.half_widths((5, 2), 0.8, weights=new), later.half_widths((5, 2), 0.8, weights=new)
    )
    arrays = IntervalCalibration.fit(y, mean).to_arrays()
    del arrays["rows"]
    with pytest.raises(InputError, match="earlier version"):
        IntervalCalibration.from_arrays(arrays).weighted(weights)


def test_a_row_with_several_scores_counts_once():
    rng = np.random.default_rng(9)
    y = rng.normal(size=(20, 1))
    once = IntervalCalibration.fit(y, 0 * y)
    thrice = IntervalCalibration.fit(
        np.repeat(y, 3, axis=0), np.zeros((60, 1)), rows=np.repeat(np.arange(20), 3)
    )
    again = IntervalCalibration.from_arrays(thrice.to_arrays())
    assert again.n_points == once.n_points == (20,)
    assert again.highest_level(0) == once.highest_level(0)
    for level in (0.5, 0.8, 0.9, 0.95, 0.96):
        assert again.half_widths((1, 1), level) == once.half_widths((1, 1), level)
    strata = ["a", "b"] * 10
    once = IntervalCalibration.fit(y, 0 * y, strata=strata)
    thrice = IntervalCalibration.fit(
        np.repeat(y, 3, axis=0),
        np.zeros((60, 1)),
        rows=np.repeat(np.arange(20), 3),
        strata=np.repeat(strata, 3).tolist(),
    )
    asked = ["b", "a", "new"]
    np.testing.assert_array_equal(
        thrice.half_widths((3, 1), 0.8, strata=asked), once.half_widths((3, 1), 0.8, strata=asked)
    )


def test_how_far_one_calibration_set_may_be_off() -> None:
    # The greatest of 19: the share below it has the distribution function p^19.
    assert coverage_range(19, 0.95) == pytest.approx((0.025 ** (1 / 19), 0.975 ** (1 / 19)))
    rng = np.random.default_rng(0)
    covered = np.sort(rng.random((4000, 20)), axis=1)[:, 16]
    found = np.quantile(covered, [0.025, 0.975])
    # The 17th of 20 rows; 4 000 draws tell these ends to some .01.
    np.testing.assert_allclose(coverage_range(20, 0.8), found, atol=0.02)


LIGHT = """
import sys
import numpy as np
from molpool_common import IntervalCalibration
found = IntervalCalibration.fit(np.zeros((30, 1)), np.linspace(0, 1, 30)[:, None])
assert np.isfinite(found.intervals(np.zeros((2, 1)), 0.9)[0]).all()
assert "crepes" in sys.modules
print({"pandas", "scipy.stats", "sklearn.neighbors"} & set(sys.modules))
"""


@pytest.mark.slow
def test_intervals_come_without_what_only_other_parts_of_crepes_need():
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.stdout.split() == ["set()"], done.stdout + done.stderr
