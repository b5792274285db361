"""Effects of runs against dense algebra and against lme4, and what is predicted of runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from rt_ridge import AutoRidge, PartialPoolingRidge, RTRidgeError, Stage1CoeffSummaries
from rt_ridge._estimators import _as_seen, numbered, to_rows, to_statistics
from rt_ridge.runs import _fit
from rt_ridge.runs._cells import RunCells
from rt_ridge.runs._system import check_size, solve_runs, spline_basis
from scipy.interpolate import BSpline

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lab:
    """Rows of 5 compounds in 2 species and 10 runs, some of them missing."""

    X: Floats
    y: Floats
    ids: npt.NDArray[np.int64]
    runs: npt.NDArray[np.int64]

    @classmethod
    def of(cls, seed: int = 0, n_runs: int = 10, tau: float = 0.3) -> Lab:
        rng = np.random.default_rng(seed)
        runs, group, compound = (
            part.ravel() for part in np.meshgrid(np.arange(n_runs), np.arange(2), np.arange(5))
        )
        kept = rng.uniform(size=len(runs)) < 0.8
        runs, ids = runs[kept], np.stack([group[kept], compound[kept]], axis=1)
        X = rng.normal(size=(n_runs, 2))[runs] + 0.3 * rng.normal(size=(len(runs), 2))
        y = 5 + ids[:, 1] + 0.3 * ids[:, 0] + X @ [0.1, -0.05]
        y += (tau * rng.normal(size=n_runs))[runs] + 0.05 * rng.normal(size=len(y))
        return cls(X, y, ids, runs)

    def fit(self, **keys: Any) -> PartialPoolingRidge:
        return PartialPoolingRidge(**keys).fit(self.X, self.y, self.ids, runs=self.runs)


MODELS: dict[str, dict[str, Any]] = {
    "compounds": {},
    "flat": {"intercept_prior": "flat"},
    "head": {"slope_head_mode": "global"},
    "compound slopes": {"slope_head_mode": "global", "compound_slopes": True, "sigma": "group"},
    "groups": {"intercept_prior": "comp_hier_supercat", "lambda_slopes": "zero"},
}


@pytest.mark.parametrize("prior", ["independent", "random_walk", "spline"])
@pytest.mark.parametrize("name", MODELS)
def test_effects_and_likelihood_are_those_of_dense_algebra(name, prior):
    lab = Lab.of()
    ids = np.column_stack([lab.ids, lab.ids[:, 0]])
    model = PartialPoolingRidge(
        run_effects=prior, location_sd=3.0, location_mean=5.0, **MODELS[name]
    )
    config = model.ridge_config()
    stats, features = to_statistics(lab.X, lab.y, ids, ["a", "b"], "species", "global")
    hierarchy, _ = _as_seen(stats, config, (None, None))
    cells = RunCells.of(stats, to_rows(lab.X, lab.y, ids, lab.runs), features, 10)
    rng = np.random.default_rng(1)
    point = np.exp(rng.normal(-1.5, 0.3, size=hierarchy.layout.size))
    state, tau = hierarchy.state(point), 0.4
    found = solve_runs(hierarchy, state, cells, tau)

    V = covariance(hierarchy, point, lab, ids)
    of_run = (lab.runs[:, None] == np.arange(10)).astype(float)
    B = spline_basis(10) if prior == "spline" else np.eye(10)
    Z, size = of_run @ B, B.shape[1]
    L = np.eye(10) if prior == "independent" else np.tril(np.ones((size, size)))
    T = tau**2 * L @ L.T
    y = lab.y - (5.0 if hierarchy.pooled else 0.0)
    flat = np.zeros((len(y), 0))
    if name == "flat":
        pair = np.unique(ids[:, 0] * 9 + ids[:, 1], return_inverse=True)[1]
        flat = (pair[:, None] == np.arange(stats.G)).astype(float)
    if hierarchy.with_head:
        flat = np.column_stack([flat, lab.X - features.center])
    W = np.linalg.inv(V)
    P = W - W @ flat @ np.linalg.solve(flat.T @ W @ flat, flat.T @ W) if flat.size else W
    S = Z.T @ P @ Z + np.linalg.inv(T)
    np.testing.assert_allclose(found.root @ found.root.T, S, rtol=1e-8, atol=1e-7)
    effects = B @ np.linalg.solve(S, Z.T @ P @ y)
    np.testing.assert_allclose(found.mean, effects, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.variance, np.diag(B @ np.linalg.inv(S) @ B.T), rtol=1e-8)
    whole = V + Z @ T @ Z.T
    gain = found.log_likelihood - state.log_likelihood
    assert gain == pytest.approx(restricted(whole, flat, y) - restricted(V, flat, y), abs=1e-7)


def restricted(V: Floats, flat: Floats, y: Floats) -> float:
    """Return the log likelihood of y ~ N(flat b, V), b integrated."""
    W = np.linalg.inv(V)
    total = -np.linalg.slogdet(V)[1]
    if flat.size:
        A = flat.T @ W @ flat
        total -= np.linalg.slogdet(A)[1]
        W = W - W @ flat @ np.linalg.solve(A, flat.T @ W)
    return float(total - y @ W @ y) / 2


def covariance(hierarchy: Any, point: Floats, lab: Lab, ids: Any) -> Floats:
    """Return the covariance of the rows without runs and without flat effects."""
    scales, layout = hierarchy.layout.full(point), hierarchy.layout
    s2 = hierarchy.sigma2(scales, point[layout.n_free :])
    pair = np.unique(ids[:, 0] * 9 + ids[:, 1], return_inverse=True)[1]
    z = lab.X - lab.X.mean(axis=0)

    def alike(labels: Any) -> Floats:
        return (labels[:, None] == labels).astype(float)

    def variance(name: str) -> float:
        place = layout.place(name)
        return 0.0 if place is None else float(scales[place] ** 2)

    V = np.diag(s2[pair]) + alike(pair) * (
        variance("tau_pair") + s2[pair] * hierarchy.psi(scales) * (z @ z.T)
    )
    V += alike(ids[:, 1]) * (variance("tau_compound") + variance("tau_slope_compound") * z @ z.T)
    for group in (0, 1):
        of = (ids[:, 0] == group).astype(float)
        V += variance(f"tau_group[{group}]") * np.outer(of, of)
    V += alike(ids[:, 0]) * variance("tau_supercategory")
    if hierarchy.pooled:
        V += 9.0
    return V


def test_coefficients_are_those_of_dense_algebra():
    lab = Lab.of()
    model = lab.fit(run_effects="independent", location_sd=30.0, feature_center="none")
    found, scales = model.summaries_, model.scales_
    s, tau_pair, tau_compound, tau = (v["mean"] for v in scales.values())
    keys = {int(k): i for i, k in enumerate(found.keys)}
    pair = np.array([keys[(g << 32) + c] for g, c in lab.ids.tolist()])
    G = len(keys)
    # Columns: pairs' [b, w], compounds, the grand mean, runs.
    A = np.zeros((len(lab.y), 3 * G + 5 + 1 + 10))
    rows = np.arange(len(lab.y))
    for j, column in enumerate(np.column_stack([np.ones(len(rows)), lab.X]).T):
        A[rows, 3 * pair + j] = column
    A[rows, 3 * G + lab.ids[:, 1]] = A[rows, 3 * G + 5] = A[rows, 3 * G + 6 + lab.runs] = 1
    sd = np.concatenate(
        [np.tile([tau_pair, s, s], G), np.full(5, tau_compound), [30.0], np.full(10, tau)]
    )
    cov = np.linalg.inv(A.T @ A / s**2 + np.diag(sd**-2))
    mean = cov @ A.T @ lab.y / s**2
    to_pair = np.zeros((3 * G, A.shape[1]))
    to_pair[np.arange(3 * G), np.arange(3 * G)] = 1
    to_pair[::3][np.arange(G), 3 * G + (found.keys & 0xFFFFFFFF)] = 1
    to_pair[::3, 3 * G + 5] = 1
    np.testing.assert_allclose(found.mean.ravel(), to_pair @ mean, rtol=1e-8, atol=1e-8)
    full = (to_pair @ cov @ to_pair.T).reshape(G, 3, G, 3)
    expected = full[np.arange(G), :, np.arange(G), :]
    np.testing.assert_allclose(found.cov, expected, rtol=1e-7, atol=1e-10)
    assert found.runs is not None
    np.testing.assert_allclose(found.runs.mean, mean[-10:], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(found.runs.variance, np.diag(cov)[-10:], rtol=1e-7)


@pytest.mark.realdata
def test_crossed_intercepts_are_those_of_lme4():
    near = (p / "shared" / "data" for p in Path(__file__).resolve().parents)
    folder = Path(os.environ.get("MOLPOOL_DATA") or next(filter(Path.is_dir, near), ""))
    path = folder / "rt" / "classic" / "Penicillin.csv"
    if not path.exists():
        pytest.skip("no rt/classic/Penicillin.csv: set MOLPOOL_DATA")
    # lmer(diameter ~ (1 | plate) + (1 | sample)): Bates et al. 2015, doi:10.18637/jss.v067.i01.
    frame = pl.read_csv(path)
    sample = frame["sample"].rank("dense").to_numpy().astype(np.int64)
    ids = np.stack([np.zeros_like(sample), sample], axis=1)
    model = PartialPoolingRidge(method="reml", run_effects="independent", lambda_slopes="zero")
    model.fit(np.zeros((144, 1)), frame["diameter"].to_numpy(), ids, runs=frame["plate"].to_numpy())
    estimates = {name: scale["mean"] for name, scale in model.scales_.items()}
    assert estimates["sigma"] == pytest.approx(0.54992, abs=1e-4)
    assert estimates["tau_run"] == pytest.approx(0.84671, abs=1e-4)
    assert estimates["tau_pair"] == pytest.approx(1.93157, abs=2e-4)
    assert -2 * model.log_likelihood_ == pytest.approx(330.8606, abs=1e-3)


def test_a_run_that_was_seen_is_predicted_with_its_effect():
    lab = Lab.of(tau=0.5)
    model = lab.fit(run_effects="independent")
    X, ids = np.zeros((3, 2)), np.array([[0, 1], [0, 1], [0, 1]])
    found = model.predict_levels(X, ids, runs=[0, 1, "new"])
    effects = cast(Any, model.summaries_.runs)
    assert found.mean[0] - found.mean[1] == pytest.approx(effects.mean[0] - effects.mean[1])
    assert found.std[2] > 2 * found.std[0]
    unknown = model.predict_levels(X, ids)
    np.testing.assert_allclose(unknown.std, found.std[2])
    walk = lab.fit(run_effects="random_walk")
    after = walk.predict_levels(X[:2], ids[:2], runs=[9, 10])
    assert after.mean[0] == pytest.approx(after.mean[1])
    assert after.std[1] > after.std[0]


@pytest.mark.parametrize("n_runs", [1, 3, 40, 1000])
def test_a_spline_has_the_cubic_basis_of_evenly_spaced_knots(n_runs):
    B = spline_basis(n_runs)
    assert B.shape == (n_runs, max(1, min(n_runs // 4, 35)) + 3)
    # They sum to 1 in each run, and less their means over the runs to 0 either way.
    np.testing.assert_allclose(B.sum(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(B.sum(axis=0), 0.0, atol=1e-10)
    # Any straight line of the order is a line of the coefficients.
    line = B @ np.arange(B.shape[1])
    np.testing.assert_allclose(np.diff(line, 2), 0.0, atol=1e-9)
    if n_runs >= 40:
        # Of the splines of the first run nothing is left at the last.
        cardinal = BSpline.basis_element(np.arange(-2.0, 3.0))
        np.testing.assert_allclose(B[0, :3] - B[-1, :3], cardinal(np.array([1.0, 0.0, 1.0])))


def test_a_spline_follows_a_smooth_drift():
    lab, n_runs = Lab.of(n_runs=40, tau=0.0), 40
    drift = 0.5 * np.sin(2 * np.pi * np.arange(n_runs) / n_runs)
    moved = Lab(lab.X, lab.y + drift[lab.runs], lab.ids, lab.runs)
    model = moved.fit(run_effects="spline")
    found = cast(Any, model.summaries_.runs)
    error = found.mean - (drift - drift.mean())
    # 8 rows a run of σ = .05, and three runs or more share a coefficient: about .01.
    assert np.sqrt((error**2).mean()) < 0.02
    walk = cast(Any, moved.fit(run_effects="random_walk").summaries_.runs)
    assert found.variance.mean() < walk.variance.mean()


def test_the_artefact_keeps_effects_of_runs(tmp_path):
    model = Lab.of().fit(run_effects="random_walk")
    model.summaries_.save(tmp_path / "c.npz")
    read = Stage1CoeffSummaries.load(tmp_path / "c.npz")
    given: Any = (np.zeros((2, 2)), [0, 1], [1, 1])
    for runs in (["3", "x"], None):
        a, b = (one.predict(*given, runs=runs) for one in (read, model.summaries_))
        np.testing.assert_array_equal(a.mean, b.mean)
        np.testing.assert_array_equal(a.std, b.std)


def test_scales_of_many_runs_are_found_on_some(monkeypatch):
    lab = Lab.of(n_runs=40)
    monkeypatch.setattr(_fit, "FOR_SCALES", 20)
    some = lab.fit(run_effects="independent")
    assert some.summaries_.runs is not None
    assert len(some.summaries_.runs.names) == 40
    # Three standard errors of a standard deviation over 20 runs.
    assert some.scales_["tau_run"]["mean"] == pytest.approx(0.3, rel=0.5)


def test_a_chosen_structure_has_effects_of_runs_too():
    lab = Lab.of(n_runs=12)
    model = AutoRidge(run_effects="independent")
    model.fit(lab.X, lab.y, lab.ids, runs=[f"r{run}" for run in lab.runs])
    assert model.summaries_.runs is not None
    assert model.summaries_.runs.names[-1] == "r11"
    assert model.scales_["tau_run"]["mean"] == pytest.approx(0.3, rel=0.6)
    # The choice is told, of the screen and of the page, as it is without effects of runs.
    assert model.summaries_.structure is model.structure_
    assert any(note.startswith("structure chosen") for note in model.notes_)
    assert len(set(model.notes_)) == len(model.notes_)


def test_runs_are_numbered_as_time_goes():
    number, names = numbered(["QC_10", "QC_2", "QC_10"], np.zeros((3, 0)))
    assert number.tolist() == [1, 0, 1]
    assert list(names) == ["QC_2", "QC_10"]


def test_what_effects_of_runs_need_is_said():
    lab = Lab.of()
    with pytest.raises(RTRidgeError, match="expected the run of each row"):
        PartialPoolingRidge(run_effects="independent").fit(lab.X, lab.y, lab.ids)
    with pytest.raises(RTRidgeError, match="method map or reml"):
        PartialPoolingRidge(run_effects="independent", method="nuts").fit(lab.X, lab.y, lab.ids)
    with pytest.raises(RTRidgeError, match="at most 10 000 runs"):
        check_size(1, 1, 10_001)
