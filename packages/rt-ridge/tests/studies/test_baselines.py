from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge._errors import RTRidgeError
from rt_ridge.studies._baselines import GroupwiseLasso, GroupwiseRidge, groupwise_lasso
from sklearn.linear_model import BayesianRidge, Lasso, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

SIZES = (1, 2, 3, 7, 30)  # The first three have fewer rows than covariates.


def table(seed: int = 0, offset: float = 0.0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    compound = np.repeat(np.arange(len(SIZES)), SIZES)
    groups = np.stack([compound % 2, compound], axis=1)
    X = rng.normal(size=(len(compound), 4)) + 3
    X[:, 3] = X[:, 2] + 1e-3 * rng.normal(size=len(X))  # Nearly collinear.
    y = offset + compound + X @ rng.normal(size=4) + rng.normal(size=len(X))
    order = rng.permutation(len(X))
    return X[order], y[order], groups[order]


@pytest.mark.parametrize("center", ["global", "none"])
@pytest.mark.parametrize("alpha", [1e-2, 1.0, 50.0])
def test_ridge_is_sklearn_pair_by_pair(alpha: float, center: Any) -> None:
    X, y, groups = table()
    model = GroupwiseRidge(alpha, feature_center=center).fit(X, y, groups)
    summaries = model.summaries_
    for k, c in enumerate(summaries.keys & 0xFFFFFFFF):
        rows = groups[:, 1] == c
        peer = Ridge(alpha).fit(X[rows], y[rows])
        np.testing.assert_allclose(summaries.mean[k, 1:], peer.coef_, rtol=0, atol=1e-8)
        at_center = peer.predict(summaries.feature_center[None])
        np.testing.assert_allclose(summaries.mean[k, :1], at_center, rtol=0, atol=1e-8)
        np.testing.assert_allclose(
            model.predict(X[rows], groups[rows]), peer.predict(X[rows]), rtol=0, atol=1e-8
        )


def test_intervals_are_those_of_dense_algebra() -> None:
    X, y, groups = table(3)
    model = GroupwiseRidge(2.0).fit(X, y, groups)
    sigma2 = model.summaries_.sigma2_mean
    rows = groups[:, 1] == 3
    (k,) = np.flatnonzero(model.summaries_.keys & 0xFFFFFFFF == 3)
    z = X[rows] - X.mean(axis=0)
    design = np.concatenate([np.ones((len(z), 1)), z], axis=1)
    precision = design.T @ design + np.diag([0, 2.0, 2, 2, 2])
    np.testing.assert_allclose(
        model.summaries_.cov[k], sigma2 * np.linalg.inv(precision), rtol=1e-7, atol=1e-10
    )


def test_noise_is_that_of_bayesian_ridge_at_its_own_penalty() -> None:
    # One pair: σ² given λ/σ² maximises the same evidence, up to the intercept's one degree.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    y = X @ [1.0, -2, 0.5] + rng.normal(scale=0.3, size=400)
    peer = BayesianRidge(alpha_1=0, alpha_2=0, lambda_1=0, lambda_2=0, tol=1e-10).fit(X, y)
    ours = GroupwiseRidge(peer.lambda_ / peer.alpha_).fit(X, y, np.zeros((400, 2), dtype=int))
    assert ours.summaries_.sigma2_mean * 399 / 400 == pytest.approx(1 / peer.alpha_, rel=1e-4)


@pytest.mark.parametrize("alpha", [1e-2, 0.3, 100.0])
def test_lasso_is_sklearn_pair_by_pair(alpha: float) -> None:
    X, y, groups = table(1)
    model = GroupwiseLasso(alpha).fit(X, y, groups)
    for k, c in enumerate(model.summaries_.keys & 0xFFFFFFFF):
        rows = groups[:, 1] == c
        peer = Lasso(alpha, tol=1e-12, max_iter=10**6).fit(X[rows], y[rows])
        # Both stop near the optimum; covariates 2 and 3 are all but equal, so lines agree better
        # than slopes.
        np.testing.assert_allclose(
            model.predict(X[rows], groups[rows]), peer.predict(X[rows]), rtol=0, atol=1e-6
        )
        assert ((model.summaries_.mean[k, 1:3] == 0) == (peer.coef_[:2] == 0)).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), share=st.floats(0.01, 1.2))
def test_lasso_meets_its_optimality_conditions(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 12, 4))
    x[0, :, 2] = 0  # A constant covariate.
    y = rng.normal(size=(3, 12))
    sxx, sxy = np.einsum("gnp,gnq->gpq", x, x), np.einsum("gnp,gn->gp", x, y)
    penalty = share * np.abs(sxy).max(axis=1)
    w = groupwise_lasso(sxx, sxy, penalty)
    gradient = sxy - np.einsum("gpq,gq->gp", sxx, w)
    # |gradient| <= penalty everywhere, equal to it with the slope's sign where that is not 0.
    assert (np.abs(gradient) <= penalty[:, None] * (1 + 1e-7)).all()
    active = w != 0
    expected = (np.sign(w) * penalty[:, None])[active]
    np.testing.assert_allclose(gradient[active], expected, rtol=1e-6)
    assert w[0, 2] == 0
    assert share < 1 or not w.any()


def test_lasso_says_when_it_is_not_done() -> None:
    sxx = np.array([[[1.0, 0.999], [0.999, 1.0]]])
    with pytest.warns(UserWarning, match="1 of 1 groups are not done after 0 sweeps"):
        groupwise_lasso(sxx, np.array([[1.0, 0.5]]), np.array([1e-9]), max_iter=0)


@pytest.mark.parametrize("make", [GroupwiseRidge, GroupwiseLasso])
def test_unseen_pairs_have_no_prediction(make: Any) -> None:
    X, y, groups = table()
    model = make().fit(X, y, groups)
    mean, std = model.predict(X[:2], [[0, 4], [1, 4]], return_std=True)
    assert np.isnan(mean).tolist() == np.isnan(std).tolist() == [False, True]


@pytest.mark.parametrize("make", [GroupwiseRidge, GroupwiseLasso])
def test_a_perfect_line_still_has_an_interval(make: Any) -> None:
    X = np.arange(6.0)[:, None]
    model = make(1e-9).fit(X, np.full(6, 2.0), np.zeros((6, 2), dtype=int))
    mean, std = model.predict(X, np.zeros((6, 2), dtype=int), return_std=True)
    np.testing.assert_allclose(mean, 2.0)
    assert (std > 0).all()


@pytest.mark.parametrize("make", [GroupwiseRidge, GroupwiseLasso])
@pytest.mark.parametrize("alpha", [0.0, -1.0, np.nan, np.inf])
def test_penalties_must_be_positive(make: Any, alpha: float) -> None:
    with pytest.raises(RTRidgeError, match="alpha: expected a number > 0"):
        make(alpha).fit(*table())


def test_one_row_a_pair_measures_no_noise() -> None:
    groups = np.stack([np.arange(4), np.arange(4)], axis=1)
    with pytest.raises(RTRidgeError, match="pairs of one row each, n_samples = 4"):
        GroupwiseRidge().fit(np.zeros((4, 1)), np.arange(4.0), groups)


@parametrize_with_checks([GroupwiseRidge(), GroupwiseLasso()])  # pyrefly: ignore[bad-argument-type, missing-argument]
def test_scikit_learns_contract_is_kept(estimator: Any, check: Any) -> None:
    check(estimator)
