from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from molpool_common.loading import LoaderPosition, ResumableLoader
from torch.utils.data import Sampler


class Stateful(Sampler[int]):
    """Draws that follow from its seed and epoch; the seed is in its state."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def __len__(self) -> int:
        return self.n

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).integers(self.n, size=self.n))

    def state_dict(self) -> dict[str, int]:
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seed = state["seed"]


class Rows(ResumableLoader[tuple[int, ...]]):
    """Batches that are the rows themselves."""

    def _batch(self, rows: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(int, rows))


def fresh(seed: int) -> Rows:
    loader = Rows(range(32), 5, Stateful(32, seed))
    loader.sampler.set_epoch(2)
    return loader


@pytest.mark.parametrize("taken", range(8))
def test_a_restored_loader_hands_out_the_rest(taken: int) -> None:
    whole = list(fresh(1))
    assert len(whole) == 7
    broken_off = fresh(1)
    iterator = iter(broken_off)
    for _ in range(taken):
        next(iterator)
    resumed = fresh(99)
    LoaderPosition(resumed).load_state_dict(LoaderPosition(broken_off).state_dict())
    # What was saved at an epoch's end goes on with a whole epoch.
    assert list(resumed) == (whole[taken:] if taken < 7 else whole)
    assert list(resumed) == whole


def test_an_epoch_that_was_broken_off_does_not_shorten_the_next() -> None:
    loader = Rows(range(32), 5)
    next(iter(loader))
    assert [row for batch in loader for row in batch] == list(range(32))


@pytest.mark.parametrize(("drop", "sizes"), [(True, [4, 4]), (False, [4, 4, 1])])
def test_a_single_row_at_the_end(drop: bool, sizes: list[int]) -> None:
    loader = Rows(range(9), 4, drop_single=drop)
    assert len(loader) == len(sizes)
    assert [len(batch) for batch in loader] == sizes
