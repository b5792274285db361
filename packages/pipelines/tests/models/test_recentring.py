"""What newly measured molecules say of a series, against simulation and a dense posterior."""

from dataclasses import replace

import numpy as np
import pytest
from molpool_pipelines.models import Calibration
from molpool_pipelines.models._recentring import BiasPrior, Recentring


def series(rng, n_series=300, rows=8, between=0.5, within=0.3):
    bias = rng.normal(scale=between, size=n_series)
    which = np.repeat(np.arange(n_series), rows)
    return bias[which] + rng.normal(scale=within, size=len(which)), which.astype(str).tolist()


def test_the_variances_of_a_simulation_come_back():
    residuals, which = series(np.random.default_rng(0))
    prior = BiasPrior.fit(np.stack([residuals, np.full(len(residuals), np.nan)], axis=1), which)
    # 300 series: the standard error of their variance is 8 %; of 2 100 residuals it is 3 %.
    assert prior.between[0] == pytest.approx(0.25, rel=0.25)
    assert prior.within[0] == pytest.approx(0.09, rel=0.1)
    assert np.isnan(prior.between[1])
    alone = BiasPrior.fit(residuals[:9, None], [str(i) for i in range(9)])
    assert alone.within[0] == pytest.approx(residuals[:9].var(ddof=1))


def test_few_labels_are_shrunk_as_the_posterior_of_a_normal_mean():
    prior = BiasPrior(np.array([0.25]), np.array([0.09]))
    new = np.array([[0.8], [0.4]])
    learnt = Recentring.learn(new, prior)
    # The noise with 20 prior rows; then Gaussian algebra with the dense covariance of the labels.
    noise = (20 * 0.09 + 2 * 0.2**2) / 21
    # The variance of 20 prior series and this one, whose mean is .6.
    spread = (20 * 0.25 + 0.6**2 - noise / 2) / 21
    covariance = np.full((2, 2), spread) + noise * np.eye(2)
    gain = np.full(2, spread) @ np.linalg.inv(covariance)
    assert learnt.shift[0] == pytest.approx(gain @ new[:, 0], rel=1e-12)
    assert learnt.factor[0] == 1, "what is left to doubt is less, and no interval is narrower"
    wild = Recentring.learn(np.array([[4.0], [-4.0]]), prior)
    noise = (20 * 0.09 + 2 * 16) / 21
    spread = 20 * 0.25 / 21
    left = noise + spread * noise / (2 * spread + noise)
    assert wild.factor[0] == pytest.approx(np.sqrt(left / 0.34), rel=1e-12)


def test_no_label_changes_nothing_and_many_decide():
    prior = BiasPrior(np.array([0.25, 0.25, np.nan]), np.array([0.09, 0.09, np.nan]))
    new = np.full((500, 3), np.nan)
    new[:, 1] = 1.0
    new[0, 2] = 1.0
    learnt = Recentring.learn(new, prior)
    assert learnt.shift[[0, 2]].tolist() == [0, 0]
    assert learnt.factor[[0, 2]].tolist() == [1, 1]
    assert learnt.shift[1] == pytest.approx(1, abs=0.01)
    assert learnt.n.tolist() == [0, 500, 1]


def test_predictions_and_intervals_move_and_still_cover(tmp_path):
    rng = np.random.default_rng(1)
    residuals, which = series(rng)
    mean = rng.normal(size=(len(residuals), 1))
    fitted = Calibration.fit(mean + residuals[:, None], mean, ("regression",), series=which)
    fitted.save(tmp_path / "c.npz")
    calibration = Calibration.load(tmp_path / "c.npz")
    assert calibration.prior is not None
    inside, before, after = [], [], []
    for _ in range(200):
        own, _ = series(rng, n_series=1, rows=30)
        learnt = Recentring.learn(own[:10, None], calibration.prior)
        moved = replace(calibration, recentring=learnt)
        new = np.zeros((20, 1))
        lower, upper = moved.ends(new, 0.9)
        inside.append(((lower[:, 0] <= own[10:]) & (own[10:] <= upper[:, 0])).mean())
        before.append(np.abs(own[10:]).mean())
        after.append(np.abs(own[10:] - moved.probabilities(new)[:, 0]).mean())
    # 200 series of 20 rows: the standard error of the share is about .008.
    assert np.mean(inside) > 0.9
    assert np.mean(after) < 0.7 * np.mean(before)
