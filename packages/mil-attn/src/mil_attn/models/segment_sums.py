"""Softmax and weighted sums over the bags of packed rows, without padding and without scatters.

All rows here are in the order of `Segments.sort`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mil_attn.models.linear import small_products
from mil_attn.models.segments import Run, Segments


def segment_softmax(scores: Tensor, segments: Segments, top_k: int | None = None) -> Tensor:
    """Return the softmax over each bag of every column.

    Parameters
    ----------
    scores : Tensor [M, R]
        Sorted rows.
    segments : Segments
        The bags.
    top_k : int, optional
        Only the `top_k` highest scores of a bag and column, and those equal to the lowest of
        them, get weight: ties do not depend on the order of instances.
    """
    if top_k is not None:
        with torch.no_grad():
            kept = _is_highest(scores, segments, top_k)
        scores = scores.masked_fill(~kept, -torch.inf)
    weights: Tensor = _Softmax.apply(scores, segments)
    return weights


def segment_pool(weights: Tensor, rows: Tensor, segments: Segments) -> Tensor:
    """Return the weighted sums of each bag's rows.

    Parameters
    ----------
    weights : Tensor [M, R]
        Sorted rows; a column each weighted sum.
    rows : Tensor [M, D]
        Sorted rows.
    segments : Segments
        The bags.

    Returns
    -------
    Tensor [B, R, D]
        Bags sorted by size.
    """
    pooled: Tensor = _Pool.apply(weights, rows, segments)
    return pooled


def segment_mean(rows: Tensor, segments: Segments) -> Tensor:
    """Return the mean of each bag's rows [M, D], as [B, D]."""
    share = segments.spread(1 / segments.sizes.to(rows))
    return segment_pool(share[:, None], rows, segments)[:, 0]


def pool_into(pooled: Tensor, weights: Tensor, rows: Tensor, run: Run) -> None:
    """Write the sums [bags, R, D] of a run's rows [rows, D] by its weights [rows, R]."""
    parts = run.split_bags(pooled), run.split_rows(weights), run.split_rows(rows)
    with small_products(rows.device):
        for out, weight, row in zip(*parts, strict=True):
            torch.bmm(weight.mT, row, out=out)


def pool_backward_into(
    grads: tuple[Tensor, Tensor], grad: Tensor, weights: Tensor, rows: Tensor, run: Run
) -> None:
    """Write the gradients of a run's weights and rows, from that [bags, R, D] of its sums."""
    split = run.split_rows
    parts = split(grads[0]), split(grads[1]), run.split_bags(grad), split(weights), split(rows)
    with small_products(rows.device):
        for grad_weight, grad_row, part, weight, row in zip(*parts, strict=True):
            torch.bmm(row, part.mT, out=grad_weight)
            torch.bmm(weight, part, out=grad_row)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, segments: Segments) -> Tensor:
        highest = _reduced(scores, segments, "max")
        weights = (scores - segments.spread(highest)).exp_()
        weights.mul_(segments.spread(_reduced(weights, segments, "sum").reciprocal_()))
        ctx.save_for_backward(weights)
        ctx.segments = segments
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        grad_scores = weights * grad
        sums = ctx.segments.spread(_reduced(grad_scores, ctx.segments, "sum"))
        return grad_scores.addcmul_(weights, sums, value=-1), None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, segments: Segments) -> Tensor:
        pooled = rows.new_empty(segments.n_bags, weights.shape[1], rows.shape[1])
        pool_into(pooled, weights, rows, segments.whole())
        ctx.save_for_backward(weights, rows)
        ctx.segments = segments
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows = ctx.saved_tensors
        grads = torch.empty_like(weights), torch.empty_like(rows)
        pool_backward_into(grads, grad, weights, rows, ctx.segments.whole())
        return *grads, None


def _reduced(rows: Tensor, segments: Segments, how: str) -> Tensor:
    return torch.segment_reduce(rows, how, lengths=segments.sizes, axis=0, unsafe=True)


def _is_highest(scores: Tensor, segments: Segments, top_k: int) -> Tensor:
    kept = torch.ones_like(scores, dtype=torch.bool)
    run = segments.whole()
    for out, part in zip(run.split_rows(kept), run.split_rows(scores), strict=True):
        if top_k < part.shape[1]:
            torch.ge(part, part.topk(top_k, dim=1).values[:, -1:], out=out)
    return kept
