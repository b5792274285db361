"""Models on kernels of bags: left-out predictions, probabilities, spread, files, odd tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mil_attn import BAG_KERNELS, BagData, BagKernelModel, MILError
from mil_attn.sets._kernel_heads import _sigmoid, make_head
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel


def witness_bags(n: int = 60, seed: int = 0, **changes: Any) -> BagData:
    """Half of the bags have one instance that lies apart."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(1, 5, n)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    x = draw.normal(size=(offsets[-1], 3))
    active = np.arange(n) % 2
    x[offsets[:-1][active == 1]] += 4
    values: dict[str, Any] = {
        "ids": [f"b{i}" for i in range(n)],
        "instances": x,
        "offsets": offsets,
        "labels": active[:, None].astype(float),
        "task_names": ["active"],
        "energies": draw.exponential(size=len(x)),
    }
    return BagData(**{**values, **changes})


@pytest.fixture(scope="module")
def fitted() -> BagKernelModel:
    return BagKernelModel("set").fit(witness_bags())


@pytest.mark.parametrize("kernel", BAG_KERNELS)
def test_every_kernel_finds_the_witness(kernel: Any) -> None:
    model = BagKernelModel(kernel).fit(witness_bags(40))
    new = witness_bags(100, seed=1)
    assert new.labels is not None
    probability = model.predict(new)
    assert ((probability > 0) & (probability < 1)).all()
    # Fixed seeds; `boltzmann`, whose witness may be of high energy, has 0.85, the others more.
    assert ((probability >= 0.5) == (new.labels == 1)).mean() > 0.84


def test_vector_machines_find_it_too() -> None:
    new = witness_bags(100, seed=1)
    assert new.labels is not None
    model = BagKernelModel("statistics", head="svm").fit(witness_bags(40))
    assert ((model.predict(new) >= 0.5) == (new.labels == 1)).mean() > 0.9


def test_values_far_out_are_drawn_in_where_bags_left_out_ask_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def with_outliers(n: int, seed: int) -> BagData:
        plain = witness_bags(n, seed)
        assert plain.instances is not None
        noise = np.random.default_rng(seed).standard_cauchy((len(plain.instances), 4))
        return witness_bags(n, seed, instances=np.hstack([plain.instances, noise]))

    train, new = with_outliers(60, 0), with_outliers(200, 1)
    assert new.labels is not None
    for kernel in ("statistics", "mean_map"):
        bounded = BagKernelModel(kernel).fit(train)
        bounded.save(tmp_path / "model.npz")
        predicted = BagKernelModel.load(tmp_path / "model.npz").predict(new)
        np.testing.assert_array_equal(predicted, bounded.predict(new))
        with monkeypatch.context() as patch:
            patch.setattr("mil_attn.sets._kernel_model._LIMITS", (None,))
            as_it_is = BagKernelModel(kernel).fit(train).predict(new)
        errors = [((p - new.labels) ** 2).mean() for p in (predicted, as_it_is)]
        assert errors[0] < 0.8 * errors[1]


def test_rows_left_out_are_those_of_refits() -> None:
    draw = np.random.default_rng(0)
    x, weights = draw.normal(size=(12, 2)), draw.uniform(0.5, 2, 12)
    y = x[:, 0] + 0.1 * draw.normal(size=12)
    similar = np.asarray(rbf_kernel(x), dtype=np.float64)
    for machine in make_head("ridge", similar, weights, "regression", 0).machines(y):
        for row in range(len(y)):
            rest = np.delete(np.arange(len(y)), row)
            # The ridge of a row is over its weight, as a label of weight 2 is two labels.
            part = similar[np.ix_(rest, rest)]
            part = part + np.diag(machine.ridge * weights.mean() / weights[rest])
            centre = np.average(y, weights=weights)
            refit = similar[row, rest] @ np.linalg.solve(part, y[rest] - centre) + centre
            np.testing.assert_allclose(machine.left_out[row], refit, rtol=0, atol=1e-8)


