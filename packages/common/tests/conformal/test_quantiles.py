"""Weighted quantiles against loops."""

import numpy as np
from molpool_common import weighted_quantile


def test_equal_weights_are_the_plain_quantile():
    scores = np.random.default_rng(0).exponential(size=79)
    found = weighted_quantile(scores, np.full(79, 0.7), np.full(3, 0.7), 0.8)
    assert (found == np.sort(scores)[63]).all()  # ceil(80 * 0.8) = 64


def test_weighted_quantile_is_the_smallest_score_that_holds_the_mass():
    rng = np.random.default_rng(1)
    scores, weights = rng.exponential(size=(2, 30))
    new = rng.exponential(size=8)
    found = weighted_quantile(scores, weights, new, 0.75)
    for w, value in zip(new, found, strict=True):
        total = weights.sum() + w
        enough = [s for s in np.sort(scores) if weights[scores <= s].sum() / total >= 0.75]
        assert value == (enough[0] if enough else np.inf)


def test_a_new_row_that_outweighs_the_calibration_has_no_finite_interval():
    assert np.isinf(weighted_quantile(np.ones(5), np.ones(5), np.array([100.0]), 0.9)).all()


def test_weights_restore_coverage_under_shift():
    rng = np.random.default_rng(2)
    # Errors grow with x; calibration x is uniform, new x has density 2x.
    inside = []
    for _ in range(300):
        x, new = rng.uniform(size=400), np.sqrt(rng.uniform(size=50))
        scores, truth = np.abs(rng.normal(scale=x**2)), np.abs(rng.normal(scale=new**2))
        inside.append((truth <= weighted_quantile(scores, 2 * x, 2 * new, 0.9)).mean())
    # Standard error over draws is about .0025; without weights coverage is .83.
    assert abs(np.mean(inside) - 0.9) < 0.01
