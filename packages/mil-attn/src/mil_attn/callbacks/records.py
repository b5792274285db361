"""A record of each epoch, kept through checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import lightning.pytorch as pl


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with.

    Attributes
    ----------
    epoch : int
        From 0.
    train_loss, val_loss : float
        Total loss, means over batches; None without validation.
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


class Recorder(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps an `EpochRecord` an epoch.

    Parameters
    ----------
    report : callable or None
        Told of each epoch as it ends.
    """

    def __init__(self, report: Callable[[EpochRecord], None] | None = None) -> None:
        self.records: list[EpochRecord] = []
        self._report = report
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch."""
        metrics = trainer.callback_metrics
        values = {
            name: float(metrics[name]) if name in metrics else None
            for name in ("val_loss", "val_macro_ap", "val_min_ap", "val_macro_ma_rae")
        }
        record = EpochRecord(
            epoch=trainer.current_epoch,
            train_loss=float(metrics["train_loss"]),
            **values,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=time.perf_counter() - self._started,
        )
        self.records.append(record)
        if self._report is not None:
            self._report(record)

    def state_dict(self) -> dict[str, Any]:
        """Return the records so far."""
        return {"records": [asdict(r) for r in self.records]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the records of the epochs before."""
        self.records = [EpochRecord(**r) for r in state_dict["records"]]
