"""The probability that an assay reports its limit, against a share that is known."""

import numpy as np
from molpool_pipelines.models._limit_odds import LimitOdds
from multitask_models import AssayLimits
from scipy.stats import norm

N = 4000
NOISE = 0.5


def made(seed, floor=-np.inf, ceiling=np.inf):
    rng = np.random.default_rng(seed)
    mean = rng.normal(0, 1, (N, 2))
    y = np.clip(mean + rng.normal(0, NOISE, (N, 2)), floor, ceiling)
    limits = AssayLimits(*(np.array([end, end]) for end in (floor, ceiling, floor, ceiling)))
    return y, mean, np.zeros((N, 2), dtype=np.int8), limits


def test_it_is_the_share_of_labels_that_stand_there():
    y, mean, signs, limits = made(0, floor=-1, ceiling=0.5)
    odds = LimitOdds.fit(y, mean, signs, limits).of(mean)
    assert set(odds) == {0, 1}
    assert set(odds[1]) == {"_at_ceiling", "_at_floor"}
    # An isotonic fit of 4 000 rows is off by n^(-1/3) or so, .06; in the mean by far less.
    for ending, known in (
        ("_at_ceiling", norm.sf(0.5, mean[:, 0], NOISE)),
        ("_at_floor", norm.cdf(-1, mean[:, 0], NOISE)),
    ):
        assert abs(np.mean(odds[0][ending]) - np.mean(known)) < 0.02
        assert np.abs(odds[0][ending] - known).mean() < 0.06
    order = np.argsort(mean[:, 0])
    assert (np.diff(odds[0]["_at_ceiling"][order]) >= 0).all()
    assert (np.diff(odds[0]["_at_floor"][order]) <= 0).all()


def test_bounds_count_where_they_tell():
    y, mean, signs, limits = made(1, ceiling=0.5)
    plain = LimitOdds.fit(y, mean, signs, limits)
    # What stands at the ceiling may say so, and an upper bound below it is below it.
    signs = np.where(y >= 0.5, np.int8(1), np.where(y < 0, np.int8(-1), np.int8(0)))
    np.testing.assert_array_equal(LimitOdds.fit(y, mean, signs, limits).p, plain.p)
    # Of a lower bound below it nothing is known, as if the row were not there.
    signs, none = np.where(y < 0, np.int8(1), np.int8(0)), np.where(y < 0, np.nan, y)
    left = LimitOdds.fit(none, mean, np.zeros_like(signs), limits)
    np.testing.assert_array_equal(LimitOdds.fit(y, mean, signs, limits).p, left.p)


def test_without_rows_nothing_is_known_and_of_one_kind_the_rest_is_possible():
    y, mean, signs, limits = made(2, ceiling=0.5)
    nothing = LimitOdds.fit(np.full_like(y, np.nan), mean, signs, limits)
    assert np.isnan(nothing.of(mean)[0]["_at_ceiling"]).all()
    below = LimitOdds.fit(y[:8] * 0, mean[:8], signs[:8], limits)
    assert set(below.of(mean)[0]["_at_ceiling"]) == {0.1}


def test_arrays_keep_it():
    y, mean, signs, limits = made(3, ceiling=0.5)
    odds = LimitOdds.fit(y, mean, signs, limits)
    again = LimitOdds.from_arrays(odds.to_arrays())
    np.testing.assert_array_equal(again.of(mean)[1]["_at_ceiling"], odds.of(mean)[1]["_at_ceiling"])
    assert LimitOdds.from_arrays({}).of(mean) == {}
