"""The multi-task network: what it learns from, and what it must not depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multitask_models import MissingLabelWarning, ModelError, MultitaskMLP
from multitask_models._labels import Labels
from multitask_models._mlp_network import Recipe, TrainingRows, outputs_of, train


def network(**changes: Any) -> MultitaskMLP:
    """Return a network small enough for a test."""
    return MultitaskMLP(**{"members": 2, "hidden": 16, "epochs": 6, "batch_size": 16, **changes})


def problem(
    n: int = 80, n_tasks: int = 3, missing: float = 0.4, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and descriptors [N, 12] and linear labels of them with gaps."""
    rng = np.random.default_rng(seed)
    X = np.hstack([rng.poisson(1.0, (n, 8)), rng.normal(size=(n, 4))]).astype(np.float32)
    Y = X @ rng.normal(size=(12, n_tasks)) + rng.normal(size=n_tasks)
    Y[rng.random(Y.shape) < missing] = np.nan
    return X, Y


@pytest.mark.core
def test_it_learns() -> None:
    X, Y = problem(400, missing=0.3)
    model = network(epochs=40, batch_size=32, hidden=32, dropout=0.0).fit(X[:300], Y[:300])
    error = np.nanmean(np.abs(model.predict(X[300:]) - Y[300:]), axis=0)
    alone = np.nanmean(np.abs(np.nanmean(Y[:300], axis=0) - Y[300:]), axis=0)
    # Fitted by least squares it would be exact; half of the mean's error is far from chance.
    assert (error < alone / 2).all()


@pytest.mark.parametrize("tobit", [False, True])
def test_packed_networks_are_those_that_train_alone(tobit: bool) -> None:
    X, Y = problem()
    labels = Labels.checked(Y, None, None, "regression")
    labelled = labels.present.any(axis=1)
    rows = TrainingRows.of(X[labelled], labels.rows(labelled), 0.5)
    recipe = Recipe(32, 0.3, 0.1, 10, 16, 2e-3, 0.01, 0.25, 0.5, tobit)
    seeds = np.random.SeedSequence(3).spawn(4)
    packed = outputs_of(train(rows, recipe, seeds), X)
    for i in range(4):
        alone = outputs_of(train(rows, recipe, [np.random.SeedSequence(3).spawn(4)[i]]), X)
        np.testing.assert_allclose(alone[0], packed[i], rtol=0, atol=1e-6)


def test_members_differ() -> None:
    X, Y = problem()
    _, spread = network().fit(X, Y).predict(X, return_std=True)
    assert (spread > 0).all()


@pytest.mark.core
def test_it_is_saved_and_read_bit_for_bit(tmp_path: Path) -> None:
    X, Y = problem()
    Y[:, 1] = (Y[:, 1] > 0).astype(float)
    model = network(blocks=(8, 4), task_kinds=["regression", "classification", "regression"])
    model.fit(X, Y)
    model.save(tmp_path / "model")
    again = MultitaskMLP.load(tmp_path / "model")
    for ours, theirs in zip(
        model.predict(X, return_std=True), again.predict(X, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again.get_params()["hidden"] == 16


def test_a_refit_is_the_same() -> None:
    X, Y = problem()
    model = network()
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), model.fit(X, Y).predict(X))


def test_no_task_has_a_label() -> None:
    X, Y = problem()
    with pytest.raises(ModelError, match="found none in 80"):
        network().fit(X, np.full_like(Y, np.nan))


def test_a_task_without_labels_is_predicted_as_missing() -> None:
    X, Y = problem()
    Y[:, 1] = np.nan
    with pytest.warns(MissingLabelWarning, match="task 1:"):
        model = network().fit(X, Y)
    mean = model.predict(X)
    assert np.isnan(mean[:, 1]).all()
    assert np.isfinite(mean[:, [0, 2]]).all()
