"""Calibrated probabilities and class sets against loops, MAPIE and coverage."""

import numpy as np
import pytest
from mapie._venn_abers import VennAbers
from molpool_common import ClassCalibration, InputError
from sklearn.isotonic import IsotonicRegression


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=n)
    # The model is overconfident: the true probability is nearer to one half.
    return p, (rng.uniform(size=n) < 0.25 + 0.5 * p).astype(float)


@pytest.mark.core
@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("falling", [False, True])
def test_venn_abers_equals_isotonic_regression_with_the_new_row_in_it(digits, n, falling):
    p, y = drawn(n)
    p = (1 - p if falling else p).round(digits)
    new = np.array([0.0, 0.1, 0.33, 0.5, 1.0, *p[:5]])
    low, high = ClassCalibration.fit(y[:, None], p[:, None]).venn_abers(new[:, None])
    for i, score in enumerate(new):
        for label, found in ((0.0, low[i, 0]), (1.0, high[i, 0])):
            fitted = IsotonicRegression().fit(np.append(p, score), np.append(y, label))
            assert found == pytest.approx(fitted.predict([score])[0], abs=1e-12)


# MAPIE divides 0 by 0 where no row stands before the first.
@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_venn_abers_equals_mapie():
    p, y = drawn(150)
    new = np.random.default_rng(9).uniform(size=40)
    peer = VennAbers()
    peer.fit(np.stack([1 - p, p], axis=1), y)
    theirs, both = peer.predict_proba(np.stack([1 - new, new], axis=1))
    calibration = ClassCalibration.fit(y[:, None], p[:, None])
    low, high = calibration.venn_abers(new[:, None])
    np.testing.assert_allclose(np.stack([low[:, 0], high[:, 0]], axis=1), both, atol=1e-12)
    np.testing.assert_allclose(
        calibrated := calibration.calibrated(new[:, None])[:, 0], theirs[:, 1], atol=1e-12
    )
    assert ((calibrated >= 0) & (calibrated <= 1)).all()


def test_calibrated_probabilities_are_nearer_to_the_truth():
    p, y = drawn(2500)
    new, truth = drawn(4000, seed=1)
    calibrated = ClassCalibration.fit(y[:, None], p[:, None]).calibrated(new[:, None])[:, 0]
    assert np.mean((calibrated - truth) ** 2) < np.mean((new - truth) ** 2) - 0.01


def test_a_task_of_one_class_keeps_the_probabilities_of_the_model():
    p = np.array([[0.2], [0.7]])
    assert (ClassCalibration.fit(np.ones((2, 1)), p).calibrated(p) == p).all()


def test_sets_are_those_of_the_definition_for_each_class():
    p, y = drawn(50)
    new = np.random.default_rng(2).uniform(size=30)
    zero, one = ClassCalibration.fit(y[:, None], p[:, None]).sets(new[:, None], 0.9)
    for score, has_zero, has_one in zip(new, zero[:, 0], one[:, 0], strict=True):
        of_zero, of_one = p[y == 0], p[y == 1]
        assert has_zero == (((of_zero >= score).sum() + 1) / (len(of_zero) + 1) > 0.1)
        assert has_one == (((of_one <= score).sum() + 1) / (len(of_one) + 1) > 0.1)


def test_each_class_is_covered():
    covered = {0: [], 1: []}
    for seed in range(200):
        p, y = drawn(200, seed)
        new, truth = drawn(100, seed + 1000)
        sets = ClassCalibration.fit(y[:, None], p[:, None]).sets(new[:, None], 0.8)
        for label in (0, 1):
            covered[label].append(sets[label][truth == label, 0].mean())
    for shares in covered.values():
        assert 0.78 < np.mean(shares) < 0.83  # standard error .004; the definition gives .8 to .81


def test_few_rows_of_a_class_leave_it_in_every_set():
    p = np.array([[0.9], [0.8], [0.1]])
    zero, one = ClassCalibration.fit(np.array([[1.0], [1.0], [0.0]]), p).sets(p, 0.9)
    assert zero.all()
    assert one.all()


def test_arrays_hold_all_of_it_and_damage_is_refused(tmp_path):
    p, y = drawn(40)
    labels = np.stack([y, np.where(np.arange(40) < 30, np.nan, y)], axis=1)
    calibration = ClassCalibration.fit(labels, np.stack([p, p], axis=1))
    np.savez(tmp_path / "c.npz", **calibration.to_arrays())
    with np.load(tmp_path / "c.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    again = ClassCalibration.from_arrays(arrays)
    new = np.linspace(0, 1, 22).reshape(11, 2)
    np.testing.assert_array_equal(again.calibrated(new), calibration.calibrated(new))
    with pytest.raises(InputError, match="calibration"):
        ClassCalibration.from_arrays(arrays | {"classes": arrays["classes"][1:]})
    with pytest.raises(InputError, match="classes"):
        ClassCalibration.from_arrays({"lengths": arrays["lengths"]})
    with pytest.raises(InputError, match="0 and 1"):
        ClassCalibration.fit(np.full((2, 1), 2.0), np.zeros((2, 1)))
