from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from chemprop import nn
from chemprop_multitask import ChempropError, ChempropModel, GroupedPredictor

NAMES = ["a", "b", "c"]
SIZES: dict[str, Any] = {"input_dim": 6, "hidden_dim": 5, "n_layers": 2}


@pytest.fixture
def fingerprint() -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("kind", "peer", "extra"),
    [
        (
            "regression",
            nn.RegressionFFN,
            {"output_transform": nn.UnscaleTransform(np.arange(3.0), np.full(3, 2.0))},
        ),
        ("classification", nn.BinaryClassificationFFN, {}),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_one_group_is_chemprops_layout(
    kind: Any, peer: Any, extra: dict[str, Any], training: bool, fingerprint: torch.Tensor
) -> None:
    theirs = peer(n_tasks=3, **SIZES, **extra).train(training)
    ours = GroupedPredictor([NAMES], NAMES, task_types=kind, **SIZES, **extra).train(training)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours(fingerprint), theirs(fingerprint))
    assert torch.equal(ours.train_step(fingerprint), theirs.train_step(fingerprint))
    assert torch.equal(ours.encode(fingerprint, 2), theirs.encode(fingerprint, 2))
    assert (ours.n_tasks, ours.n_targets, ours.output_dim) == (3, 1, 3)


def heads(predictor: GroupedPredictor) -> Any:
    ffn: Any = predictor.ffn
    return ffn.heads


def test_each_column_comes_from_the_head_that_serves_it(fingerprint: torch.Tensor) -> None:
    predictor = GroupedPredictor([["c", "a"], ["b"]], NAMES, **SIZES)
    first, second = heads(predictor)
    expected = torch.stack(
        [first(fingerprint)[:, 1], second(fingerprint)[:, 0], first(fingerprint)[:, 0]], dim=1
    )
    assert torch.equal(predictor(fingerprint), expected)
    hidden = torch.cat([first[:2](fingerprint), second[:2](fingerprint)], dim=1)
    assert torch.equal(predictor.encode(fingerprint, 2), hidden)


def test_a_task_reaches_its_own_head_only(fingerprint: torch.Tensor) -> None:
    predictor = GroupedPredictor([[0, 2], [1]], NAMES, **SIZES)
    torch.autograd.backward(predictor.train_step(fingerprint)[:, 1].sum())
    first, second = heads(predictor)
    assert all(p.grad is None or not p.grad.any() for p in first.parameters())
    assert all(p.grad is not None and p.grad.any() for p in second.parameters())


def test_both_kinds_in_one_predictor(fingerprint: torch.Tensor) -> None:
    predictor = GroupedPredictor(
        [NAMES],
        NAMES,
        task_types=["regression", "classification", "regression"],
        output_transform=nn.UnscaleTransform([5.0, 0.0, 1.0], [2.0, 1.0, 3.0]),
        **SIZES,
    ).eval()
    raw = predictor.ffn(fingerprint)
    expected = torch.stack([raw[:, 0] * 2 + 5, raw[:, 1].sigmoid(), raw[:, 2] * 3 + 1], dim=1)
    torch.testing.assert_close(predictor(fingerprint), expected)


def test_it_is_rebuilt_from_its_hyperparameters(fingerprint: torch.Tensor) -> None:
    predictor = GroupedPredictor(
        [["a", "b"], ["b", "c"]], NAMES, assignment={"b": 1}, task_types="regression", **SIZES
    )
    hparams = dict(predictor.hparams)
    twin = hparams.pop("cls")(**hparams)
    twin.load_state_dict(predictor.state_dict())
    assert twin.groups == ((0,), (1, 2))
    assert torch.equal(twin(fingerprint), predictor(fingerprint))


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ChempropError, match=r"found 'hergg'\. Did you mean 'herg'"):
        GroupedPredictor([["logd"], ["hergg"]], ["logd", "herg"])


def test_a_configuration_says_which_group_serves_a_task(settings: Any) -> None:
    config = settings(groups=[["a", "b"], ["b", "c"]])
    with pytest.raises(ChempropError, match="task 'b', or an assignment; groups 0, 1 do"):
        ChempropModel.from_config(config, task_names=NAMES)
    config.group_assignment = {"b": 1}
    model = ChempropModel.from_config(config, task_names=NAMES)
    assert model.module.predictor.groups == ((0,), (1, 2))
