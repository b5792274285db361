"""The chosen structure: what does not matter to it, what it says, and bad tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rt_ridge import AutoRidge, Hierarchy, PartialPoolingRidge, Stage1CoeffSummaries, _estimators
from rt_ridge._estimators import to_statistics
from rt_ridge.hierarchy._linear_system import UnsolvableError
from rt_ridge.scales._posterior import ScalePosterior
from rt_ridge.selection import _search


def lab(seed: int = 0) -> dict[str, Any]:
    """Return 20 runs of 3 species and 5 compounds, whose slopes differ by compound."""
    rng = np.random.default_rng(seed)
    n_runs, per_run = 20, 15
    runs = np.repeat(np.arange(n_runs), per_run)
    ids = np.stack([np.tile(np.repeat(np.arange(3), 5), n_runs), np.tile(np.arange(5), 3 * n_runs)])
    X = (rng.normal(size=(n_runs, 2)) @ [[1, 0.5], [0, 0.5]] + [8, 3])[runs]
    slope = rng.normal(size=(5, 2)) * 0.3
    y = 4 + 2.0 * ids[1] + 0.2 * ids[0] + (slope[ids[1]] * (X - [8, 3])).sum(axis=1)
    y = y + 0.05 * (1 + ids[0]) * rng.normal(size=len(y))
    keep = rng.uniform(size=len(y)) < 0.8
    ids = np.stack([*ids, ids[0] // 2], axis=1)
    return {"X": X[keep], "y": y[keep], "groups": ids[keep], "runs": runs[keep]}


NEW = (np.array([[8.3, 3.1], [12.0, 2.0], [8.0, 3.0]]), np.array([[0, 1, 0], [2, 4, 1], [9, 9, 0]]))


def bounds(table: dict[str, Any], X: Any = NEW[0], ids: Any = NEW[1]) -> Any:
    """Return what a fit to a table predicts; see `ends`."""
    return ends(AutoRidge().fit(**table), X, ids)


def ends(model: AutoRidge, X: Any, ids: Any) -> Any:
    """Return predictions and the ends of their intervals, beyond the training's range too."""
    found = model.predict_levels(X, ids)
    half = found.half_width(0.95)
    return np.stack([found.mean, found.mean - half, found.mean + half])


@pytest.fixture(scope="module")
def model() -> AutoRidge:
    return AutoRidge().fit(**lab())


@pytest.fixture(scope="module")
def reference(model: AutoRidge) -> Any:
    return ends(model, *NEW)


@pytest.mark.parametrize("factor", [(1e6, 1.0), (1e-6, 1e6)])
def test_units_of_covariates_do_not_matter(reference, factor):
    table = lab()
    table["X"] = table["X"] * factor
    np.testing.assert_allclose(bounds(table, NEW[0] * factor), reference, rtol=1e-8)


def test_a_reading_that_never_varied_says_nothing_where_it_does():
    # What centring leaves of 6.958 is rounding; slopes per so little were of any size.
    table = lab()
    table["X"] = table["X"] * [1, 0] + [0, 6.958]
    X, ids = np.array([[8.3, 6.958], [8.3, 6.973]]), np.array([[0, 1, 0]] * 2)
    found = bounds(table, X, ids)
    width = found[2] - found[1]
    assert width[1] < 1.1 * width[0]
    table["X"] = table["X"] * [1, 1e6]
    np.testing.assert_allclose(bounds(table, X * [1, 1e6], ids), found, rtol=1e-8)


def test_the_unit_of_the_retention_time_is_that_of_predictions(reference):
    table = lab()
    table["y"] = 60 * table["y"]
    np.testing.assert_allclose(bounds(table) / 60, reference, rtol=1e-8)


def test_order_of_rows_and_names_of_species_do_not_matter(reference):
    table, rng = lab(), np.random.default_rng(1)
    order = rng.permutation(len(table["y"]))
    table = {name: values[order] for name, values in table.items()}
    np.testing.assert_allclose(bounds(table), reference, rtol=1e-8)
    called = np.array([70, 6, 35, *[0] * 6, 9])
    table["groups"] = np.column_stack([called[table["groups"][:, 0]], table["groups"][:, 1:]])
    ids = np.column_stack([called[NEW[1][:, 0]], NEW[1][:, 1:]])
    np.testing.assert_allclose(bounds(table, ids=ids), reference, rtol=1e-8)


