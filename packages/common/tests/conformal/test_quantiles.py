"""Weighted quantiles and the jackknife+ against loops and MAPIE."""

import numpy as np
import pytest
from mapie.regression import CrossConformalRegressor
from molpool_common import InputError, jackknife_plus, weighted_quantile
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold


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


def test_cross_validation_plus_equals_mapie():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(83, 3))
    y = x @ [1.0, -2.0, 0.5] + rng.standard_t(3, size=83)
    new = rng.normal(size=(40, 3))
    folds = KFold(5)
    peer = CrossConformalRegressor(Ridge(), confidence_level=0.9, method="plus", cv=folds)
    _, theirs = peer.fit_conformalize(x, y).predict_interval(new)
    unseen = np.zeros((83, 5), dtype=bool)
    predictions = np.empty((40, 5))
    residuals = np.empty(83)
    for k, (train, test) in enumerate(folds.split(x)):
        model = Ridge().fit(x[train], y[train])
        predictions[:, k] = model.predict(new)
        residuals[test] = np.abs(y[test] - model.predict(x[test]))
        unseen[test, k] = True
    lower, upper = jackknife_plus(residuals, predictions, unseen, 0.9)
    np.testing.assert_allclose(lower, theirs[:, 0, 0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(upper, theirs[:, 1, 0], rtol=0, atol=1e-12)


def test_after_bootstrap_a_row_is_judged_by_the_mean_of_models_that_have_not_seen_it():
    rng = np.random.default_rng(4)
    residuals, predictions = rng.exponential(size=30), rng.normal(size=(7, 9))
    unseen = rng.uniform(size=(30, 9)) < 0.4
    unseen[:, 0] = True
    lower, upper = jackknife_plus(residuals, predictions, unseen, 0.8)
    for j in range(7):
        means = np.array([predictions[j, unseen[i]].mean() for i in range(30)])
        # ceil(31 * 0.8) = 25, floor(31 * 0.2) = 6.
        assert upper[j] == pytest.approx(np.sort(means + residuals)[24], rel=1e-14)
        assert lower[j] == pytest.approx(np.sort(means - residuals)[5], rel=1e-14)


def test_too_few_rows_and_rows_seen_by_all_models():
    wide = jackknife_plus(np.ones(5), np.zeros((2, 1)), np.ones((5, 1), dtype=bool), 0.9)
    assert np.isinf(wide).all()
    with pytest.raises(InputError, match="none for row 1"):
        jackknife_plus(np.ones(2), np.zeros((1, 1)), np.array([[True], [False]]), 0.5)
