"""Residual feed-forward encoders with gates, stochastic depth and learned residual scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from molpool_common import did_you_mean
from torch import Tensor, nn

from mil_attn._errors import MILError

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "GELU": nn.GELU,
    "SiLU": nn.SiLU,
    "Mish": nn.Mish,
    "ReLU": nn.ReLU,
    "LeakyReLU": nn.LeakyReLU,
}


class DropPath(nn.Module):
    """Skip a residual branch, row by row, in training.

    Parameters
    ----------
    rate : float
        Chance that a row is set to 0; the others are divided by the chance that they stay.

    Notes
    -----
    Stochastic depth, Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Return x [rows, ...] with some rows dropped."""
        if self.rate == 0 or not self.training:
            return x
        stays = torch.empty(len(x), *[1] * (x.dim() - 1), device=x.device, dtype=x.dtype)
        # Inverted dropout: rows that stay are scaled up, so that prediction needs no factor.
        return x * stays.bernoulli_(1 - self.rate).div_(1 - self.rate)

    def extra_repr(self) -> str:
        """Return the rate, for printing."""
        return f"rate={self.rate:g}"


class ResidualBlock(nn.Module):
    """x + scale · DropPath(FF2(gate(FF1(norm(x))))).

    Parameters
    ----------
    width : int
        Features in and out.
    inner : int
        Features between the two layers.
    dropout : float
        Dropout after the gate and of the branch's result.
    drop_path : float
        Chance that a row skips the block in training.
    scale : float
        Start of the learned scale of the branch.
    activation : str or None
        None for SwiGLU (Shazeer 2020, arXiv:2002.05202), or the nonlinearity of a plain layer.
    """

    def __init__(
        self,
        width: int,
        inner: int,
        *,
        dropout: float,
        drop_path: float,
        scale: float,
        activation: str | None,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        # SwiGLU's value and gate come from one matmul.
        self.ff1 = nn.Linear(width, inner if activation else 2 * inner)
        self.act = _ACTIVATIONS[activation]() if activation else nn.SiLU()
        self.gated = activation is None
        self.drop = nn.Dropout(dropout)
        self.ff2 = nn.Linear(inner, width)
        self.drop_path = DropPath(drop_path)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's result [rows, width]."""
        hidden = self.ff1(self.norm(x))
        if self.gated:
            value, gate = hidden.chunk(2, dim=-1)
            hidden = self.act(gate) * value
        else:
            hidden = self.act(hidden)
        branch = self.drop(self.ff2(self.drop(hidden)))
        result: Tensor = x + self.scale * self.drop_path(branch)
        return result


class MLPEmbedderV3Like(nn.Module):
    """Encoder of constant width: norm, projection, residual blocks.

    The last block starts as the identity (its second layer is 0), so that depth is learned.

    Parameters
    ----------
    in_dim : int
        Features of a row.
    hidden : int
        Width of the blocks and of the result.
    drop_paths, scales : sequence of float
        Rate of stochastic depth and start of the residual scale of each block.
    dropout : float
        Dropout in the blocks.
    activation : str or None
        Of the blocks; None for SwiGLU.
    expansion : float
        Inner width of a block, in widths.
    """

    def __init__(
        self,
        in_dim: int,
        hidden: int,
        *,
        drop_paths: Sequence[float],
        scales: Sequence[float],
        dropout: float = 0.0,
        activation: str | None = None,
        expansion: float = 2.0,
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.proj = nn.Identity() if in_dim == hidden else nn.Linear(in_dim, hidden)
        inner = max(1, round(expansion * hidden))
        blocks = [
            ResidualBlock(
                hidden,
                inner,
                dropout=dropout,
                drop_path=drop_path,
                scale=scale,
                activation=activation,
            )
            for drop_path, scale in zip(drop_paths, scales, strict=True)
        ]
        self.blocks = nn.ModuleList(blocks)
        nn.init.zeros_(blocks[-1].ff2.weight)
        nn.init.zeros_(blocks[-1].ff2.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Encode rows.

        Parameters
        ----------
        x : Tensor [..., in_dim]
            Rows.

        Returns
        -------
        Tensor [..., hidden]
            Their embeddings.
        """
        # Features of different units meet here: normed first, none dominates the projection.
        hidden: Tensor = self.proj(self.norm(x))
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


def make_residual_mlp_embedder_v3(
    in_dim: int,
    hidden: int,
    n_layers: int,
    *,
    dropout: float = 0.1,
    activation: str = "GELU",
    gated: bool = True,
    expansion: float = 2.0,
    drop_path: float = 0.1,
    residual_scale: float = 1.0,
    scale_warmup: int = 2,
) -> MLPEmbedderV3Like:
    """Return an encoder whose blocks differ by their depth.

    Parameters
    ----------
    in_dim, hidden, n_layers : int
        Features of a row, width, and number of residual blocks.
    dropout : float
        Dropout in the blocks.
    activation : {"GELU", "SiLU", "Mish", "ReLU", "LeakyReLU"}
        Nonlinearity where the blocks are not gated.
    gated : bool
        SwiGLU in place of the activation.
    expansion : float
        Inner width of a block, in widths.
    drop_path : float
        Rate of stochastic depth of the last block; it grows linearly from 0 at the first.
    residual_scale : float
        Start of the learned residual scale.
    scale_warmup : int
        The first so many blocks start lower: block i, from 0, at
        ``residual_scale · (i + 1) / (scale_warmup + 1)``.

    Returns
    -------
    MLPEmbedderV3Like

    Raises
    ------
    MILError
        If the activation is unknown, or a number is out of its range.
    """
    if activation not in _ACTIVATIONS:
        raise MILError(
            f"activation: found {activation!r}. {did_you_mean(activation, [*_ACTIVATIONS])}"
        )
    for name, size in (("in_dim", in_dim), ("hidden", hidden), ("n_layers", n_layers)):
        if size < 1:
            raise MILError(f"{name}: expected at least 1; found {size}.")
    for name, rate in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= rate < 1:
            raise MILError(f"{name}: expected at least 0 and below 1; found {rate:g}.")
    depth = max(n_layers - 1, 1)
    return MLPEmbedderV3Like(
        in_dim,
        hidden,
        # The linear rule of stochastic depth (Huang et al. 2016): early blocks feed all later ones
        # and are dropped least.
        drop_paths=[drop_path * i / depth for i in range(n_layers)],
        scales=[residual_scale * min(1.0, (i + 1) / (scale_warmup + 1)) for i in range(n_layers)],
        dropout=dropout,
        activation=None if gated else activation,
        expansion=expansion,
    )
