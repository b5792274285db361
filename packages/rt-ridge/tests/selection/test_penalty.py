"""Penalties chosen by runs left out, against scikit-learn row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from rt_ridge import FeatureMap, GroupwiseLasso, GroupwiseRidge, HeldOut
from rt_ridge._auto import folds_of_rows
from rt_ridge._estimators import to_statistics
from rt_ridge.studies._baselines import LASSO_PENALTIES, RIDGE_PENALTIES
from sklearn.linear_model import Lasso, Ridge

PAIRS = 4


def rows() -> tuple[Any, ...]:
    rng = np.random.default_rng(1)
    runs = np.repeat(np.arange(20), PAIRS)
    ids = np.stack([np.zeros_like(runs), np.tile(np.arange(PAIRS), 20)], axis=1)
    X = (rng.normal(size=(20, 3)) * [1, 30, 0.1])[runs]
    y = 5 + ids[:, 1] + 0.1 * X[:, 0] + 0.3 * rng.normal(size=len(runs))
    return X, y, ids, runs


def statistics(X: Any, y: Any, ids: Any) -> Any:
    return to_statistics(X, y, ids, [f"x{j}" for j in range(X.shape[1])], "species", "none")[0]


@pytest.mark.parametrize(
    ("make", "peer", "tried"),
    [(GroupwiseRidge, Ridge, RIDGE_PENALTIES), (GroupwiseLasso, Lasso, LASSO_PENALTIES)],
)
def test_the_penalty_is_that_of_least_error_on_runs_left_out(make, peer, tried):
    X, y, ids, runs = rows()
    folds = folds_of_rows(runs, X, ordered=True)
    parts = [
        (fold, fold.members[runs], fold.regressors(X, FeatureMap.plain(("a", "b", "c"))))
        for fold in folds
    ]
    held = [HeldOut(f.name, statistics(z[out], y[out], ids[out])) for f, out, z in parts]
    model = make(alpha=None).fit(statistics(X, y, ids), held_out=held)
    scale = X.std(axis=0)
    # Pairs have equally many rows, so that their squares add up to those within pairs.
    within = sum(((y[ids[:, 1] == k] - y[ids[:, 1] == k].mean()) ** 2).sum() for k in range(PAIRS))
    unit = 1.0 if peer is Ridge else np.sqrt(within / (len(y) - PAIRS))
    errors = []
    for alpha in tried:
        squared = 0.0
        for _, out, _ in parts:
            for k in range(PAIRS):
                at = ids[:, 1] == k
                line = peer(alpha * unit, tol=1e-10).fit(X[at & ~out] / scale, y[at & ~out])
                squared += ((y[at & out] - line.predict(X[at & out] / scale)) ** 2).sum()
        errors.append(squared)
    assert model.alpha_ == pytest.approx(tried[int(np.argmin(errors))] * unit)
    assert "runs left out" in model.notes_[0]
    # What was chosen is a regression of standardised covariates, in the table's units.
    one = ids[:, 1] == 0
    line = peer(model.alpha_, tol=1e-10).fit(X[one] / scale, y[one])
    np.testing.assert_allclose(model.summaries_.mean[0, 1:], line.coef_ / scale, atol=1e-6)


def test_without_runs_there_is_a_penalty_by_rule():
    X, y, ids, _ = rows()
    model = GroupwiseLasso(alpha=None).fit(statistics(X, y, ids))
    assert "by rule" in model.notes_[0]
    assert np.isfinite(model.summaries_.mean).all()
