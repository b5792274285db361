from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from task_affinity._chemprop import ChempropLosses, build_loader, build_model, output_layer
from task_affinity._config import TaskAffinityConfig
from task_affinity._errors import TaskAffinityError
from task_affinity._gradients import RandomState, add_gradients, empty_jacobian, encoder_parameters
from task_affinity._last_layer import LastLayer, OutputLayer
from task_affinity._probes import ProbedCosines
from task_affinity._run import TaskAffinityComputer
from torch import nn

CPU = torch.device("cpu")


class Pooled(nn.Module):
    """Rows of examples, two shared layers, a sum over the rows, and heads with a hidden layer."""

    def __init__(self, n_tasks, *, dropout=0.0, bias=True, batch_norm=False, mixing=False):
        super().__init__()
        self.first = nn.Linear(4, 5)
        self.last = nn.Linear(5, 6, bias=bias)
        self.drop = nn.Dropout(dropout)
        self.mixing = nn.LayerNorm(6) if mixing else nn.Identity()
        self.pool = Sum()
        self.norm = nn.BatchNorm1d(6) if batch_norm else nn.Identity()
        self.heads = nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, n_tasks))

    def forward(self, x, example):
        atoms = self.drop(torch.relu(self.mixing(self.last(torch.tanh(self.first(x))))))
        return self.heads(self.norm(self.pool(atoms, example)))


class Sum(nn.Module):
    def forward(self, atoms, example):
        return (
            torch.zeros(int(example.max()) + 1, atoms.shape[1])
            .to(atoms)
            .index_add(0, example, atoms)
        )


def losses(model, batch):
    x, example, y = batch
    known = y.isfinite()
    errors = torch.where(known, (model(x, example) - y.nan_to_num()) ** 2, 0.0)
    counts = known.sum(0)
    return errors.sum(0) / counts.clamp(min=1), counts > 0


