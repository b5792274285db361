"""XGBoost, CatBoost and TabICL: their libraries' own numbers, bounds, and what is missing.

XGBoost is a dependency of the tests; the others are held where they are installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multitask_models import (
    MissingPackageError,
    ModelError,
    MultitaskBoosting,
    MultitaskTabICL,
)

LIBRARIES = ("xgboost", "catboost")


def problem(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 6)).astype(np.float32)
    Y = np.stack([X[:, 0] + X[:, 1] ** 2, X[:, 0] > X[:, 2]], axis=1).astype(float)
    Y[rng.random(Y.shape) < 0.3] = np.nan
    X[::7, 3] = np.nan
    return X, Y


def boosted(library: Any, **changes: Any) -> MultitaskBoosting:
    pytest.importorskip(library)
    kinds = ["regression", "classification"]
    settings: dict[str, Any] = {
        "n_estimators": 20,
        "n_jobs": 1,
        "limits": None,
        "task_kinds": kinds,
    }
    return MultitaskBoosting(library=library, **(settings | changes))


def own(library: str, which: str, parameters: dict[str, Any]) -> Any:
    prefix = {"xgboost": "XGB", "catboost": "CatBoost"}[library]
    return getattr(sys.modules[library], prefix + which)(**parameters)


@pytest.mark.parametrize("library", LIBRARIES)
def test_it_is_the_librarys_own(library: str) -> None:
    X, Y = problem()
    model, weights = boosted(library), np.linspace(0.5, 2.0, len(X))
    said = model.fit(X, Y, sample_weight=weights).predict(X)
    for t, which in enumerate(("Regressor", "Classifier")):
        known = ~np.isnan(Y[:, t])
        theirs = own(library, which, model.parameters())
        theirs.fit(X[known], Y[known, t], sample_weight=weights[known])
        expected = theirs.predict(X) if t == 0 else theirs.predict_proba(X)[:, 1]
        np.testing.assert_array_equal(said[:, t], expected)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("from_other_tasks", [False, True])
def test_it_is_saved_and_read_bit_for_bit(
    library: str, from_other_tasks: bool, tmp_path: Path
) -> None:
    X, Y = problem()
    model = boosted(library, from_other_tasks=from_other_tasks).fit(X, Y)
    model.save(tmp_path / "model")
    again = MultitaskBoosting.load(tmp_path / "model")
    np.testing.assert_array_equal(model.predict(X), again.predict(X))


@pytest.mark.parametrize("library", LIBRARIES)
def test_features_that_tell_nothing_give_the_mean(library: str) -> None:
    _, Y = problem()
    said = boosted(library).fit(np.zeros((len(Y), 3)), Y).predict(np.zeros((1, 3)))
    # Trees of samples of the rows are off by what the samples are.
    np.testing.assert_allclose(said[0], np.nanmean(Y, axis=0), rtol=0.02)


def test_a_satisfied_bound_asks_nothing_of_xgboost() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(400, 3))
    truth = 2 * X[:, 0]
    y, signs = np.minimum(truth, 1.0), (truth >= 1.0).astype(int)
    high = truth > 1.5
    model = boosted("xgboost", n_estimators=100, colsample=1.0, task_kinds="regression")
    bounds = model.fit(X, y, censoring=signs).predict(X)
    values = model.fit(X, y).predict(X)
    # As values they pull to 1, as bounds the trees may go on above them, and none falls short.
    assert bounds[high].mean() > values[high].mean()
    assert (bounds[high] > 0.9).mean() > 0.95


@pytest.mark.parametrize(
    ("model", "command"),
    [
        (MultitaskBoosting(), r"pip install 'multitask-models\[xgboost\]'"),
        (MultitaskBoosting(library="catboost"), "pip install 'catboost"),
        (MultitaskTabICL(), "pip install 'tabicl"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(
    model: Any, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in (*LIBRARIES, "tabicl"):
        monkeypatch.setitem(sys.modules, package, None)
    X, Y = problem()
    with pytest.raises(MissingPackageError, match=command):
        model.fit(X, Y[:, 0])


def test_an_unknown_library_is_refused() -> None:
    with pytest.raises(ModelError, match="xgboost or catboost; found 'boost'"):
        MultitaskBoosting(library="boost").fit(*problem())  # type: ignore[arg-type]


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, str]:
    """Files of untrained weights, tiny ones, in the form in which TabICL's are shipped."""
    pytest.importorskip("tabicl")
    import torch
    from tabicl._model.tabicl import TabICL  # the package exports estimators alone

    files = {}
    for name, n_classes in (("classifier", 10), ("regressor", 0)):
        small: dict[str, Any] = {
            "embed_dim": 8,
            "col_num_blocks": 1,
            "row_num_blocks": 1,
            "icl_num_blocks": 1,
        }
        config: dict[str, Any] = {**small, "col_nhead": 2, "row_nhead": 2, "icl_nhead": 2}
        config |= {"max_classes": n_classes, "num_quantiles": 9, "col_num_inds": 4}
        torch.manual_seed(0)
        files[name] = str(tmp_path / f"{name}.ckpt")
        state = TabICL(**config).state_dict()
        torch.save({"config": config, "state_dict": state}, files[name])
    return files


def test_tabicl_is_the_librarys_own_and_is_read_again(
    weights: dict[str, str], tmp_path: Path
) -> None:
    import tabicl

    X, Y = problem(40)
    kinds: Any = ["regression", "classification"]
    paths: Any = weights
    model = MultitaskTabICL(**paths, n_estimators=2, n_jobs=1, task_kinds=kinds, limits=None)
    model.fit(X, Y)
    said = model.predict(X)
    for t, kind in enumerate((tabicl.TabICLRegressor, tabicl.TabICLClassifier)):
        path = weights["classifier" if t else "regressor"]
        known = ~np.isnan(Y[:, t])
        theirs: Any = kind(model_path=path, n_estimators=2, random_state=0, n_jobs=1)
        theirs.fit(X[known], Y[known, t])
        expected = theirs.predict_proba(X)[:, 1] if t else theirs.predict(X)
        np.testing.assert_allclose(said[:, t], expected, rtol=1e-5)
    model.save(tmp_path / "model")
    again = MultitaskTabICL.load(tmp_path / "model")
    np.testing.assert_allclose(again.predict(X), said, rtol=1e-6)


def test_weights_that_are_not_there_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # What it would do with them is not reached.
    monkeypatch.setitem(sys.modules, "tabicl", pytest)
    X, Y = problem()
    with pytest.raises(ModelError, match=r"regressor: expected the file .* found none given"):
        MultitaskTabICL().fit(X, Y[:, 0])
    model = MultitaskTabICL(classifier="no.ckpt", task_kinds="classification")
    with pytest.raises(ModelError, match=r"classifier: .* found 'no.ckpt'"):
        model.fit(X, Y[:, 1])
