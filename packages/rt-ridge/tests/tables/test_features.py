from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_ridge.tables._features import FeatureMap, pooled_moments
from sklearn.decomposition import PCA

NAMES = ("a", "b", "c")


def table(seed: int, n: int = 30) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) @ rng.normal(size=(3, 3)) + rng.normal(size=3)


def fitted(x: Any, **options: Any) -> FeatureMap:
    return FeatureMap.fit(NAMES, x.mean(axis=0), (x.shape[0] - 1) * np.cov(x.T), **options)


@settings(deadline=None)
@given(seed=st.integers(0, 10**6))
def test_principal_axes_are_those_of_sklearn(seed: int) -> None:
    x = table(seed)
    found = fitted(x, rotation="pca").transform(x)
    peer = PCA().fit_transform(x)
    signs = np.sign((found * peer).sum(axis=0))
    np.testing.assert_allclose(found, peer * signs, atol=1e-6 * np.abs(x).max())


def test_the_sign_of_an_axis_does_not_depend_on_the_solver() -> None:
    rotation = fitted(table(0), rotation="pca").rotation
    assert rotation is not None
    assert (rotation[np.abs(rotation).argmax(axis=0), range(3)] > 0).all()


def test_regressors_vanish_at_the_centre() -> None:
    x = table(1)
    features = fitted(x, rotation="pca", expansion="poly2")
    assert features.regressors == ("pc1", "pc2", "pc3", "pc1^2", "pc2^2", "pc3^2")
    assert features.n_coefficients == 7
    design = features.design(x.mean(axis=0)[None])
    assert design.tolist() == [[1.0] + [0.0] * 6]


def test_squares_are_of_the_centred_covariates() -> None:
    x = table(2)
    features = fitted(x, expansion="poly2")
    z = x - x.mean(axis=0)
    np.testing.assert_array_equal(features.transform(x), np.hstack([z, z**2]))
    assert features.regressors == ("a", "b", "c", "a^2", "b^2", "c^2")


def test_without_any_option_covariates_stay() -> None:
    x = table(3)
    np.testing.assert_array_equal(FeatureMap.plain(NAMES).transform(x), x)
    np.testing.assert_array_equal(fitted(x, center="none").transform(x), x)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(1, 29), max_size=4, unique=True), seed=st.integers(0, 10**6))
def test_pooled_moments_are_those_of_all_rows(cuts: list[int], seed: int) -> None:
    x = table(seed)
    parts = np.split(x, sorted(cuts))
    n = np.array([len(part) for part in parts])
    sxx = np.stack([(p - p.mean(axis=0)).T @ (p - p.mean(axis=0)) for p in parts])
    mean, scatter = pooled_moments(n, np.stack([p.mean(axis=0) for p in parts]), sxx)
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(scatter, 29 * np.cov(x.T), rtol=1e-9, atol=1e-9)


def test_a_map_of_no_covariate_leaves_the_intercept() -> None:
    features = FeatureMap.plain(())
    assert features.design(np.zeros((2, 0))).tolist() == [[1.0], [1.0]]
    with pytest.raises(ValueError, match=r"expected \[N, 0\]"):
        features.design(np.zeros((2, 1)))
