"""What rides along with training: a record per epoch, what validation predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import torch
from molpool_common import EpochRecorder, FloatArray
from torch import Tensor

MONITOR = "val_loss"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with; losses in units of the scaled targets."""

    epoch: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float


class Recorder(EpochRecorder[EpochRecord]):
    """One `EpochRecord` per epoch."""

    record_type = EpochRecord
    metric_names: ClassVar = {"train_loss": "train_loss_epoch"}


class ValidationPredictions(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps what was predicted in the latest validation.

    Attributes
    ----------
    latest : ndarray [N, T]
        Values in the unit of the training targets, or probabilities of class 1, of the validation
        rows in their order, as `ChempropModel.predict` would give them at that moment.
    """

    def __init__(self) -> None:
        self.latest: FloatArray = np.empty((0, 0))
        self._parts: list[Tensor] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the validation before."""
        self._parts = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,
        *_: Any,
        **__: Any,
    ) -> None:
        """Take the predictions of a batch."""
        self._parts.append(outputs)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Turn them into the unit of the targets."""
        self.latest = pl_module.in_units(torch.cat(self._parts)).numpy()
