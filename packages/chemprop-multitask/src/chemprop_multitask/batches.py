"""Batches that know their rows, and a loader that knows where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from chemprop.data.collate import BatchMolGraph, TrainingBatch
from torch.utils.data import Sampler, SequentialSampler

from chemprop_multitask.data import MoleculeData
from chemprop_multitask.packed import PackedGraphs


class RowBatchMolGraph(BatchMolGraph):  # type: ignore[misc]  # chemprop has no types here
    """Chemprop's batch of graphs, with the rows of the data that they come from.

    Parameters
    ----------
    graphs : PackedGraphs
        Featurised molecules.
    rows : sequence of int
        The B of them that make the batch, in this order.
    """

    def __init__(self, graphs: PackedGraphs, rows: Sequence[int]) -> None:
        # Chemprop joins graphs one by one; here the joined arrays are gathered at once.
        for name, array in graphs.flat(rows)._asdict().items():
            setattr(self, name, torch.from_numpy(array))
        self.rows = tuple(rows)

    def __len__(self) -> int:
        return len(self.rows)


class BatchLoader:
    """Batches in a sampler's order; its state is the number of batches it has handed out.

    An epoch's order is taken to be a function of the number given to the sampler's `set_epoch`
    and of its `state_dict`, where it has them. So a restored loader repeats the draws of its epoch
    and leaves out those that were handed out before, whatever the sampler.

    Parameters
    ----------
    data : MoleculeData
        N molecules.
    batch_size : int
        Molecules a batch.
    sampler : Sampler, optional
        Draws the rows; by default all of them in order.
    drop_single : bool
        Leave out a last batch of one molecule, which batch normalisation cannot be trained on.
    """

    batch_sampler = None  # Lightning, having found `sampler`, asks for torch's other name too

    def __init__(
        self,
        data: MoleculeData,
        batch_size: int,
        sampler: Sampler[int] | None = None,
        *,
        drop_single: bool = False,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.sampler: Any = sampler if sampler is not None else SequentialSampler(data)
        self.drop_single = drop_single
        self._handed_out = 0
        self._resume_at = 0

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > (1 if self.drop_single else 0))

    def __iter__(self) -> Iterator[TrainingBatch]:
        # Lightning asks for the iterator before it tells the sampler its epoch; as this is a
        # generator, nothing is drawn until the first batch is taken.
        # A state taken at an epoch's end resumes with the next epoch.
        start = self._resume_at if self._resume_at < len(self) else 0
        self._resume_at = 0
        rows = islice(iter(self.sampler), start * self.batch_size, None)
        for number in range(start, len(self)):
            self._handed_out = number + 1
            yield self._batch(list(islice(rows, self.batch_size)))

    def _batch(self, rows: Sequence[int]) -> TrainingBatch:
        labels = self.data.labels(rows)
        signs = None if self.data.censoring is None else self.data.censoring[list(rows)]
        weights = [self.data.weight(row) for row in rows]
        return TrainingBatch(
            RowBatchMolGraph(self.data.graphs, rows),
            None,
            None,
            None if labels is None else torch.from_numpy(labels).float(),
            torch.tensor(weights, dtype=torch.float).unsqueeze(1),
            None if signs is None else torch.from_numpy(signs < 0),
            None if signs is None else torch.from_numpy(signs > 0),
        )

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
