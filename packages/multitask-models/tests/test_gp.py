"""The multi-task Gaussian process against dense algebra, GPyTorch and scikit-learn."""

from __future__ import annotations

import importlib
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multitask_models import ModelError, MultitaskGP
from multitask_models import _gp as module
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.utils.estimator_checks import parametrize_with_checks

# Test files are imported on their own and see no neighbour.
BANK = runpy.run_path(str(Path(__file__).with_name("gp_bank.py")))
KERNELS, WIDTHS = BANK["KERNELS"], BANK["WIDTHS"]
dense_answers, scales, table = BANK["dense_answers"], BANK["scales"], BANK["table"]

# Solves of some 60 labels lose a few of sixteen digits.
EXACT = {"rtol": 1e-8, "atol": 1e-8}


def model(**changes: Any) -> MultitaskGP:
    options: dict[str, Any] = {
        "blocks": WIDTHS,
        "kernels": KERNELS,
        "scales": scales(),
        "limits": None,
    }
    return MultitaskGP(**(options | changes))


@pytest.fixture(params=["dense", "factors"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Take one exact road, whatever the other would cost."""
    costs = {"dense": 2.0, "factors": 2.0, request.param: 1.0}
    monkeypatch.setattr(module, "cost", lambda *_: costs)
    return str(request.param)


def test_equals_dense_algebra(road: str) -> None:
    x, y = table()
    new = table(seed=9, n=7)[0]
    expected = dense_answers(x, y, new, scales())
    fitted = model().fit(x, y)
    assert fitted.solver_ == road
    mean, std = fitted.predict(new, return_std=True)
    np.testing.assert_allclose(mean, expected["mean"], **EXACT)
    np.testing.assert_allclose(std, expected["std"], **EXACT)
    np.testing.assert_allclose(fitted.predict(new), mean, **EXACT)
    np.testing.assert_allclose(fitted.log_marginal_likelihood(), expected["value"], **EXACT)
    np.testing.assert_allclose(fitted.loo(), expected["loo"], **EXACT)


def test_equals_gpytorch(road: str) -> None:
    x, y = table()
    new = table(seed=9, n=7)[0]
    x, new = x[:, 12:], new[:, 12:]
    given_scales = scales(n_kernels=1)
    fitted = model(blocks=None, kernels="matern52", scales=given_scales).fit(x, y)
    assert fitted.solver_ == road
    value, mean, std, loo = gpytorch_answers(fitted, x, y, new, given_scales)
    np.testing.assert_allclose(fitted.log_marginal_likelihood(), value, **EXACT)
    found = fitted.predict(new, return_std=True)
    np.testing.assert_allclose(found[0], mean, **EXACT)
    np.testing.assert_allclose(found[1], std, **EXACT)
    rows = np.isfinite(y)
    loo_mean, loo_std = fitted.loo()
    densities = -0.5 * ((y - loo_mean) / loo_std) ** 2 - np.log(loo_std * np.sqrt(2 * np.pi))
    densities += np.log(np.nanstd(y, axis=0))
    np.testing.assert_allclose(densities[rows].mean(), loo, **EXACT)


def gpytorch_answers(
    fitted: MultitaskGP, x: Any, y: Any, new: Any, given_scales: dict[str, Any]
) -> tuple[float, Any, Any, float]:
    """Return likelihood, mean, spread and the mean leave-one-out density, by GPyTorch."""
    with warnings.catch_warnings():
        # Its import uses a decorator that torch has deprecated.
        warnings.simplefilter("ignore")
        gpytorch: Any = importlib.import_module("gpytorch")
        torch: Any = importlib.import_module("torch")
    kernel = gpytorch.kernels.MaternKernel(nu=2.5).double()
    block = fitted._blocks[0]
    kernel.lengthscale = np.sqrt(block.width) * np.exp(given_scales["log_ratios"][0])
    n_tasks, rank = given_scales["loadings"].shape
    tasks = gpytorch.kernels.IndexKernel(num_tasks=n_tasks, rank=rank).double()
    tasks.covar_factor.data = torch.tensor(given_scales["loadings"])
    tasks.var = torch.tensor(given_scales["specific"])
    column, row = np.nonzero(np.isfinite(y.T))
    centre, spread = np.nanmean(y, axis=0), np.nanstd(y, axis=0)
    z = torch.tensor(((y - centre) / spread)[row, column])

    class Model(gpytorch.models.ExactGP):
        def __init__(self, inputs: Any, likelihood: Any) -> None:
            super().__init__(inputs, z, likelihood)
            self.mean = gpytorch.means.ZeroMean()

        def forward(self, at: Any, task: Any) -> Any:
            covariance = kernel(at).mul(tasks(task))
            return gpytorch.distributions.MultivariateNormal(self.mean(at), covariance)

    noise = torch.tensor(given_scales["noise"][column])
    likelihood = gpytorch.likelihoods.FixedNoiseGaussianLikelihood(noise)
    inputs = (torch.tensor(block.prepare(x)[row]), torch.tensor(column)[:, None])
    peer = Model(inputs, likelihood).double()
    many, which = np.meshgrid(np.arange(len(new)), np.arange(n_tasks), indexing="ij")
    at = torch.tensor(block.prepare(new)[many.ravel()]), torch.tensor(which.ravel())[:, None]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.train()
        likelihood.train()
        prior = peer(*inputs)
        value = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, peer)(prior, z) * len(z)
        loo = gpytorch.mlls.LeaveOneOutPseudoLikelihood(likelihood, peer)(prior, z)
        peer.eval()
        posterior = peer(*at)
    mean = posterior.mean.numpy().reshape(len(new), n_tasks) * spread + centre
    std = posterior.variance.numpy().reshape(len(new), n_tasks) ** 0.5 * spread
    return float(value), mean, std, float(loo)


def test_one_task_equals_scikit_learn() -> None:
    x, y = table(n_tasks=1, missing=0.0)
    x, target = x[:, 12:], y[:, 0]
    new = table(seed=9, n=7)[0][:, 12:]
    only = {"loadings": np.zeros((1, 0)), "specific": [0.7], "noise": [0.2]} | {
        "logits": [0.0],
        "log_ratios": [0.4],
    }
    fitted = MultitaskGP(kernels="rbf", scales=only, limits=None).fit(x, target)
    block = fitted._blocks[0]
    length = np.sqrt(block.width) * np.exp(0.4)
    z = (target - target.mean()) / target.std()
    peer = GaussianProcessRegressor(ConstantKernel(0.7) * RBF(length), alpha=0.2, optimizer=None)
    peer.fit(block.prepare(x), z)
    expected: Any = peer.predict(block.prepare(new), return_std=True)
    mean, std = expected[0], expected[1]
    found = fitted.predict(new, return_std=True)
    np.testing.assert_allclose(found[0], mean * target.std() + target.mean(), **EXACT)
    np.testing.assert_allclose(found[1], std * target.std(), **EXACT)
    value: Any = peer.log_marginal_likelihood()
    np.testing.assert_allclose(fitted.log_marginal_likelihood(), value, **EXACT)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_rows_and_tasks_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = table(seed % 5)
    rows, tasks = rng.permutation(len(x)), rng.permutation(3)
    new = table(seed=9, n=5)[0]
    moved = {k: v[tasks] if len(v) == 3 else v for k, v in scales().items()}
    mean, std = model().fit(x, y).predict(new, return_std=True)
    shuffled = model(scales=moved).fit(x[rows], y[rows][:, tasks]).predict(new, return_std=True)
    np.testing.assert_allclose(shuffled[0], mean[:, tasks], **EXACT)
    np.testing.assert_allclose(shuffled[1], std[:, tasks], **EXACT)


def test_learned_scales_do_not_depend_on_the_order() -> None:
    x, y = table()
    rows, tasks = np.random.default_rng(0).permutation(40), np.array([2, 0, 1])
    mean = np.asarray(model(scales=None).fit(x, y).predict(x))
    shuffled = np.asarray(model(scales=None).fit(x[rows], y[rows][:, tasks]).predict(x))
    # Rounding takes the search other ways; where it stops the likelihood is flat to 2e-9.
    apart = np.abs(shuffled - mean[:, tasks]) / np.nanstd(y, axis=0)[tasks]
    assert apart.max() < 0.02


@settings(max_examples=10, deadline=None)
@given(st.floats(-6, 6), st.floats(-1e3, 1e3))
def test_unit_of_a_target_changes_its_predictions_alone(power: float, shift: float) -> None:
    x, y = table()
    before = model().fit(x, y).predict(x, return_std=True)
    factor, offset = 10.0 ** np.array([0, power, 0]), np.array([0, shift * 10.0**power, 0])
    after = model().fit(x, y * factor + offset).predict(x, return_std=True)
    scale = np.nanstd(y, axis=0) * factor
    np.testing.assert_allclose(after[0] / scale, (before[0] * factor + offset) / scale, rtol=1e-8)
    np.testing.assert_allclose(after[1], before[1] * factor, rtol=1e-7)


def test_weight_divides_the_noise() -> None:
    x, y = table()
    doubled = model().fit(x, y, sample_weight=np.full(len(x), 2.0)).predict(x)
    halved = scales()
    halved["noise"] = halved["noise"] / 2
    np.testing.assert_allclose(doubled, model(scales=halved).fit(x, y).predict(x), **EXACT)


def test_molecule_twice_of_weight_one_is_once_of_weight_two(road: str) -> None:
    x, y = table(missing=0.0)
    twice = model().fit(np.vstack([x, x]), np.vstack([y, y]))
    once = model().fit(x, y, sample_weight=np.full(len(x), 2.0))
    found, expected = twice.predict(x, return_std=True), once.predict(x, return_std=True)
    # The factor of a kernel in which every molecule stands twice needs its jitter of 1e-10.
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)
    assert twice.solver_ == road


def test_all_molecules_inducing_is_exact() -> None:
    x, y = table()
    exact = model().fit(x, y).predict(x, return_std=True)
    induced = model(exact_labels=1, inducing=40).fit(x, y)
    assert induced.solver_ == "inducing"
    found = induced.predict(x, return_std=True)
    np.testing.assert_allclose(found[0], exact[0], rtol=1e-6)
    np.testing.assert_allclose(found[1], exact[1], rtol=1e-6)


def test_few_inducing_molecules_are_less_sure_and_not_far_off() -> None:
    x, y = table(n=80)
    exact = model().fit(x, y).predict(x, return_std=True)
    induced = model(exact_labels=1, inducing=40).fit(x, y).predict(x, return_std=True)
    apart = np.abs(induced[0] - exact[0]).mean(axis=0) / np.nanstd(y, axis=0)
    assert (apart < 0.5).all()
    assert np.corrcoef(induced[0][:, 0], exact[0][:, 0])[0, 1] > 0.9
    assert induced[1].mean() > exact[1].mean()


@pytest.mark.parametrize("inducing", [False, True])
def test_kept_model_predicts_the_same(tmp_path: Path, inducing: bool) -> None:
    x, y = table()
    fitted = model(exact_labels=1 if inducing else 100, inducing=20).fit(x, y)
    fitted.save(tmp_path / "gp.npz")
    again = MultitaskGP.load(tmp_path / "gp.npz")
    assert again.solver_ == fitted.solver_
    for ours, theirs in zip(
        again.predict(x, return_std=True), fitted.predict(x, return_std=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again.loo(), fitted.loo())


def test_learned_model_recovers_what_tasks_share() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(120, 3))
    signal = np.sin(2 * x[:, 0]) + x[:, 1]
    y = np.stack([signal, -signal, rng.normal(size=120)], axis=1) + 0.1 * rng.normal(size=(120, 3))
    y[30:, 1] = np.nan
    fitted = MultitaskGP(limits=None).fit(x, y)
    loadings = fitted.scales_["loadings"]
    tasks = loadings @ loadings.T + np.diag(fitted.scales_["specific"])
    assert tasks[0, 1] / np.sqrt(tasks[0, 0] * tasks[1, 1]) < -0.8
    new = rng.normal(size=(200, 3))
    truth = np.sin(2 * new[:, 0]) + new[:, 1]
    error = np.abs(np.asarray(fitted.predict(new))[:, 1] + truth).mean()
    alone = MultitaskGP(limits=None).fit(x[:30], y[:30, 1])
    assert error < 0.6 * np.abs(alone.predict(new) + truth).mean()
    # 0.1 of noise on labels of spread one.
    assert 0.05 < fitted.noise_[0] < 0.2


def test_bounds_pull_only_to_their_side() -> None:
    x, y = table(n_tasks=1, missing=0.0)
    only = {"loadings": np.zeros((1, 0)), "specific": [0.9], "noise": [0.1]} | {
        "logits": [0.0, 0.0],
        "log_ratios": [0.0, 0.0],
    }
    cap = np.quantile(y, 0.6)
    beyond = (y >= cap).astype(int)
    capped = np.minimum(y, cap)
    told = model(scales=only).fit(x, capped, censoring=beyond)
    untold = model(scales=only).fit(x, capped)
    above = y[:, 0] > cap
    latent = np.asarray(told.predict(x, latent=True))[above, 0]
    assert (
        np.abs(latent - y[above, 0]).mean()
        < np.abs(np.asarray(untold.predict(x))[above, 0] - y[above, 0]).mean()
    )
    assert (latent > cap - told.noise_[0]).mean() > 0.8


def test_outliers_pull_less_under_student_t() -> None:
    rng = np.random.default_rng(0)
    x = np.linspace(-2, 2, 60)[:, None]
    clean = np.sin(2 * x[:, 0])
    y = clean + 0.05 * rng.normal(size=60)
    y[::10] += 4.0
    normal = MultitaskGP(limits=None).fit(x, y).predict(x)
    robust = MultitaskGP(limits=None, degrees_of_freedom=3.0).fit(x, y).predict(x)
    assert np.abs(robust - clean).mean() < 0.3 * np.abs(normal - clean).mean()


def classes(x: Any, y: Any) -> None:
    labels = (y > np.nanmedian(y, axis=0)).astype(float)
    classifier = MultitaskGP(task_kinds="classification", max_iter=5).fit(x, labels)
    found = np.asarray(classifier.predict(x))
    assert ((found >= 0) & (found <= 1)).all()


def one_label_each(x: Any, y: Any) -> None:
    alone = np.full((len(x), 3), np.nan)
    alone[[0, 1, 2], [0, 1, 2]] = [1.0, 2.0, 3.0]
    mean, std = MultitaskGP().fit(x, alone).predict(x, return_std=True)
    np.testing.assert_array_equal(mean, np.tile([1.0, 2.0, 3.0], (len(x), 1)))
    assert np.isnan(std).all()


def two_labels_each(x: Any, y: Any) -> None:
    few = np.full((len(x), 3), np.nan)
    few[:2] = [[1.0, 2.0, 3.0], [2.0, 2.0, 1.0]]
    mean, std = MultitaskGP().fit(x, few).predict(x, return_std=True)
    assert np.isfinite(mean).all()
    assert (std[:, [0, 2]] > 0).all()


def duplicates_only(x: Any, y: Any) -> None:
    same = np.tile(x[:1], (len(x), 1))
    mean = MultitaskGP().fit(same, y).predict(same)
    assert np.ptp(mean, axis=0).max() < 1e-6


def columns_without_values(x: Any, y: Any) -> None:
    holes = np.hstack([x, np.full((len(x), 2), np.nan), np.ones((len(x), 1))])
    holes[3, :5] = np.nan
    found = MultitaskGP(blocks=[12, 7], max_iter=5).fit(holes, y).predict(holes)
    assert np.isfinite(found).all()


def far_more_tasks_than_labels(x: Any, y: Any) -> None:
    rng = np.random.default_rng(0)
    many = np.where(rng.random((len(x), 617)) < 0.1, rng.normal(size=(len(x), 617)), np.nan)
    found = MultitaskGP(learning_labels=500, max_iter=3).fit(x, many).predict(x)
    assert np.shape(found) == (40, 617)


@pytest.mark.filterwarnings("ignore::multitask_models.MissingLabelWarning")
@pytest.mark.parametrize(
    "case",
    [
        classes,
        one_label_each,
        two_labels_each,
        duplicates_only,
        columns_without_values,
        far_more_tasks_than_labels,
    ],
)
def test_awkward_tables_work(case: Callable[[Any, Any], None]) -> None:
    case(*table())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": [12, 5]}, "blocks: expected widths from 1 on that make up 16 features"),
        ({"kernels": ["tanimoto"]}, "kernels: expected one, or one for each of 2 blocks; found 1"),
        ({"kernels": "cosine"}, "kernels, block 0: expected tanimoto, rbf"),
        ({"kernels": "tanimoto"}, "kernels, block 1: expected counts or bits"),
        ({"rank": -1}, "rank: expected 0 or more; found -1"),
        ({"inducing": 0}, "inducing: expected 1 or more; found 0"),
        ({"degrees_of_freedom": 0.0}, "degrees_of_freedom: expected more than 0"),
        ({"scales": {"noise": [1.0]}}, "scales: expected loadings"),
        ({"scales": scales(n_tasks=2)}, "scales: expected those of 3 tasks and 2 blocks"),
        ({"scales": scales() | {"noise": np.zeros(3)}}, "scales: expected variances above 0"),
    ],
)
def test_what_cannot_be_used_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        model(**changes).fit(*table())


def test_nothing_learned_is_said() -> None:
    x, y = table()
    fitted = MultitaskGP().fit(x, np.where(np.isnan(y), np.nan, 1.0))
    with pytest.raises(ModelError, match="loo: expected a task whose labels vary"):
        fitted.loo()


def test_sampler_is_refused() -> None:
    with pytest.raises(ModelError, match="sampler: expected None"):
        model().fit(*table(), sampler=iter([]))  # type: ignore[arg-type]


@parametrize_with_checks(  # pyrefly: ignore[bad-argument-type, missing-argument]
    [MultitaskGP(max_iter=2)],
    expected_failed_checks=lambda _: {  # pyrefly: ignore[unexpected-keyword]
        "check_sample_weight_equivalence_on_dense_data": "labels that repeat tell the noise"
    },
)
def test_sklearn_contract(estimator, check):
    with warnings.catch_warnings():
        # scikit-learn notes that the array API's switch is not set, which skips that check.
        warnings.simplefilter("ignore")
        check(estimator)
