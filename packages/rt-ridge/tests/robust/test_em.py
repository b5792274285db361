"""Fits with heavy-tailed errors: what a peak that is off does, limits, and independent samplers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rt_ridge import (
    AutoRidge,
    GroupwiseLasso,
    GroupwiseRidge,
    PartialPoolingRidge,
    RidgeConfig,
    RTRidgeError,
    Stage1CoeffSummaries,
    SufficientStatistics,
    SupercategoryRidge,
    reweighted,
)
from rt_ridge._estimators import to_rows, to_statistics
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.robust import _em
from rt_ridge.robust._weights import weighed
from scipy.stats import multivariate_normal

Floats = npt.NDArray[np.float64]
ESTIMATORS: tuple[Any, ...] = (
    PartialPoolingRidge(standardise=True, lambda_slopes="estimate"),
    PartialPoolingRidge(sigma="group"),
    PartialPoolingRidge(method="reml", intercept_prior="comp_hier_supercat"),
    SupercategoryRidge(),
    GroupwiseRidge(0.1),
    GroupwiseLasso(1e-4),
)


def table() -> dict[str, Any]:
    """Return 240 rows of 3 species and 8 compounds with σ = .069."""
    rng = np.random.default_rng(0)
    ids = np.stack([np.repeat(np.arange(3), 80), np.tile(np.arange(8), 30)], axis=1)
    ids = np.column_stack([ids, np.zeros(240, dtype=np.int64)])
    X = rng.normal(size=(240, 1))
    y = 5 + ids[:, 1] + 0.02 * X[:, 0] + 0.069 * rng.normal(size=240)
    return {"X": X, "y": y, "groups": ids}


def misidentified() -> dict[str, Any]:
    """Return the same with one time of 0."""
    rows = table()
    rows["y"][100] = 0.0
    return rows


def sigma(model: Any) -> float:
    return float(model.scales_["sigma"]["mean"])


@pytest.mark.parametrize(
    "robust",
    [{"likelihood": "student_t"}, {"likelihood": "contaminated"}, {"leave_out": 6.0}],
    ids=lambda keys: "-".join(map(str, keys.values())),
)
def test_one_peak_that_is_off_does_not_widen_the_noise(robust):
    assert sigma(PartialPoolingRidge().fit(**misidentified())) > 0.4
    model = PartialPoolingRidge(**robust).fit(**misidentified())
    # Of a t, σ is less than the standard deviation.
    assert 0.05 < sigma(model) < 0.075
    found = model.predict_levels(np.zeros((1, 1)), [[1, 4, 0]])
    assert found.mean[0] == pytest.approx(9.0, abs=0.05)
    assert found.half_width(0.95)[0] < 0.2


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: f"{type(e).__name__}-{e.group_col}")
def test_with_many_degrees_of_freedom_it_is_the_normal_model(estimator):
    plain = estimator.fit(**table()).summaries_
    likelihood = estimator.log_likelihood_
    heavy = estimator.set_params(likelihood="student_t", nu=1e13).fit(**table())
    np.testing.assert_allclose(heavy.summaries_.mean, plain.mean, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(heavy.summaries_.cov, plain.cov, rtol=1e-6, atol=1e-10)
    # A search that does not go to the mode itself stops within 1e-6 of it.
    rel = 1e-8 if estimator.get_params().get("standardise", False) else 1e-6
    assert heavy.summaries_.sigma2_mean == pytest.approx(plain.sigma2_mean, rel=rel)
    assert heavy.log_likelihood_ == pytest.approx(likelihood, abs=1e-6)
    estimator.set_params(likelihood="gaussian", nu=None)


def test_the_likelihood_of_weighted_rows_is_that_of_dense_algebra():
    rows = table()
    model = PartialPoolingRidge(likelihood="student_t", location_sd=50.0, lambda_slopes=0.3)
    fitted = model.fit(**rows)
    stats, u = weighted(fitted, rows)
    point = np.array([0.2, 0.3, 0.5])
    hierarchy = Hierarchy(stats, model.ridge_config())
    value = hierarchy.log_likelihood(point)[0] + np.log(u).sum() / 2
    s, tau_pair, tau_compound = point
    X = rows["X"] - fitted.summaries_.features.center
    pair = rows["groups"][:, 0] * 8 + rows["groups"][:, 1]
    same = (pair[:, None] == pair).astype(float)
    of_compound = (rows["groups"][:, 1, None] == rows["groups"][:, 1]).astype(float)
    V = np.diag(s**2 / u) + same * (tau_pair**2 + s**2 / 0.3 * (X @ X.T))
    V += of_compound * tau_compound**2 + 50.0**2
    expected = multivariate_normal(np.zeros(240), V).logpdf(rows["y"])
    assert value == pytest.approx(expected, rel=1e-9)


def weighted(model: Any, rows: dict[str, Any]) -> tuple[SufficientStatistics, Floats]:
    """Return the sums of rows weighted by a fit, and the weights [N]."""
    given = (rows["X"], rows["y"], rows["groups"])
    stored = to_rows(*given)
    part = next(iter(stored))
    z = model.summaries_.features.transform(part.covariates)
    u = np.empty(len(z))
    order = np.argsort(rows["groups"][:, 0] * 2**32 + rows["groups"][:, 1], kind="stable")
    u[order] = weighed(part, z, model.summaries_).weight.ravel()
    plain = to_statistics(*given, ["x0"], "species", "global")[0]
    return reweighted(plain, stored, model.summaries_).statistics(), u


def test_the_bound_of_the_likelihood_never_falls(monkeypatch):
    found = []
    monkeypatch.setattr(_em, "SETTLED", 0.0)
    for passes in (1, 2, 3, 5):
        monkeypatch.setattr(_em, "MOST_PASSES", passes)
        model = PartialPoolingRidge(likelihood="student_t", nu=4.0, method="reml")
        found.append(model.fit(**misidentified()).log_likelihood_)
    assert (np.diff(found[1:]) > -1e-5).all()
    assert found[-1] > found[0]


def test_means_and_spreads_are_those_of_gibbs_sampling():
    rng = np.random.default_rng(3)
    nu, s, pairs = 4.0, 0.1, np.repeat(np.arange(3), 16)
    X = rng.normal(size=(48, 1))
    y = 5 + pairs + 0.2 * X[:, 0] + s * rng.standard_t(nu, size=48)
    y[5] -= 1.0
    ids = np.stack([np.zeros(48, dtype=np.int64), pairs], axis=1)
    model = PartialPoolingRidge(
        intercept_prior="flat", sigma_fixed=s, likelihood="student_t", nu=nu, feature_center="none"
    )
    found = model.fit(X, y, ids).summaries_
    for k in range(3):
        of = pairs == k
        mean, cov = gibbs(X[of, 0], y[of], (nu, s), rng)
        # The posterior of lines and precisions is taken for a product: a twentieth of a sd.
        np.testing.assert_allclose((found.mean[k] - mean) / np.sqrt(np.diag(cov)), 0, atol=0.08)
        ratio = np.sqrt(np.diag(found.cov[k]) / np.diag(cov))
        np.testing.assert_allclose(ratio, 1, atol=0.12)


def gibbs(x: Floats, y: Floats, known: tuple[float, float], rng: Any) -> tuple[Floats, Floats]:
    """Return mean and covariance of [b, w] of y ~ t(b + x w) with w ~ N(0, σ²) by sampling."""
    nu, s = known
    design = np.column_stack([np.ones_like(x), x])
    u, draws = np.ones((1, len(y))), []
    for _ in range(60):
        # A hundred chains side by side.
        u = np.broadcast_to(u, (100, len(y)))
        precision = np.einsum("cn,ni,nj->cij", u, design, design) / s**2
        precision[:, 1, 1] += 1 / s**2
        root = np.linalg.cholesky(np.linalg.inv(precision))
        linear = (u * y) @ design / s**2
        line = np.linalg.solve(precision, linear[..., None])[..., 0]
        line = line + np.einsum("cij,cj->ci", root, rng.normal(size=(100, 2)))
        z2 = ((y - line @ design.T) / s) ** 2
        u = rng.gamma((nu + 1) / 2, 2 / (nu + z2))
        draws.append(line)
    kept = np.concatenate(draws[15:])
    return kept.mean(axis=0), np.cov(kept, rowvar=False)


def test_units_and_order_do_not_matter_to_a_chosen_structure():
    rows = misidentified()
    runs = np.arange(240) // 24

    def bounds(X: Any, y: Any, order: Any = slice(None)) -> Floats:
        model = AutoRidge(likelihood="student_t")
        model.fit(X[order], y[order], rows["groups"][order], runs=runs[order])
        found = model.predict_levels(X[:3], rows["groups"][:3])
        half = found.half_width(0.95)
        return np.stack([found.mean, found.mean - half, found.mean + half])

    reference = bounds(rows["X"], rows["y"])
    shuffled = np.random.default_rng(0).permutation(240)
    other = bounds(1e6 * rows["X"], 60 * rows["y"], shuffled) / 60
    np.testing.assert_allclose(other, reference, rtol=1e-8)


def test_the_artefact_keeps_the_distribution_of_errors(tmp_path):
    model = PartialPoolingRidge(likelihood="student_t", leave_out=8.0).fit(**misidentified())
    model.summaries_.save(tmp_path / "c.npz")
    read = Stage1CoeffSummaries.load(tmp_path / "c.npz")
    assert (read.tails, read.leave_out) == (model.summaries_.tails, 8.0)
    rows = table()
    predicted = read.predict(rows["X"][:5], *rows["groups"][:5, :2].T)
    expected = model.predict_levels(rows["X"][:5], rows["groups"][:5])
    np.testing.assert_array_equal(predicted.half_width(0.9), expected.half_width(0.9))
    np.testing.assert_array_equal(predicted.take(np.arange(2)).half_width(0.9),
                                  expected.half_width(0.9)[:2])  # fmt: skip


@pytest.mark.parametrize(
    ("arrays", "message"),
    [({"likelihood": "cauchy"}, "likelihood: unknown 'cauchy'"),
     ({"nu": np.array(1.0)}, "expected nu > 2")],
)  # fmt: skip
def test_an_artefact_with_impossible_errors_is_refused(arrays, message, tmp_path):
    model = PartialPoolingRidge(likelihood="student_t", nu=4.0).fit(**table())
    model.summaries_.save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as stored:
        changed = {**stored, **arrays}
    np.savez(tmp_path / "d.npz", **changed)
    with pytest.raises(RTRidgeError, match=message):
        Stage1CoeffSummaries.load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"likelihood": "student_t", "method": "nuts"}, "expected method map, ml or reml"),
        ({"nu": 4.0}, "nu: expected likelihood student_t"),
    ],
)
def test_what_does_not_go_together_is_said(keys, message):
    with pytest.raises(ValueError, match=message):
        RidgeConfig(**keys)


def test_statistics_alone_cannot_be_weighted():
    rows = table()
    stats = to_statistics(rows["X"], rows["y"], rows["groups"], ["x0"], "species", "global")[0]
    with pytest.raises(RTRidgeError, match="expected rows, or statistics and `rows`"):
        PartialPoolingRidge(likelihood="student_t").fit(stats)
