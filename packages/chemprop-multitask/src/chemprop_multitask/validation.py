"""What a model predicted while it was validated, so that it need not be predicted again."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ValidationPredictions(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps what was predicted in the latest validation.

    Attributes
    ----------
    latest : ndarray [N, T]
        Values in the unit of the training targets, or probabilities of class 1, of the validation
        rows in their order, as `ChempropModel.predict` would give them at that moment.
    """

    def __init__(self) -> None:
        self.latest: NDArray[np.float64] = np.empty((0, 0))
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
        self.latest = pl_module.in_units(torch.cat(self._parts)).cpu().double().numpy()
