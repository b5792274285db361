"""Task losses of a Chemprop model, on batches that can be divided by their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from task_affinity.label_blocks import label_blocks
from task_affinity.losses import Part

if TYPE_CHECKING:
    from chemprop.data.collate import TrainingBatch

CellLoss = Callable[[Tensor, Tensor, Any], Tensor]
"""From predictions [B, T], targets [B, T] without NaN and the batch to the loss of each cell."""


class ChempropLosses:
    """Mean loss of each task of a `chemprop.models.MPNN` on a `TrainingBatch`.

    Parameters
    ----------
    cells : callable, optional
        ``cells(predictions, targets, batch)`` gives the loss of each cell [B, T] before row
        weights and mask; squared errors by default.

    See Also
    --------
    mixed_cells : squared errors and cross-entropies side by side.
    """

    def __init__(self, cells: CellLoss | None = None) -> None:
        self._cells = cells if cells is not None else _squared_errors

    def __call__(self, model: Any, batch: TrainingBatch, /) -> tuple[Tensor, Tensor]:
        """Return the mean loss of each task [T], and whether it has a label [T]."""
        from task_affinity.chemprop_batches import to_device

        batch = to_device(batch, _device(model))
        predictions = model.predictor.train_step(model.fingerprint(batch.bmg, batch.V_d, batch.X_d))
        labelled = batch.Y.isfinite()
        cells = self._cells(predictions, batch.Y.nan_to_num(nan=0.0), batch) * batch.w
        counts = labelled.sum(dim=0)
        losses = torch.where(labelled, cells, 0.0).sum(dim=0) / counts.clamp(min=1)
        return losses, counts > 0

    def parts(self, model: nn.Module, batch: TrainingBatch) -> Sequence[Part]:
        """Divide a batch by label patterns, unless the model mixes its molecules."""
        from task_affinity.chemprop_batches import take_rows

        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
            return []
        labelled = batch.Y.isfinite()
        bonds = torch.bincount(
            batch.bmg.batch[batch.bmg.edge_index[0]], minlength=len(labelled)
        ).double()
        sizes = (bonds / bonds.mean().clamp(min=1)).cpu().numpy()
        blocks = label_blocks(labelled.cpu().numpy(), sizes)
        if len(blocks) < 2:
            return []
        totals = labelled.sum(dim=0).clamp(min=1)
        rows = [torch.from_numpy(block).to(labelled.device) for block in blocks]
        return [
            Part(take_rows(batch, r), (labelled[r].sum(dim=0) / totals.to(batch.Y.dtype)))
            for r in rows
        ]


def mixed_cells(is_class: Sequence[bool]) -> CellLoss:
    """Return squared errors, and for classes 0 and 1 the cross-entropy of logits.

    Parameters
    ----------
    is_class : sequence of bool [T]
        Which tasks have classes.
    """
    classes = torch.tensor(list(is_class))

    def cells(predictions: Tensor, targets: Tensor, batch: TrainingBatch) -> Tensor:
        values = _squared_errors(predictions, targets, batch)
        logits = functional.binary_cross_entropy_with_logits(predictions, targets, reduction="none")
        return torch.where(classes.to(values.device), logits, values)

    return cells


def _squared_errors(predictions: Tensor, targets: Tensor, batch: TrainingBatch) -> Tensor:
    return functional.mse_loss(predictions, targets, reduction="none")


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
