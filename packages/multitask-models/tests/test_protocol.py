"""What all models of the package have in common, and files that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from multitask_models import (
    MissingLabelWarning,
    ModelError,
    MultitaskBoosting,
    MultitaskForest,
    MultitaskGP,
    MultitaskLightGBM,
    MultitaskMLP,
    MultitaskModel,
    TanimotoNeighbours,
    TaskMean,
)
from multitask_models._protocol import FORMAT, read_model_file
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.utils.estimator_checks import check_estimator

MODELS: dict[str, Callable[[], MultitaskModel]] = {
    "mlp": lambda: MultitaskMLP(members=2, hidden=16, epochs=5, batch_size=16),
    "lightgbm": lambda: MultitaskLightGBM(n_estimators=10, n_jobs=1),
    "xgboost": lambda: MultitaskBoosting(n_estimators=10, n_jobs=1),
    "forest": lambda: MultitaskForest(n_estimators=5, n_jobs=1),
    "gp": lambda: MultitaskGP(max_iter=3, learning_labels=100),
    "neighbours": TanimotoNeighbours,
    "mean": TaskMean,
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> MultitaskModel:
    if request.param == "xgboost":
        pytest.importorskip("xgboost")  # it has no such wheel for macOS
    return MODELS[request.param]()


def counts(n: int = 60, n_tasks: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.poisson(1.0, (n, 10)).astype(float)
    Y = X @ rng.normal(size=(10, n_tasks)) + rng.normal(size=(n, n_tasks))
    Y[rng.random(Y.shape) < 0.3] = np.nan
    return X, Y


def test_gaps_failed_molecules_and_empty_tasks(model: MultitaskModel) -> None:
    X, Y = counts()
    X[4] = np.nan
    Y[:, 2] = np.nan
    Y[:, 1] = np.where(np.isnan(Y[:, 1]), np.nan, 7.0)
    with pytest.warns(MissingLabelWarning, match="task 2"):
        model.fit(X, Y)
    mean = np.asarray(model.predict(X))
    assert np.isnan(mean[:, 2]).all()
    assert np.isnan(mean[4]).all()
    assert (np.delete(mean[:, 1], 4) == 7.0).all()
    assert np.isfinite(np.delete(mean[:, 0], 4)).all()


def test_a_refit_of_a_clone_is_the_same(model: MultitaskModel) -> None:
    X, Y = counts()
    np.testing.assert_array_equal(model.fit(X, Y).predict(X), clone(model).fit(X, Y).predict(X))


def test_saved_and_read(model: MultitaskModel, tmp_path: Path) -> None:
    X, Y = counts()
    Y[Y > 1] = 1.0
    model.set_params(limits="auto").fit(X, Y).save(tmp_path / "m")
    again = type(model).load(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.predict(X, latent=True), model.predict(X, latent=True))
    assert json.dumps(again.get_params()) == json.dumps(model.get_params())
    assert again.limits_.ceiling.tolist() == [1.0] * 3


def test_another_width_is_refused(model: MultitaskModel) -> None:
    X, Y = counts()
    with pytest.raises(ValueError, match="10 features"):
        model.fit(X, Y).predict(X[:, :9])


def test_one_row(model: MultitaskModel) -> None:
    X, _ = counts()
    mean = model.fit(X[:1], [[1.5, 2.5, 3.5]]).predict(X)
    np.testing.assert_array_equal(mean, [[1.5, 2.5, 3.5]] * 60)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"censoring": [[1]]}, "expected shape"),
        ({"censoring": np.full((60, 3), 2)}, "expected -1, 0 or 1; found 2"),
        ({"sample_weight": np.full(60, -1.0)}, "numbers from 0 on; found -1.0 in row 0"),
        ({"sample_weight": [1.0]}, "one for each of 60 rows"),
    ],
)
def test_wrong_signs_and_weights_are_refused(given: dict[str, Any], message: str) -> None:
    X, Y = counts()
    with pytest.raises(ModelError, match=message):
        TaskMean().fit(X, Y, **given)


def test_scikit_learn_may_cross_validate(model: MultitaskModel) -> None:
    X, Y = counts()
    assert len(cross_val_score(model, X, np.nan_to_num(Y), cv=2)) == 2


@pytest.mark.parametrize(
    ("name", "options"),
    # As few trees as the check of what a fit reaches allows.
    [
        ("lightgbm", {"n_estimators": 60}),
        ("xgboost", {"n_estimators": 20, "learning_rate": 0.3}),
        ("forest", {"n_estimators": 20}),
        ("mean", {}),
    ],
)
def test_they_are_estimators_of_scikit_learn(name: str, options: dict[str, float]) -> None:
    model = MODELS[name]().set_params(**options)
    failing = {
        "check_sample_weight_equivalence_on_dense_data": "draws rows and features at random",
        "check_sample_weight_equivalence_on_sparse_data": "draws rows and features at random",
    }
    check: Any = check_estimator  # its stubs are of an earlier release
    check(model, expected_failed_checks={} if name == "mean" else failing, on_skip=None)


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        X, Y = counts()
        TaskMean().fit(X, Y).save(tmp_path / "m")
        return tmp_path / "m"

    def test_another_model_is_named(self, path: Path) -> None:
        with pytest.raises(ModelError, match="expected a MultitaskMLP; found a TaskMean"):
            MultitaskMLP.load(path)

    def test_a_flipped_bit_is_noticed(self, path: Path) -> None:
        whole = bytearray(path.read_bytes())
        # Within the data of the first member, past the local header and the header of NumPy.
        whole[260] ^= 1
        path.write_bytes(whole)
        with pytest.raises(ModelError, match="damaged"):
            TaskMean.load(path)

    def test_half_a_file_is_noticed(self, path: Path) -> None:
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(ModelError, match="damaged"):
            TaskMean.load(path)

    def test_a_later_format_is_named(self, path: Path) -> None:
        meta, arrays = read_model_file(path)
        text = json.dumps({**meta, "format": FORMAT + 1}).encode()
        with path.open("wb") as file:
            saved: dict[str, Any] = {"model.json": np.frombuffer(text, dtype=np.uint8), **arrays}
            np.savez(file, **saved)
        with pytest.raises(ModelError, match="later version"):
            TaskMean.load(path)

    def test_no_pickle_is_read(self, path: Path) -> None:
        with path.open("wb") as file:
            pickled: dict[str, Any] = {"model.json": np.array([{}], dtype=object)}
            np.savez(file, **pickled)
        with pytest.raises(ModelError, match="damaged"):
            TaskMean.load(path)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            TaskMean.load(tmp_path / "nothing")
