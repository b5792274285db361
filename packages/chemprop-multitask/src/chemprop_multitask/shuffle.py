"""Plain shuffling whose order is a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochShuffle(Sampler[int]):
    """Every row once an epoch; `set_epoch` chooses the order, so that a resumed run repeats it.

    Parameters
    ----------
    n : int
        Number of rows.
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
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n)
        return iter(order.tolist())
