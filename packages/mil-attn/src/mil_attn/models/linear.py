"""Linear maps of the pool, their products by the quicker of torch's two libraries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from molpool_common import quick_products
from torch import Tensor
from torch.autograd.function import once_differentiable


def quick_linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``rows @ weight.T + bias``, as `torch.nn.functional.linear`.

    Forward and backward under `quick_products`, whatever the caller has set: a backward pass of
    torch's own runs outside of any block of ours.

    Parameters
    ----------
    rows : Tensor [N, D]
        What is mapped.
    weight : Tensor [O, D]
        Its map.
    bias : Tensor [O], optional
        Added to each row.

    Returns
    -------
    Tensor [N, O]
    """
    mapped: Tensor = _Linear.apply(rows, weight, bias)
    return mapped


def head_products(out: Tensor, left: Tensor, right: Tensor, *, share: float) -> None:
    """Write `share` of what is there plus ``left @ right`` [H, N, K], a product a head.

    On the CPU they go one by one: as a batch with rows that do not adjoin, oneDNN takes 1.2 to 2
    times as long.
    """
    if out.device.type != "cpu":
        torch.baddbmm(out, left, right, beta=share, out=out)
        return
    for result, one, other in zip(out, left, right, strict=True):
        torch.addmm(result, one, other, beta=share, out=result)


@contextmanager
def small_products(device: torch.device) -> Iterator[None]:
    """Leave products on the CPU to MKL: oneDNN would prepare for longer than they take."""
    before = torch.get_float32_matmul_precision()
    if device.type != "cpu" or before == "highest":
        yield
        return
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        with quick_products(rows.device):
            return rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        with quick_products(rows.device):
            return (
                grad @ weight if of_rows else None,
                grad.T @ rows if of_weight else None,
                grad.sum(0) if of_bias else None,
            )
