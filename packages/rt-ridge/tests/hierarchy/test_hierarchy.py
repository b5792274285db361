"""The hierarchy against dense algebra on the rows: a design with every effect written out."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import FloatArray
from rt_ridge._config import RidgeConfig
from rt_ridge._errors import RTRidgeError
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.posterior._artefact import ClassTables, DescriptorTables, pair_coefficients
from rt_ridge.posterior._nodes import NodeTables
from rt_ridge.selection._candidates import first_candidates, other_priors, refined_candidates
from rt_ridge.statistics._sufficient import GroupParents, SufficientStatistics
from rt_ridge.tables._compounds import CompoundClasses, CompoundDescriptors

RELATIVE = 1e-8
"""Of covariances and likelihoods: the dense side inverts matrices of some hundred columns."""

MODELS: dict[str, dict[str, Any]] = {
    "flat": {"intercept_prior": "flat"},
    "flat with head": {"intercept_prior": "flat", "slope_head_mode": "global"},
    "compounds": {"intercept_prior": "comp_hier"},
    "compounds with head": {
        "intercept_prior": "comp_hier",
        "slope_head_mode": "global",
        "lambda_slopes": "estimate",
    },
    "pooled slopes": {
        "intercept_prior": "comp_hier",
        "slope_head_mode": "cluster_supercat",
        "lambda_slopes": "pooled",
    },
    "supercategories": {"intercept_prior": "comp_hier_supercat"},
    "one spread of all groups": {
        "intercept_prior": "comp_hier_supercat",
        "intercept_shrinkage": "shared",
    },
    "supercategories, sampled": {"intercept_prior": "comp_hier_supercat", "method": "nuts"},
    "one sigma and slopes a group, sampled": {
        "intercept_prior": "comp_hier_supercat",
        "sigma": "group",
        "lambda_slopes": "estimate",
        "method": "nuts",
    },
    "supercategories with heads": {
        "intercept_prior": "comp_hier_supercat",
        "slope_head_mode": "cluster_supercat",
        "lambda_slopes": [0.5, 2.0],
    },
    "compound slopes": {
        "intercept_prior": "comp_hier_supercat",
        "compound_slopes": True,
        "species_slopes": True,
        "lambda_slopes": "estimate",
    },
    "class slopes": {
        "intercept_prior": "comp_hier_supercat",
        "slope_head_mode": "cluster_supercat",
        "compound_slopes": True,
        "class_slopes": "cluster",
        "slope_shrinkage": "supercat",
        "lambda_slopes": "estimate",
    },
    "flat with classes": {
        "intercept_prior": "flat",
        "class_slopes": "cluster",
        "lambda_slopes": "pooled",
    },
    "one sigma a group": {"intercept_prior": "comp_hier_supercat", "sigma": "group"},
    "one spread a covariate": {
        "intercept_prior": "comp_hier_supercat",
        "slope_head_mode": "cluster_supercat",
        "compound_slopes": True,
        "lambda_slopes": "estimate",
        "slope_scales": "covariate",
    },
    "flat with one spread a covariate": {
        "intercept_prior": "flat",
        "lambda_slopes": "estimate",
        "slope_scales": "covariate",
    },
    "one sigma a group, one spread a covariate": {
        "intercept_prior": "comp_hier",
        "sigma": "group",
        "species_slopes": True,
        "lambda_slopes": "estimate",
        "slope_scales": "covariate",
    },
    "no slopes": {"intercept_prior": "comp_hier", "lambda_slopes": "zero"},
    "known grand mean": {"intercept_prior": "comp_hier", "location_mean": 3.0, "location_sd": 2.0},
}


CLASSES = CompoundClasses(np.arange(20), np.arange(20) % 2)
"""Compounds are of two classes in turn."""


@dataclass
class Rows:
    """A small table; group g lies in supercategory g % 3, and some pairs have no row."""

    group: npt.NDArray[np.int64]
    compound: npt.NDArray[np.int64]
    X: FloatArray
    y: FloatArray

    @classmethod
    def random(
        cls, seed: int, n_groups: int = 5, n_compounds: int = 7, n: int = 60, offset: float = 0.0
    ) -> Rows:
        rng = np.random.default_rng(seed)
        group, compound = rng.integers(0, n_groups, n), rng.integers(0, n_compounds, n)
        X = rng.normal(size=(n, 2)) + 0.7
        y = rng.normal(size=n_groups)[group] + rng.normal(size=n_compounds)[compound]
        y = y + X @ [0.4, -0.2] + 0.3 * rng.normal(size=n) + offset
        return cls(group, compound, X, y)

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        return (self.group << 32) + self.compound

    def statistics(self) -> SufficientStatistics:
        """Sums by a loop over pairs."""
        keys = np.unique(self.keys)
        parts = [(self.X[self.keys == k], self.y[self.keys == k]) for k in keys]
        groups = np.unique(self.group)
        return SufficientStatistics(
            keys=keys,
            n=np.array([len(y) for _, y in parts]),
            mean_x=np.stack([X.mean(axis=0) for X, _ in parts]),
            mean_y=np.array([y.mean() for _, y in parts]),
            sxx=np.stack([(X - X.mean(0)).T @ (X - X.mean(0)) for X, _ in parts]),
            sxy=np.stack([(X - X.mean(0)).T @ (y - y.mean()) for X, y in parts]),
            syy=np.array([((y - y.mean()) ** 2).sum() for _, y in parts]),
            covariates=("is_1", "is_2"),
            parents=GroupParents(groups, groups % 3),
        )


class Dense:
    """Every effect a column of the rows' design; priors diagonal, 0 precision where flat."""

    def __init__(
        self, rows: Rows, config: RidgeConfig, value: dict[str, float], z: FloatArray | None = None
    ) -> None:
        self.rows, self.config, self.value, self.z = rows, config, value, z
        self.pairs = np.unique(rows.keys)
        self.group_of, self.compound_of = self.pairs >> 32, self.pairs & (2**32 - 1)
        self.names: list[tuple[Any, ...]] = []
        self.variance: list[float] = []
        self._lay_out()
        self.Z = np.stack(
            [
                self.design(g, c, x, pair=True)
                for g, c, x in zip(rows.group, rows.compound, rows.X, strict=True)
            ]
        )
        sigma = np.array([self.sigma(g) for g in rows.group])
        self.noise = sigma**2
        flat = np.isinf(self.variance)
        prior = np.where(flat, 0.0, 1 / np.array(self.variance))
        self.flat = flat
        centre = np.zeros(len(prior))
        if config.location_sd is not None:
            centre[self.names.index(("t0",))] = config.location_mean
        precision = (self.Z.T / self.noise) @ self.Z + np.diag(prior)
        self.cov = np.linalg.inv(precision)
        self.mean = self.cov @ (self.Z.T @ (rows.y / self.noise) + prior * centre)

    def sigma(self, group: int) -> float:
        return self.value.get(f"sigma_of[{group}]", self.value["sigma"])

    def _add(self, name: tuple[Any, ...], sd: float) -> None:
        # A standard deviation of 0 leaves the column out.
        if sd > 0:
            self.names.append(name)
            self.variance.append(sd**2)

    def _lay_out(self) -> None:
        config, v = self.config, self.value
        flat = config.intercept_prior == "flat"
        supercat = config.intercept_prior == "comp_hier_supercat"
        groups, compounds = np.unique(self.group_of), np.unique(self.compound_of)
        if not flat:
            self._add(("t0",), config.location_sd or np.inf)
            for c in compounds:
                self._add(("alpha", c), v["tau_compound"])
        for s in range(3) if supercat else ():
            self._add(("mu_s", s), v["tau_supercategory"])
        for g in groups if supercat else ():
            own = "" if config.intercept_shrinkage == "shared" else f"[{g % 3}]"
            self._add(("mu_g", g), v["tau_group" + own])
        self._lay_out_heads(groups, compounds)
        for q in range(0 if self.z is None else self.z.shape[1]):
            self._add(("theta", q), v["tau_theta"])
            for s in range(3) if config.descriptor_heads != "none" else ():
                self._add(("theta_s", s, q), v["tau_theta_supercategory"])
            for g in groups if config.descriptor_heads == "species" else ():
                self._add(("theta_g", g, q), v["tau_theta_group"])
            self._lay_out_described_slopes(groups, q)
        for k, g in zip(self.pairs, self.group_of, strict=True):
            self._add(("b", k), np.inf if flat else v["tau_pair"])
            for j in range(2):
                self._add(("w", k, j), self.slope_sd(g, j))

    def _lay_out_heads(self, groups: Any, compounds: Any) -> None:
        config, v = self.config, self.value
        tree = config.slope_head_mode == "cluster_supercat"
        for j in range(2) if config.slope_effects else ():
            self._add(("w0", j), np.inf)
            for s in range(3) if tree else ():
                self._add(("w_s", s, j), self.spread("tau_slope_supercategory", j))
            for g in groups if tree or config.species_slopes else ():
                own = f"[{g % 3}]" if config.slope_shrinkage == "supercat" else ""
                self._add(("w_g", g, j), self.spread("tau_slope_group" + own, j))
            for k in range(2) if config.class_slopes != "none" else ():
                self._add(("w_k", k, j), v["tau_slope_class"])
                for s in range(3) if config.class_slopes == "cluster" else ():
                    self._add(("w_sk", (s, k), j), v["tau_slope_supercategory_class"])
            for c in compounds if config.compound_slopes else ():
                self._add(("w_c", c, j), self.spread("tau_slope_compound", j))

    def _lay_out_described_slopes(self, groups: Any, q: int) -> None:
        deep, v = self.config.descriptor_slopes, self.value
        for j in range(2) if deep != "none" else ():
            self._add(("phi", q, j), v["tau_theta_slope"])
            for s in range(3) if deep in ("cluster", "species") else ():
                self._add(("phi_s", s, q, j), v["tau_theta_slope_supercategory"])
            for g in groups if deep == "species" else ():
                self._add(("phi_g", g, q, j), v["tau_theta_slope_group"])

    def spread(self, name: str, j: int) -> float:
        """Of one level's slopes: one for all covariates, or their own."""
        return self.value.get(f"{name}[is_{j + 1}]", self.value.get(name, np.nan))

    def slope_sd(self, group: int, j: int) -> float:
        given = self.config.lambda_slopes
        if given == "estimate":
            # In units of the common σ, where σ differs by group.
            return self.spread("tau_slope", j) * self.sigma(group) / self.value["sigma"]
        if given in ("pooled", "zero"):
            return 0.0
        precision = given[j] if isinstance(given, list) else given
        return self.sigma(group) / np.sqrt(precision)

    def design(self, g: int, c: int, x: FloatArray, *, pair: bool) -> FloatArray:
        """Row of the columns that act on a measurement; of new ones, none acts."""
        k = (g << 32) + c
        ones = {("t0",), ("alpha", c), ("mu_s", g % 3), ("mu_g", g)} | (
            {("b", k)} if pair else set()
        )
        row = np.array([float(name in ones) for name in self.names])
        for q in range(0 if self.z is None else self.z.shape[1]):
            assert self.z is not None
            for name in (("theta", q), ("theta_s", g % 3, q), ("theta_g", g, q)):
                if name in self.names:
                    row[self.names.index(name)] = self.z[c, q]
            for j in range(2):
                for name in (("phi", q, j), ("phi_s", g % 3, q, j), ("phi_g", g, q, j)):
                    if name in self.names:
                        row[self.names.index(name)] = self.z[c, q] * x[j]
        for j in range(2):
            sloped = [("w0", j), ("w_s", g % 3, j), ("w_g", g, j), ("w_c", c, j)]
            sloped += [("w_k", c % 2, j), ("w_sk", (g % 3, c % 2), j)]
            for name in sloped + ([("w", k, j)] if pair else []):
                if name in self.names:
                    row[self.names.index(name)] = x[j]
        return row

    def log_likelihood(self, *, profile: bool) -> float:
        """By the covariance of all rows; flat columns by the restricted likelihood's formula."""
        random = self.Z[:, ~self.flat]
        V = random @ np.diag(np.array(self.variance)[~self.flat]) @ random.T + np.diag(self.noise)
        F = self.Z[:, self.flat]
        y = self.rows.y.copy()
        if self.config.location_sd is not None:
            y -= self.config.location_mean
        solve = np.linalg.inv(V)
        information = F.T @ solve @ F
        beta = np.linalg.solve(information, F.T @ solve @ y)
        residual = y - F @ beta
        total = len(y) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + residual @ solve @ residual
        if not profile:
            total += np.linalg.slogdet(information)[1] - F.shape[1] * np.log(2 * np.pi)
        return float(-total / 2)

    def coefficients(self, k: int) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance of [b, w] of a pair with rows."""
        g, c = int(k >> 32), int(k & (2**32 - 1))
        b = self.design(g, c, np.zeros(2), pair=True)
        w = [self.design(g, c, np.eye(2)[j], pair=True) - b for j in range(2)]
        A = np.stack([b, *w])
        return A @ self.mean, A @ self.cov @ A.T


def scales_of(hierarchy: Hierarchy, seed: int) -> tuple[FloatArray, dict[str, float]]:
    """Random scales: as a point, and by name for the dense side."""
    rng = np.random.default_rng(seed)
    layout = hierarchy.layout
    point = rng.uniform(0.2, 1.5, layout.size)
    value = dict(zip(layout.names, map(float, point), strict=True))
    for g in range(layout.n_offsets):
        offset = value[f"sigma_offset[{g}]"]
        value[f"sigma_of[{g}]"] = value["sigma"] * float(np.exp(value["sigma_spread"] * offset))
    return point, value


def build(model: str, seed: int = 0, **shape: Any) -> tuple[Hierarchy, Rows, RidgeConfig]:
    rows, config = Rows.random(seed, **shape), RidgeConfig(**MODELS[model])
    classes = CLASSES if config.class_slopes != "none" else None
    return Hierarchy(rows.statistics(), config, classes=classes), rows, config


@pytest.mark.parametrize("shape", [(5, 7), (9, 3)], ids=["compounds out", "groups out"])
@pytest.mark.parametrize("model", MODELS)
def test_likelihood_and_posterior_equal_dense_algebra(model, shape):
    hierarchy, rows, config = build(model, n_groups=shape[0], n_compounds=shape[1])
    point, value = scales_of(hierarchy, 1)
    dense = Dense(rows, config, value)
    for profile in (False, True):
        if model.startswith("flat") and profile:
            continue  # flat intercepts of pairs are integrated over in either case
        if model == "known grand mean" and profile:
            continue  # the grand mean is then no flat effect
        found = hierarchy.log_likelihood(point, profile=profile)[0]
        assert found == pytest.approx(dense.log_likelihood(profile=profile), rel=RELATIVE)
    mean, cov = pair_coefficients(hierarchy, hierarchy.state(point))
    for i, k in enumerate(dense.pairs):
        expected = dense.coefficients(k)
        np.testing.assert_allclose(mean[i], expected[0], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(cov[i], expected[1], rtol=1e-7, atol=1e-8)


def test_every_candidate_of_a_structure_equals_dense_algebra():
    rows = Rows.random(4)
    stats = rows.statistics()
    first = first_candidates(stats, RidgeConfig())
    first += [other for c in first for other in other_priors(c, stats)]
    candidates = first + [r for c in first for r in refined_candidates(c, stats)]
    assert len(candidates) > 40
    # Every third: neighbours differ by the intercept's prior or by one σ a group alone.
    for candidate in candidates[::3]:
        hierarchy = Hierarchy(stats, candidate.config)
        point, value = scales_of(hierarchy, 5)
        dense = Dense(rows, candidate.config, value)
        found = hierarchy.log_likelihood(point)[0]
        assert found == pytest.approx(dense.log_likelihood(profile=False), rel=RELATIVE)
        mean, cov = pair_coefficients(hierarchy, hierarchy.state(point))
        expected = [dense.coefficients(k) for k in dense.pairs]
        np.testing.assert_allclose(mean, [m for m, _ in expected], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(cov, [c for _, c in expected], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("profile", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_gradient_equals_differences(model, profile):
    hierarchy, _, _ = build(model, n_groups=6)
    point, _ = scales_of(hierarchy, 2)
    x = hierarchy.unconstrained(point)
    gradient = hierarchy.log_likelihood(point, profile=profile)[1]
    step = 1e-5
    for j in range(len(x)):
        e = np.eye(len(x))[j] * step
        up = hierarchy.log_likelihood(hierarchy.natural(x + e), profile=profile)[0]
        down = hierarchy.log_likelihood(hierarchy.natural(x - e), profile=profile)[0]
        # Central differences: error step² plus rounding 1e-13 / step.
        assert gradient[j] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("model", [m for m in MODELS if m.endswith("sampled")])
def test_sampled_intercepts_equal_the_general_solution(model):
    rows = Rows.random(0)
    sampled = RidgeConfig(**MODELS[model])
    quick = Hierarchy(rows.statistics(), sampled)
    general = Hierarchy(rows.statistics(), sampled.model_copy(update={"method": "map"}))
    point, _ = scales_of(general, 1)
    # More cells than columns: solved in general.
    many = Hierarchy(Rows.random(0, n_groups=9, n_compounds=3).statistics(), sampled)
    assert [h._intercepts is None for h in (quick, general, many)] == [False, True, True]
    for scales in (point, np.where(np.arange(len(point)) == 2, 0.0, point)):
        found, expected = (h.log_likelihood(scales) for h in (quick, general))
        assert found[0] == pytest.approx(expected[0], rel=RELATIVE)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-9)


def test_gradient_of_the_prior_equals_differences():
    hierarchy, _, _ = build("one sigma a group")
    point, _ = scales_of(hierarchy, 3)
    x = hierarchy.unconstrained(point)
    gradient = hierarchy.log_posterior(x)[1]
    for j in range(len(x)):
        e = np.eye(len(x))[j] * 1e-5
        slope = (hierarchy.log_posterior(x + e)[0] - hierarchy.log_posterior(x - e)[0]) / 2e-5
        assert gradient[j] == pytest.approx(slope, rel=1e-5, abs=1e-5)


APART = ["one spread a covariate", "flat with one spread a covariate"]


@pytest.mark.parametrize("model", [*APART, "one sigma a group, one spread a covariate"])
def test_spreads_of_slopes_far_apart_keep_their_digits(model):
    # An eigendecomposition of sums over both spreads loses what the smaller one says.
    hierarchy, rows, config = build(model)
    point, value = scales_of(hierarchy, 5)
    for name, factor in (("tau_slope[is_1]", 1e-4), ("tau_slope[is_2]", 1e3)):
        point[hierarchy.layout.names.index(name)] *= factor
        value[name] *= factor
    found, gradient = hierarchy.log_likelihood(point)
    expected = Dense(rows, config, value).log_likelihood(profile=False)
    assert found == pytest.approx(expected, rel=1e-7)
    for j in range(hierarchy.layout.n_free):
        step = np.ones(len(point))
        step[j] = np.exp(1e-5)
        above, below = (hierarchy.log_likelihood(point * s)[0] for s in (step, 1 / step))
        assert gradient[j] == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("model", ["compounds with head", "supercategories with heads"])
def test_a_scale_of_zero_is_the_model_without_it(model):
    hierarchy, rows, config = build(model)
    point, value = scales_of(hierarchy, 4)
    for name in ("tau_pair", "tau_slope", "tau_slope_group", "tau_compound"):
        if name in hierarchy.layout.names:
            point[hierarchy.layout.names.index(name)] = 0.0
            value[name] = 0.0
    dense = Dense(rows, config, value)
    found, gradient = hierarchy.log_likelihood(point)
    assert found == pytest.approx(dense.log_likelihood(profile=False), rel=RELATIVE)
    assert np.isfinite(gradient).all()
    mean, cov = pair_coefficients(hierarchy, hierarchy.state(point))
    for i, k in enumerate(dense.pairs):
        np.testing.assert_allclose(mean[i], dense.coefficients(k)[0], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(cov[i], dense.coefficients(k)[1], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("shape", [(5, 7), (9, 3)], ids=["compounds out", "groups out"])
def test_nodes_equal_dense_algebra(shape):
    hierarchy, rows, config = build(
        "supercategories with heads", n_groups=shape[0], n_compounds=shape[1]
    )
    point, value = scales_of(hierarchy, 5)
    dense, tables = Dense(rows, config, value), NodeTables(hierarchy)
    compounds = np.unique(rows.compound)
    mean_effect = np.array([float(n[0] == "alpha") for n in dense.names]) / len(compounds)

    def functional(*names: tuple[Any, ...]) -> FloatArray:
        return np.array([float(n in names) for n in dense.names])

    state = hierarchy.state(point)
    new = np.array([value["tau_pair"] ** 2, *(dense.slope_sd(0, j) ** 2 for j in range(2))])
    group = np.array([value["tau_slope_group"] ** 2] * 2)
    for name, nodes in (("group", np.unique(rows.group)), ("parent", range(3)), ("global", [0])):
        mean, cov = tables.level(name, state)
        for i, node in enumerate(nodes):
            s = int(node) % 3 if name == "group" else int(node)
            b, w = [("t0",)], [[("w0", j)] for j in range(2)]
            if name != "global":
                b, w = [*b, ("mu_s", s)], [[*w[j], ("w_s", s, j)] for j in range(2)]
            if name == "group":
                b, w = [*b, ("mu_g", node)], [[*w[j], ("w_g", node, j)] for j in range(2)]
            A = np.stack([functional(*b) + mean_effect, *(functional(*w[j]) for j in range(2))])
            wider = new.copy()
            taus = [value[f"tau_group[{t}]"] ** 2 for t in range(3)]
            if name != "group":
                of_group = (
                    taus[s]
                    if name == "parent"
                    else np.mean([taus[g % 3] for g in np.unique(rows.group)])
                )
                wider += [of_group, *group]
            if name == "global":
                slope = value["tau_slope_supercategory"] ** 2
                wider += [value["tau_supercategory"] ** 2, slope, slope]
            np.testing.assert_allclose(mean[i], A @ dense.mean, rtol=1e-7, atol=1e-8)
            expected = A @ dense.cov @ A.T + np.diag(wider)
            np.testing.assert_allclose(cov[i], expected, rtol=1e-7, atol=1e-8)
    of_compounds = tables.compound(state)
    assert of_compounds is not None
    mean, cov, new_cov = of_compounds
    for i, c in enumerate(compounds):
        A = functional(("alpha", c)) - mean_effect
        assert mean[i, 0] == pytest.approx(A @ dense.mean, rel=1e-7, abs=1e-8)
        assert cov[i, 0, 0] == pytest.approx(A @ dense.cov @ A, rel=1e-7, abs=1e-8)
    expected = value["tau_compound"] ** 2 * (1 + 1 / len(compounds))
    assert new_cov[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("heads", "slopes"),
    [
        ("none", "none"),
        ("cluster", "none"),
        ("species", "none"),
        ("none", "global"),
        ("none", "species"),
        ("species", "cluster"),
    ],
)
@pytest.mark.parametrize("shape", [(5, 7), (9, 3)], ids=["compounds out", "groups out"])
@pytest.mark.parametrize("method", ["map", "nuts"])
def test_descriptors_equal_dense_algebra(heads, slopes, shape, method):
    rows = Rows.random(6, n_groups=shape[0], n_compounds=shape[1])
    raw = np.random.default_rng(7).normal(size=(shape[1], 2)) * [2.0, 0.1] + [5.0, 0.0]
    seen = raw[np.unique(rows.compound)]
    z = (raw - seen.mean(axis=0)) / seen.std(axis=0)
    config = RidgeConfig(
        intercept_prior="comp_hier_supercat",
        slope_head_mode="global",
        descriptor_heads=heads,
        descriptor_slopes=slopes,
        method=method,
    )
    table = CompoundDescriptors(np.arange(len(raw)), raw, ("logp", "mass"))
    hierarchy = Hierarchy(rows.statistics(), config, table)
    assert (hierarchy._factors is None) == (method == "map")
    point, value = scales_of(hierarchy, 8)
    dense = Dense(rows, config, value, z)
    found, gradient = hierarchy.log_likelihood(point)
    assert found == pytest.approx(dense.log_likelihood(profile=False), rel=RELATIVE)
    x = hierarchy.unconstrained(point)
    for j in range(len(x)):
        e = np.eye(len(x))[j] * 1e-5
        up, down = (hierarchy.log_likelihood(hierarchy.natural(x + s * e))[0] for s in (1, -1))
        assert gradient[j] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-5)
    state = hierarchy.state(point)
    mean, cov = pair_coefficients(hierarchy, state)
    for i, k in enumerate(dense.pairs):
        np.testing.assert_allclose(mean[i], dense.coefficients(k)[0], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(cov[i], dense.coefficients(k)[1], rtol=1e-7, atol=1e-8)

    # What the artefact keeps: coefficients per unit as given, deviations about their mean.
    tables = NodeTables(hierarchy)
    exported = DescriptorTables(hierarchy, tables, table.of(rows.compound))
    exported.add(1.0, state)
    effect = exported.effect(np.zeros((3, 3)))
    groups = np.unique(rows.group)

    E = 1 if slopes == "none" else 3
    entry_of = {"theta": 0, "phi": 1}

    def functional(**weights: FloatArray) -> FloatArray:
        """Coefficients [2 E]: of a descriptor and an entry of [b, w], in this order."""
        found = np.zeros((2, E, len(dense.names)))
        for i, name in enumerate(dense.names):
            kind, _, level = name[0].partition("_")
            if kind not in entry_of or (level or "all") not in weights:
                continue
            place = name[1:] if level else (0, *name[1:])
            entry = 0 if kind == "theta" else 1 + place[2]
            found[place[1], entry, i] = weights[level or "all"][place[0]]
        return (found / seen.std(axis=0)[:, None, None]).reshape(2 * E, -1)

    share = {"s": np.full(3, 1 / 3), "g": np.full(groups.max() + 1, 1 / len(groups))}
    A = functional(all=np.ones(1), **share)
    np.testing.assert_allclose(effect.mean, A @ dense.mean, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(effect.cov, A @ dense.cov @ A.T, rtol=1e-7, atol=1e-8)
    for head in effect.heads:
        if head.name != "group":
            continue
        for i, g in enumerate(groups):
            one_s, one_g = np.eye(3)[g % 3], np.eye(groups.max() + 1)[g]
            A = functional(s=one_s - share["s"], g=one_g - share["g"])
            np.testing.assert_allclose(head.mean[i], A @ dense.mean, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(head.cov[i], A @ dense.cov @ A.T, rtol=1e-7, atol=1e-8)
    depth = {"none": 0, "global": 0, "cluster": 1, "species": 2}
    expected = {0: [], 1: ["parent", "global"], 2: ["group", "parent", "global"]}
    assert [head.name for head in effect.heads] == expected[max(depth[heads], depth[slopes])]


@pytest.mark.parametrize("shape", [(5, 7), (9, 3)], ids=["compounds out", "groups out"])
def test_classes_of_unseen_pairs_equal_dense_algebra(shape):  # noqa: C901
    hierarchy, rows, config = build("class slopes", n_groups=shape[0], n_compounds=shape[1], n=90)
    point, value = scales_of(hierarchy, 9)
    dense, tables = Dense(rows, config, value), NodeTables(hierarchy)
    state = hierarchy.state(point)
    exported = ClassTables(tables, CLASSES)
    exported.add(1.0, state)
    effect = exported.effect()
    compounds = np.unique(rows.compound)
    mean_compound = {("w_c", c): 1 / len(compounds) for c in compounds}
    mean_class = {("w_k", k): 1 / 2 for k in range(2)}
    members = [compounds[compounds % 2 == k] for k in range(2)]

    def of_class(k: int) -> dict[Any, float]:
        """The slopes of a class and what its compounds have in common, about the mean over all."""
        found = {name: -w for name, w in (mean_compound | mean_class).items()}
        found["w_k", k] += 1
        for c in members[k]:
            found["w_c", c] += 1 / len(members[k])
        return found

    def functional(weights: dict[Any, float]) -> FloatArray:
        found = np.zeros((2, len(dense.names)))
        for i, name in enumerate(dense.names):
            if name[:2] in weights:
                found[name[2], i] = weights[name[:2]]
            elif name[0] == "w0":
                found[name[1], i] = weights.get("w0", 0.0)
        return found

    def check(mean: FloatArray, cov: FloatArray, weights: dict[Any, float]) -> None:
        A = functional(weights)
        np.testing.assert_allclose(mean[1:], A @ dense.mean, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(cov[1:, 1:], A @ dense.cov @ A.T, rtol=1e-7, atol=1e-8)

    assert effect is not None
    assert effect.own is not None
    assert effect.within is not None
    for k in range(2):
        check(effect.own.mean[k], effect.own.cov[k], of_class(k))
    assert effect.own.new_cov[1, 1] == pytest.approx(value["tau_slope_class"] ** 2 * 1.5)
    for i, key in enumerate(effect.within.ids):
        s, k = int(key) >> 32, int(key) & 1
        seen = {int(key) & 1 for key in effect.within.ids if key >> 32 == s}
        weights = of_class(k) | {("w_sk", (s, j)): (j == k) - 1 / len(seen) for j in seen}
        check(effect.within.mean[i], effect.within.cov[i], weights)
    of_compounds = tables.compound(state)
    assert of_compounds is not None
    mean, cov, _ = of_compounds
    for i, c in enumerate(compounds):
        own = members[c % 2]
        weights = {("w_c", other): (other == c) - 1 / len(own) for other in own}
        check(mean[i], cov[i], weights)
    mean, cov = tables.level("group", state)
    new = np.array([dense.slope_sd(0, j) ** 2 for j in range(2)])
    for i, g in enumerate(np.unique(rows.group)):
        seen = {int(key) & 1 for key in effect.within.ids if key >> 32 == g % 3}
        weights = {"w0": 1.0, ("w_s", g % 3): 1.0, ("w_g", g): 1.0} | mean_compound | mean_class
        weights |= {("w_sk", (g % 3, j)): 1 / len(seen) for j in seen}
        known = cov[i] - np.diag([0.0, *new])
        check(mean[i], known, weights)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), model=st.sampled_from(sorted(MODELS)))
def test_an_offset_of_the_target_moves_intercepts_alone(seed, model):
    if model == "known grand mean":
        return
    near, far = (build(model, seed, offset=offset)[0] for offset in (0.0, 1e6))
    point, _ = scales_of(near, seed)
    # The table's own numbers are rounded at 1e-10 once 1e6 is added to them.
    assert near.log_likelihood(point)[0] == pytest.approx(far.log_likelihood(point)[0], abs=1e-6)
    a, b = (pair_coefficients(h, h.state(point)) for h in (near, far))
    np.testing.assert_allclose(b[0][:, 0] - a[0][:, 0], 1e6, rtol=0, atol=1e-7)
    np.testing.assert_allclose(b[0][:, 1:], a[0][:, 1:], rtol=0, atol=1e-7)
    np.testing.assert_allclose(a[1], b[1], rtol=1e-7, atol=1e-9)


def test_pairs_with_fewer_rows_than_covariates_are_fitted():
    rows = Rows.random(0, n=60)
    single = Rows(rows.group[:1], rows.compound[:1], rows.X[:1], rows.y[:1])
    hierarchy = Hierarchy(single.statistics(), RidgeConfig())
    point = np.ones(hierarchy.layout.size)
    mean, cov = pair_coefficients(hierarchy, hierarchy.state(point))
    assert mean[0, 0] == pytest.approx(rows.y[0])
    assert np.linalg.eigvalsh(cov[0]).min() > 0


def test_a_constant_covariate_is_refused_by_a_slope_head_and_shrunk_without():
    rows = Rows.random(0)
    rows.X[:, 1] = 0.0
    with pytest.raises(RTRidgeError, match="is_2 constant"):
        Hierarchy(rows.statistics(), RidgeConfig(slope_head_mode="global"))
    plain = Hierarchy(rows.statistics(), RidgeConfig())
    mean, cov = pair_coefficients(plain, plain.state(plain.layout.start()))
    assert (mean[:, 2] == 0).all()
    assert (cov[:, 2, 2] > 0).all()


def test_dependent_covariates_are_named_by_a_slope_head():
    rows = Rows.random(0)
    rows.X[:, 1] = 2 * rows.X[:, 0] - 1
    with pytest.raises(RTRidgeError, match="is_1, is_2 linearly dependent"):
        Hierarchy(rows.statistics(), RidgeConfig(slope_head_mode="global"))


def test_effects_that_the_data_cannot_tell_apart_are_left_out_and_named():
    rows = Rows.random(0)
    rows.compound[:] = 4
    structure = Hierarchy(rows.statistics(), RidgeConfig(slope_head_mode="global")).structure
    assert structure.notes == ["tau_compound left out: there is one compound"]


def test_a_hierarchy_too_large_to_solve_is_refused(monkeypatch):
    monkeypatch.setattr("rt_ridge.hierarchy._linear_system.MAX_DENSE", 5)
    with pytest.raises(RTRidgeError, match="7 effects of one factor cross 9 of the others"):
        build("supercategories")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"intercept_prior": "comp_hier_supercat"}, "supercategory of each group"),
        ({"slope_head_mode": "cluster_supercat"}, "supercategory of each"),
        ({"lambda_slopes": [1.0]}, "2, one for each of is_1, is_2; found 1"),
        ({"descriptor_heads": "species"}, "descriptor_heads: expected compound descriptors"),
        ({"descriptor_slopes": "global"}, "descriptor_slopes: expected compound descriptors"),
        ({"class_slopes": "global"}, "class_slopes: expected the class of each compound"),
        (
            {"species_slopes": True, "slope_shrinkage": "supercat"},
            "slope_shrinkage: supercat needs the supercategory",
        ),
    ],
)
def test_what_the_statistics_lack_is_named(config, message):
    from dataclasses import replace

    stats = replace(Rows.random(0).statistics(), parents=None)
    with pytest.raises(RTRidgeError, match=message):
        Hierarchy(stats, RidgeConfig(**config))


def test_the_spread_of_one_pair_is_not_looked_for():
    rows = Rows.random(0, n_groups=1, n_compounds=1)
    hierarchy = Hierarchy(rows.statistics(), RidgeConfig(lambda_slopes="estimate"))
    assert hierarchy.layout.names == ("sigma", "tau_slope")
    assert "there is one pair" in hierarchy.structure.notes[0]
    assert Hierarchy(rows.statistics(), RidgeConfig(method="reml")).layout.names[1] == "tau_pair"


@pytest.mark.parametrize("scales", ["shared", "covariate"])
@pytest.mark.parametrize("described", [False, True])
def test_chains_side_by_side_find_what_one_alone_does(scales, described):
    """What was kept of one point was read by a chain that stood at another."""
    rows = Rows.random(0)
    config = RidgeConfig(
        intercept_prior="comp_hier_supercat",
        slope_head_mode="global",
        lambda_slopes="estimate",
        slope_scales=scales,
        method="nuts",
    )
    z = np.random.default_rng(1).normal(size=(7, 2))
    table = CompoundDescriptors(np.arange(7), z, ("logp", "mass")) if described else None
    hierarchy = Hierarchy(rows.statistics(), config, table)
    points = np.random.default_rng(2).uniform(0.2, 1.5, (60, hierarchy.layout.size))
    alone = [hierarchy.log_likelihood(point) for point in points]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(hierarchy.log_likelihood, points))
    finally:
        sys.setswitchinterval(before)
    for one, other in zip(alone, found, strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])
