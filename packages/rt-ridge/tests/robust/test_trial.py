"""Heavy tails that are tried by default: taken where runs left out gain, errors as row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rt_ridge import AutoRidge, PartialPoolingRidge
from rt_ridge._estimators import to_rows
from rt_ridge.prediction._tails import NORMAL
from rt_ridge.robust._trial import _errors, looks_heavy
from rt_ridge.selection import _search


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
    assert off.notes_[-1] == "errors of heavy tails (student_t): runs left out gain by it"
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


def test_errors_of_rows_left_out_are_those_of_the_judge(off):
    table = lab(off=2)
    rows = to_rows(table["X"], table["y"], table["groups"], table["runs"])
    model = AutoRidge(likelihood="gaussian")
    features = model.fit(**table).summaries_.features
    choice = model.choice_
    errors = _errors(choice, model._folds, rows, features)
    judge = choice.judge
    assert judge is not None
    assert np.isfinite(errors).all()
    expected = judge.squared_errors(choice.lines, choice.follow).sum()
    assert (errors**2).sum() == pytest.approx(expected, rel=1e-8)
    assert len(errors) == judge.n.sum()


def test_of_many_pairs_a_part_says_what_errors_are_like(monkeypatch):
    monkeypatch.setattr(_search, "MAX_PAIRS", 5)
    model = AutoRidge().fit(**lab(off=4, n_compounds=12))
    assert model.summaries_.tails.likelihood == "student_t"
    assert len(model.summaries_.keys) == 12
    assert model.weighted_.stats.G == 12
    assert model.scales_["sigma"]["mean"] < 0.09
