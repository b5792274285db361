"""Softmax and weighted sums over the bags of packed rows, without padding and without scatters.

`Segments` sorts bags by size, so that bags of one size are a dense batch and every sum over bags
is one batched matmul per size. All rows of the functions here are in that order. `quick_linear`
and its neighbours choose the quicker of torch's two libraries for a matmul.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from molpool_common import fast_matmul
from torch import Tensor
from torch.autograd.function import once_differentiable


class Bucket(NamedTuple):
    """So many bags of one size, side by side."""

    n_bags: int
    size: int


class Run(NamedTuple):
    """Bags ``bags`` and rows ``rows``, in sorted order, and the buckets that they are."""

    bags: slice
    rows: slice
    buckets: list[Bucket]

    def split_rows(self, rows: Tensor) -> Sequence[Tensor]:
        """Return the run's rows [rows, ...] bucket by bucket, as views [n_bags, size, ...]."""
        parts = rows.split_with_sizes([n_bags * size for n_bags, size in self.buckets])
        return [p.view(*b, *p.shape[1:]) for p, b in zip(parts, self.buckets, strict=True)]

    def split_bags(self, per_bag: Tensor) -> Sequence[Tensor]:
        """Return rows of bags [bags, ...] bucket by bucket, as views [n_bags, ...]."""
        return per_bag.split_with_sizes([n_bags for n_bags, _ in self.buckets])


class Segments:
    """How M packed rows fall into B bags, and the order in which bags of one size adjoin.

    Bags of one size are a dense batch, so that every sum over bags is one batched matmul per size.
    `sort` brings rows into that order, `unsort` and `unsort_bags` bring results back.

    Parameters
    ----------
    offsets : LongTensor [B + 1]
        Bag b holds the rows ``offsets[b]:offsets[b + 1]``; no bag is empty.

    Attributes
    ----------
    sizes : LongTensor [B]
        Ascending.
    buckets : list of Bucket
        In sorted order.
    """

    def __init__(self, offsets: Tensor) -> None:
        self.n_bags = len(offsets) - 1
        self._offsets = offsets
        # Stable, so that bags of one size stay in the order of the batch and results repeat.
        self.sizes, self._order = offsets.diff().sort(stable=True)
        # The only wait for the device: how many bags there are of each size.
        counts = torch.stack(torch.unique_consecutive(self.sizes, return_counts=True))
        self.buckets = [Bucket(n_bags, size) for size, n_bags in counts.T.tolist()]
        self.n_rows = sum(n_bags * size for n_bags, size in self.buckets)

    def all_bags(self) -> Run:
        """Return all bags as one run."""
        return _run(self.buckets, 0, 0)

    def up_to(self, size: int) -> Run:
        """Return the bags of at most `size` rows as a run, which may be empty."""
        return _run([bucket for bucket in self.buckets if bucket.size <= size], 0, 0)

    def runs(self, n_bags: int, after: Run) -> Iterator[Run]:
        """Yield what follows a run in pieces of at most `n_bags` bags."""
        buckets: list[Bucket] = []
        bag, row, free = after.bags.stop, after.rows.stop, n_bags
        for count, size in self.buckets[len(after.buckets) :]:
            while count:
                taken = min(count, free)
                buckets.append(Bucket(taken, size))
                count, free = count - taken, free - taken
                if not free:
                    run = _run(buckets, bag, row)
                    yield run
                    buckets, bag, row, free = [], run.bags.stop, run.rows.stop, n_bags
        if buckets:
            yield _run(buckets, bag, row)

    def spread(self, per_bag: Tensor) -> Tensor:
        """Return what each sorted bag has [B, ...] for each of its rows [M, ...]."""
        return per_bag.index_select(0, self._bag_of_row)

    def sort(self, rows: Tensor) -> Tensor:
        """Return packed rows [M, ...] with bags sorted by size."""
        return rows if len(self.buckets) == 1 else _permuted(rows, *self._permutation)

    def unsort(self, rows: Tensor) -> Tensor:
        """Return packed rows [M, ...] with bags as they came."""
        return rows if len(self.buckets) == 1 else _permuted(rows, *reversed(self._permutation))

    def unsort_bags(self, per_bag: Tensor) -> Tensor:
        """Return rows of bags [B, ...] as the bags came."""
        if len(self.buckets) == 1:
            return per_bag
        return _permuted(per_bag, _inverse(self._order), self._order)

    @cached_property
    def _bag_of_row(self) -> Tensor:
        bags = torch.arange(self.n_bags, device=self.sizes.device)
        return bags.repeat_interleave(self.sizes, output_size=self.n_rows)

    @cached_property
    def _permutation(self) -> tuple[Tensor, Tensor]:
        shift = self._offsets[self._order] - (self.sizes.cumsum(0) - self.sizes)
        there = self.spread(shift) + torch.arange(self.n_rows, device=shift.device)
        return there, _inverse(there)


