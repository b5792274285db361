"""Weighted sums of each bag's values, where a value is a product of a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mil_attn.models.segment_sums import pool_backward_into, pool_into
from mil_attn.models.segments import Run, Segments

RUN_BYTES = 1 << 22
"""Room for the sums of a run of bags, on the CPU."""


def segment_values(weights: Tensor, rows: Tensor, w_v: Tensor, segments: Segments) -> Tensor:
    """Return the weighted sums of each bag's values.

    Rows are summed first and the sums multiplied by `w_v`: as many products as bags and tasks,
    not instances. Of bags with no more instances than tasks the instances are multiplied instead.

    Parameters
    ----------
    weights : Tensor [M, T, H]
        Sorted rows; weights of each task and head.
    rows : Tensor [M, D]
        Sorted rows.
    w_v : Tensor [H, D/H, D]
        Value projection of each head.
    segments : Segments
        The bags.

    Returns
    -------
    Tensor [B, T, H, D/H]
        Bags sorted by size.
    """
    values: Tensor = _Values.apply(weights, rows, w_v, segments)
    return values


class _Values(torch.autograd.Function):
    """Larger bags go run by run through one buffer, as their sums are more than the rows are.

    For the gradient they are formed again, which costs little beside the products.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, w_v: Tensor, segments: Segments) -> Tensor:
        values = rows.new_empty(segments.n_bags, *weights.shape[1:], w_v.shape[1])
        small = segments.up_to(weights.shape[1])
        _small_into(values[small.bags], weights[small.rows], rows[small.rows], w_v, small)
        flat = weights.flatten(1)
        for run, sums in _runs(flat, rows, segments, small):
            pool_into(sums, flat[run.rows], rows[run.rows], run)
            by_head = values[run.bags].flatten(0, 1).transpose(0, 1)
            torch.bmm(_by_head(sums, w_v), w_v.mT, out=by_head)
        ctx.save_for_backward(weights, rows, w_v)
        ctx.segments = segments
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows, w_v = ctx.saved_tensors
        segments: Segments = ctx.segments
        grad, flat = grad.contiguous(), weights.flatten(1)
        grad_weights, grad_rows = torch.empty_like(flat), torch.empty_like(rows)
        grad_w_v = torch.zeros_like(w_v)
        small = segments.up_to(weights.shape[1])
        there = small.rows
        grads = grad_weights[there].view_as(weights[there]), grad_rows[there], grad_w_v
        _small_backward_into(grads, grad[small.bags], weights[there], rows[there], w_v, small)
        for run, sums in _runs(flat, rows, segments, small):
            pool_into(sums, flat[run.rows], rows[run.rows], run)
            by_head = grad[run.bags].flatten(0, 1).transpose(0, 1)
            grad_w_v.baddbmm_(by_head.mT, _by_head(sums, w_v))
            # From here on the buffer holds the gradient of the sums.
            torch.bmm(by_head, w_v, out=_by_head(sums, w_v))
            there = run.rows
            pool_backward_into(
                (grad_weights[there], grad_rows[there]), sums, flat[there], rows[there], run
            )
        return grad_weights.view_as(weights), grad_rows, grad_w_v, None


def _runs(
    weights: Tensor, rows: Tensor, segments: Segments, after: Run
) -> Iterator[tuple[Run, Tensor]]:
    """Yield the runs after a run, and room for each one's sums [bags, R, D]."""
    per_bag = weights.shape[1] * rows.shape[1] * rows.element_size()
    # Elsewhere than on the CPU each step has a cost of its own: few, large ones.
    budget = RUN_BYTES if rows.device.type == "cpu" else 64 * RUN_BYTES
    n_bags = min(max(1, budget // per_bag), segments.n_bags)
    room = rows.new_empty(n_bags, weights.shape[1], rows.shape[1])
    for run in segments.runs(n_bags, after):
        yield run, room[: run.bags.stop - run.bags.start]


def _by_head(sums: Tensor, w_v: Tensor) -> Tensor:
    """Return the sums [bags, T·H, D] head by head [H, bags · T, D], as a view."""
    return sums.view(-1, len(w_v), sums.shape[-1]).transpose(0, 1)


def _small_into(values: Tensor, weights: Tensor, rows: Tensor, w_v: Tensor, run: Run) -> None:
    if not run.buckets:
        return
    of_rows = (rows @ w_v.flatten(0, 1).T).view(len(rows), *w_v.shape[:2])
    parts = run.split_bags(values), run.split_rows(weights), run.split_rows(of_rows)
    for out, weight, value in zip(*parts, strict=True):
        out.copy_(torch.einsum("bnth,bnhd->bthd", weight, value))


def _small_backward_into(
    grads: tuple[Tensor, Tensor, Tensor],
    grad: Tensor,
    weights: Tensor,
    rows: Tensor,
    w_v: Tensor,
    run: Run,
) -> None:
    if not run.buckets:
        return
    flat = w_v.flatten(0, 1)
    of_rows = (rows @ flat.T).view(len(rows), *w_v.shape[:2])
    grad_of_rows = torch.empty_like(of_rows)
    split = run.split_rows
    parts = split(grads[0]), split(grad_of_rows), run.split_bags(grad), split(weights)
    for grad_weight, grad_value, part, weight, value in zip(*parts, split(of_rows), strict=True):
        grad_weight.copy_(torch.einsum("bthd,bnhd->bnth", part, value))
        grad_value.copy_(torch.einsum("bthd,bnth->bnhd", part, weight))
    torch.mm(grad_of_rows.flatten(1), flat, out=grads[1])
    grads[2].flatten(0, 1).addmm_(grad_of_rows.flatten(1).T, rows)
