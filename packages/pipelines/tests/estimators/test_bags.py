"""Bags as estimators: arrays, frames and molecules."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from molpool_common import FloatArray, InputError
from molpool_pipelines.estimators import BagClassifier, BagRegressor, from_run

OPTIONS = {"baselines": "none", "blend": {"folds": 2}}


def bags(n: int, seed: int = 0) -> tuple[list[FloatArray], FloatArray]:
    """Bags of 2 to 4 instances, and the highest first feature among them."""
    rng = np.random.default_rng(seed)
    found = [rng.normal(size=(rng.integers(2, 5), 3)) for _ in range(n)]
    return found, np.array([bag[:, 0].max() for bag in found])


@pytest.fixture(scope="module")
def fitted() -> BagRegressor:
    X, y = bags(60)
    return BagRegressor(models=["minmax_kernel"], options=OPTIONS).fit(X, y)


class TestRegressor:
    def test_bags_are_predicted_with_intervals(self, fitted: BagRegressor) -> None:
        X, y = bags(40, seed=1)
        mean, interval = fitted.predict(X, return_interval=0.8)
        assert (mean.shape, interval.shape) == ((40,), (40, 2))
        assert np.corrcoef(mean, y)[0, 1] > 0.8
        assert (interval[:, 0] < mean).all()
        assert fitted.score(X, y) > 0.5

    def test_no_bag_depends_on_another(self, fitted: BagRegressor) -> None:
        X, _ = bags(12, seed=2)
        np.testing.assert_allclose(fitted.predict(X)[::-1], fitted.predict(X[::-1]), rtol=1e-9)

    def test_frames_name_their_features(self) -> None:
        X, y = bags(40)
        frames = [pd.DataFrame(bag, columns=["charge", "volume", "angle"]) for bag in X]
        model = BagRegressor(models=["minmax_kernel"], options=OPTIONS).fit(
            frames, pd.Series(y, name="pIC50")
        )
        assert model.task_names_ == ("pIC50",)
        found = model.predict_table(frames[:3])
        assert {"pIC50", "pIC50_lower", "instances"} <= set(found.columns)
        assert "charge" in (model.run_ / "config.resolved.yaml").read_text()
        np.testing.assert_array_equal(model.predict(frames[:3]), model.predict(X[:3]))

    def test_a_run_and_a_pickle_are_the_same_model(self, fitted: BagRegressor) -> None:
        X, _ = bags(5, seed=3)
        expected = fitted.predict(X)
        again = from_run(fitted.run_)
        assert isinstance(again, BagRegressor)
        np.testing.assert_array_equal(again.predict(X), expected)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), expected)

    def test_networks_encode_and_kernels_say_that_they_cannot(self, fitted: BagRegressor) -> None:
        X, y = bags(40)
        with pytest.raises(InputError, match=r"attention, mlp.*found minmax_kernel"):
            fitted.encode(X)
        less = {"training": {"epochs": 1, "members": 1}, "model": {"mixer_hidden": 8}}
        model = BagRegressor(models=["attention"], options={**OPTIONS, **less})
        model.fit(X, np.stack([y, -y], axis=1))
        found = model.encode(X[:5])
        assert found.shape == (5, 2 * 8)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found[::-1], model.encode(X[:5][::-1]), rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        ("X", "said"),
        [
            ([np.zeros((2, 3)), np.zeros((2, 4))], "3 features in each bag; found 3, 4"),
            ([np.zeros((2, 2))], "3 features in each bag; found 2"),
            ([np.zeros((2, 3)), np.zeros(3)], "bags of instances"),
        ],
    )
    def test_no_bags(self, X: list[FloatArray], said: str, fitted: BagRegressor) -> None:
        with pytest.raises(InputError, match=said):
            fitted.predict(X)


def test_classes_of_bags() -> None:
    X, y = bags(60)
    called = np.where(y > np.median(y), "hit", "none")
    model = BagClassifier(models=["minmax_kernel"], options=OPTIONS).fit(X, called)
    new, truth = bags(40, seed=1)
    probability = model.predict_proba(new)
    np.testing.assert_allclose(probability.sum(axis=1), 1)
    assert model.classes_.tolist() == ["hit", "none"]
    assert set(model.predict(new)) <= {"hit", "none"}
    assert model.score(new, np.where(truth > np.median(y), "hit", "none")) > 0.8
