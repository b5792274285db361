from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from rt_ridge import SufficientStatistics, solve
from rt_ridge.solve import batched_ridge
from sklearn.linear_model import Ridge

COVARIATES = ["is_1", "is_2"]


def summarise(frame: pl.DataFrame) -> SufficientStatistics:
    return SufficientStatistics.from_frame(frame, covariates=COVARIATES, threads=1)


def test_it_is_scikit_learns_ridge_of_each_pair(
    legal_table: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(solve, "_CHUNK_FLOATS", 16)
    stats = summarise(legal_table)
    ours = batched_ridge(stats, 0.7)
    parts = legal_table.cast(pl.String).cast(pl.Float64).sort("species", "comp_id")
    for k, part in enumerate(parts.partition_by("species", "comp_id")):
        x, y = part.select(COVARIATES).to_numpy(), part["rt"].to_numpy()
        # Its target is centred by scikit-learn at a cost in digits: 1e-10 at an offset of 1e6.
        peer = Ridge(alpha=0.7, solver="svd").fit(x, y - y.mean())
        np.testing.assert_allclose(ours.slopes[k], peer.coef_, rtol=1e-7, atol=1e-9)
        residual = y - y.mean() - peer.predict(x)
        penalised = residual @ residual + 0.7 * peer.coef_ @ peer.coef_
        np.testing.assert_allclose(ours.rss[k], penalised, rtol=1e-7, atol=1e-15)


def test_covariance_and_determinant_are_those_of_dense_algebra(
    make_table: Callable[..., pl.DataFrame],
) -> None:
    stats = summarise(make_table(0))
    rng = np.random.default_rng(0)
    lam = rng.uniform(0.1, 10, size=(stats.G, 2))
    m = rng.normal(size=2)
    ours = batched_ridge(stats, lam, slope_mean=m)
    for k in range(stats.G):
        A = stats.sxx[k] + np.diag(lam[k])
        inverse = np.linalg.inv(A)
        np.testing.assert_allclose(ours.covariance[k], inverse, rtol=1e-12)
        slopes = inverse @ (stats.sxy[k] + lam[k] * m)
        np.testing.assert_allclose(ours.slopes[k], slopes, rtol=1e-11)
        log_det = np.linalg.slogdet(A)[1] - np.log(lam[k]).sum()
        np.testing.assert_allclose(ours.log_det[k], log_det, rtol=1e-11)


def test_collinear_covariates_beyond_rounding_still_have_a_solution() -> None:
    """S_xx = 1e21 [[1, 1], [1, 1]] λ: Cholesky factors of it plus Λ do not exist in float64."""
    x = np.array([-1.0, 1.0]) * 1e8
    frame = pl.DataFrame(
        {"species": [0, 0], "comp_id": [0, 0], "is_1": x, "is_2": x, "rt": [-1.0, 1.0]}
    )
    stats = SufficientStatistics.from_frame(frame, covariates=COVARIATES, parent=None)
    ours = batched_ridge(stats, 1e-12)
    np.testing.assert_allclose(ours.slopes[0], [0.5e-8, 0.5e-8], rtol=1e-6)
    # Along (1, -1) the rows say nothing: 1/λ of variance remains.
    across = np.array([1, -1]) / np.sqrt(2)
    np.testing.assert_allclose(across @ ours.covariance[0] @ across, 1e12, rtol=1e-6)
