"""Batches that know their rows, in Chemprop's own order of shuffling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from molpool_common import EpochShuffle, ResumableLoader
from torch.utils.data import Sampler

from chemprop_multitask._chemprop import BatchMolGraph, TrainingBatch
from chemprop_multitask._data import MoleculeData
from chemprop_multitask._packed import PackedGraphs


class RowBatchMolGraph(BatchMolGraph):  # type: ignore[misc]  # chemprop has no types here
    """Chemprop's batch of graphs, with the rows of the data that they come from.

    Parameters
    ----------
    graphs : PackedGraphs
        Featurised molecules.
    rows : sequence of int
        The B of them that make the batch, in this order.
    dtype : torch.dtype
        Of the features.
    """

    def __init__(
        self, graphs: PackedGraphs, rows: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> None:
        # Chemprop joins graphs one by one; here the joined arrays are gathered at once.
        for name, array in graphs.flat(rows)._asdict().items():
            tensor = torch.from_numpy(array)
            setattr(self, name, tensor.to(dtype) if tensor.is_floating_point() else tensor)
        self.rows = tuple(rows)
        # A field of Chemprop's own constructor, which Lightning asks for in double precision.
        self._BatchMolGraph__size = len(rows)

    def __len__(self) -> int:
        return len(self.rows)


class BatchLoader(ResumableLoader[TrainingBatch]):
    """Batches of molecules in a sampler's order, resumable in the middle of an epoch.

    Parameters
    ----------
    data : MoleculeData
        N molecules.
    batch_size, sampler, drop_single
        As in `molpool_common.ResumableLoader`.
    dtype : torch.dtype
        Of features and labels.
    """

    def __init__(
        self,
        data: MoleculeData,
        batch_size: int,
        sampler: Sampler[int] | None = None,
        *,
        drop_single: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(data, batch_size, sampler, drop_single=drop_single)
        self.data = data
        self.dtype = dtype

    def _batch(self, rows: Sequence[int]) -> TrainingBatch:
        labels = self.data.labels(rows)
        signs = None if self.data.censoring is None else self.data.censoring[list(rows)]
        weights = [self.data.weight(row) for row in rows]
        descriptors = self.data.descriptors
        return TrainingBatch(
            RowBatchMolGraph(self.data.graphs, rows, self.dtype),
            None,
            None
            if descriptors is None
            else torch.from_numpy(descriptors[list(rows)]).to(self.dtype),
            None if labels is None else torch.from_numpy(labels).to(self.dtype),
            torch.tensor(weights, dtype=self.dtype).unsqueeze(1),
            None if signs is None else torch.from_numpy(signs < 0),
            None if signs is None else torch.from_numpy(signs > 0),
        )

    def _without_labels(self, batch: TrainingBatch) -> TrainingBatch:
        return batch._replace(Y=None if batch.Y is None else torch.full_like(batch.Y, torch.nan))


class ChempropShuffle(EpochShuffle):
    """Every row once per epoch, in Chemprop's order.

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
        super().__init__(n, seed)
        self._restart()

    def _restart(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self._order = np.arange(self.n)
        self._shuffles = 0

    def __iter__(self) -> Iterator[int]:
        if self._shuffles > self.epoch + 1:
            self._restart()
        while self._shuffles <= self.epoch:
            self._rng.shuffle(self._order)
            self._shuffles += 1
        return iter(self._order.tolist())
