"""What all samplers share: an epoch's stream of draws, and the cells that it draws from.

The stream is seeded, split over ranks and resumable at any position.
"""

from __future__ import annotations

from abc import abstractmethod
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import numpy as np
from molpool_common import FloatArray, IntArray
from torch.utils.data import Sampler

from sampling_core._cells import (
    CellDraws,
    CellRows,
    Codes,
    WeightStatistics,
    Words,
    statistics_of_cells,
)
from sampling_core._errors import SamplingError, require_keys, whole_number

BLOCK = 1 << 16
"""Positions that share a generator: resuming redraws one block at most."""

_STREAM_KEYS = ("seed", "epoch", "position", "num_samples", "world_size")


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
        Draws per epoch, over all ranks.
    seed : int or None
        Seed of the stream; None draws a fresh one, which `state_dict` then keeps.
    increment_seed_per_epoch : bool
        False repeats the draws of epoch 0 in every epoch.
    rank, world_size : int
        This process and their number.

    Attributes
    ----------
    epoch : int
        Current epoch, from 0.

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
        """Return the number of draws per epoch of this rank."""
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

    def draws(self, epoch: int | None = None) -> IntArray:
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
        require_keys(state, _STREAM_KEYS, "state of the sampler")
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

    def _tracked(self, blocks: Iterator[Codes], run: int) -> Iterator[Iterator[int]]:
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

    def _row_blocks(self, draws: CellDraws, epoch: int, position: int) -> Iterator[Codes]:
        """Yield the rows of this rank from a position on, block by block of the global stream."""
        first = self.rank + position * self.world_size
        key = epoch if self.increment_seed_per_epoch else 0
        while first < self.num_samples:
            block, offset = divmod(first, BLOCK)
            length = min(BLOCK, self.num_samples - block * BLOCK)
            # A generator per block: any position is found without drawing those before it.
            sequence = np.random.SeedSequence(self.seed, spawn_key=(key, block))
            # A generator's raw words come first to last, so a shorter block is a prefix.
            words: Words = np.random.PCG64DXSM(sequence).random_raw(length)
            # Rank r takes every R-th word of the one global stream (models.md, section 1).
            rows = draws.rows(words[offset :: self.world_size])
            yield rows
            first += len(rows) * self.world_size


def _left(block: Iterator[int]) -> int:
    """Return how many items an array's iterator still holds, as its pickled state says."""
    _, (items, *_), *index = cast(tuple[Any, ...], block.__reduce__())
    return len(items) - index[0] if index else 0


def _fresh_seed() -> int:
    # 63 bits fit every format that a checkpoint or a tracker stores numbers in.
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Cell:
    """One weight class, as reports show it.

    Attributes
    ----------
    task : int or None
        Column of the task: the primary one of the rows, or the one that is drawn.
    quality : str or None
        Quality label.
    rare_positives : int or None
        Number of rare tasks that the rows are positive for.
    size : int
        Rows in the cell.
    probability : float
        Probability that a draw falls into the cell.
    """

    task: int | None = None
    quality: str | None = None
    rare_positives: int | None = None
    size: int = 0
    probability: float = 0.0


class CellSampler(EpochStream):
    """Base of the samplers that draw a cell, then a row of it uniformly.

    Parameters
    ----------
    cells : CellRows
        The rows of each cell.
    num_samples : int or None
        Draws per epoch, the number of rows if None.
    seed, increment_seed_per_epoch, rank, world_size
        As in `EpochStream`.
    """

    def __init__(
        self,
        cells: CellRows,
        num_samples: int | None,
        seed: int | None,
        *,
        increment_seed_per_epoch: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(
            cells.n_rows if num_samples is None else num_samples,
            seed,
            increment_seed_per_epoch=increment_seed_per_epoch,
            rank=rank,
            world_size=world_size,
        )
        self._cells = cells
        self._summary: tuple[bytes, WeightStatistics] | None = None

    @abstractmethod
    def _cell_probabilities(self) -> FloatArray:
        """Return the probability of each cell under the weights of this moment."""

    @abstractmethod
    def _cell_keys(self) -> Sequence[Cell]:
        """Return what names each cell."""

    def _draws_now(self) -> CellDraws:
        return CellDraws(self._cells, self._cell_probabilities())

    def probabilities(self) -> FloatArray:
        """Return the probability of each row under the weights of now.

        Returns
        -------
        ndarray of float64, (N,)
            Sums to 1.
        """
        return self._cells.row_probabilities(self._cell_probabilities())

    def statistics(self) -> WeightStatistics:
        """Summarise the row distribution under the weights of now.

        Costs as much as there are cells; where rows are in several cells (draws of a task first)
        as much as there are labels, once for each set of weights.
        """
        probabilities = self._cell_probabilities()
        weights = probabilities.tobytes()
        if self._summary is None or self._summary[0] != weights:
            self._summary = weights, statistics_of_cells(self._cells, probabilities)
        return self._summary[1]

    def cell_table(self) -> list[Cell]:
        """Return the cells that hold a row, with size and probability under the weights of now."""
        table = zip(
            self._cell_keys(), self._cells.sizes.tolist(), self._cell_probabilities(), strict=True
        )
        return [
            Cell(key.task, key.quality, key.rare_positives, size, float(probability))
            for key, size, probability in table
            if size
        ]
