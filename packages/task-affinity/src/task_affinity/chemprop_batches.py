"""Rows of a batch of molecular graphs."""

from __future__ import annotations

import torch
from chemprop.data import BatchMolGraph
from chemprop.data.collate import TrainingBatch
from torch import Tensor


class Subgraphs(BatchMolGraph):  # type: ignore[misc]  # chemprop has no types here
    """Some of the molecules of a batch.

    Parameters
    ----------
    whole : BatchMolGraph
        The batch.
    rows : Tensor of int [R]
        Molecules to keep, ascending.
    """

    def __init__(self, whole: BatchMolGraph, rows: Tensor) -> None:
        place = torch.full((len(whole),), -1, device=rows.device)
        place[rows] = torch.arange(len(rows), device=rows.device)
        self.atoms = place[whole.batch] >= 0
        bonds = self.atoms[whole.edge_index[0]]
        self.V = whole.V[self.atoms]
        self.E = whole.E[bonds]
        self.edge_index = (self.atoms.cumsum(0) - 1)[whole.edge_index[:, bonds]]
        self.rev_edge_index = (bonds.cumsum(0) - 1)[whole.rev_edge_index[bonds]]
        self.batch = place[whole.batch[self.atoms]]
        self._length = len(rows)

    def __len__(self) -> int:
        return self._length


def take_rows(batch: TrainingBatch, rows: Tensor) -> TrainingBatch:
    """Return some rows of a batch, ascending, as a batch."""
    graphs = Subgraphs(batch.bmg, rows)

    def of(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[rows]

    return TrainingBatch(
        graphs,
        None if batch.V_d is None else batch.V_d[graphs.atoms],
        of(batch.X_d),
        of(batch.Y),
        of(batch.w),
        of(batch.lt_mask),
        of(batch.gt_mask),
    )


def to_device(batch: TrainingBatch, device: torch.device) -> TrainingBatch:
    """Return a batch on a device; the graphs of the given one go there too."""
    batch.bmg.to(device)
    rest = (None if x is None else x.to(device) for x in batch[1:])
    return TrainingBatch(batch.bmg, *rest)
