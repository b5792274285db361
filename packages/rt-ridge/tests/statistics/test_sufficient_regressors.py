from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from rt_ridge._errors import RTRidgeError
from rt_ridge.statistics._sufficient import SufficientStatistics, fit_features, regressor_statistics

X = ["a", "b", "c"]


def rows(offset: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3)) + offset
    ids = {"species": rng.integers(0, 3, 60), "comp_id": rng.integers(0, 4, 60)}
    return pl.DataFrame({**ids, **dict(zip(X, x.T, strict=True)), "rt": rng.normal(size=60)})


def summed(frame: pl.DataFrame, covariates: Any) -> SufficientStatistics:
    return SufficientStatistics.from_frame(frame, parent=None, covariates=covariates)


def test_the_map_is_fitted_to_all_rows() -> None:
    frame = rows(5.0)
    features = fit_features(summed(frame, X), rotation="pca")
    z = features.transform(frame)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-13)
    spread = np.cov(z.T)
    np.testing.assert_allclose(spread, np.diag(np.diag(spread)), atol=1e-12)
    assert (np.diff(np.diag(spread)) <= 0).all()


@pytest.mark.parametrize("rotation", ["none", "pca"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_statistics_turn_as_their_rows_do(rotation: Any, offset: float) -> None:
    frame = rows(offset)
    stats = summed(frame, X)
    features = fit_features(stats, rotation=rotation)
    ours = regressor_statistics(stats, features)
    theirs = SufficientStatistics.from_frame(frame, parent=None, covariates=X, features=features)
    # The centred rows themselves carry the rounding of the offset, 1e6 ulp.
    tolerance = 1e-12 * (1 + offset)
    for name in ("mean_x", "mean_y", "sxx", "sxy", "syy"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance)
    assert ours.covariates == theirs.covariates == features.regressors


def test_statistics_cannot_be_squared() -> None:
    stats = summed(rows(), X)
    with pytest.raises(RTRidgeError, match="anchor_expansion: expected none"):
        regressor_statistics(stats, fit_features(stats, expansion="poly2"))
    with pytest.raises(RTRidgeError, match=r"covariates: expected .* found \['a'\]"):
        regressor_statistics(summed(rows(), ["a"]), fit_features(stats))
