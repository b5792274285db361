"""Means and nearest neighbours against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from multitask_models import ModelError, TanimotoNeighbours, TaskMean
from multitask_models._baselines import tanimoto
from scipy.sparse import csr_matrix


def test_tanimoto_is_minima_over_maxima() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.poisson(0.7, (5, 12)), rng.poisson(0.7, (7, 12))
    a[0] = 0
    b[0] = 0
    least = np.minimum(a[:, None], b[None]).sum(-1)
    most = np.maximum(a[:, None], b[None]).sum(-1)
    expected = np.where(most > 0, least / np.maximum(most, 1), 0.0)
    np.testing.assert_allclose(tanimoto(csr_matrix(a), csr_matrix(b)), expected, rtol=1e-15)


def test_neighbours_by_hand() -> None:
    X = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 3], [1, 1, 1, 0]], dtype=float)
    Y = np.array([[1.0, np.nan], [2.0, 5.0], [9.0, 7.0], [4.0, np.nan]])
    model = TanimotoNeighbours(n_neighbours=2, power=1.0).fit(X, Y)
    mean, spread = model.predict(np.array([[1.0, 1, 0, 0], [0, 0, 0, 0]]), return_std=True)
    # Similarities of the first query: 1, 1/3, 0, 2/3.
    assert mean[0, 0] == pytest.approx((1 * 1 + 2 / 3 * 4) / (1 + 2 / 3))
    assert mean[0, 1] == pytest.approx(5.0)
    # Nothing is similar to no counts at all: the mean and spread of the labels.
    np.testing.assert_allclose(mean[1], [4.0, 6.0])
    np.testing.assert_allclose(spread[1], [float(np.std([1, 2, 9, 4])), 1.0])


def test_neighbours_are_saved_and_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, Y = rng.poisson(1.0, (20, 6)), rng.normal(size=(20, 2))
    model = TanimotoNeighbours().fit(X, Y)
    model.save(tmp_path / "m")
    again = TanimotoNeighbours.load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_neighbours_want_counts() -> None:
    with pytest.raises(ModelError, match="`columns`"):
        TanimotoNeighbours().fit(np.array([[0.5, 1.0], [1.0, 0.0]]), [1.0, 2.0])


def test_mean_of_weighted_labels() -> None:
    Y = np.array([[1.0, np.nan], [3.0, 2.0], [np.nan, 4.0]])
    model = TaskMean().fit(np.zeros((3, 1)), Y, sample_weight=[3.0, 1.0, 1.0])
    mean, spread = model.predict(np.zeros((2, 1)), return_std=True)
    np.testing.assert_allclose(mean, [[1.5, 3.0]] * 2)
    np.testing.assert_allclose(spread, [[np.sqrt(0.75), 1.0]] * 2)
