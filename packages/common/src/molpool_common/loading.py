"""Batches in a sampler's order, gone on with in the middle of an epoch; needs ``lightning``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
from torch.utils.data import Sampler, SequentialSampler

Batch = TypeVar("Batch")


class ResumableLoader(ABC, Generic[Batch]):
    """Batches in a sampler's order; its state is the number of batches it has handed out.

    An epoch's order is taken to be a function of the number given to the sampler's `set_epoch`
    and of its `state_dict`, where it has them. So a restored loader repeats the draws of its epoch
    and leaves out those that were handed out before, whatever the sampler.

    Parameters
    ----------
    data : sized
        N rows.
    batch_size : int
        Rows a batch.
    sampler : Sampler, optional
        Draws the rows; by default all of them in order. Lightning tells it the epoch, if it has
        `set_epoch`.
    drop_single : bool
        Leave out a last batch of one row, which batch normalisation cannot be trained on.
    """

    batch_sampler = None  # Lightning, having found `sampler`, asks for torch's other name too

    def __init__(
        self,
        data: Sized,
        batch_size: int,
        sampler: Sampler[int] | None = None,
        *,
        drop_single: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.sampler: Any = SequentialSampler(data) if sampler is None else sampler
        self.drop_single = drop_single
        self._handed_out = 0
        self._resume_at = 0

    @abstractmethod
    def _batch(self, rows: Sequence[int]) -> Batch:
        """Return the batch of some rows."""

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > (1 if self.drop_single else 0))

    def __iter__(self) -> Iterator[Batch]:
        # Lightning asks for the iterator before it tells the sampler its epoch; as this is a
        # generator, nothing is drawn until the first batch is taken.
        # A state taken at an epoch's end resumes with the next epoch.
        start = self._resume_at if self._resume_at < len(self) else 0
        self._resume_at = 0
        rows = islice(iter(self.sampler), start * self.batch_size, None)
        for number in range(start, len(self)):
            self._handed_out = number + 1
            yield self._batch(list(islice(rows, self.batch_size)))

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches handed out and, where it has one, the sampler's state."""
        state: dict[str, Any] = {"handed_out": self._handed_out}
        if hasattr(self.sampler, "state_dict"):
            state["sampler"] = self.sampler.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go where `state_dict` stood; the next iteration hands out the rest of that epoch."""
        self._resume_at = int(state["handed_out"])
        if "sampler" in state and hasattr(self.sampler, "load_state_dict"):
            self.sampler.load_state_dict(state["sampler"])


class LoaderPosition(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Carries the training loader's position through checkpoints.

    Lightning does so itself, but only where the loader is set up after the checkpoint is read; a
    learning rate schedule that asks for its length sets it up before.

    Parameters
    ----------
    loader : ResumableLoader
        The training loader.
    """

    def __init__(self, loader: ResumableLoader[Any]) -> None:
        self._loader = loader

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the loader where it was."""
        self._loader.load_state_dict(state_dict)
