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
        of_rows = (rows[small.rows] @ w_v.flatten(0, 1).T).view(-1, *w_v.shape[:2])
        _small_into(values[small.bags], weights[small.rows], of_rows, small)
        flat = weights.flatten(1)
        for run, sums in _runs(flat, rows, segments, small):
            pool_into(sums, flat[run.rows], rows[run.rows], run)
            by_head = values[run.bags].flatten(0, 1).transpose(0, 1)
            torch.bmm(_by_head(sums, w_v), w_v.mT, out=by_head)
        ctx.save_for_backward(weights, rows, w_v, of_rows)
        ctx.segments = segments
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows, w_v, of_rows = ctx.saved_tensors
        segments: Segments = ctx.segments
        grad, flat = grad.contiguous(), weights.flatten(1)
        grad_weights, grad_rows = torch.empty_like(flat), torch.empty_like(rows)
        small = segments.up_to(weights.shape[1])
        of_small = _small_backward(
            grad_weights.view_as(weights)[small.rows],
            grad[small.bags],
            weights[small.rows],
            of_rows,
            small,
        )
        torch.mm(of_small, w_v.flatten(0, 1), out=grad_rows[small.rows])
        grad_w_v = (of_small.T @ rows[small.rows]).view_as(w_v)
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


def _small_into(values: Tensor, weights: Tensor, of_rows: Tensor, run: Run) -> None:
    """Write the sums [bags, T, H, D/H] of a run's values [rows, H, D/H]."""
    parts = run.split_bags(values), run.split_rows(weights), run.split_rows(of_rows)
    for out, weight, value in zip(*parts, strict=True):
        # [bags, H, T, n] by [bags, H, n, D/H]
        out.copy_((weight.permute(0, 3, 2, 1) @ value.transpose(1, 2)).transpose(1, 2))


def _small_backward(
    grad_weights: Tensor, grad: Tensor, weights: Tensor, of_rows: Tensor, run: Run
) -> Tensor:
    """Write the gradient of a run's weights, and return that of its values [rows, D]."""
    grad_of_rows = torch.empty_like(of_rows)
    split = run.split_rows
    parts = split(grad_weights), split(grad_of_rows), run.split_bags(grad), split(weights)
    for grad_weight, grad_value, part, weight, value in zip(*parts, split(of_rows), strict=True):
        by_head = part.transpose(1, 2)
        # [bags, H, n, D/H] by [bags, H, D/H, T], then [bags, H, n, T] by [bags, H, T, D/H]
        grad_weight.copy_((value.transpose(1, 2) @ by_head.mT).permute(0, 2, 3, 1))
        grad_value.copy_((weight.permute(0, 3, 1, 2) @ by_head).transpose(1, 2))
    return grad_of_rows.flatten(1)
