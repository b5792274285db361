from __future__ import annotations

import numpy as np
import torch
from task_affinity.gradients import add_gradients, empty_jacobian, gramian
from task_affinity.products import cosines


def test_gradients_are_those_of_a_plain_loop(make_toy):
    model, batches, losses = make_toy()
    values, _ = losses(model, batches[0])
    inputs = list(model.encoder.parameters())
    jacobian = empty_jacobian(3, inputs)
    add_gradients(jacobian, values, range(3), inputs)
    for row, value in zip(jacobian, values, strict=True):
        plain = torch.autograd.grad(value, inputs, retain_graph=True)
        assert torch.equal(row, torch.cat([g.flatten() for g in plain]))


def test_what_a_task_does_not_reach_counts_as_zeros():
    a, b = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    jacobian = empty_jacobian(3, [a, b])
    # The last is a constant: it has no graph at all.
    add_gradients(jacobian, torch.stack([a.sum(), (2 * b).sum()]), [0, 1], [a, b])
    add_gradients(jacobian, torch.ones(1), [2], [a, b])
    assert jacobian.tolist() == [[1, 1, 0, 0, 0], [0, 0, 2, 2, 2], [0, 0, 0, 0, 0]]


def test_gramian_is_the_product_whatever_the_chunk():
    jacobian = torch.randn(4, 37, generator=torch.Generator().manual_seed(0))
    exact = jacobian.double() @ jacobian.double().T
    # Single precision inside a chunk: 37 terms of order 1.
    torch.testing.assert_close(gramian(jacobian, chunk=5), exact, rtol=0, atol=1e-5)


def test_cosine_of_zero_is_zero():
    products = np.array([[4.0, -2.0, 0.0], [-2.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    assert cosines(products).tolist() == [[1, -0.5, 0], [-0.5, 1, 0], [0, 0, 0]]
