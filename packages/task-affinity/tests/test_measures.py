from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from task_affinity._gradients import RandomState, encoder_parameters
from task_affinity._measures import Lookahead, Step

pytestmark = pytest.mark.core


@pytest.mark.parametrize("settings", [{}, {"dropout": 0.5}, {"batch_norm": True}])
def test_agrees_with_copying_stepping_and_evaluating_again(make_toy, settings):
    model, batches, losses = make_toy(**settings)
    batch, step = batches[0], 0.05
    random = RandomState.now(torch.device("cpu"))
    before = deepcopy(model)
    values, _ = losses(model, batch)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    tasks = torch.tensor([0, 2])
    measure = Lookahead(model, losses, encoder_parameters(model), step=step)
    Z = torch.from_numpy(measure(Step(batch, values, tasks, random)))

    for column, j in enumerate(tasks.tolist()):
        copy = deepcopy(before)
        with random.replayed():
            at_start, _ = losses(copy, batch)
        at_start[j].backward()
        with torch.no_grad():
            for p in copy.encoder.parameters():
                p -= step * p.grad
        with random.replayed():
            after, _ = losses(copy, batch)
        expected = 1 - after.detach()[tasks] / at_start.detach()[tasks]
        # Double precision; the two differ in the order of a few sums.
        torch.testing.assert_close(Z[:, column], expected, rtol=1e-10, atol=1e-12)
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())


def test_a_step_on_its_own_loss_helps_a_task(make_toy):
    model, batches, losses = make_toy()
    values, present = losses(model, batches[0])
    random, tasks = RandomState.now(torch.device("cpu")), present.nonzero().squeeze(1)
    measure = Lookahead(model, losses, encoder_parameters(model), step=1e-3)
    Z = measure(Step(batches[0], values, tasks, random))
    assert (Z.diagonal() > 0).all()