def test_coefficients_are_in_the_units_of_the_table(model):
    table = lab()
    table["X"] = table["X"] * [1000.0, 1.0]
    other = AutoRidge().fit(**table)
    a, b = model.summaries_, other.summaries_
    np.testing.assert_allclose(b.mean * [1, 1000, 1], a.mean, rtol=1e-7, atol=1e-9)
    assert b.features.scale == pytest.approx(a.features.scale * [1000, 1])
    assert a.features.range is not None
    assert a.features.range.low == pytest.approx(lab()["X"].min(axis=0))


def test_the_artefact_holds_candidates_scores_and_what_was_taken(model, tmp_path):
    model.summaries_.save(tmp_path / "a.npz")
    found = Stage1CoeffSummaries.load(tmp_path / "a.npz")
    assert found.structure is not None
    assert found.structure.names == model.structure_.names
    assert found.structure.weight.sum() == pytest.approx(1)
    assert found.structure.rows() == model.structure_.rows()
    assert "slopes of compounds" in found.structure.taken[0][0]
    X, ids = NEW
    again = found.predict(X, *ids.T)
    np.testing.assert_array_equal(again.mean, model.predict(X, ids))
    assert again.extrapolated is not None
    assert again.extrapolated.tolist() == [False, True, False]


def columns_of_their_own(seed: int = 2) -> dict[str, Any]:
    """Return 4 species whose readings lie apart; each pair's slope within one is its own.

    What a species' mean reading does to a compound carries over to the others.
    """
    rng = np.random.default_rng(seed)
    runs, compound = np.divmod(np.arange(24 * 7), 7)
    species, center = runs // 6, np.array([4.0, 5.0, 7.0, 8.0])
    off = (0.1 * rng.normal(size=24))[runs]
    between, within = 1 + 0.3 * rng.normal(size=7), 2 * rng.normal(size=(4, 7))
    y = 3 + 0.8 * compound + between[compound] * center[species] + within[species, compound] * off
    y = y + 0.05 * rng.normal(size=len(y))
    ids = np.column_stack([species, compound, np.zeros_like(species)])
    return {"X": (center[species] + off)[:, None], "y": y, "groups": ids, "runs": runs}


@pytest.fixture(scope="module")
def of_three() -> AutoRidge:
    """Three of these species."""
    table = columns_of_their_own()
    seen = table["groups"][:, 0] != 2
    train = {name: values[seen] for name, values in table.items()}
    return AutoRidge(likelihood="gaussian").fit(**train)


def test_pairs_never_seen_are_told_by_what_predicts_pairs_left_out(of_three, tmp_path):
    # Slopes of pairs predict runs of species that were seen, and say nothing of another.
    X, y, ids, _ = columns_of_their_own().values()
    new = ids[:, 0] == 2
    own, found = of_three.summaries_, of_three.predict_levels(X, ids)
    assert np.sqrt(np.mean((y - found.mean)[new] ** 2)) < 0.3
    inside = np.abs(y - found.mean) <= found.half_width(0.95)
    assert inside[new].mean() > 0.9
    assert own.unseen is not None
    assert "slopes of compounds" in own.unseen.structure.taken[0][0]
    # What was seen is told by what was chosen for it, to the bit.
    alone = replace(own, unseen=None).predict(X, *ids.T)
    assert np.sqrt(np.mean((y - alone.mean)[new] ** 2)) > 1
    for name in ("mean", "std", "level_code"):
        np.testing.assert_array_equal(getattr(found, name)[~new], getattr(alone, name)[~new])
        other = getattr(own.unseen.predict(X, *ids.T), name)
        np.testing.assert_array_equal(getattr(found, name)[new], other[new])
    own.save(tmp_path / "a.npz")
    again = Stage1CoeffSummaries.load(tmp_path / "a.npz").predict(X, *ids.T)
    np.testing.assert_array_equal(again.std, found.std)


def test_rows_that_do_not_tell_of_pairs_never_seen_are_fitted_all_the_same(of_three):
    X, y, ids, _ = columns_of_their_own().values()
    stats, features = to_statistics(np.ones_like(X), y, ids, ["x0"], "species", "none")
    other = of_three.refit(stats, features)
    assert of_three.summaries_.unseen is not None
    assert other.summaries_.unseen is None
    assert "speaks of all pairs" in other.notes_[-1]
    assert np.isfinite(other.predict(X[:3], ids[:3] + np.array([5, 0, 0]))).all()


