"""The methods that find scales: against published fits, dense quadrature and each other."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from molpool_common import FloatArray
from rt_ridge._config import RidgeConfig, SamplingConfig, ScalePrior, ScalePriors
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.hierarchy._linear_system import UnsolvableError
from rt_ridge.posterior._artefact import pair_coefficients
from rt_ridge.scales import _sampling, find_scales
from rt_ridge.scales._mode import Near, _beside, find_from, find_near, maximise, settled
from rt_ridge.scales._posterior import ScalePosterior, weighted_interval
from rt_ridge.scales._whitening import Whitening
from rt_ridge.statistics._sufficient import SufficientStatistics
from scipy.stats import kstest, norm

_NEAR = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
_FOLDER = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, _NEAR), ""))


def path_of(name: str) -> Path:
    path = _FOLDER / "rt" / name
    if not path.exists():
        pytest.skip(f"no rt/{name}: set MOLPOOL_DATA to the folder of the public tables")
    return path


def stats_of(y: Any, group: Any, compound: Any = None, x: Any = None) -> SufficientStatistics:
    """Statistics of one covariate or none; labels become numbers."""
    group = np.unique(np.asarray(group), return_inverse=True)[1]
    compound = (
        np.zeros_like(group)
        if compound is None
        else np.unique(np.asarray(compound), return_inverse=True)[1]
    )
    columns = {"species": group, "comp_id": compound, "rt": np.asarray(y, dtype=float)}
    if x is not None:
        columns["x"] = np.asarray(x, dtype=float)
    return SufficientStatistics.from_frame(
        pl.DataFrame(columns), parent=None, covariates=[] if x is None else ["x"]
    )


def table(name: str) -> pl.DataFrame:
    return pl.read_csv(path_of(f"classic/{name}.csv"))


def fit(stats: SufficientStatistics, **config: Any) -> ScalePosterior:
    return find_scales(Hierarchy(stats, RidgeConfig(**config)))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "scales"),
    [
        # lme4 1.1-31, Reaction ~ Days + (Days || Subject); also in Bates et al. 2015,
        # doi:10.18637/jss.v067.i01, whose REML criterion is 1743.669.
        ("ml", 1752.0033, (25.5561, 24.1714, 5.7994)),
        ("reml", 1743.6693, (25.5653, 25.0513, 5.9882)),
    ],
)
def test_sleepstudy_as_mixed_model_software_has_it(method, criterion, scales):
    data = table("sleepstudy")
    stats = stats_of(data["Reaction"], data["Subject"], x=data["Days"])
    found = fit(stats, method=method, slope_head_mode="global", lambda_slopes="estimate")
    assert -2 * found.log_likelihood == pytest.approx(criterion, abs=1e-4)
    assert found.names == ("sigma", "tau_pair", "tau_slope")
    np.testing.assert_allclose(found.mean, scales, rtol=1e-4)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "scales"),
    [
        # lme4 1.1-31, Yield ~ 1 + (1 | Batch).
        ("ml", 327.3271, (49.5101, 37.2603)),
        ("reml", 319.6543, (49.5101, 42.0006)),
    ],
)
def test_dyestuff_as_mixed_model_software_has_it(method, criterion, scales):
    data = table("Dyestuff")
    found = fit(stats_of(data["Yield"], data["Batch"]), method=method)
    assert -2 * found.log_likelihood == pytest.approx(criterion, abs=1e-4)
    np.testing.assert_allclose(found.mean, scales, rtol=1e-4)
    assert (found.low < found.mean).all()
    assert (found.mean < found.high).all()


@pytest.mark.realdata
@pytest.mark.parametrize(("method", "criterion"), [("ml", 162.8730), ("reml", 161.8283)])
def test_a_variance_of_exactly_zero_is_found_and_said(method, criterion):
    # lme4 1.1-31, Yield ~ 1 + (1 | Batch) of Dyestuff2, a singular fit.
    data = table("Dyestuff2")
    found = fit(stats_of(data["Yield"], data["Batch"]), method=method)
    assert -2 * found.log_likelihood == pytest.approx(criterion, abs=1e-4)
    assert found.summary()["tau_pair"]["mean"] == 0.0
    assert "tau_pair estimated at exactly 0" in found.notes


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("method", "criterion", "scales"),
    [
        # lme4 1.1-31, strength ~ 1 + (1 | batch) + (1 | batch:cask).
        ("ml", 247.99447, (0.823409, 2.904069, 1.095070)),
        ("reml", 246.99075, (0.823408, 2.904078, 1.287365)),
    ],
)
def test_pastes_two_levels_as_mixed_model_software_has_it(method, criterion, scales):
    data = table("Pastes")
    found = fit(stats_of(data["strength"], data["cask"], data["batch"]), method=method)
    assert -2 * found.log_likelihood == pytest.approx(criterion, abs=1e-4)
    np.testing.assert_allclose(found.mean, scales, rtol=1e-3)


def radon() -> SufficientStatistics:
    with zipfile.ZipFile(path_of("radon/radon_mn.json.zip")) as archive:
        data = json.loads(archive.read(archive.namelist()[0]))
    return stats_of(data["log_radon"], data["county_idx"], x=data["floor_measure"])


@pytest.mark.realdata
def test_radon_as_mixed_model_software_and_the_book_have_it():
    config = {"slope_head_mode": "global", "lambda_slopes": "pooled"}
    # lme4 1.1-31, log_radon ~ floor + (1 | county).
    found = fit(radon(), method="ml", **config)
    assert -2 * found.log_likelihood == pytest.approx(2089.70680, abs=1e-4)
    found = fit(radon(), method="reml", **config)
    assert -2 * found.log_likelihood == pytest.approx(2097.52198, abs=1e-4)
    np.testing.assert_allclose(found.mean, (0.725780, 0.315408), rtol=1e-4)
    # Gelman & Hill 2007, section 12.4: σ_y 0.76, σ_α 0.33 for log(radon), zeros set to 0.1, where
    # this table has log(radon + 0.1), which spreads a little less: hence 0.05.
    posterior = fit(radon(), method="laplace", **config)
    np.testing.assert_allclose(posterior.mean, (0.76, 0.33), atol=0.05)
    # The same priors' posterior need not be the restricted maximum, but lies within its interval.
    assert (found.low < posterior.mean).all()
    assert (posterior.mean < found.high).all()


EIGHT_SCHOOLS = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
STANDARD_ERRORS = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


def eight_schools(
    method: Literal["laplace", "nuts"], draws: int
) -> tuple[Hierarchy, ScalePosterior]:
    # σ is so large, and the rows of a school so many, that σ²/n is its squared standard error to
    # within 1e-5; the scatter within a school says nothing once σ is known.
    sigma = 1e4
    stats = stats_of(EIGHT_SCHOOLS, np.arange(8))
    object.__setattr__(stats, "n", np.round(sigma**2 / STANDARD_ERRORS**2).astype(np.int64))
    config = RidgeConfig(
        method=method,
        sigma_fixed=sigma,
        location_mean=0.0,
        location_sd=5.0,
        priors=ScalePriors(intercept=ScalePrior(family="half_t", nu=1, scale=5.0, relative=False)),
        sampling=SamplingConfig(draws=draws, tune=400, chains=2),
    )
    hierarchy = Hierarchy(stats, config)
    return hierarchy, find_scales(hierarchy)


def test_eight_schools_has_the_published_posterior():
    # posteriordb, eight_schools-eight_schools_noncentered, reference posterior means and their
    # Monte Carlo errors at commit e3545336e0dee30707b5cf51607ad68e62f1eeca.
    tau, mcse_tau = 3.60206, 0.03186
    theta = np.array([6.15050, 4.93958, 3.90591, 4.79602, 3.61444, 4.05115, 6.31717, 4.88400])
    mcse_theta = 0.0558
    hierarchy, found = eight_schools("laplace", 2048)
    # Four standard errors of the reference: a false alarm in 16 000 comparisons.
    assert found.summary()["tau_pair"]["mean"] == pytest.approx(tau, abs=4 * mcse_tau + 0.02)
    means = [pair_coefficients(hierarchy, hierarchy.state(p))[0][:, 0] for p in found.points]
    np.testing.assert_allclose(found.weights @ np.array(means), theta, atol=4 * mcse_theta)


@pytest.mark.slow
def test_nuts_has_the_published_posterior_of_eight_schools():
    found = eight_schools("nuts", 1000)[1]
    sd, ess = 3.2, found.diagnostics["ess"]
    # posteriordb as above; four standard errors of ours and of the reference's.
    tolerance = 4 * np.hypot(sd / np.sqrt(ess), 0.03186)
    assert found.summary()["tau_pair"]["mean"] == pytest.approx(3.60206, abs=tolerance)


def batches(seed: int = 3) -> tuple[SufficientStatistics, FloatArray, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(6), 4)
    y = 5 + rng.normal(size=6)[group] + 0.8 * rng.normal(size=24)
    return stats_of(y, group), y, group


def quadrature(y: FloatArray, group: npt.NDArray[np.int64], config: RidgeConfig) -> FloatArray:
    """Posterior mean of σ, τ and the mean of log τ, over a grid, with dense covariances of rows."""
    grid = np.linspace(-5, 3, 161)
    unit = float(np.std(y))
    same = (group[:, None] == group[None, :]).astype(float)
    values, vectors = np.linalg.eigh(same)
    rotated, ones = vectors.T @ y, vectors.T @ np.ones(len(y))
    log_density = np.empty((len(grid), len(grid)))
    for i, log_sigma in enumerate(grid):
        for j, log_tau in enumerate(grid):
            d = np.exp(2 * log_sigma) + np.exp(2 * log_tau) * values
            information = (ones**2 / d).sum()
            centre = (ones * rotated / d).sum() / information
            quad = ((rotated - ones * centre) ** 2 / d).sum()
            log_density[i, j] = -(np.log(d).sum() + np.log(information) + quad) / 2
    for axis, prior in ((0, config.priors.sigma), (1, config.priors.intercept)):
        density = prior.log_density(np.exp(grid), unit)[0] + grid
        log_density += np.expand_dims(density, 1 - axis)
    weight = np.exp(log_density - log_density.max())
    weight /= weight.sum()
    return np.array(
        [weight.sum(1) @ np.exp(grid), weight.sum(0) @ np.exp(grid), weight.sum(0) @ grid]
    )


def moments(found: ScalePosterior) -> FloatArray:
    return np.array([*found.mean, found.weights @ np.log(found.points[:, 1])])


def test_laplace_equals_dense_quadrature():
    stats, y, group = batches()
    config = RidgeConfig(method="laplace", sampling=SamplingConfig(draws=4096))
    found = find_scales(Hierarchy(stats, config))
    # 4096 quasi-random points, ESS about 3500: errors below 1 % of the standard deviations.
    np.testing.assert_allclose(moments(found), quadrature(y, group, config), atol=0.02)


@pytest.mark.slow
def test_nuts_and_advi_agree_with_dense_quadrature():
    stats, y, group = batches()
    config = RidgeConfig(method="nuts", sampling=SamplingConfig(draws=1000, tune=300, chains=2))
    expected = quadrature(y, group, config)
    found = find_scales(Hierarchy(stats, config))
    assert found.diagnostics["r_hat"] < 1.01
    assert found.diagnostics["ess"] > 400
    assert not found.diagnostics["divergences"]
    spread = np.array([*found.points.std(axis=0), np.log(found.points[:, 1]).std()])
    # Four standard errors in three comparisons: a false alarm in 5 000 seeds; this one is fixed.
    tolerance = 4 * spread / np.sqrt(found.diagnostics["ess"])
    assert (np.abs(moments(found) - expected) < tolerance).all()
    advi = find_scales(Hierarchy(stats, config.model_copy(update={"method": "advi"})))
    # A normal in the logarithms is an approximation: within a third of a standard deviation.
    assert (np.abs(moments(advi) - expected) < spread / 3).all()


@pytest.mark.slow
def test_equal_seeds_give_equal_draws():
    short = SamplingConfig(draws=50, tune=50, chains=2)
    config = RidgeConfig(method="nuts", sampling=short)
    once, again = (find_scales(Hierarchy(batches()[0], config)) for _ in range(2))
    np.testing.assert_array_equal(once.points, again.points)


@pytest.mark.slow
def test_chains_join_those_whose_draws_are_only_too_few(monkeypatch):
    config = RidgeConfig(method="nuts", sampling=SamplingConfig(draws=100, tune=50, chains=2))
    monkeypatch.setattr(_sampling, "MIN_ESS", 10.0)
    monkeypatch.setattr(_sampling, "MAX_R_HAT", 2.0)
    first = find_scales(Hierarchy(batches()[0], config))
    # What no chains reach asks for more draws: twice of chains as good, then of others.
    monkeypatch.setattr(_sampling, "MAX_R_HAT", 1.0)
    monkeypatch.setattr(_sampling, "REPEATS", ())
    joined = find_scales(Hierarchy(batches()[0], config))
    assert (len(first.points), len(joined.points)) == (200, 600)
    np.testing.assert_array_equal(joined.points[:200], first.points)
    assert len(np.unique(joined.points, axis=0)) > 450
    assert joined.diagnostics["ess"] > first.diagnostics["ess"]
    assert dict(joined.trace.posterior.sizes) == {"chain": 6, "draw": 100}
    assert any("R-hat" in note for note in joined.notes)
    # Chains that have not met are joined by none.
    monkeypatch.setattr(_sampling, "APART", 0.0)
    assert len(find_scales(Hierarchy(batches()[0], config)).points) == 200


@pytest.mark.slow
def test_simulation_based_calibration():
    """Ranks of true values in their posteriors are uniform (Talts et al. 2018, arXiv:1804.06788).

    Four Kolmogorov-Smirnov tests at 1e-4: a correct sampler fails for one seed in 2 500.
    """
    rng = np.random.default_rng(11)
    group = np.repeat(np.arange(5), [1, 2, 3, 5, 8])
    compound = np.array([0, 1, 0, 1, 2, 0, 0, 1, 2, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
    absolute = ScalePriors(
        sigma=ScalePrior(scale=1.0, relative=False), intercept=ScalePrior(scale=1.0, relative=False)
    )
    config = RidgeConfig(
        method="laplace",
        location_mean=2.0,
        location_sd=1.5,
        priors=absolute,
        sampling=SamplingConfig(draws=64),
    )
    ranks = []
    for _ in range(120):
        sigma, tau, tau_c = np.abs(rng.normal(size=3))
        location = 2.0 + 1.5 * rng.normal() + tau_c * rng.normal(size=3)
        pairs, of_row = np.unique(group * 10 + compound, return_inverse=True)
        b = location[pairs % 10] + tau * rng.normal(size=len(pairs))
        y = b[of_row] + sigma * rng.normal(size=len(group))
        hierarchy = Hierarchy(stats_of(y, group, compound), config)
        found = find_scales(hierarchy)
        rank = [found.weights @ (found.points[:, j] < v) for j, v in enumerate((sigma, tau, tau_c))]
        points, weights = found.thinned(8)
        cdf = 0.0
        for weight, point in zip(weights, points, strict=True):
            mean, cov = pair_coefficients(hierarchy, hierarchy.state(point))
            cdf += weight * float(norm.cdf(b[0], mean[0, 0], np.sqrt(cov[0, 0, 0])))
        ranks.append([*rank, cdf])
    for column in np.array(ranks).T:
        assert kstest(column, "uniform").pvalue > 1e-4


def test_a_step_to_where_nothing_can_be_solved_is_not_taken(monkeypatch):
    hierarchy = Hierarchy(batches()[0], RidgeConfig())
    at, solved = np.array([0.0, 0.5]), hierarchy.log_posterior

    def near_by(point: FloatArray) -> tuple[float, FloatArray]:
        if np.abs(point - at).max() > 0.5:
            raise UnsolvableError("out of all reason")
        return solved(point)

    monkeypatch.setattr(hierarchy, "log_posterior", near_by)
    cov = 1e6 * np.eye(2)
    np.testing.assert_array_equal(settled(hierarchy, at, cov), at)
    assert _beside(hierarchy, Near(at, cov, at)) is None


def test_points_beyond_all_reason_have_no_density():
    whitening = Whitening.at_mode(Hierarchy(batches()[0], RidgeConfig()))
    centre, slope = whitening.log_density(np.zeros(2))
    np.testing.assert_allclose(slope, 0, atol=1e-3)
    for u in ([1e3, 0.0], [-1e3, 1e3], [np.nan, 0.0]):
        assert not whitening.log_density(np.array(u))[0] > centre


def test_points_are_thinned_evenly_and_intervals_weighted():
    points = np.arange(1000.0)[:, None]
    posterior = ScalePosterior(
        ("sigma",), points, np.full(1000, 1e-3), np.zeros(1), np.ones(1), 0.0
    )
    chosen, weights = posterior.thinned(10)
    np.testing.assert_allclose(chosen[:, 0], np.arange(10) * 100 + 50, atol=1)
    assert weights.sum() == pytest.approx(1)
    low, high = weighted_interval(points, np.full(1000, 1e-3))
    assert (low[0], high[0]) == pytest.approx((24.5, 974.5), abs=1)
    # All weight on one point: the interval is that point.
    low, high = weighted_interval(points, np.eye(1000)[7])
    assert (low[0], high[0]) == pytest.approx((7, 7), abs=1)


def test_more_flat_effects_than_rows_are_refused():
    from rt_ridge._errors import RTRidgeError

    with pytest.raises(RTRidgeError, match="reml needs more rows"):
        fit(stats_of([1.0], [0]), method="reml")


@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=4),
    st.lists(st.floats(0.01, 3), min_size=4, max_size=4),
)
def test_the_maximum_is_reached_however_far_and_whatever_the_steps(far, steps):
    # A box of side 2 about each start: the sides are met at numbers that scaling rounds.
    centre = np.array(far)

    def bowl(x: FloatArray) -> tuple[float, FloatArray]:
        return -float(((x - centre) ** 2).sum()), -2 * (x - centre)

    found = maximise(bowl, np.zeros(len(centre)), np.array(steps[: len(centre)]))
    np.testing.assert_allclose(found.at, centre, atol=1e-5)


def test_a_mode_is_sought_from_that_of_other_rows_where_steps_do_not_lead_there():
    rng = np.random.default_rng(0)
    group, compound = np.divmod(np.repeat(np.arange(60), 8), 6)
    x, noise = rng.normal(size=(2, 480))
    line, slope = rng.normal(size=(2, 60)).repeat(8, axis=1)

    def model(spread: float, sigma: float) -> Hierarchy:
        y = compound + spread * (line + slope * x) + sigma * noise
        keys: dict[str, Any] = {"lambda_slopes": "estimate", "slope_head_mode": "global"}
        return Hierarchy(stats_of(y, group, compound, x), RidgeConfig(**keys))

    near = find_near(model(0.3, 0.5), None)[1]
    other = model(0.0, 0.1)
    assert near is not None
    assert _beside(other, near) is None
    found, there = find_near(other, near)
    assert there is not None
    np.testing.assert_allclose(found.mean, find_from(other, there).mean, rtol=1e-6)
    afresh = find_near(other, None)[1]
    assert afresh is not None
    np.testing.assert_allclose(found.mean, find_from(other, afresh).mean, rtol=1e-6)
