from __future__ import annotations

from typing import Any

import pytest
import torch
from mil_attn import (
    Bags,
    MILConfig,
    MILError,
    MILModelConfig,
    MILTaskAttnMixerWithAux,
    pack_bags,
)
from mil_attn.models._model import Mixing
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

SMALL = {
    "mol_hidden": 10,
    "mol_layers": 2,
    "inst_hidden": 8,
    "inst_layers": 2,
    "attn_heads": 2,
    "proj_dim": 6,
    "mixer_hidden": 7,
    "mixer_layers": 2,
}
AUX = {"abs": 2, "fluo": 4}
SIZES = [3, 1, 6, 2]


def model_of(n_tasks: int = 3, seed: int = 0, **config: Any) -> MILTaskAttnMixerWithAux:
    torch.manual_seed(seed)
    settings = MILModelConfig(**SMALL, **config)
    model = MILTaskAttnMixerWithAux(settings, n_tasks=n_tasks, in_2d=5, in_3d=4, aux=AUX)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 10)  # off the zeros of the start
    return model.double()


def bags_of(sizes: list[int], seed: int = 1, **fields: Any) -> Bags:
    generator = torch.Generator().manual_seed(seed)
    bags = torch.randn(sum(sizes), 4, dtype=torch.float64, generator=generator).split(sizes)
    x2d = torch.randn(len(sizes), 5, dtype=torch.float64, generator=generator)
    return pack_bags(list(bags), x2d=x2d, **fields)


def test_shapes_are_those_of_the_tasks_and_groups() -> None:
    out = model_of().eval()(bags_of(SIZES))
    assert out.logits.shape == (4, 3)
    assert {name: values.shape for name, values in out.aux.items()} == {
        "abs": (4, 2),
        "fluo": (4, 4),
    }
    assert out.attention.shape == (12, 3)
    assert out.z_tasks.shape == (4, 3, 7)


def test_heads_by_hand() -> None:
    model = model_of().eval()
    out = model(bags_of(SIZES))
    for t in range(3):
        logit = out.z_tasks[:, t] @ model.heads.weight[t] + model.heads.bias[t]
        torch.testing.assert_close(out.logits[:, t], logit, rtol=1e-12, atol=1e-12)
    shared = model.aux_heads["abs"](out.z_tasks.mean(1))
    torch.testing.assert_close(out.aux["abs"], shared, rtol=1e-12, atol=1e-12)


def test_bags_do_not_know_each_other() -> None:
    """Known fault: results that change when a bag is batched beside a longer one."""
    model = model_of().eval()
    bags = bags_of(SIZES)
    together = model(bags)
    assert bags.instances is not None
    assert bags.x2d is not None
    for b, bag in enumerate(bags.instances.split(SIZES)):
        alone = model(pack_bags([bag], x2d=bags.x2d[b : b + 1]))
        torch.testing.assert_close(alone.logits[0], together.logits[b], rtol=1e-10, atol=1e-10)


def test_bags_are_mixed_in_the_shares_asked_for() -> None:
    model, bags = model_of().eval(), bags_of(SIZES)
    swapped = torch.tensor([1, 0, 3, 2])

    def logits(share: float) -> Tensor:
        return model(bags, Mixing(share, swapped)).logits

    whole = model(bags).logits
    torch.testing.assert_close(logits(1.0), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits(0.0), whole[swapped], rtol=1e-12, atol=1e-12)
    # A quarter of one with three of the other is the same the other way round.
    torch.testing.assert_close(logits(0.25), logits(0.75)[swapped], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(logits(0.25), whole)


def test_instances_have_no_order_and_bags_may_repeat() -> None:
    model = model_of().eval()
    bags = bags_of([5])
    assert bags.instances is not None
    assert bags.x2d is not None
    shuffled = bags.instances[torch.tensor([3, 1, 4, 0, 2])]
    twice = pack_bags([bags.instances, shuffled], x2d=bags.x2d.expand(2, -1))
    logits = model(twice).logits
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(logits[:1], model(bags).logits, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"use_3d": False},
        {"use_2d": False},
        {"pool_source": "inputs"},
        {"pool_source": "normed_inputs", "tie_mha_v": True, "mean_residual": 0.2},
        {"gated": False, "activation": "Mish"},
    ],
)
def test_every_exposed_parameter_gets_a_gradient(config: dict[str, Any]) -> None:
    model = model_of(**config, drop_path=0.0)
    out = model(bags_of(SIZES))
    loss = out.logits.pow(2).sum() + sum(values.pow(2).sum() for values in out.aux.values())
    loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_either_branch_runs_alone() -> None:
    bags = bags_of(SIZES)
    flat = model_of(use_3d=False).eval()
    out = flat(Bags(None, bags.offsets, x2d=bags.x2d))
    assert out.attention is None
    assert out.logits.shape == (4, 3)
    assert not hasattr(flat, "inst_enc")
    lone = model_of(use_2d=False).eval()
    assert lone(Bags(bags.instances, bags.offsets)).logits.shape == (4, 3)
    assert not hasattr(lone, "mol_enc")


def test_without_instances_tasks_differ_by_their_heads_only() -> None:
    model = model_of(use_3d=False).eval()
    bags = bags_of(SIZES)
    z = model.mixer(model.proj2d(model.mol_enc(bags.x2d)))
    expected = z @ model.heads.weight.T + model.heads.bias
    torch.testing.assert_close(model(bags).logits, expected, rtol=1e-10, atol=1e-10)


def test_missing_or_foreign_features_are_named() -> None:
    model, bags = model_of(), bags_of(SIZES)
    assert bags.x2d is not None
    with pytest.raises(MILError, match="x2d: expected 5 features, as the model has; found None"):
        model(Bags(bags.instances, bags.offsets))
    with pytest.raises(MILError, match=r"instances: expected 4 features.*; found 5"):
        model(Bags(torch.ones(2, 5), torch.tensor([0, 2]), x2d=bags.x2d[:1]))
    with pytest.raises(MILError, match="in_3d: expected the number of features, as use_3d is true"):
        MILTaskAttnMixerWithAux(MILModelConfig(), n_tasks=1, in_2d=5)


def test_the_preset_builds_its_four_tasks_and_two_groups() -> None:
    config = MILConfig.preset("euos25")
    config.model = MILModelConfig(**SMALL)
    model = MILTaskAttnMixerWithAux.from_config(config, in_2d=5, in_3d=4)
    assert model.n_tasks == 4
    assert {name: head.out_features for name, head in model.aux_heads.items()} == AUX


@pytest.mark.slow
def test_overfits_32_bags() -> None:
    torch.manual_seed(0)
    sizes = [1 + b % 6 for b in range(32)]
    bags = bags_of(sizes).to(dtype=torch.float32)
    labels = torch.randint(0, 2, (32, 3)).float()
    settings = MILModelConfig(
        **{**SMALL, "inst_hidden": 32, "proj_dim": 32, "mixer_hidden": 32, "mol_hidden": 32},
        mol_dropout=0,
        inst_dropout=0,
        attn_dropout=0,
        mixer_dropout=0,
        drop_path=0,
        use_2d=False,
    )
    model = MILTaskAttnMixerWithAux(settings, n_tasks=3, in_3d=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(200):
        loss = F.binary_cross_entropy_with_logits(model(bags).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
    assert ((model.eval()(bags).logits > 0) == labels.bool()).all()
