"""LightGBM and forests: their libraries' own numbers, bounds, and the other tasks as features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from multitask_models import ModelError, MultitaskBoosting, MultitaskForest, MultitaskLightGBM
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor


def problem(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6))
    Y = np.stack([X[:, 0] + X[:, 1] ** 2, X[:, 0] - X[:, 2]], axis=1)
    Y[rng.random(Y.shape) < 0.3] = np.nan
    return X, Y


def boosted(**changes: Any) -> MultitaskLightGBM:
    settings: dict[str, Any] = {"n_estimators": 20, "n_jobs": 1, "limits": None}
    return MultitaskLightGBM(**(settings | changes))


def forest(**changes: Any) -> MultitaskForest:
    settings: dict[str, Any] = {"n_estimators": 10, "n_jobs": 1, "limits": None}
    return MultitaskForest(**(settings | changes))


def test_lightgbm_is_lightgbms_own() -> None:
    X, Y = problem()
    weights = np.linspace(0.5, 2.0, len(X))
    model = boosted().fit(X, Y, sample_weight=weights)
    for t in range(2):
        known = ~np.isnan(Y[:, t])
        own = lightgbm.LGBMRegressor(**model.parameters())
        own.fit(X[known], Y[known, t], sample_weight=weights[known])
        np.testing.assert_array_equal(model.predict(X)[:, t], own.booster_.predict(X))


def test_lightgbm_classes_are_lightgbms_own() -> None:
    X, Y = problem()
    y = np.where(np.isnan(Y[:, 0]), np.nan, Y[:, 0] > 1)
    model = boosted(task_kinds="classification").fit(X, y)
    known = ~np.isnan(y)
    own = lightgbm.LGBMClassifier(**model.parameters()).fit(X[known], y[known].astype(int))
    np.testing.assert_array_equal(model.predict(X), np.asarray(own.predict_proba(X))[:, 1])


@pytest.mark.parametrize(
    ("kind", "own"), [("random", RandomForestRegressor), ("extra", ExtraTreesRegressor)]
)
def test_a_forest_is_scikit_learns_own(kind: Any, own: Any) -> None:
    X, Y = problem()
    X[::7, 0] = np.nan
    model = forest(kind=kind, max_features=0.5).fit(X, Y)
    known = ~np.isnan(Y[:, 1])
    theirs = own(n_estimators=10, max_features=0.5, min_samples_leaf=2, random_state=0)
    theirs.fit(X[known], Y[known, 1])
    mean, spread = model.predict(X, return_std=True)
    np.testing.assert_allclose(mean[:, 1], theirs.predict(X), rtol=1e-12)
    each = [tree.predict(X.astype(np.float32)) for tree in theirs.estimators_]
    np.testing.assert_allclose(spread[:, 1], np.std(each, axis=0, ddof=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", [boosted, forest])
@pytest.mark.parametrize("from_other_tasks", [False, True])
def test_they_are_saved_and_read_bit_for_bit(
    make: Any, from_other_tasks: bool, tmp_path: Path
) -> None:
    X, Y = problem()
    model = make(from_other_tasks=from_other_tasks).fit(X, Y)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model")
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


def test_other_tasks_help_a_task_that_follows_from_them() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 20))
    hidden = X @ rng.normal(size=20)
    Y = np.stack([hidden, hidden], axis=1)
    # The second task has forty labels; the first shows what it depends on.
    Y[40:, 1] = np.nan
    errors = [
        np.abs(
            boosted(n_estimators=200, from_other_tasks=others).fit(X, Y).predict(X)[40:, 1]
            - hidden[40:]
        ).mean()
        for others in (False, True)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_a_satisfied_bound_asks_nothing_of_a_tree() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 3))
    truth = 2 * X[:, 0]
    y, signs = np.minimum(truth, 1.0), (truth >= 1.0).astype(int)
    high = truth > 1.5
    bounds = boosted(n_estimators=200, colsample_bytree=1.0).fit(X, y, censoring=signs).predict(X)
    values = boosted(n_estimators=200, colsample_bytree=1.0).fit(X, y).predict(X)
    # As values they pull to 1, as bounds the trees may go on above them, and none falls short.
    assert bounds[high].mean() >= values[high].mean()
    assert (bounds[high] > 0.9).mean() > 0.95


@pytest.mark.parametrize("n", [1, 3, 20, 30])
@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("model", [boosted, MultitaskBoosting])
def test_a_few_bounds_are_enough(n: int, constant: bool, model: Any) -> None:
    X, Y = problem(n)
    if constant:
        X[:] = 1.0
    values = np.nan_to_num(Y[:, :1])
    if model is MultitaskBoosting:
        pytest.importorskip("xgboost")
    bounds = np.where(np.arange(n) % 2 == 0, -1, 0)[:, None]
    fitted = model(n_estimators=20, n_jobs=1, limits=None).fit(X, values, censoring=bounds)
    said = fitted.predict(X)
    assert np.isfinite(said).all()
    assert said.min() >= values.min() - 1
    assert said.max() <= values.max() + 1


def test_trees_take_no_sampler() -> None:
    class Draws:
        def set_epoch(self, epoch: int) -> None: ...

        def __iter__(self) -> Any:
            return iter([0, 1])

    X, Y = problem()
    with pytest.raises(ModelError, match="sample_weight"):
        boosted().fit(X, Y, sampler=Draws())
