from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from task_affinity._errors import TaskAffinityError
from task_affinity._gradients import (
    FunctionalLosses,
    RandomState,
    add_gradients,
    empty_jacobian,
    encoder_parameters,
)
from task_affinity._probes import (
    ProbedCosines,
    double_backward_derivatives,
    forward_derivatives,
    normal_directions,
)

CPU = torch.device("cpu")


def jacobian(values, inputs):
    J = empty_jacobian(len(values), inputs)
    add_gradients(J, values, range(len(values)), inputs)
    return J


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.4}, {"batch_norm": True}])
def test_both_ways_give_the_jacobians_product(make_toy, settings):
    model, batches, losses = make_toy(**settings)
    parameters = encoder_parameters(model)
    inputs = list(parameters.values())
    random = RandomState.now(CPU)
    values, _ = losses(model, batches[0])
    direction = normal_directions(inputs, torch.Generator().manual_seed(1))
    expected = jacobian(values, inputs) @ torch.cat([v.flatten() for v in direction])

    functional = FunctionalLosses(model, losses)
    forward, _ = forward_derivatives(functional, batches[0], random, parameters, direction)
    backward = double_backward_derivatives(values, inputs)(direction)

    # Double precision, sums of a few hundred terms of order 1.
    torch.testing.assert_close(forward, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(backward, expected, rtol=0, atol=1e-10)


def test_probes_frozen_unused_and_shared_parameters(make_toy):
    model, batches, losses = make_toy()
    again = torch.nn.Linear(6, 6).double()
    again.weight = model.encoder[4].weight
    model.encoder.append(again)
    model.spare = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    model.encoder[0].requires_grad_(False)
    parameters = encoder_parameters(model)
    inputs = list(parameters.values())
    values, _ = losses(model, batches[0])
    v = normal_directions(inputs, torch.Generator().manual_seed(1))
    expected = jacobian(values, inputs) @ torch.cat([x.flatten() for x in v])
    functional, random = FunctionalLosses(model, losses), RandomState.now(CPU)
    forward, _ = forward_derivatives(functional, batches[0], random, parameters, v)
    torch.testing.assert_close(forward, expected, rtol=0, atol=1e-10)
    backward = double_backward_derivatives(values, inputs)(v)
    torch.testing.assert_close(backward, expected, rtol=0, atol=1e-10)


def test_derivatives_of_losses_that_reach_nothing_are_zero():
    x = torch.ones(2, requires_grad=True)
    values = torch.stack([x.sum(), x.prod()]) * 1.0
    along = double_backward_derivatives(values, [torch.ones(3, requires_grad=True)])
    assert along([torch.ones(3)]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("n_probes", [2, 3, 4, 8])
def test_probed_cosines_are_unbiased(n_probes, pair_cosines):
    # Gaussian pairs of correlation rho are what derivatives along normal directions are.
    n_seeds, rhos = 4000, np.array([-0.9, -0.3, 0.05, 0.6])
    rng = np.random.default_rng(n_probes)
    estimate = ProbedCosines(n_probes)
    z = []
    for rho in rhos:
        root = np.linalg.cholesky([[1, rho], [rho, 1]])
        values = pair_cosines(estimate, root @ rng.normal(size=(n_seeds, 2, n_probes)))
        z.append((np.mean(values) - rho) / (np.std(values) / np.sqrt(n_seeds)))
    # Sum of four squared standard normals; fails once in 10 000 seeds if unbiased.
    assert np.sum(np.square(z)) < chi2.ppf(1 - 1e-4, len(rhos))


def test_products_of_probes_have_the_gramian_as_mean(make_toy):
    model, batches, losses = make_toy()
    inputs = list(encoder_parameters(model).values())
    values, _ = losses(model, batches[0])
    J = jacobian(values, inputs)
    along = double_backward_derivatives(values, inputs)
    n = 600
    generator = torch.Generator().manual_seed(5)
    d = torch.stack([along(normal_directions(inputs, generator)) for _ in range(n)])
    gram = (J @ J.T).numpy()
    # d Σ⁻¹ dᵀ is chi-square with one degree of freedom a task; fails once in 10 000 seeds a side.
    statistic = np.einsum("ni,ij,nj->", d.numpy(), np.linalg.inv(gram), d.numpy())
    low, high = chi2.ppf([1e-4, 1 - 1e-4], n * len(gram))
    assert low < statistic < high


def test_one_probe_gives_no_cosine():
    with pytest.raises(TaskAffinityError, match="n_probes: expected at least 2"):
        ProbedCosines(1)
