"""The marginal likelihood's gradient, its priors, and which labels scales are learned from."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from multitask_models._gp_likelihood import (
    Likelihood,
    Scales,
    first_scales,
    learn_scales,
    log_prior,
    some_pairs,
)
from multitask_models._kernels import build_blocks

# Test files are imported on their own and see no neighbour.
BANK = runpy.run_path(str(Path(__file__).with_name("gp_bank.py")))
KERNELS, WIDTHS = BANK["KERNELS"], BANK["WIDTHS"]
scales, table, pairs_of = BANK["scales"], BANK["table"], BANK["pairs_of"]


def numeric_gradient(function, vector, step=1e-6):
    unit = np.eye(len(vector)) * step
    return np.array([(function(vector + u) - function(vector - u)) / (2 * step) for u in unit])


@pytest.mark.parametrize("kernels", [KERNELS, ["rbf", "matern32"], ["tanimoto", "rbf"]])
def test_gradient_is_that_of_the_value(kernels):
    x, y = table()
    blocks = build_blocks(x, WIDTHS, kernels)
    likelihood = Likelihood(blocks, [block.prepare(x) for block in blocks], pairs_of(y, site=0.7))
    at = Scales(**scales())
    gradient = likelihood.evaluate(at)[1]
    numeric = numeric_gradient(lambda v: likelihood.evaluate(at.unpack(v))[0], at.pack())
    # Central differences of step 1e-6 of a value of some 1e2.
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-6)


def test_gradient_equals_automatic_differentiation():
    torch = pytest.importorskip("torch")
    x, y = table()
    pairs = pairs_of(y)
    blocks = build_blocks(x, WIDTHS, ["tanimoto", "rbf"])
    likelihood = Likelihood(blocks, [block.prepare(x) for block in blocks], pairs)
    at = Scales(**scales())
    leaves = [torch.tensor(v, requires_grad=True) for v in vars(at).values()]
    loadings, specific, noise, logits, ratios = leaves
    shared, distances = (torch.tensor(base) for base in likelihood.bases)
    weights = torch.softmax(logits, 0)
    kernel = weights[0] * shared + weights[1] * torch.exp(
        -0.5 * distances * torch.exp(-2 * ratios[1])
    )
    local, task = likelihood.pairs.molecule, pairs.task
    b = loadings @ loadings.T + torch.diag(specific)
    covariance = b[np.ix_(task, task)] * kernel[np.ix_(local, local)]
    covariance = covariance + torch.diag(noise[task] / torch.tensor(pairs.weight))
    normal = torch.distributions.MultivariateNormal(torch.zeros(len(task)).double(), covariance)
    value = normal.log_prob(torch.tensor(pairs.y))
    value.backward()
    by = [leaf.grad.numpy() for leaf in leaves]
    expected = [by[0].ravel(), by[1] * at.specific, by[2] * at.noise, by[3], by[4]]
    found, gradient = likelihood.evaluate(at)
    np.testing.assert_allclose(found, value.item(), rtol=1e-8)
    np.testing.assert_allclose(gradient, np.concatenate(expected), rtol=1e-8, atol=1e-8)


def test_prior_gradient():
    at = Scales(**scales())
    numeric = numeric_gradient(lambda v: log_prior(at.unpack(v))[0], at.pack())
    np.testing.assert_allclose(log_prior(at)[1], numeric, atol=1e-7)


def test_learning_climbs_to_a_stationary_point():
    x, y = table(n=60)
    blocks = build_blocks(x, WIDTHS, KERNELS)
    pairs = pairs_of(y)
    likelihood = Likelihood(blocks, [block.prepare(x) for block in blocks], pairs)
    start = first_scales(pairs, 3, 2, 2)
    found, _ = learn_scales(likelihood, start, 500)

    def posterior(at):
        parts = likelihood.evaluate(at), log_prior(at)
        return parts[0][0] + parts[1][0], parts[0][1] + parts[1][1]

    assert posterior(found)[0] > posterior(start)[0] + 5
    # The search stops at a relative gain of 2e-9; slopes are then some hundredths.
    assert np.abs(posterior(found)[1]).max() < 0.1


def test_rare_task_gives_all_of_its_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 3))
    y = rng.normal(size=(500, 3))
    y[20:, 2] = np.nan
    pairs = pairs_of(y)
    chosen = pairs.take(some_pairs(pairs, x, 3, 200, seed=0))
    assert (chosen.task == 2).sum() == 20
    assert 190 <= len(chosen) <= 200
    again = pairs.take(some_pairs(pairs, x, 3, 200, seed=1))
    assert set(again.molecule) != set(chosen.molecule)


def test_choice_of_labels_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 3)), rng.normal(size=(300, 2))
    order = rng.permutation(300)
    pairs, moved = pairs_of(y), pairs_of(y[order])
    here = x[pairs.take(some_pairs(pairs, x, 2, 100, seed=0)).molecule]
    there = x[order][moved.take(some_pairs(moved, x[order], 2, 100, seed=0)).molecule]
    assert {tuple(row) for row in here} == {tuple(row) for row in there}