def test_pairs_never_seen_are_freed_of_the_effects_of_runs(of_three, monkeypatch):
    def as_known(model: Hierarchy, cells: object, known: ScalePosterior) -> ScalePosterior:
        point, unknown = np.append(known.mean, 0.5), np.full(len(known.mean) + 1, np.nan)
        ends = {"points": point[None], "weights": np.ones(1), "low": unknown, "high": unknown}
        return replace(known, names=(*known.names, "tau_run"), **ends)

    # How scales are found with effects of runs is seen elsewhere, and takes long.
    monkeypatch.setattr(_estimators, "find_with_runs", as_known)
    table, rng = columns_of_their_own(), np.random.default_rng(3)
    new = table["groups"][:, 0] == 2
    train = {name: values[~new] for name, values in table.items()}
    shift = 0.5 * rng.normal(size=24)
    # Of shifts that sum to 0 within a species nothing is left once they are known.
    shift -= np.repeat(shift.reshape(4, 6).mean(axis=1), 6)
    train["y"] = train["y"] + shift[train["runs"]]
    model = AutoRidge(likelihood="gaussian", run_effects="independent").fit(**train)
    at = table["X"][new], table["groups"][new]
    found, expected = model.predict(*at), of_three.predict(*at)
    assert model.summaries_.unseen is not None
    assert model.summaries_.unseen.sigma2_mean < 0.5 * np.var(shift)
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_what_the_user_sets_is_kept_in_every_candidate():
    model = AutoRidge(intercept_prior="comp_hier_supercat", sigma="group").fit(**lab())
    assert all("groups and compounds" in name for name in model.structure_.names)
    assert model.choice_.trials[0].candidate.config.sigma == "group"


def test_a_refit_keeps_the_choice_and_takes_other_rows(model):
    before, table = model.predict(*NEW), lab(1)
    rows = (table["X"], table["y"], table["groups"])
    stats, features = to_statistics(*rows, ["x0", "x1"], "species", "none")
    other = model.refit(stats, features)
    assert other.structure_ is model.structure_
    assert other.log_likelihood_ != model.log_likelihood_
    np.testing.assert_array_equal(model.predict(*NEW), before)
    assert PartialPoolingRidge().fit(*rows).summaries_.structure is None


ROWS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "fewer rows than coefficients": lambda t: {k: v[:4] for k, v in t.items()},
    "constant covariates": lambda t: {**t, "X": np.ones_like(t["X"])},
    "one constant covariate": lambda t: {**t, "X": t["X"] * [1, 0] + [0, 3]},
    "dependent covariates": lambda t: {**t, "X": t["X"][:, [0, 0]] * [1, 2]},
    "one compound": lambda t: {k: v[t["groups"][:, 1] == 0] for k, v in t.items()},
    "one pair": lambda t: {k: v[(t["groups"][:, :2] == 0).all(axis=1)] for k, v in t.items()},
    "all groups of one row": lambda t: {
        **{k: v[:40] for k, v in t.items()},
        "groups": np.column_stack([np.arange(40), t["groups"][:40, 1], np.zeros(40, dtype=int)]),
    },
    "one run": lambda t: {k: v[t["runs"] == 0] for k, v in t.items()},
    "duplicated runs": lambda t: {k: np.concatenate([v, v]) for k, v in t.items()},
    "constant times": lambda t: {**t, "y": np.full_like(t["y"], 7.0)},
    "two rows": lambda t: {k: v[:2] for k, v in t.items()},
}


@pytest.mark.parametrize("name", ROWS)
def test_awkward_tables_have_an_answer(name):
    table = ROWS[name](lab())
    model = AutoRidge().fit(**table)
    found = model.predict_levels(NEW[0], NEW[1])
    assert np.isfinite(found.mean).all()
    assert (found.std > 0).all()
    # Candidates that such covariates leave no room for are not missed in silence.
    if name in ("one constant covariate", "dependent covariates"):
        said = [note for note in model.notes_ if "could not be tried" in note]
        assert len(said) == 1
        assert ("x1 constant" in said[0]) == (name == "one constant covariate")


def test_a_mode_that_rounding_makes_unsolvable_leaves_the_trial_as_it_was(model, monkeypatch):
    def unsolvable(*_: object) -> None:
        raise UnsolvableError("none within rounding")

    monkeypatch.setattr(_search, "with_intervals", unsolvable)
    found = bounds(lab())
    # A trial stands so near the mode that only the last digits differ.
    np.testing.assert_allclose(found, ends(model, *NEW), rtol=0.02)
