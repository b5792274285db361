"""What a run keeps to give intervals and probabilities."""

import numpy as np
import pytest
from molpool_common import InputError
from molpool_pipelines.models import Calibration

KINDS = ("regression", "classification")


def rows(n=400, seed=0):
    rng = np.random.default_rng(seed)
    sd = rng.uniform(0.3, 2, size=(n, 2))
    mean = rng.normal(size=(n, 2))
    y = mean + rng.normal(scale=sd)
    p = rng.uniform(size=n)
    mean[:, 1], y[:, 1] = p, rng.uniform(size=n) < p
    return y, mean, sd, rng.uniform(size=n)


def test_intervals_are_of_values_and_cover_and_classes_have_none():
    inside = []
    for seed in range(0, 40, 2):
        y, mean, sd, distance = rows(seed=seed)
        new_y, new, new_sd, new_distance = rows(1000, seed=seed + 1)
        calibration = Calibration.fit(y, mean, KINDS, sd=sd, distance=distance)
        lower, upper = calibration.ends(new, 0.8, sd=new_sd, distance=new_distance)
        inside.append(((lower <= new_y) & (new_y <= upper))[:, 0].mean())
        assert np.isnan(lower[:, 1]).all()
        assert not calibration.needs_distance
    # 400 calibration rows: a draw has a standard deviation of .024, the mean of 20 one of .005.
    assert np.mean(inside) == pytest.approx(0.8, abs=0.02)


@pytest.mark.core
def test_a_file_holds_all_of_it(tmp_path):
    y, mean, sd, distance = rows()
    limits = np.array([-1.0, -np.inf]), np.array([1.5, np.inf])
    calibration = Calibration.fit(y, mean, KINDS, sd=sd, distance=distance, limits=limits)
    calibration.save(tmp_path / "c.npz")
    again = Calibration.load(tmp_path / "c.npz")
    for one, other in zip(
        calibration.ends(mean, sd=sd, distance=distance),
        again.ends(mean, sd=sd, distance=distance),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(calibration.probabilities(mean), again.probabilities(mean))
    assert again.ends(mean, sd=sd, distance=distance)[1][:, 0].max() == 1.5


def test_a_cut_file_is_refused(tmp_path):
    y, mean, *_ = rows(60)
    path = tmp_path / "c.npz"
    Calibration.fit(y, mean, KINDS).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"c\.npz .*expected an npz file"):
        Calibration.load(path)


def test_probabilities_are_calibrated_only_from_fifty_rows_of_each_class():
    y, mean, *_ = rows(60)
    assert (Calibration.fit(y, mean, KINDS).probabilities(mean) == mean).all()
    y, mean, *_ = rows(400)
    changed = Calibration.fit(y, mean, KINDS).probabilities(mean)
    assert (changed[:, 0] == mean[:, 0]).all()
    assert (changed[:, 1] != mean[:, 1]).any()
    # Calibration changes no ranking.
    np.testing.assert_array_equal(np.argsort(changed[:, 1]), np.argsort(mean[:, 1]))


def test_a_flipped_bit_is_refused(tmp_path):
    y, mean, *_ = rows(200)
    path = tmp_path / "c.npz"
    Calibration.fit(y, mean, KINDS).save(path)
    sound = path.read_bytes()
    for place in range(60, len(sound), 97):
        damaged = bytearray(sound)
        damaged[place] ^= 4
        path.write_bytes(damaged)
        try:
            again = Calibration.load(path)
        except InputError:
            continue
        # What is not read (names in the archive's list, padding) may change.
        np.testing.assert_array_equal(
            again.ends(mean)[0], Calibration.fit(y, mean, KINDS).ends(mean)[0]
        )


def test_notes_say_how_many_rows_calibrate_and_which_tasks_have_too_few():
    y, mean, *_ = rows(60)
    y[20:, 0] = np.nan
    _, far = Calibration.fit(y, mean, KINDS).notes(["LogD", "active"], 0.8)
    # Of the beta distribution with 17 and 4.
    assert far == "Of 20 (LogD), what they cover in the long run is between 62% and 94%."
    y[5:, 0] = np.nan
    calibration = Calibration.fit(y, mean, KINDS)
    assert calibration.notes(["LogD", "active"], 0.9) == [
        "Intervals at 90% rest on 5 calibration molecules per task.",
        "Without intervals, as 90% needs 9 calibration molecules: LogD.",
    ]
    assert np.isinf(calibration.ends(mean, 0.9)[1][:, 0]).all()


def test_a_change_of_unit_changes_all_of_it_by_the_unit():
    y, mean, sd, distance = (np.array(v) for v in rows(300))
    kinds = ("regression", "regression")
    limits = np.array([-1.0, -np.inf]), np.array([1.5, np.inf])
    one = Calibration.fit(y, mean, kinds, sd=sd, distance=distance, limits=limits)
    scaled = tuple(1000 * end for end in limits)
    other = Calibration.fit(
        1000 * y, 1000 * mean, kinds, sd=1000 * sd, distance=distance, limits=(scaled[0], scaled[1])
    )
    for level in (0.5, 0.8, 0.95):
        ends = one.ends(mean, level, sd=sd, distance=distance)
        theirs = other.ends(1000 * mean, level, sd=1000 * sd, distance=distance)
        np.testing.assert_allclose(1000 * np.array(ends), theirs, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("basis", "words"),
    [
        ("validation", "of the validation split"),
        ("later validation", "later than what trained"),
        ("random folds", "though the split is by time"),
        ("spans of time", "folds being spans of time"),
        ("rolling origin", "by models of earlier ones"),
    ],
)
def test_notes_say_what_the_rows_are_and_the_file_keeps_it(basis, words, tmp_path):
    y, mean, *_ = rows(60)
    calibration = Calibration.fit(y, mean, KINDS, basis=basis)
    calibration.save(tmp_path / "c.npz")
    assert words in Calibration.load(tmp_path / "c.npz").notes(["a", "b"])[0]