def batch_of(n_tasks, *, seed=0, size=9):
    generator = torch.Generator().manual_seed(seed)
    example = torch.randperm(4 * size, generator=generator) % size  # rows in any order
    x = torch.randn(4 * size, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(size, n_tasks, generator=generator, dtype=torch.float64)
    y[torch.rand(size, n_tasks, generator=generator) < 0.4] = torch.nan
    y[:, -1] = torch.nan  # a task without a label
    return x, example, y


def network(n_tasks=5, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Pooled(n_tasks, **kwargs).double()


def expected_gramian(model, batch, inputs):
    values, present = losses(model, batch)
    chosen = values[present]
    J = empty_jacobian(len(chosen), inputs)
    add_gradients(J, chosen, range(len(chosen)), inputs)
    return J @ J.T


@pytest.mark.parametrize(
    "settings", [{}, {"dropout": 0.4}, {"bias": False}, {"batch_norm": True, "dropout": 0.2}]
)
def test_dot_products_are_those_of_gradients_taken_one_by_one(settings):
    model, batch = network(**settings), batch_of(5)
    random = RandomState.now(CPU)
    with torch.random.fork_rng():
        expected = expected_gramian(model, batch, list(model.last.parameters()))
    norm = deepcopy(model.norm.state_dict())
    layer = LastLayer(model, losses, encoder_parameters(model), OutputLayer("last", "norm"))
    # Double precision, sums of a few dozen terms of order 1.
    torch.testing.assert_close(layer.gramian(batch, random), expected, rtol=0, atol=1e-10)
    assert all(torch.equal(v, norm[k]) for k, v in model.norm.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_frozen_bias_counts_as_nothing():
    model, batch = network(), batch_of(5)
    model.last.bias.requires_grad_(False)
    parameters = encoder_parameters(model)
    layer = LastLayer(model, losses, parameters, OutputLayer(model.last, model.norm))
    assert layer.names == ("last.weight",)
    expected = expected_gramian(model, batch, [model.last.weight])
    found = layer.gramian(batch, RandomState.now(CPU))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


class OneAtATime(torch.autograd.Function):
    """The identity, whose backward pass torch cannot batch."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * float(grad.new_ones(1).item() + grad.sum().item() * 0)


def test_heads_that_cannot_go_back_for_many_tasks_at_once_go_back_one_by_one():
    model, batch = network(), batch_of(5)
    model.heads = nn.Sequential(Apart(), *model.heads)
    layer = LastLayer(model, losses, encoder_parameters(model), OutputLayer("last", "norm"))
    expected = expected_gramian(model, batch, list(model.last.parameters()))
    found = layer.gramian(batch, RandomState.now(CPU))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


class Apart(nn.Module):
    def forward(self, x):
        return OneAtATime.apply(x)


def test_chemprops_last_layer_is_found_and_agrees_with_autograd():
    smiles = ["CCO", "c1ccccc1", "CC(=O)N", "CCN", "OCCO", "CCCl"]
    y = np.random.default_rng(0).normal(size=(6, 3))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = build_model(3)
    (batch,) = build_loader(smiles, y, batch_size=6, seed=0)
    parameters = encoder_parameters(model)
    layer = LastLayer(model, ChempropLosses(), parameters, output_layer(model))
    assert set(layer.names) == {"message_passing.W_o.weight", "message_passing.W_o.bias"}
    values, _ = ChempropLosses()(model, batch)
    inputs = [parameters[name] for name in layer.names]
    J = empty_jacobian(3, inputs)
    add_gradients(J, values, range(3), inputs)
    expected = (J.double() @ J.double().T).float()
    found = layer.gramian(batch, RandomState.now(CPU)).float()
    # Single precision, sums of thousands of terms: 1e-4 of the largest.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.max()))


def test_an_encoder_with_atom_descriptors_after_the_layer_does_not_say_where_it_ends():
    model = build_model(2)
    model.message_passing.W_d = nn.Linear(300, 300)
    assert output_layer(model) is None


@pytest.mark.parametrize(
    ("where", "model", "message"),
    [
        (OutputLayer("last", "norm"), network(mixing=True), "reach only its own unit"),
        (OutputLayer("pool", "norm"), network(), r"torch\.nn\.Linear; found Sum as 'pool'"),
        (OutputLayer("lost", "norm"), network(), "found 'lost'. Did you mean 'last'"),
        (
            OutputLayer("first", "norm"),
            network(),
            r"a representation \[B, 5\] after it; found 1 calls.* inputs of shape \[\[9, 6\]\]",
        ),
    ],
)
def test_a_layer_that_is_not_the_last_is_refused(where, model, message):
    with pytest.raises(TaskAffinityError, match=f"output_layer: expected.*{message}"):
        LastLayer(model, losses, encoder_parameters(model), where).gramian(
            batch_of(5), RandomState.now(CPU)
        )


def test_a_layer_that_is_used_twice_is_refused():
    model = network()
    model.first = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 5)).double()
    model.first[1].weight = model.last.weight
    with pytest.raises(TaskAffinityError, match="reach only its own unit"):
        LastLayer(model, losses, encoder_parameters(model), OutputLayer("last", "norm")).gramian(
            batch_of(5), RandomState.now(CPU)
        )


@pytest.mark.parametrize("n_probes", [4, 8])
def test_partly_exact_cosines_are_unbiased_to_the_order_of_the_correction(n_probes, pair_cosines):
    # Gradients of length 1 with half of their square in probed parameters.
    n_seeds, rng = 20_000, np.random.default_rng(n_probes)
    estimate = ProbedCosines(n_probes)
    for exact_rho, rho in [(0.3, -0.5), (0.0, 0.9), (0.8, 0.8)]:
        exact = 0.5 * np.array([[1, exact_rho], [exact_rho, 1]])
        root = np.linalg.cholesky(0.5 * np.array([[1, rho], [rho, 1]]))
        values = pair_cosines(estimate, root @ rng.normal(size=(n_seeds, 2, n_probes)), exact)
        off = values.mean() - (exact_rho + rho) / 2
        # 4.4 standard errors: fails once in 100 000 seeds; the next order is below 0.15 / K².
        assert abs(off) < 4.4 * values.std() / np.sqrt(n_seeds) + 0.15 / n_probes**2


def test_noise_falls_with_the_share_that_is_exact_and_all_exact_needs_no_probe():
    model, batch = network(), batch_of(5)
    for names, exactly in [(["last"], True), (["first", "last"], False)]:
        settings = {"device": "cpu", "encoder_param_patterns": names}
        found = {}
        for estimator in ("exact", "probe"):
            config = TaskAffinityConfig(estimator=estimator, **settings)
            found[estimator] = (
                TaskAffinityComputer(config)
                .compute(
                    deepcopy(model),
                    [(*batch[:2], batch[2][:, :-1])] * 3,
                    four_losses(losses),
                    output_layer=OutputLayer("last", "norm"),
                )
                .matrix
            )
        error = np.abs(found["probe"] - found["exact"]).max()
        assert bool(error < 1e-10) == exactly


def four_losses(five):
    def four(model, batch):
        x, example, y = batch
        padded = torch.cat([y, y.new_full((len(y), 1), torch.nan)], dim=1)
        values, present = five(model, (x, example, padded))
        return values[:4], present[:4]

    return four


def test_hybrid_dot_products_have_the_gramian_as_mean():
    model, batch = network(dropout=0.3), batch_of(5)
    batch = (*batch[:2], batch[2][:, :-1])
    n_seeds = 400
    settings = {"affinity_type": "dot_product", "normalize_gradients": False, "n_probes": 2}

    def matrix(seed, **others):
        config = TaskAffinityConfig(device="cpu", seed=seed, **settings, **others)
        with torch.random.fork_rng():
            torch.manual_seed(11)  # dropout's draws
            result = TaskAffinityComputer(config).compute(
                deepcopy(model),
                [batch],
                four_losses(losses),
                output_layer=OutputLayer("last", "norm"),
            )
        return result.block_sums.sum(axis=0)

    exact = matrix(0, estimator="exact")
    upper = np.triu_indices(4)
    each = np.array([matrix(seed, estimator="probe")[upper] for seed in range(n_seeds)])
    off = each.mean(axis=0) - exact[upper]
    # Hotelling's T² of 10 entries, close to chi-square; fails about once in 10 000 seeds.
    statistic = n_seeds * off @ np.linalg.solve(np.cov(each.T), off)
    assert statistic < chi2.ppf(1 - 1e-4, len(off)) * 1.1
