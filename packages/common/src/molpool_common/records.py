"""A record of each epoch of training, kept through checkpoints; needs ``lightning``."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar, Generic, TypeVar

import lightning.pytorch as pl

Record = TypeVar("Record")


class EpochRecorder(pl.Callback, ABC, Generic[Record]):  # type: ignore[misc]  # lightning: no types
    """Keeps a record an epoch, whose seconds count on where an epoch is gone on with.

    Parameters
    ----------
    report : callable, optional
        Told of each epoch as it ends.

    Attributes
    ----------
    record_type : type
        A dataclass of plain values.
    """

    record_type: ClassVar[type]

    def __init__(self, report: Callable[[Record], None] | None = None) -> None:
        self.records: list[Record] = []
        self._report = report
        self._started = 0.0
        self._before = 0.0

    @abstractmethod
    def record(self, trainer: pl.Trainer, seconds: float) -> Record:
        """Return the record of the epoch that ends."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an epoch that is gone on with."""
        self._started = time.perf_counter() - self._before

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of a new epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch."""
        record = self.record(trainer, time.perf_counter() - self._started)
        self.records.append(record)
        if self._report is not None:
            self._report(record)

    def state_dict(self) -> dict[str, Any]:
        """Return the records and how long the epoch has run."""
        return {
            "records": [asdict(r) for r in self.records],  # type: ignore[call-overload]
            "seconds": time.perf_counter() - self._started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the records of the epochs before."""
        self.records = [self.record_type(**r) for r in state_dict["records"]]
        self._before = float(state_dict["seconds"])
