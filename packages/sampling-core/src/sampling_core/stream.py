"""The stream of an epoch: seeded, split over ranks, resumable at any position."""

from __future__ import annotations

import operator
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from sampling_core.cells import RowArray
from sampling_core.draws import CellDraws
from sampling_core.errors import SamplingError, listed

BLOCK = 1 << 16
"""Positions that share a generator: resuming redraws one block at most."""

_STATE_KEYS = ("seed", "epoch", "position", "num_samples", "world_size")


class EpochStream(Sampler[int]):
    """Base of the samplers: an endless series of epochs of row numbers.

    The draws of an epoch are a pure function of seed, epoch and the weights as they stand when
    its iteration starts. Rank r of R takes positions r, r + R, ... of the one stream, so that the
    ranks together draw what a single process would. Where R does not divide `num_samples` the
    ranks' lengths differ by one; distributed training wants a multiple of R and the batch size.

    Exhausting the iterator moves on to the next epoch. So does a new `iter` after a part of the
    epoch was taken: a loop that breaks off never meets the same draws again.

    Parameters
    ----------
    num_samples : int
        Draws an epoch, over all ranks.
    seed : int or None
        Seed of the stream; None draws a fresh one, which `state_dict` then keeps.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number.

    Attributes
    ----------
    epoch : int
        The epoch that is being drawn, from 0.

    Raises
    ------
    SamplingError
        If a number is out of range, or `seed` is None with several ranks, which would differ.
    """

    def __init__(
        self,
        num_samples: int,
        seed: int | None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.num_samples = whole_number("num_samples", num_samples, least=1)
        self.world_size = whole_number("world_size", world_size, least=1)
        self.rank = whole_number("rank", rank, least=0)
        if self.rank >= self.world_size:
            raise SamplingError(f"rank: expected 0 to {self.world_size - 1}, found {rank}")
        if seed is None and self.world_size > 1:
            raise SamplingError(
                "seed: expected a number with world_size > 1, found None; each rank would draw"
                " a seed, and a stream, of its own"
            )
        self.seed = _fresh_seed() if seed is None else whole_number("seed", seed, least=0)
        self.increment_seed_per_epoch = increment_seed_per_epoch
        self._run = 0
        self._move(0, 0, restored=False)

    @abstractmethod
    def _draws_now(self) -> CellDraws:
        """Return the draws under the weights of this moment."""

    def __len__(self) -> int:
        """Return the number of draws an epoch of this rank."""
        return len(range(self.rank, self.num_samples, self.world_size))

    @property
    def position(self) -> int:
        """Draws of this epoch that this rank has handed out."""
        return self._block_end - _left(self._block)

    def __iter__(self) -> Iterator[int]:
        """Return the rest of the epoch, or the next one if this one was broken off."""
        position = self.position
        if position > 0 and not self._restored:
            self.set_epoch(self.epoch + 1)
            position = 0
        self._run += 1
        blocks = self._row_blocks(self._draws_now(), self.epoch, position)
        # Chained arrays are walked at the speed of C; a generator would be resumed for each draw.
        return chain.from_iterable(self._tracked(blocks, self._run))

    def draws(self, epoch: int | None = None) -> npt.NDArray[np.int64]:
        """Return what this rank draws in an epoch under the weights of now, moving nothing.

        Parameters
        ----------
        epoch : int or None
            The epoch, the current one if None.

        Returns
        -------
        ndarray of int64, (len(self),)
        """
        number = self.epoch if epoch is None else whole_number("epoch", epoch, least=0)
        out = np.empty(len(self), dtype=np.int64)
        end = 0
        for rows in self._row_blocks(self._draws_now(), number, 0):
            out[end : end + len(rows)] = rows
            end += len(rows)
        return out

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._move(whole_number("epoch", epoch, least=0), 0, restored=False)

    def state_dict(self) -> dict[str, int]:
        """Return where the stream stands as a plain dict.

        A loader with workers, or one that prefetches, has taken more draws than were trained on.
        """
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "position": self.position,
            "num_samples": self.num_samples,
            "world_size": self.world_size,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go where `state_dict` stood; the next iteration hands out the rest of that epoch.

        Raises
        ------
        SamplingError
            If a key is missing, a number is out of range, or the stream is another one.
        """
        missing = [key for key in _STATE_KEYS if key not in state]
        if missing:
            raise SamplingError(f"state of the sampler: no {listed(map(repr, missing))}")
        for key in ("num_samples", "world_size"):
            if state[key] != getattr(self, key):
                raise SamplingError(
                    f"state of the sampler: {key} is {state[key]}, this sampler's is"
                    f" {getattr(self, key)}; the draws would be others"
                )
        seed, epoch, position = (
            whole_number(f"state of the sampler: {key}", state[key], least=0)
            for key in ("seed", "epoch", "position")
        )
        if position > len(self):
            raise SamplingError(
                f"state of the sampler: position is {position}, rank {self.rank} draws"
                f" {len(self)} an epoch"
            )
        self.seed = seed
        self._move(epoch, position, restored=True)

    def _move(self, epoch: int, position: int, *, restored: bool) -> None:
        self.epoch = epoch
        self._block: Iterator[int] = iter(array("i"))
        self._block_end = position
        # A restored position is continued from; any other means that the epoch was broken off.
        self._restored = restored
        # Iterators of before go on, but no longer move the stream.
        self._run += 1

    def _tracked(self, blocks: Iterator[RowArray], run: int) -> Iterator[Iterator[int]]:
        for rows in blocks:
            # An array makes each int as it is asked for, a list all of them at once, out of cache.
            block = iter(array(rows.dtype.char, rows.tobytes()))
            if run == self._run:
                self._restored = False
                # An array's iterator knows where it stands: the position costs nothing.
                self._block = block
                self._block_end += len(rows)
            yield block
        if run == self._run:
            self.set_epoch(self.epoch + 1)

    def _row_blocks(self, draws: CellDraws, epoch: int, position: int) -> Iterator[RowArray]:
        """Yield the rows of this rank from a position on, block by block of the global stream."""
        first = self.rank + position * self.world_size
        key = epoch if self.increment_seed_per_epoch else 0
        while first < self.num_samples:
            block, offset = divmod(first, BLOCK)
            length = min(BLOCK, self.num_samples - block * BLOCK)
            sequence = np.random.SeedSequence(self.seed, spawn_key=(key, block))
            # A generator's raw words come first to last, so a shorter block is a prefix.
            words: npt.NDArray[np.uint64] = np.random.PCG64DXSM(sequence).random_raw(length)
            rows = draws.rows(words[offset :: self.world_size])
            yield rows
            first += len(rows) * self.world_size


def _left(block: Iterator[int]) -> int:
    """Return how many items an array's iterator still holds, as it tells when pickled."""
    _, (items, *_), *index = cast(tuple[Any, ...], block.__reduce__())
    return len(items) - index[0] if index else 0


def whole_number(name: str, value: object, *, least: int) -> int:
    """Return a whole number, or say what is wrong with it."""
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if number < least:
        raise SamplingError(f"{name}: expected a whole number >= {least}, found {value!r}")
    return number


def _fresh_seed() -> int:
    # 63 bits fit every format that a checkpoint or a tracker stores numbers in.
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> np.uint64(1))
