"""Weighted sums of each bag's values, where a value is a product of a row."""

from __future__ import annotations

from typing import Any

import torch
from molpool_common import quick_products
from torch import Tensor
from torch.autograd.function import once_differentiable

from mil_attn.models.linear import head_products
from mil_attn.models.segment_sums import pool_backward_into, pool_into
from mil_attn.models.segments import Run, Segments

RUN_BYTES = 1 << 24
"""Room for the sums of a run of bags, on the CPU."""

LEAST_SAVED = 0.25
"""Share of the products with `w_v` for which small bags go another way, at a cost of its own."""


def segment_values(weights: Tensor, rows: Tensor, w_v: Tensor, segments: Segments) -> Tensor:
    """Return the weighted sums of each bag's values.

    Rows are summed first and the sums multiplied by `w_v`: as many products as bags and tasks,
    not instances. Of bags with no more instances than tasks the instances are multiplied instead,
    where that saves much.

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
    """The sums of larger bags are kept if they fit into one buffer.

    If not, they go through it run by run and are formed again for the gradient, as they are more
    than the rows are.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, w_v: Tensor, segments: Segments) -> Tensor:
        values = rows.new_empty(segments.n_bags, *weights.shape[1:], w_v.shape[1])
        flat, small = weights.flatten(1), _small(segments, weights.shape[1])
        runs = _runs(flat, rows, segments, small)
        with quick_products(rows.device):
            of_rows = (rows[small.rows] @ w_v.flatten(0, 1).T).view(-1, *w_v.shape[:2])
            _small_into(values[small.bags], weights[small.rows], of_rows, small)
            sums = _room(flat, rows, runs)
            for run in runs:
                there = sums[: run.bags.stop - run.bags.start]
                pool_into(there, flat[run.rows], rows[run.rows], run)
                by_head = values[run.bags].flatten(0, 1).transpose(0, 1)
                head_products(by_head, _by_head(there, w_v), w_v.mT, share=0)
        kept = sums if len(runs) == 1 else None
        ctx.save_for_backward(weights, rows, w_v, of_rows, kept)
        ctx.segments = segments
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows, w_v, of_rows, kept = ctx.saved_tensors
        grad, n_tasks = grad.contiguous(), weights.shape[1]
        grad_weights, grad_rows = torch.empty_like(weights), torch.empty_like(rows)
        small = _small(ctx.segments, n_tasks)
        with quick_products(rows.device):
            of_small = _small_backward(
                grad_weights[small.rows],
                grad[small.bags],
                weights[small.rows],
                of_rows,
                small,
            )
            torch.mm(of_small, w_v.flatten(0, 1), out=grad_rows[small.rows])
            grad_w_v = (of_small.T @ rows[small.rows]).view_as(w_v)
            grads, flat = (grad_weights.flatten(1), grad_rows, grad_w_v), weights.flatten(1)
            runs = _runs(flat, rows, ctx.segments, small)
            room = _room(flat, rows, runs)
            for run in runs:
                _run_backward(grads, grad, flat, rows, w_v, run, room, kept)
        return grad_weights, grad_rows, grad_w_v, None


def _run_backward(
    grads: tuple[Tensor, Tensor, Tensor],
    grad: Tensor,
    weights: Tensor,
    rows: Tensor,
    w_v: Tensor,
    run: Run,
    room: Tensor,
    kept: Tensor | None,
) -> None:
    """Write a run's gradients of weights and rows, and add that of `w_v`."""
    grad_weights, grad_rows, grad_w_v = grads
    by_head = grad[run.bags].flatten(0, 1).transpose(0, 1)
    sums = room[: run.bags.stop - run.bags.start]
    if kept is None:
        pool_into(sums, weights[run.rows], rows[run.rows], run)
    pooled = sums if kept is None else kept
    head_products(grad_w_v, by_head.mT, _by_head(pooled, w_v), share=1)
    # From here on the buffer holds the gradient of the sums.
    torch.bmm(by_head, w_v, out=_by_head(sums, w_v))
    into = grad_weights[run.rows], grad_rows[run.rows]
    pool_backward_into(into, sums, weights[run.rows], rows[run.rows], run)


def _small(segments: Segments, n_tasks: int) -> Run:
    """Return the bags whose instances, not sums, are multiplied; none if that saves little."""
    small = segments.up_to(n_tasks)
    saved = small.bags.stop * n_tasks - small.rows.stop
    return small if saved >= LEAST_SAVED * segments.n_bags * n_tasks else segments.up_to(0)


def _runs(weights: Tensor, rows: Tensor, segments: Segments, after: Run) -> list[Run]:
    """Return what follows a run in pieces whose sums [bags, R, D] have room."""
    per_bag = weights.shape[1] * rows.shape[1] * rows.element_size()
    # Elsewhere than on the CPU each step has a cost of its own: few, large ones.
    budget = RUN_BYTES if rows.device.type == "cpu" else 64 * RUN_BYTES
    return list(segments.runs(max(1, budget // per_bag), after))


def _room(weights: Tensor, rows: Tensor, runs: list[Run]) -> Tensor:
    """Return an empty buffer [bags, R, D] for the sums of any one of the runs."""
    n_bags = max((run.bags.stop - run.bags.start for run in runs), default=0)
    return rows.new_empty(n_bags, weights.shape[1], rows.shape[1])


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
