"""What rides along with training: epoch records, dropout's seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
from molpool_common import EpochRecorder, seed_step

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
    """Keeps an `EpochRecord` an epoch."""

    record_type = EpochRecord

    def record(self, trainer: pl.Trainer, seconds: float) -> EpochRecord:
        """Return the record of the epoch that ends."""
        metrics = trainer.callback_metrics
        return EpochRecord(
            epoch=trainer.current_epoch,
            train_loss=float(metrics["train_loss_epoch"]),
            val_loss=float(metrics[MONITOR]) if MONITOR in metrics else None,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=seconds,
        )


class StepSeed(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Seeds dropout by the step, so that a resumed run draws what an uninterrupted one would.

    Parameters
    ----------
    seed : int
        Seed of all steps.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch's generators, which `ChempropModel.fit` puts back at its end."""
        seed_step(self.seed, trainer.global_step)
