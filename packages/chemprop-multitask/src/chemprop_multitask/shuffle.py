"""Plain shuffling whose order is a pure function of seed and epoch: Chemprop's own order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class EpochShuffle(Sampler[int]):
    """Every row once an epoch; `set_epoch` chooses the order, so that a resumed run repeats it.

    The order of epoch e is what e + 1 shuffles with one generator leave, as in Chemprop's
    `SeededSampler`: with its seeds, ``chemprop train`` sees the same batches.

    Parameters
    ----------
    n : int
        Number of rows.
    seed : int
        Seed of all orders; Chemprop's ``--data-seed``.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed
        self.epoch = 0
        self._restart()

    def _restart(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._order = np.arange(self.n)
        self._shuffles = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        if self._shuffles > self.epoch + 1:
            self._restart()
        while self._shuffles <= self.epoch:
            self._rng.shuffle(self._order)
            self._shuffles += 1
        return iter(self._order.tolist())
