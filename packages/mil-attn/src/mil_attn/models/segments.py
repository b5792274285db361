"""Softmax and weighted sums over the bags of packed rows, without padding and without scatters."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Bucket:
    """Bags of one size that stand side by side once bags are sorted by size."""

    first_bag: int
    n_bags: int
    first_row: int
    size: int

    def rows(self, packed: Tensor) -> Tensor:
        """Return the bucket's part [n_bags, size, ...] of packed rows, as a view."""
        part = packed.narrow(0, self.first_row, self.n_bags * self.size)
        return part.view(self.n_bags, self.size, *packed.shape[1:])

    def bags(self, per_bag: Tensor) -> Tensor:
        """Return the bucket's part [n_bags, ...] of rows that are one a bag, as a view."""
        return per_bag.narrow(0, self.first_bag, self.n_bags)


class Segments:
    """How M packed rows fall into B bags, and the order in which bags of one size adjoin.

    Bags of one size are a dense batch, so that every sum over bags is one batched product a size.
    All functions of this module take rows in that order: `sort` brings them into it, `unsort` and
    `unsort_bags` bring results back.

    Parameters
    ----------
    offsets : LongTensor [B + 1]
        Bag b holds the rows ``offsets[b]:offsets[b + 1]``; no bag is empty.
    """

    def __init__(self, offsets: Tensor) -> None:
        self.n_bags = len(offsets) - 1
        self._offsets = offsets
        sizes = offsets.diff()
        self._order = sizes.argsort(stable=True)
        self.sizes = sizes[self._order]
        # The only wait for the device: how many bags there are of each size.
        counts = torch.stack(torch.unique_consecutive(self.sizes, return_counts=True))
        self.buckets: list[Bucket] = []
        bag = row = 0
        for size, n_bags in counts.T.tolist():
            self.buckets.append(Bucket(bag, n_bags, row, size))
            bag += n_bags
            row += n_bags * size
        self.n_rows = row

    @cached_property
    def _permutation(self) -> tuple[Tensor, Tensor]:
        starts = self._offsets[self._order]
        shift = starts - (self.sizes.cumsum(0) - self.sizes)
        row = torch.arange(self.n_rows, device=starts.device)
        there = row + shift.repeat_interleave(self.sizes, output_size=self.n_rows)
        back = torch.empty_like(there)
        back[there] = row
        return there, back

    def sort(self, rows: Tensor) -> Tensor:
        """Return packed rows [M, ...] with bags sorted by size."""
        return rows if len(self.buckets) == 1 else _permuted(rows, *self._permutation)

    def unsort(self, rows: Tensor) -> Tensor:
        """Return packed rows [M, ...] with bags as they came."""
        return rows if len(self.buckets) == 1 else _permuted(rows, *reversed(self._permutation))

    def unsort_bags(self, per_bag: Tensor) -> Tensor:
        """Return rows that are one a bag [B, ...] as the bags came."""
        if len(self.buckets) == 1:
            return per_bag
        back = torch.empty_like(self._order)
        back[self._order] = torch.arange(self.n_bags, device=back.device)
        return _permuted(per_bag, back, self._order)


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
    weights: Tensor = _Softmax.apply(scores, segments, top_k)
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
    share = (1 / segments.sizes.to(rows)).repeat_interleave(
        segments.sizes, output_size=segments.n_rows
    )
    return segment_pool(share[:, None], rows, segments)[:, 0]


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, segments: Segments, top_k: int | None) -> Tensor:
        weights = torch.empty_like(scores)
        for bucket in segments.buckets:
            part = bucket.rows(scores)
            if top_k is not None and top_k < bucket.size:
                least = part.topk(top_k, dim=1).values[:, -1:]
                part = part.masked_fill(part < least, -torch.inf)
            torch.softmax(part, dim=1, out=bucket.rows(weights))
        ctx.save_for_backward(weights)
        ctx.segments = segments
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weights,) = ctx.saved_tensors
        grad_scores = weights * grad
        for bucket in ctx.segments.buckets:
            part = bucket.rows(grad_scores)
            part.sub_(bucket.rows(weights) * part.sum(1, keepdim=True))
        return grad_scores, None, None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, segments: Segments) -> Tensor:
        pooled = rows.new_empty(segments.n_bags, weights.shape[1], rows.shape[1])
        for bucket in segments.buckets:
            torch.bmm(bucket.rows(weights).mT, bucket.rows(rows), out=bucket.bags(pooled))
        ctx.save_for_backward(weights, rows)
        ctx.segments = segments
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows = ctx.saved_tensors
        wants_weights, wants_rows, _ = ctx.needs_input_grad
        grad_weights = torch.empty_like(weights) if wants_weights else None
        grad_rows = torch.empty_like(rows) if wants_rows else None
        for bucket in ctx.segments.buckets:
            part = bucket.bags(grad)
            if grad_weights is not None:
                torch.bmm(bucket.rows(rows), part.mT, out=bucket.rows(grad_weights))
            if grad_rows is not None:
                torch.bmm(bucket.rows(weights), part, out=bucket.rows(grad_rows))
        return grad_weights, grad_rows, None


def _permuted(rows: Tensor, there: Tensor, back: Tensor) -> Tensor:
    permuted: Tensor = _Permute.apply(rows, there, back)
    return permuted


class _Permute(torch.autograd.Function):
    """``rows[there]``, whose gradient is a gather too, not a scatter."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, there: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return rows.index_select(0, there)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (back,) = ctx.saved_tensors
        return grad.index_select(0, back), None, None
