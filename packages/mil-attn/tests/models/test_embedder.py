from __future__ import annotations

from typing import Any

import pytest
import torch
from mil_attn import MILError, make_residual_mlp_embedder_v3
from mil_attn.models._embedder import DropPath, ResidualBlock
from torch.nn import functional as F  # noqa: N812


def test_starts_near_the_identity() -> None:
    """The last block is the identity, and with one block so is all after the projection."""
    torch.manual_seed(0)
    x = torch.randn(7, 5)
    encoder = make_residual_mlp_embedder_v3(5, 8, 3, dropout=0.0, drop_path=0.0)
    hidden = encoder.proj(encoder.norm(x))
    for block in encoder.blocks[:-1]:
        hidden = block(hidden)
    assert encoder.blocks[-1](hidden).equal(hidden)
    assert encoder(x).equal(hidden)
    single = make_residual_mlp_embedder_v3(8, 8, 1)
    y = torch.randn(7, 8)
    assert single(y).equal(F.layer_norm(y, [8]))


def test_the_zero_layer_learns() -> None:
    torch.manual_seed(0)
    encoder: Any = make_residual_mlp_embedder_v3(5, 8, 2, dropout=0.0, drop_path=0.0)
    encoder(torch.randn(7, 5)).pow(2).sum().backward()
    assert encoder.blocks[-1].ff2.weight.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("n_layers", "warmup", "rates", "scales"),
    [
        (1, 2, [0.0], [0.2]),
        (4, 2, [0.0, 0.1, 0.2, 0.3], [0.2, 0.4, 0.6, 0.6]),
        (3, 0, [0.0, 0.15, 0.3], [0.6, 0.6, 0.6]),
    ],
)
def test_schedules_over_depth(
    n_layers: int, warmup: int, rates: list[float], scales: list[float]
) -> None:
    encoder: Any = make_residual_mlp_embedder_v3(
        5, 8, n_layers, drop_path=0.3, residual_scale=0.6, scale_warmup=warmup
    )
    assert [block.drop_path.rate for block in encoder.blocks] == pytest.approx(rates)
    assert [block.scale.item() for block in encoder.blocks] == pytest.approx(scales)
    assert all(block.scale.requires_grad for block in encoder.blocks)


def test_the_width_is_constant() -> None:
    encoder: Any = make_residual_mlp_embedder_v3(5, 8, 3)
    assert all(block.norm.normalized_shape == (8,) for block in encoder.blocks)
    assert encoder(torch.randn(2, 3, 5)).shape == (2, 3, 8)


@pytest.mark.parametrize("activation", [None, "GELU", "SiLU", "Mish", "ReLU", "LeakyReLU"])
def test_a_block_by_hand(activation: str | None) -> None:
    torch.manual_seed(0)
    block = ResidualBlock(4, 6, dropout=0, drop_path=0, scale=0.5, activation=activation)
    x = torch.randn(3, 4)
    hidden = F.layer_norm(x, [4]) @ block.ff1.weight.T + block.ff1.bias
    if activation is None:
        hidden = hidden[:, :6] * F.silu(hidden[:, 6:])
    else:
        function = {"LeakyReLU": "leaky_relu"}.get(activation, activation.lower())
        hidden = getattr(F, function)(hidden)
    expected = x + 0.5 * (hidden @ block.ff2.weight.T + block.ff2.bias)
    torch.testing.assert_close(block(x), expected, rtol=1e-6, atol=1e-6)


def test_drop_path_skips_whole_rows_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    layer = DropPath(0.25)
    x = torch.ones(40_000, 3)
    y = layer(x)
    assert (y == y[:, :1]).all()
    assert y.unique().tolist() == pytest.approx([0, 4 / 3])
    # Standard error of the mean: sqrt(0.25 / 0.75 / 40 000) = 0.0029; 5 of them.
    assert abs(y[:, 0].mean().item() - 1) < 0.0145
    assert layer.eval()(x) is x


def test_wrong_parameters_are_named() -> None:
    with pytest.raises(MILError, match=r"found 'Gelu'\. Did you mean 'GELU'\?"):
        make_residual_mlp_embedder_v3(5, 8, 2, activation="Gelu", gated=False)
    with pytest.raises(MILError, match="n_layers: expected at least 1; found 0"):
        make_residual_mlp_embedder_v3(5, 8, 0)
    with pytest.raises(MILError, match="drop_path: expected at least 0 and below 1; found 1"):
        make_residual_mlp_embedder_v3(5, 8, 2, drop_path=1)
