"""A record of each epoch, kept through checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import lightning.pytorch as pl
from molpool_common import EpochRecorder


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with.

    Attributes
    ----------
    epoch : int
        From 0.
    train_loss, val_loss : float
        Total loss, means over bags; None without validation.
    val_macro_ap, val_min_ap : float
        Mean and least average precision over tasks; None for regression.
    learning_rate : float
        At the end of the epoch.
    seconds : float
        Wall time.
    val_macro_ma_rae : float
        Mean over tasks of the relative absolute error; None for classification.
    """

    epoch: int
    train_loss: float
    val_loss: float | None
    val_macro_ap: float | None
    val_min_ap: float | None
    learning_rate: float
    seconds: float
    val_macro_ma_rae: float | None = None


class Recorder(EpochRecorder[EpochRecord]):
    """Keeps an `EpochRecord` an epoch."""

    record_type = EpochRecord

    def record(self, trainer: pl.Trainer, seconds: float) -> EpochRecord:
        """Return the record of the epoch that ends."""
        metrics = trainer.callback_metrics
        values = {
            name: float(metrics[name]) if name in metrics else None
            for name in ("val_loss", "val_macro_ap", "val_min_ap", "val_macro_ma_rae")
        }
        return EpochRecord(
            epoch=trainer.current_epoch,
            train_loss=float(metrics["train_loss"]),
            **values,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=seconds,
        )
