"""How packed rows fall into bags, sorted so that bags of one size are a dense batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
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
        """Return what is one a bag [bags, ...] bucket by bucket, as views [n_bags, ...]."""
        return per_bag.split_with_sizes([n_bags for n_bags, _ in self.buckets])


class Segments:
    """How M packed rows fall into B bags, and the order in which bags of one size adjoin.

    Bags of one size are a dense batch, so that every sum over bags is one batched product a size.
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
        self.sizes, self._order = offsets.diff().sort(stable=True)
        # The only wait for the device: how many bags there are of each size.
        counts = torch.stack(torch.unique_consecutive(self.sizes, return_counts=True))
        self.buckets = [Bucket(n_bags, size) for size, n_bags in counts.T.tolist()]
        self.n_rows = sum(n_bags * size for n_bags, size in self.buckets)

    def whole(self) -> Run:
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
        """Return what is one a sorted bag [B, ...] for each of its rows [M, ...]."""
        return per_bag.index_select(0, self._bag_of_row)

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
