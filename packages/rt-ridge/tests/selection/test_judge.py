"""Scores from sums against the same predictions row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from rt_ridge import AutoRidge, PartialPoolingRidge, SufficientStatistics
from rt_ridge._auto import _held_out, folds_of_rows
from rt_ridge._config import RidgeConfig
from rt_ridge._estimators import to_statistics
from rt_ridge.hierarchy._hierarchy import Hierarchy
from rt_ridge.posterior._artefact import pair_coefficients
from rt_ridge.selection._candidates import first_candidates
from rt_ridge.selection._choice import Errors, _share, _stacked, stacking_weights
from rt_ridge.selection._held_out import (
    GroupRanges,
    natural_order,
    plan_folds,
    plan_unseen,
    principal_scores,
    runs_of_one,
)
from rt_ridge.selection._judge import FOLLOW, Judge
from rt_ridge.statistics._sufficient import without
from scipy.optimize import minimize

NAMES = ("a", "b")


def rows(seed: int = 0, n_runs: int = 12) -> dict[str, Any]:
    """Every run measures 2 species and 4 compounds; one compound is in the first run alone."""
    rng = np.random.default_rng(seed)
    runs = np.repeat(np.arange(n_runs), 8)
    ids = np.stack([np.tile([0, 1], 4 * n_runs), np.tile(np.repeat(np.arange(4), 2), n_runs)], 1)
    X = (rng.normal(size=(n_runs, 2)) * [1.0, 30.0] + [0, 500])[runs]
    y = 5.0 + ids[:, 1] + 0.3 * X[:, 0] + 0.01 * X[:, 1] + 0.1 * rng.normal(size=len(X))
    extra = np.array([[0, 7, 0]]), X[:1], [9.0]
    ids = np.concatenate([np.column_stack([ids, np.zeros(len(ids), dtype=int)]), extra[0]])
    return {
        "X": np.concatenate([X, extra[1]]),
        "y": np.concatenate([y, extra[2]]),
        "ids": ids,
        "runs": np.append(runs, 0),
    }


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return rows()


def statistics(table: dict[str, Any], keep: Any = slice(None)) -> Any:
    X, y, ids = (table[k][keep] for k in ("X", "y", "ids"))
    return to_statistics(X, y, ids, NAMES, "species", "none")


def test_rows_taken_from_sums_leave_the_sums_of_the_others(table):
    total = statistics(table)[0]
    out = table["runs"] < 3
    found, expected = without(total, statistics(table, out)[0]), statistics(table, ~out)[0]
    left = found.n > 0
    assert found.keys[left].tolist() == expected.keys.tolist()
    assert found.keys[~left].tolist() == [7]
    for name in ("n", "mean_x", "mean_y", "sxx", "sxy", "syy"):
        a, b = getattr(found, name)[left], getattr(expected, name)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert found.sxx[~left].tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize("follow", range(len(FOLLOW)))
def test_scores_equal_those_of_rows(table, follow):
    stats, features = statistics(table)
    folds = folds_of_rows(table["runs"], table["X"], ordered=True)
    parts = (table["X"], table["y"], table["ids"])
    held = [_held_out(f, table["runs"], parts, features, "species") for f in folds]
    scale = np.array([2.0, 40.0])
    judge = Judge(stats, held, scale)
    config = first_candidates(stats, RidgeConfig())[-2].config
    hierarchy = Hierarchy(judge.stats, config)
    point = np.random.default_rng(1).uniform(0.1, 0.5, hierarchy.layout.size)
    scores = judge.score(hierarchy, point)
    for number, fold in enumerate(folds):
        out = fold.members[table["runs"]]
        other = to_statistics(
            table["X"][~out] / scale, table["y"][~out], table["ids"][~out], NAMES, "", "none"
        )[0]
        refitted = Hierarchy(other, config)
        state = refitted.state(point)
        mean, cov = pair_coefficients(refitted, state)
        X = table["X"][out]
        inside = np.clip(X, fold.low, fold.high)
        z = (inside + FOLLOW[follow] * (X - inside)) / scale
        x = np.column_stack([np.ones(len(z)), z])
        keys = (table["ids"][out, 0] << 32) + table["ids"][out, 1]
        for k in np.unique(keys):
            if k not in other.keys:
                continue
            at = keys == k
            place = int(np.searchsorted(other.keys, k))
            error = table["y"][out][at] - x[at] @ mean[place]
            variance = np.einsum("nd,de,ne->n", x[at], cov[place], x[at])
            beyond = np.column_stack([np.zeros(at.sum()), ((X - inside) / scale)[at]])
            second = cov[place] + np.outer(mean[place], mean[place])
            unsure = 0.0 if FOLLOW[follow] == 1 else 1 / 12 + (0.5 - FOLLOW[follow]) ** 2
            variance += unsure * np.einsum("nd,de,ne->n", beyond, second, beyond)
            cell = (judge.fold == number) & (_keys(judge, number) == k)
            assert scores.squared[follow][cell] == pytest.approx((error**2).sum(), rel=1e-7)
            expected = variance.mean() + state.sigma2[0]
            assert scores.variance[follow][cell] == pytest.approx(expected, rel=1e-7)


def _keys(judge: Judge, number: int) -> Any:
    found = np.full(len(judge.fold), -1)
    found[judge.fold == number] = judge.folds[number].part.keys
    return found


def test_compounds_that_no_other_run_has_are_not_judged(table):
    stats, features = statistics(table)
    folds = folds_of_rows(table["runs"], table["X"], ordered=True)
    parts = (table["X"], table["y"], table["ids"])
    held = [_held_out(f, table["runs"], parts, features, "species") for f in folds]
    assert 7 in held[0].stats.keys
    assert 7 not in Judge(stats, held, np.ones(2)).folds[0].part.keys


def test_pairs_left_out_are_predicted_as_by_dense_algebra(table):
    stats, features = statistics(table)
    ids, X, y = (table[k] for k in ("ids", "X", "y"))
    folds = plan_unseen(stats, GroupRanges.of_rows(ids[:, 0], X), 12)
    assert [f.name for f in folds[:3]] == ["groups 1 of 2", "groups 2 of 2", "pairs 1 of 5"]
    held = [_held_out(f, table["runs"], (X, y, ids), features, "species") for f in folds]
    assert {h.kind for h in held} == {"groups", "pairs"}
    judge = Judge(stats, held, np.ones(2))
    named = {c.name: c.config for c in first_candidates(stats, RidgeConfig())}
    config = named["groups and compounds, one slope"].model_copy(
        update={"intercept_prior": "comp_hier"}
    )
    hierarchy = Hierarchy(judge.stats, config)
    sigma, pair, compound = np.array([0.1, 0.3, 2.0])
    assert hierarchy.layout.names == ("sigma", "tau_pair", "tau_compound")
    scores = judge.score(hierarchy, np.array([sigma, pair, compound]))
    key = (ids[:, 0] << 32) + ids[:, 1]
    # Of a common time, two slopes, and what compounds and pairs add: the penalty of each column.
    of_compound = (ids[:, 1, None] == np.unique(ids[:, 1])).astype(float)
    Z = np.column_stack([np.ones(len(y)), X, of_compound, key[:, None] == stats.keys])
    penalty = np.diag([0.0] * 3 + [compound**-2] * of_compound.shape[1] + [pair**-2] * stats.G)
    for number, fold in enumerate(folds):
        assert fold.pairs is not None
        out = np.isin(key, fold.pairs)
        fitted = np.linalg.solve(
            Z[~out].T @ Z[~out] / sigma**2 + penalty, Z[~out].T @ y[~out] / sigma**2
        )
        keys = judge.folds[number].part.keys
        assert set(keys) <= set(fold.pairs.tolist())
        squared = [((y - Z @ fitted)[key == k] ** 2).sum() for k in keys]
        found = scores.squared[0][judge.fold == number]
        np.testing.assert_allclose(found, squared, rtol=1e-6)


def test_who_is_left_out_with_whom_does_not_depend_on_names(table):
    stats = statistics(table)[0]
    ranges = GroupRanges.of_rows(table["ids"][:, 0], table["X"])
    called = statistics({**table, "ids": (table["ids"] * [-1, 1, 1]) + [5, 0, 0]})[0]
    other = plan_unseen(called, GroupRanges(5 - ranges.ids[::-1], ranges.low, ranges.high), 12)
    for fold, again in zip(plan_unseen(stats, ranges, 12), other, strict=True):
        assert fold.pairs is not None
        assert again.pairs is not None
        back = [((5 - (k >> 32)) << 32) + (k & (2**32 - 1)) for k in again.pairs.tolist()]
        assert sorted(back) == fold.pairs.tolist()
    one = statistics(table, table["ids"][:, 0] == 0)[0]
    assert plan_unseen(one, ranges, 12) == []


def test_stacking_weights_maximise_the_density_of_the_mixture():
    rng = np.random.default_rng(0)
    density, n = rng.normal(size=(3, 200)), rng.integers(1, 4, 200).astype(float)

    def loss(free: Any) -> float:
        w = np.exp(np.append(free, 0.0))
        return -float(n @ np.log(w / w.sum() @ np.exp(density)))

    best = np.exp(np.append(minimize(loss, np.zeros(2)).x, 0.0))
    np.testing.assert_allclose(stacking_weights(density, n), best / best.sum(), atol=1e-3)


def test_folds_are_blocks_of_order_and_ends_of_the_range():
    drift = np.random.default_rng(0).permutation(20).astype(float)[:, None]
    folds = plan_folds(drift, drift, drift)
    blocks, ends = folds[:5], folds[5:]
    assert np.stack([f.members for f in blocks]).sum(axis=0).tolist() == [1] * 20
    assert blocks[1].members.nonzero()[0].tolist() == [4, 5, 6, 7]
    assert [sorted(drift[f.members, 0]) for f in ends] == [[0, 1], [18, 19]]
    assert (ends[0].low[0], ends[1].high[0]) == (2, 17)
    assert plan_folds(drift[:3], drift[:3], drift[:3]) == []


def test_no_block_leaves_a_whole_group_out():
    drift = np.arange(28.0)[:, None]
    groups = np.repeat([3, 1, 2], [12, 13, 3])
    folds = plan_folds(drift, drift, drift, groups=groups)[:5]
    assert np.stack([f.members for f in folds]).sum(axis=0).tolist() == [1] * 28
    for fold in folds:
        assert set(groups[~fold.members]) == {1, 2, 3}
    assert folds[1].members.nonzero()[0].tolist() == [3, 4, 5, 15, 16, 17, 26]
    # Neither what groups are called nor whether order is known changes that.
    named = plan_folds(drift, drift, drift, groups=np.array([0, 7, 5, 9])[groups])
    assert [f.members.tolist() for f in named[:5]] == [f.members.tolist() for f in folds]
    dealt = plan_folds(drift, drift, drift, groups=groups, ordered=False)[:5]
    assert all(set(groups[~fold.members]) == {1, 2, 3} for fold in dealt)


def test_a_run_is_of_a_group_where_all_its_rows_are():
    nested = np.array([0, 0, 4])
    np.testing.assert_array_equal(runs_of_one(nested, nested), nested)
    assert runs_of_one(np.array([0, 0]), np.array([0, 1])) is None
    assert runs_of_one(np.array([2, 2]), np.array([2, 2])) is None


def test_scores_along_the_main_direction_do_not_depend_on_units():
    X = np.random.default_rng(0).normal(size=(30, 3))
    X[:, 1] += 2 * X[:, 0]
    scaled = principal_scores(X * [1e6, 1, 1e-6])
    np.testing.assert_allclose(scaled, principal_scores(X), rtol=1e-9, atol=1e-9)


def test_names_of_runs_are_ordered_with_their_numbers_as_numbers():
    names = ["QC_10", "QC_2", "blank", "QC_2b"]
    assert [names[i] for i in natural_order(names)] == ["QC_2", "QC_2b", "QC_10", "blank"]


SHAPES = {"no slopes": 0.0, "one slope": 0.5, "slopes of pairs": 0.5}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_structure_of_a_simulated_table_is_found(shape):
    rng = np.random.default_rng(3)
    runs = np.repeat(np.arange(40), 10)
    ids = np.stack([np.zeros(400, dtype=int), np.tile(np.arange(10), 40)], axis=1)
    X = rng.normal(size=(40, 1))[runs]
    slope = np.full(10, SHAPES[shape]) + (shape == "slopes of pairs") * rng.normal(size=10)
    y = 5.0 + ids[:, 1] + slope[ids[:, 1]] * X[:, 0] + 0.1 * rng.normal(size=400)
    model = AutoRidge().fit(X, y, ids, runs=runs)
    best = model.structure_.names[0]
    assert shape in best or (shape == "slopes of pairs" and "about 0" in best)
    known = PartialPoolingRidge(lambda_slopes="estimate", slope_head_mode="global").fit(X, y, ids)
    ours, theirs = (np.asarray(m.predict(X, ids)) for m in (model, known))
    error = np.abs(ours - theirs).max()
    assert error < 0.1, "no structure is far from the one that holds all"


def test_statistics_of_no_runs_are_chosen_by_likelihood():
    frame = pl.DataFrame(rows_of_pairs())
    stats = SufficientStatistics.from_frame(frame, covariates=["x"], parent=None)
    model = AutoRidge().fit(stats)
    assert "marginal likelihood" in model.notes_[-1]
    assert np.isnan(model.structure_.rmse).all()
    assert "slope" in model.structure_.names[0]


def rows_of_pairs() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    return {
        "species": np.zeros(60, dtype=int),
        "comp_id": np.tile(np.arange(6), 10),
        "x": x,
        "rt": 5 + x + 0.1 * rng.normal(size=60),
    }


def test_slopes_are_followed_the_least_where_runs_left_out_hardly_tell():
    # Errors of slopes followed wholly, half, and not at all.
    assert _share(np.array([0.0, 0.05, 0.1])) == 0
    assert _share(np.array([0.004, 0.0, 0.006])) == 2
    assert _share(np.array([0.1, 0.0, 0.02])) == 1
    assert _share(np.zeros(3)) == 0


def test_a_mixture_that_errs_more_than_the_best_alone_is_not_taken(table):
    stats, features = statistics(table)
    folds = folds_of_rows(table["runs"], table["X"], ordered=True)
    parts = (table["X"], table["y"], table["ids"])
    held = [_held_out(f, table["runs"], parts, features, "species") for f in folds]
    judge = Judge(stats, held, np.ones(2))
    rng = np.random.default_rng(0)
    lines = rng.normal(size=(len(judge.n), 3))
    found = judge.squared_errors(lines, FOLLOW[0])
    part = judge.folds[0].part
    # By hand: n (ȳ - b - w·x̄)² and the scatter about the line.
    b, w = lines[: part.G, 0], lines[: part.G, 1:]
    mean_x, sxx, sxy = part.mean_x[:, :2], part.sxx[:, :2, :2], part.sxy[:, :2]
    expected = part.n * (part.mean_y - b - (mean_x * w).sum(axis=1)) ** 2 + part.syy
    expected += np.einsum("gp,gpq,gq->g", w, sxx, w) - 2 * (w * sxy).sum(axis=1)
    np.testing.assert_allclose(found[: part.G], expected, rtol=1e-9)
    # Each is better in every other cell, so that together they are in every fold.
    density = 2.0 * np.stack([np.arange(len(judge.n)) % 2, (1 + np.arange(len(judge.n))) % 2])
    errors = object.__new__(Errors)
    errors.judge, errors.n, errors.fold = judge, judge.n, judge.fold
    errors.density = np.repeat(density[:, None], len(FOLLOW), axis=1).astype(np.float64)
    best, worse = (
        np.concatenate([f.part.mean_y for f in judge.folds]),
        rng.normal(size=len(found)),
    )
    errors.lines = [np.column_stack([b, 0 * b, 0 * b]) for b in (best, worse)]
    errors.squared = np.stack([
        [judge.squared_errors(lines, share) for share in FOLLOW] for lines in errors.lines
    ])  # fmt: skip
    assert _stacked(errors, 0, 0).tolist() == [1, 0]
    errors.lines = [errors.lines[0]] * 2
    assert _stacked(errors, 0, 0) == pytest.approx([0.5, 0.5], abs=0.05)