def test_values_and_spread_are_those_of_a_gaussian_process() -> None:
    draw = np.random.default_rng(0)
    x, new = draw.normal(size=(20, 2)), draw.normal(size=(5, 2))
    y = np.sin(x[:, 0])
    y -= y.mean()
    similar, near = (np.asarray(rbf_kernel(a, x, gamma=0.5), np.float64) for a in (x, new))
    machine = list(make_head("ridge", similar, np.ones(20), "regression", 0).machines(y))[4]
    kernel = RBF(1.0, "fixed") + WhiteKernel(machine.ridge, "fixed")
    peer = GaussianProcessRegressor(kernel, optimizer=None).fit(x, y)
    mean, sd = peer.predict(new, return_std=True)  # pyrefly: ignore[bad-unpacking]
    np.testing.assert_allclose(machine.values(near), mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(machine.sd(near), np.sqrt(machine.scale) * sd, rtol=1e-6)


def test_probabilities_are_those_of_a_logistic_regression_on_doubted_labels() -> None:
    draw = np.random.default_rng(0)
    y = np.repeat([0.0, 1.0], [14, 6])
    for apart in (0.5, 20.0):  # the latter has no finite slope without the doubt
        said, weights = draw.normal(size=20) + apart * y, draw.uniform(0.5, 2, 20)
        # A label of 7/8 is one of weight 7/8 beside one of the other class of 1/8.
        target = np.where(y == 1, 7 / 8, 1 / 16)
        peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(
            np.tile(said, 2)[:, None],
            np.repeat([1, 0], 20),
            sample_weight=np.concatenate([weights * target, weights * (1 - target)]),
        )
        _, (slope, intercept) = _sigmoid(said, y, weights)
        np.testing.assert_allclose(
            (slope, intercept), (peer.coef_[0, 0], peer.intercept_[0]), rtol=1e-3, atol=1e-3
        )


def test_what_knows_nothing_says_the_share_of_positives() -> None:
    y = np.array([0.0, 0.0, 0.0, 1.0])
    # Left out, each is predicted by the mean of the others: upside down, that tells the classes.
    loss, (slope, intercept) = _sigmoid(-y, y, np.ones(4))
    assert slope == 0
    assert 1 / (1 + np.exp(-intercept)) == pytest.approx(0.25)
    assert loss == pytest.approx(0.25 * 0.75)


def test_a_saved_model_says_the_same(fitted: BagKernelModel, tmp_path: Path) -> None:
    new = witness_bags(7, seed=2)
    fitted.save(tmp_path / "model.npz")
    read = BagKernelModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(read.predict(new), fitted.predict(new))
    assert read.task_names_ == fitted.task_names_
    (tmp_path / "model.npz").write_bytes(b"PK not a model")
    with pytest.raises(MILError, match="that BagKernelModel"):
        BagKernelModel.load(tmp_path / "model.npz")


def test_a_bag_alone_is_predicted_as_in_a_batch(fitted: BagKernelModel) -> None:
    new = witness_bags(7, seed=2)
    alone = np.vstack([fitted.predict(new.take([b])) for b in range(len(new))])
    np.testing.assert_allclose(alone, fitted.predict(new), rtol=0, atol=1e-10)


def test_rows_left_out_follow_the_labels(fitted: BagKernelModel) -> None:
    labels = witness_bags().labels
    assert labels is not None
    assert ((fitted.left_out_ >= 0.5) == (labels == 1)).mean() > 0.9


def test_tasks_may_lack_labels_differ_in_rows_or_be_constant(tmp_path: Path) -> None:
    data = witness_bags(30, x2d=np.arange(30.0)[:, None])
    assert data.labels is not None
    first = data.labels[:, 0] * 3 + 10
    second = np.where(np.arange(30) < 15, np.arange(30.0), np.nan)
    labels = np.column_stack([first, second, np.full(30, 4.0)])
    data = data.replace(labels=labels, task_names=("a", "b", "c"), task_kind="regression")
    model = BagKernelModel("mean_min").fit(data)
    mean, sd = model.predict_with_sd(data)
    np.testing.assert_array_equal(mean[:, 2], 4)
    assert (sd[:, :2] > 0).all()
    assert np.isnan(sd[:, 2]).all()
    assert np.corrcoef(mean[:, 0], first)[0, 1] > 0.9
    model.save(tmp_path / "model.npz")
    read, _ = BagKernelModel.load(tmp_path / "model.npz").predict_with_sd(data)
    np.testing.assert_array_equal(read, mean)


def test_a_kernel_learns_from_so_many_bags_at_most() -> None:
    model = BagKernelModel("set", most_bags=20).fit(witness_bags(60))
    assert len(model.left_out_) == 20


def test_what_cannot_be_learnt_is_refused() -> None:
    with pytest.raises(MILError, match="mean_map"):
        BagKernelModel("mean_mapp").fit(witness_bags(6))  # type: ignore[arg-type]
    with pytest.raises(MILError, match="energies"):
        BagKernelModel("boltzmann").fit(witness_bags(6, energies=None))
    with pytest.raises(MILError, match="'active'"):
        BagKernelModel("set").fit(witness_bags(6, labels=np.full((6, 1), np.nan)))
    with pytest.raises(MILError, match="expected labels"):
        BagKernelModel("set").fit(witness_bags(6, labels=None, task_names=()))
