"""Heavy tails that are tried by default: taken where runs left out gain, errors as row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rt_ridge import AutoRidge, PartialPoolingRidge, Stage1CoeffSummaries, SufficientStatistics
from rt_ridge._estimators import to_rows, to_statistics
from rt_ridge.prediction._tails import NORMAL
from rt_ridge.robust._trial import LEFT, LeftOut, errors_of, looks_heavy, rows_of
from rt_ridge.robust._weights import reweighted
from rt_ridge.selection import _search
from rt_ridge.tables._keys import unpack


def lab(off: int = 0, n_compounds: int = 6) -> dict[str, Any]:
    """Return 30 runs of some compounds, whose slopes differ; some rows are of another peak."""
    rng = np.random.default_rng(0)
    runs = np.repeat(np.arange(30), n_compounds)
    compound = np.tile(np.arange(n_compounds), 30)
    X = rng.normal(size=(30, 1))[runs]
    y = 4 + compound + (0.3 + 0.2 * (compound % 6)) * X[:, 0] + 0.05 * rng.normal(size=len(runs))
    y[rng.permutation(len(y))[:off]] = 0.0
    ids = np.stack([np.zeros_like(compound), compound], axis=1)
    return {"X": X, "y": y, "groups": ids, "runs": runs}


@pytest.fixture(scope="module")
def off() -> AutoRidge:
    return AutoRidge().fit(**lab(off=2))


def test_peaks_that_are_off_have_little_weight_by_default(off):
    assert off.summaries_.tails.likelihood == "student_t"
    assert off.scales_["sigma"]["mean"] < 0.07
    assert "errors of heavy tails (student_t): runs left out gain by it" in off.notes_[-1]
    normal = AutoRidge(likelihood="gaussian").fit(**lab(off=2))
    assert normal.summaries_.tails == NORMAL
    assert normal.scales_["sigma"]["mean"] > 0.3


def test_normal_errors_stay_normal():
    table = lab()
    model = AutoRidge().fit(**table)
    assert model.summaries_.tails == NORMAL
    assert not any("heavy tails" in note for note in model.notes_)
    given = AutoRidge(likelihood="gaussian").fit(**table)
    np.testing.assert_array_equal(model.summaries_.mean, given.summaries_.mean)
    # One structure that is given has what is said: nothing is tried.
    assert PartialPoolingRidge().fit(**lab(off=2)).summaries_.tails == NORMAL


def test_kurtosis_is_that_of_errors_over_sigma():
    model = PartialPoolingRidge(lambda_slopes="estimate")
    for rows, heavy in ((lab(), False), (lab(off=2), True)):
        fitted = model.fit(rows["X"], rows["y"], rows["groups"])
        stored = to_rows(rows["X"], rows["y"], rows["groups"])
        assert looks_heavy(stored, fitted.summaries_) is heavy


def test_errors_of_rows_left_out_are_those_of_the_judge():
    table = lab(off=2)
    (rows,) = to_rows(table["X"], table["y"], table["groups"], table["runs"])
    model = AutoRidge(likelihood="gaussian").fit(**table)
    choice, features = model.choice_, model.summaries_.features
    judge, folds = choice.judge, {fold.name: fold for fold in model._folds}
    assert judge is not None
    found = []
    for number, cells in enumerate(judge.folds):
        fold = folds[cells.name]
        out, others = rows_of(fold, rows), rows_of(fold, rows, out=False)
        assert len(out.y) + len(others.y) == len(rows.y)
        found.append(errors_of(choice, number, fold, out, features))
    errors = np.concatenate(found)
    assert np.isfinite(errors).all()
    expected = judge.squared_errors(choice.lines, choice.follow).sum()
    assert (errors**2).sum() == pytest.approx(expected, rel=1e-8)
    assert len(errors) == judge.n.sum()


def test_heavy_tails_speak_as_far_as_they_cost_no_squared_error():
    rng = np.random.default_rng(0)
    normal, share = rng.normal(size=1000), rng.uniform(size=1000)
    # Closer by half where much is left of a line, and thrice as far where little is.
    heavy = normal * np.where(share > 0.85, 0.5, 3.0)
    assert LeftOut(heavy, normal, share).speaks_from() == 0.85
    assert LeftOut(0.9 * normal, normal, share).speaks_from() == LEFT[0]
    assert LeftOut(normal, normal, share).speaks_from() is None
    assert LeftOut(3 * normal, normal, share).speaks_from() is None
    # An RMSE of a hundredth more counts where lines are lost, not where single peaks are off.
    off, missed = np.append(normal, [800.0, 900.0]), np.append(0.5 * normal, [812.0, 913.0])
    lost = np.ones(1002)
    assert LeftOut(missed, off, lost).speaks_from() == LEFT[0]
    lost[:50] = 0.5
    assert LeftOut(missed, off, lost).speaks_from() is None
    there = np.arange(1000) % 2 == 0
    some = LeftOut(np.where(there, heavy, np.nan), normal, share)
    assert some.speaks_from() == LeftOut(heavy[there], normal[there], share[there]).speaks_from()
    nothing = LeftOut(np.full(3, np.nan), np.ones(3), np.ones(3))
    assert nothing.speaks_from() is None
    assert LeftOut.joined([some, nothing]).heavy.shape == (1003,)


def test_rows_left_out_are_not_weighed(slow_runs):
    """Errors by weights that knew the rows would flatter heavy tails."""
    table, (rows,) = with_three_slow_runs(), to_rows(*with_three_slow_runs().values())
    normal = slow_runs._normal
    assert normal is not None
    found = slow_runs._left_out(
        normal.choice_,
        to_rows(*table.values()),
        normal_stats(table, slow_runs),
        slow_runs.summaries_.features,
    )
    fold = next(f for f in slow_runs._folds if f.name == "block 1 of 5")
    out = rows_of(fold, rows)
    rest = {name: v[table["runs"] >= 12] for name, v in table.items()}
    other = AutoRidge(likelihood="student_t").fit(**rest)
    mean = other.predict(out.covariates, np.stack(unpack(np.repeat(out.keys, out.n)), axis=1))
    near = np.abs(found.heavy[: len(out.y)] - (out.y - mean))
    assert np.median(near) < 0.01


def test_of_many_pairs_a_part_says_what_errors_are_like(monkeypatch):
    monkeypatch.setattr(_search, "MAX_PAIRS", 5)
    model = AutoRidge().fit(**lab(off=4, n_compounds=12))
    assert model.summaries_.tails.likelihood == "student_t"
    assert len(model.summaries_.keys) == 12
    assert model.weighted_.stats.G == 12
    assert model.scales_["sigma"]["mean"] < 0.09


def with_three_slow_runs() -> dict[str, Any]:
    """Return 60 runs of six compounds; three flow slower, as the second standard shows."""
    rng = np.random.default_rng(3)
    runs, compound = np.divmod(np.arange(60 * 6), 6)
    slow = runs % 20 == 7
    X = np.stack([rng.normal(size=60), 0.2 * rng.normal(size=60)], axis=1)[runs]
    X[:, 1] += slow
    y = 4 + compound + 0.1 * X[:, 0]
    y += slow * (0.6 + 0.2 * compound) * (1 + 0.3 * rng.normal(size=60))[runs]
    y += np.where(slow, 0.3, 0.03) * rng.normal(size=len(runs))
    ids = np.stack([np.zeros_like(compound), compound], axis=1)
    return {"X": X, "y": y, "groups": ids, "runs": runs}


def normal_stats(table: dict[str, Any], model: AutoRidge) -> SufficientStatistics:
    """Return statistics of the rows at equal weights, in the model's regressors."""
    z = model.summaries_.features.transform(table["X"])
    return to_statistics(z, table["y"], table["groups"], ["x0", "x1"], "species", "none")[0]


