from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from task_affinity._errors import TaskAffinityError
from task_affinity._gradients import (
    EncoderOutput,
    add_gradients,
    empty_jacobian,
    encoder_parameters,
    gramian,
    label_blocks,
)
from torch import nn


def cost(labelled, sizes, blocks, overhead):
    return sum((labelled[b].any(0).sum() + 1) * (sizes[b].sum() + overhead) for b in blocks)


@settings(max_examples=50, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 6))), st.floats(0, 5))
def test_every_row_once_and_never_dearer_than_the_ends(labelled, overhead):
    sizes = np.linspace(0.5, 1.5, len(labelled))
    blocks = label_blocks(labelled, sizes, overhead)
    assert sorted(np.concatenate(blocks).tolist()) == list(range(len(labelled)))
    assert all((np.diff(b) > 0).all() for b in blocks)
    patterns = np.unique(labelled, axis=0, return_inverse=True)[1].ravel()
    apart = [np.flatnonzero(patterns == k) for k in range(patterns.max() + 1)]
    assert cost(labelled, sizes, blocks, overhead) <= cost(labelled, sizes, apart, overhead) + 1e-9


def test_disjoint_families_part_and_equal_patterns_stay():
    labelled = np.repeat([[True, True, False, False], [False, False, True, True]], 10, axis=0)
    first, second = sorted(label_blocks(labelled, np.ones(20)), key=lambda b: b[0])
    assert first.tolist() == list(range(10))
    assert second.tolist() == list(range(10, 20))


def test_a_dear_pass_keeps_all_together():
    labelled = np.eye(5, dtype=bool)
    (block,) = label_blocks(labelled, np.ones(5), overhead=100.0)
    assert block.tolist() == [0, 1, 2, 3, 4]


@pytest.fixture
def model() -> nn.Module:
    parts = ("message_passing", "bn", "predictor_ffn", "Readout", "task_heads", "output")
    return nn.ModuleDict({name: nn.Linear(2, 2) for name in parts})


def names(model: nn.Module, *patterns: str) -> set[str]:
    return {name.split(".")[0] for name in encoder_parameters(model, patterns)}


def test_leaves_heads_out_where_no_pattern_is_given(model):
    assert names(model) == {"message_passing", "bn"}


def test_takes_what_matches_a_pattern(model):
    assert names(model, "message", "ffn") == {"message_passing", "predictor_ffn"}


def test_leaves_out_frozen_parameters(model):
    model["bn"].requires_grad_(False)
    assert names(model) == {"message_passing"}


def test_gives_a_shared_parameter_once(model):
    model["bn"].weight = model["message_passing"].weight
    assert "bn.weight" not in encoder_parameters(model)


def test_stops_where_nothing_matches_and_lists_what_there_is(model):
    with pytest.raises(TaskAffinityError, match=r"'mpnn'.*message_passing\.weight.*and 6 more"):
        encoder_parameters(model, ["mpnn"])
    with pytest.raises(TaskAffinityError, match=r"no patterns.*has head\.weight"):
        encoder_parameters(nn.ModuleDict({"head": nn.Linear(2, 2)}))


def test_stops_at_an_encoder_that_is_frozen(model):
    with pytest.raises(TaskAffinityError, match="requires_grad = False for message_passing"):
        encoder_parameters(model["message_passing"].requires_grad_(False) and model, ["message"])


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