def _run(buckets: list[Bucket], bag: int, row: int) -> Run:
    n_bags = sum(bucket.n_bags for bucket in buckets)
    n_rows = sum(bucket.n_bags * bucket.size for bucket in buckets)
    return Run(slice(bag, bag + n_bags), slice(row, row + n_rows), buckets)


def _inverse(permutation: Tensor) -> Tensor:
    inverse = torch.empty_like(permutation)
    # A scatter in O(n), where argsort would be O(n log n).
    inverse[permutation] = torch.arange(len(permutation), device=permutation.device)
    return inverse


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


def quick_linear(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``rows @ weight.T + bias``, as `torch.nn.functional.linear`.

    Forward and backward under `fast_matmul`, whatever the caller has set: a backward pass of
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


def head_matmul(out: Tensor, left: Tensor, right: Tensor, *, share: float) -> None:
    """Write `share` of what is there plus ``left @ right`` [H, N, K], one matmul per head.

    On the CPU they go one by one: as a batch with rows that do not adjoin, oneDNN takes 1.2 to 2
    times as long.
    """
    if out.device.type != "cpu":
        torch.baddbmm(out, left, right, beta=share, out=out)
        return
    for result, one, other in zip(out, left, right, strict=True):
        torch.addmm(result, one, other, beta=share, out=result)


@contextmanager
def small_matmul(device: torch.device) -> Iterator[None]:
    """Leave small matmuls on the CPU to MKL: oneDNN would prepare for longer than they take."""
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
        with fast_matmul(rows.device):
            return rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        with fast_matmul(rows.device):
            return (
                grad @ weight if of_rows else None,
                grad.T @ rows if of_weight else None,
                grad.sum(0) if of_bias else None,
            )


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
            highest = _is_highest(scores, segments, top_k)
        scores = scores.masked_fill(~highest, -torch.inf)
    weights: Tensor = _Softmax.apply(scores, segments)
    return weights


def segment_pool(weights: Tensor, rows: Tensor, segments: Segments) -> Tensor:
    """Return the weighted sums of each bag's rows.

    Parameters
    ----------
    weights : Tensor [M, R]
        Sorted rows; one column per weighted sum.
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
    # A mean is pooling by weights 1/n: one kernel, and its backward pass, serve both.
    share = segments.spread(1 / segments.sizes.to(rows))
    return segment_pool(share[:, None], rows, segments)[:, 0]


def pool_into(pooled: Tensor, weights: Tensor, rows: Tensor, run: Run) -> None:
    """Write the sums [bags, R, D] of a run's rows [rows, D] by its weights [rows, R]."""
    parts = run.split_bags(pooled), run.split_rows(weights), run.split_rows(rows)
    with small_matmul(rows.device):
        for out, weight, row in zip(*parts, strict=True):
            torch.bmm(weight.mT, row, out=out)


def pool_backward_into(
    grads: tuple[Tensor, Tensor], grad: Tensor, weights: Tensor, rows: Tensor, run: Run
) -> None:
    """Write the gradients of a run's weights and rows, from that [bags, R, D] of its sums."""
    split = run.split_rows
    parts = split(grads[0]), split(grads[1]), run.split_bags(grad), split(weights), split(rows)
    with small_matmul(rows.device):
        for grad_weight, grad_row, part, weight, row in zip(*parts, strict=True):
            torch.bmm(row, part.mT, out=grad_weight)
            torch.bmm(weight, part, out=grad_row)


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, segments: Segments) -> Tensor:
        highest = _reduced(scores, segments, "max")
        # Shifted by the bag's maximum, which cancels in the quotient, no exponential overflows.
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
        # The softmax's vector-Jacobian product: a * (g - Σ a g) over each bag and column.
        sums = ctx.segments.spread(_reduced(grad_scores, ctx.segments, "sum"))
        return grad_scores.addcmul_(weights, sums, value=-1), None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, rows: Tensor, segments: Segments) -> Tensor:
        pooled = rows.new_empty(segments.n_bags, weights.shape[1], rows.shape[1])
        pool_into(pooled, weights, rows, segments.all_bags())
        ctx.save_for_backward(weights, rows)
        ctx.segments = segments
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, rows = ctx.saved_tensors
        grads = torch.empty_like(weights), torch.empty_like(rows)
        pool_backward_into(grads, grad, weights, rows, ctx.segments.all_bags())
        return *grads, None


def _reduced(rows: Tensor, segments: Segments, how: str) -> Tensor:
    # `unsafe` skips a check of the lengths that waits for the device; offsets were checked before.
    return torch.segment_reduce(rows, how, lengths=segments.sizes, axis=0, unsafe=True)


def _is_highest(scores: Tensor, segments: Segments, top_k: int) -> Tensor:
    highest = torch.ones_like(scores, dtype=torch.bool)
    run = segments.all_bags()
    for out, part in zip(run.split_rows(highest), run.split_rows(scores), strict=True):
        if top_k < part.shape[1]:
            # By threshold, not by topk's indices, whose choice among equal scores depends on their
            # order.
            torch.ge(part, part.topk(top_k, dim=1).values[:, -1:], out=out)
    return highest
