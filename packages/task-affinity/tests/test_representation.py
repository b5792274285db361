from __future__ import annotations

import pytest
import torch
from task_affinity.errors import TaskAffinityError
from task_affinity.representation import EncoderOutput


def test_catches_the_output_for_the_losses_to_be_differentiated_by(make_toy):
    model, batches, losses = make_toy()
    with EncoderOutput(model, "encoder") as output:
        values, _ = losses(model, batches[0])
    (caught,) = output.tensors
    x, y = batches[0]
    z = model.encoder(x).detach().requires_grad_()
    known = y.isfinite()
    errors = torch.where(known, (model.heads(torch.tanh(z)) - y.nan_to_num()) ** 2, 0.0)
    expected = torch.autograd.grad((errors.sum(0) / known.sum(0))[1], z)[0]
    torch.testing.assert_close(torch.autograd.grad(values[1], caught)[0], expected)


def test_takes_the_module_itself(make_toy):
    model, batches, losses = make_toy()
    with EncoderOutput(model, model.encoder[2]) as output:
        losses(model, batches[0])
    assert len(output.tensors) == 1


def test_leaves_no_hook(make_toy):
    model, _, _ = make_toy()
    with EncoderOutput(model, "encoder"):
        pass
    assert not model.encoder._forward_hooks


def test_names_the_module_that_is_not_there(make_toy):
    model, _, _ = make_toy()
    with pytest.raises(TaskAffinityError, match=r"found 'encodr'\. Did you mean 'encoder'"):
        EncoderOutput(model, "encodr")
    with pytest.raises(TaskAffinityError, match="another Linear"):
        EncoderOutput(model, torch.nn.Linear(1, 1))


def test_stops_where_no_gradient_passes(make_toy):
    model, batches, losses = make_toy()
    model.encoder.requires_grad_(False)
    with (
        pytest.raises(TaskAffinityError, match="'encoder', which does not: no parameter"),
        EncoderOutput(model, "encoder"),
    ):
        losses(model, batches[0])


def test_stops_where_the_module_took_no_part(make_toy):
    model, batches, losses = make_toy()
    model.spare = torch.nn.Linear(1, 1)
    with EncoderOutput(model, "spare") as output:
        losses(model, batches[0])
    with pytest.raises(TaskAffinityError, match="'spare', which took no part"):
        _ = output.tensors


def test_stops_at_an_output_that_is_no_tensor(make_toy):
    model, batches, losses = make_toy()
    model.encoder = torch.nn.GRU(4, 6, batch_first=True).double()
    with (
        pytest.raises(TaskAffinityError, match="'encoder': tuple"),
        EncoderOutput(model, "encoder"),
    ):
        losses(model, batches[0])
