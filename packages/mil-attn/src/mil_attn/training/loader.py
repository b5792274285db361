"""Batches of bags in a sampler's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from molpool_common import ResumableLoader
from torch.utils.data import Sampler

from mil_attn.bags import Bags
from mil_attn.data.bag_data import BagData


class BagLoader(ResumableLoader[Bags]):
    """Batches of a data set, each made when it is asked for.

    Parameters
    ----------
    data : BagData
        N bags, scaled.
    batch_size, sampler
        As in `molpool_common.loading.ResumableLoader`.
    """

    def __init__(self, data: BagData, batch_size: int, sampler: Sampler[int] | None = None) -> None:
        super().__init__(data, batch_size, sampler)
        self.data = data

    def _batch(self, rows: Sequence[int]) -> Bags:
        return self.data.batch(rows)


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
