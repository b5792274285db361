"""What rides along with training: a record per epoch, what validation predicted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from molpool_common import EpochRecorder, FloatArray, over_ranks
from torch import Tensor

from chemprop_multitask._chemprop import pytorch as pl
from chemprop_multitask._config import TrainingConfig

MONITOR = "val_loss"


def uses_bf16(training: TrainingConfig) -> bool:
    """Return whether products are in bfloat16: as asked for, or where the hardware has them."""
    if training.precision != "auto":
        return training.precision == "bf16"
    if training.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    # Emulated, as oneDNN does it on older processors, they are slower than single precision.
    cpu: Any = torch.cpu
    return training.accelerator in ("auto", "cpu") and any(
        getattr(cpu, name, bool)()
        for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )


def lightning_precision(training: TrainingConfig) -> str:
    """Return what Lightning calls the precision of a training."""
    if training.precision == "64":
        return "64-true"
    return "bf16-mixed" if uses_bf16(training) else "32-true"


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


class BestPerTask(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps, for each task, the weights of the epoch that had its least validation loss.

    Parameters
    ----------
    n_tasks : int
        Number of tasks.

    Attributes
    ----------
    epochs : list of int, length T
        The epoch of each task, from 0; -1 for one without a validation label.
    states : dict of int to dict
        Weights of these epochs.
    """

    def __init__(self, n_tasks: int) -> None:
        self.epochs = [-1] * n_tasks
        self.states: dict[int, dict[str, Tensor]] = {}
        self._least = [float("inf")] * n_tasks
        self._sums = self._counts = torch.zeros(n_tasks, dtype=torch.float64)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the validation before."""
        self._sums, self._counts = torch.zeros_like(self._sums), torch.zeros_like(self._counts)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Tensor,
        batch: Any,
        *_: Any,
        **__: Any,
    ) -> None:
        """Add the losses of a batch, task by task."""
        mask = batch.Y.isfinite()
        cells = pl_module.metrics[-1].cells(
            outputs, batch.Y.nan_to_num(), batch.lt_mask, batch.gt_mask
        )
        # On the CPU first: not every device has double precision.
        self._sums = self._sums + torch.where(mask, cells, 0.0).sum(dim=0).cpu().double()
        self._counts = self._counts + mask.sum(dim=0).cpu()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep the weights if they are the best of some task."""
        sums, counts = over_ranks(self._sums), over_ranks(self._counts)
        losses = (sums / counts).tolist()  # NaN without a label, which is never less
        better = [t for t, loss in enumerate(losses) if loss < self._least[t]]
        for t in better:
            self._least[t], self.epochs[t] = losses[t], trainer.current_epoch
        if better:
            state = pl_module.state_dict()
            self.states[trainer.current_epoch] = {k: v.detach().clone() for k, v in state.items()}
        self.states = {epoch: self.states[epoch] for epoch in set(self.epochs) if epoch >= 0}

    def state_dict(self) -> dict[str, Any]:
        """Return all of it, so that a resumed run keeps the epochs before."""
        return {"epochs": self.epochs, "least": self._least, "states": self.states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what the epochs before left."""
        self.epochs, self._least = list(state_dict["epochs"]), list(state_dict["least"])
        self.states = dict(state_dict["states"])
