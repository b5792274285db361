from __future__ import annotations

import pytest
from task_affinity.errors import TaskAffinityError
from task_affinity.parameters import encoder_parameters
from torch import nn


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
