"""Batches of bags in a sampler's order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from torch.utils.data import Sampler, SequentialSampler

from mil_attn.bags import Bags
from mil_attn.data.bag_data import BagData


class BagLoader:
    """Batches of a data set, each made when it is asked for.

    Parameters
    ----------
    data : BagData
        N bags, scaled.
    batch_size : int
        Bags a batch.
    sampler : Sampler, optional
        Draws the bags; by default all of them in order. Lightning tells it the epoch, if it has
        `set_epoch`.
    """

    batch_sampler = None  # Lightning, having found `sampler`, asks for torch's other name too

    def __init__(self, data: BagData, batch_size: int, sampler: Sampler[int] | None = None) -> None:
        self.data = data
        self.batch_size = batch_size
        self.sampler: Any = SequentialSampler(data) if sampler is None else sampler

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[Bags]:
        # A generator: nothing is drawn before Lightning has told the sampler its epoch.
        rows = iter(self.sampler)
        while batch := list(islice(rows, self.batch_size)):
            yield self.data.batch(batch)


class Shuffle(Sampler[int]):
    """Every bag once an epoch, in an order that follows from seed and epoch alone.

    Parameters
    ----------
    n : int
        Number of bags.
    seed : int
        Seed of all orders.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        return iter(rng.permutation(self.n).tolist())
