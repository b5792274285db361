"""What a measurement of task affinity asks of a model: its training batches, its losses by cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from chemprop_multitask.batches import BatchLoader
from chemprop_multitask.data import MoleculeData
from chemprop_multitask.errors import ChempropError
from chemprop_multitask.model import ChempropModel
from chemprop_multitask.scaling import label_scale
from chemprop_multitask.shuffle import EpochShuffle


def shuffled_batches(
    model: ChempropModel, train: MoleculeData, batch_size: int, seed: int
) -> BatchLoader:
    """Return training data as the model would see them: scaled, shuffled, in batches.

    Parameters
    ----------
    model : ChempropModel
        Its tasks and their kinds say how targets are scaled.
    train : MoleculeData
        With targets; they alone decide the scale.
    batch_size : int
        Molecules a batch.
    seed : int
        Seed of the order.

    Raises
    ------
    ChempropError
        If there are no targets, or a task has no label.
    """
    if train.targets is None:
        raise ChempropError("data: expected targets; found none")
    scale = label_scale(train.targets, model.task_names, model.task_types)
    return BatchLoader(
        train.scaled(*scale),
        batch_size,
        EpochShuffle(len(train), seed),
        drop_single=model.config.model.batch_norm,
    )


def cell_losses(model: ChempropModel) -> Callable[[Tensor, Tensor, Any], Tensor]:
    """Return the loss that a model is trained with, cell by cell; bounds are bounds in it.

    Returns
    -------
    callable
        Predictions [B, T], scaled targets [B, T] and the batch to losses [B, T].
    """
    criterion = model.module.criterion

    def cells(predictions: Tensor, targets: Tensor, batch: Any) -> Tensor:
        loss: Tensor = criterion.cells(predictions, targets, batch.lt_mask, batch.gt_mask)
        return loss

    return cells
