"""Against the density of the rows themselves, [N, N] covariance and all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import FloatArray
from rt_ridge import RTRidgeError, SufficientStatistics, collapsed_log_likelihood
from rt_ridge.statistics import _ridge as solve
from rt_ridge.statistics._ridge import batched_ridge
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge

pytestmark = pytest.mark.core


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


def dense(
    x: FloatArray, y: FloatArray, *, lam: FloatArray, sigma2: float, m: FloatArray, **b: float
) -> float:
    """Log density of y ~ N(b + x·m, σ²(I + xΛ⁻¹xᵀ) + sd² 11ᵀ); flat: ∫ db by completing squares."""
    n = len(y)
    cov = sigma2 * (np.eye(n) + (x / lam) @ x.T)
    residual = y - x @ m - b.get("mean", 0.0)
    if b:
        cov += b["sd"] ** 2
        return float(multivariate_normal(cov=cov).logpdf(residual))
    ones = np.linalg.solve(cov, np.ones(n))
    precision = ones.sum()
    best = residual - (ones @ residual) / precision
    quadratic = best @ np.linalg.solve(cov, best)
    log_det = np.linalg.slogdet(cov)[1]
    return float(-((n - 1) * np.log(2 * np.pi) + log_det + np.log(precision) + quadratic) / 2)


def by_pair(frame: pl.DataFrame) -> list[tuple[FloatArray, FloatArray]]:
    parts = frame.sort("species", "comp_id").partition_by("species", "comp_id")
    return [(p.select(COVARIATES).to_numpy(), p["rt"].to_numpy()) for p in parts]


@given(
    seed=st.integers(0, 2**32 - 1),
    intercept=st.sampled_from(["flat", "explicit", "marginal"]),
    log_lambda=st.floats(-3, 3),
    with_mean=st.booleans(),
)
def test_it_is_the_density_of_the_rows(
    make_table: Callable[..., pl.DataFrame],
    seed: int,
    intercept: str,
    log_lambda: float,
    with_mean: bool,
) -> None:
    frame = make_table(seed, n_rows=40)
    stats, rows = summarise(frame), by_pair(frame)
    rng = np.random.default_rng(seed)
    lam = 10**log_lambda * rng.uniform(0.5, 2, size=(stats.G, 2))
    sigma2 = rng.uniform(0.05, 2.0, stats.G)
    m = rng.normal(size=(stats.G, 2)) * with_mean
    mean, sd = rng.normal(size=stats.G), rng.uniform(0.1, 2.0, stats.G)
    keywords: dict[str, dict[str, Any]] = {
        "flat": {},
        "explicit": {"intercept_mean": mean},
        "marginal": {"intercept_mean": mean, "intercept_sd": sd},
    }
    ours = collapsed_log_likelihood(
        stats,
        lambda_slopes=lam,
        sigma2=sigma2,
        intercept=intercept,  # type: ignore[arg-type]
        slope_mean=m if with_mean else None,
        **keywords[intercept],
    )
    assert ours.dtype == np.float64
    sd = sd * (intercept == "marginal")
    for k, (x, y) in enumerate(rows):
        b = {} if intercept == "flat" else {"mean": mean[k], "sd": sd[k]}
        theirs = dense(x, y, lam=lam[k], sigma2=sigma2[k], m=m[k], **b)
        # Relative to the terms that the log density is a difference of, not to what is left.
        assert ours[k] == pytest.approx(theirs, rel=1e-10, abs=1e-10 * max(1.0, len(y)))


def test_flat_is_the_limit_of_ever_wider_intercepts(
    make_table: Callable[..., pl.DataFrame],
) -> None:
    stats = summarise(make_table(1))
    known: dict[str, Any] = {"lambda_slopes": 2.0, "sigma2": 0.3}
    sd = 1e5
    wide = collapsed_log_likelihood(stats, intercept="marginal", intercept_sd=sd, **known)
    flat = collapsed_log_likelihood(stats, **known)
    # The normal's own density 1/(sd √2π) is what the flat intercept leaves out; the rest of the
    # difference is of order (y/sd)², 1e-9.
    np.testing.assert_allclose(wide + np.log(sd * np.sqrt(2 * np.pi)), flat, atol=1e-8)


def test_every_legal_table_has_a_likelihood(legal_table: pl.DataFrame) -> None:
    """Collinear, constant, far from zero: dense algebra keeps six digits at an offset of 1e6."""
    stats = summarise(legal_table)
    y = stats.mean_y
    kinds: list[dict[str, Any]] = [
        {},
        {"intercept": "explicit", "intercept_mean": y},
        {"intercept": "marginal", "intercept_mean": y, "intercept_sd": 1.0},
    ]
    rows = by_pair(legal_table.cast(pl.String).cast(pl.Float64))
    for kind in kinds:
        ours = collapsed_log_likelihood(stats, lambda_slopes=[0.5, 2.0], sigma2=0.2, **kind)
        for k, (x, rt) in enumerate(rows):
            b = {"mean": y[k], "sd": kind.get("intercept_sd", 0.0)} if kind else {}
            theirs = dense(x, rt, lam=np.array([0.5, 2.0]), sigma2=0.2, m=np.zeros(2), **b)
            assert ours[k] == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def test_no_covariate_is_the_normal_of_the_mean() -> None:
    frame = pl.DataFrame({"species": [0, 0], "comp_id": [0, 0], "rt": [1.0, 3.0]})
    stats = SufficientStatistics.from_frame(frame, covariates=[], parent=None)
    ours = collapsed_log_likelihood(
        stats, lambda_slopes=1.0, sigma2=4.0, intercept="explicit", intercept_mean=2.0
    )
    # Two draws half a standard deviation out: log φ(1/2) - log 2, twice.
    assert ours[0] == pytest.approx(2 * (-np.log(2 * np.pi) / 2 - 1 / 8 - np.log(2)), rel=1e-14)


@pytest.mark.parametrize(
    ("keywords", "phrase"),
    [
        ({"lambda_slopes": 0.0}, "lambda_slopes: expected more than 0; found 0.0"),
        ({"lambda_slopes": [1.0, 2.0, 3.0]}, "lambda_slopes: expected a number or an array"),
        ({"sigma2": -1.0}, "sigma2: expected more than 0; found -1.0"),
        ({"sigma2": np.inf}, "sigma2: expected finite"),
        ({"intercept": "flatt"}, "Did you mean 'flat'?"),
        ({"intercept": "explicit"}, "intercept_mean: expected a value"),
        ({"intercept": "marginal"}, "intercept_sd: expected a value"),
        ({"intercept": "marginal", "intercept_sd": -1.0}, "intercept_sd: expected at least 0"),
        ({"intercept_mean": 1.0}, "intercept_mean: expected none with intercept 'flat'"),
    ],
)
def test_wrong_parameters_are_named(
    make_table: Callable[..., pl.DataFrame], keywords: dict[str, Any], phrase: str
) -> None:
    stats = summarise(make_table(0))
    with pytest.raises(RTRidgeError) as caught:
        collapsed_log_likelihood(stats, **{"lambda_slopes": 1.0, "sigma2": 1.0, **keywords})
    assert phrase in str(caught.value)