@pytest.fixture(scope="module")
def slow_runs() -> AutoRidge:
    return AutoRidge().fit(**with_three_slow_runs())


def test_lines_that_only_rows_of_little_weight_know_are_those_of_normal_errors(slow_runs, tmp_path):
    table, own = with_three_slow_runs(), slow_runs.summaries_
    assert own.tails.likelihood == "student_t"
    assert own.normal is not None
    slow, ids = table["runs"] % 20 == 7, table["groups"].T
    found = own.predict(table["X"], *ids)
    np.testing.assert_array_equal(found.normal, slow)
    heavy = replace(own, normal=None).predict(table["X"], *ids)
    other = own.normal.summaries.predict(table["X"], *ids)
    for name in ("mean", "std", "std_mean"):
        expected = np.where(slow, getattr(other, name), getattr(heavy, name))
        np.testing.assert_array_equal(getattr(found, name), expected)
    half = np.where(slow, other.half_width(0.9), heavy.half_width(0.9))
    np.testing.assert_array_equal(found.half_width(0.9), half)
    some = np.flatnonzero(slow)[:3]
    np.testing.assert_array_equal(found.take(some).half_width(0.9), half[some])
    # They know these runs, and heavy tails the others.
    error = np.abs(table["y"][:, None] - np.stack([heavy.mean, other.mean], axis=1))
    assert np.median(error[slow, 1]) < np.median(error[slow, 0]) / 2
    assert np.median(error[~slow, 0]) < np.median(error[~slow, 1]) / 2
    own.save(tmp_path / "a.npz")
    again = Stage1CoeffSummaries.load(tmp_path / "a.npz").predict(table["X"], *ids)
    np.testing.assert_array_equal(again.mean, found.mean)
    np.testing.assert_array_equal(again.half_width(0.9), half)


def test_a_peak_that_is_another_leaves_enough_of_its_pair(off):
    table, own = lab(off=2), off.summaries_
    assert own.normal is not None
    found = own.predict(table["X"], *table["groups"].T)
    assert not found.normal.any()
    np.testing.assert_array_equal(
        found.mean, replace(own, normal=None).predict(table["X"], *table["groups"].T).mean
    )


def test_fits_of_other_rows_have_normal_errors_beside_them_too(slow_runs):
    table, model = with_three_slow_runs(), slow_runs
    features, equal = model.summaries_.features, normal_stats(table, model)
    weighted = reweighted(equal, to_rows(*table.values()), model.summaries_).statistics()
    again = model.refit(weighted, features, equal).summaries_
    told = [s.predict(table["X"], *table["groups"].T).normal for s in (again, model.summaries_)]
    np.testing.assert_array_equal(*told)
    assert model.refit(weighted, features).summaries_.normal is None


def test_units_and_order_do_not_matter_to_who_speaks(slow_runs):
    table = with_three_slow_runs()
    order = np.random.default_rng(1).permutation(len(table["y"]))
    other = {name: values[order] for name, values in table.items()}
    other["y"], other["X"] = 60 * other["y"], other["X"] * [1e3, 1e-3]
    again = AutoRidge().fit(**other).summaries_
    found = again.predict(other["X"], *other["groups"].T)
    expected = slow_runs.summaries_.predict(table["X"], *table["groups"].T).take(order)
    np.testing.assert_array_equal(found.normal, expected.normal)
    np.testing.assert_allclose(found.mean / 60, expected.mean, rtol=1e-8)
    np.testing.assert_allclose(found.half_width(0.9) / 60, expected.half_width(0.9), rtol=1e-8)
