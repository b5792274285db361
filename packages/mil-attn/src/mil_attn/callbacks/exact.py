"""What makes a resumed run the run that was not interrupted."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping


class BatchSeed(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Seeds dropout by epoch and batch, so that a resumed run draws what another would.

    Not by the optimiser's step, of which the batches of one accumulation have the same.

    Parameters
    ----------
    seed : int
        Seed of all batches.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch's generators, which `fit` puts back at its end."""
        key = (trainer.current_epoch, batch_idx)
        sequence = np.random.SeedSequence(self.seed, spawn_key=key)
        # torch takes 64 bits, signed.
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))


class StopEarly(EarlyStopping):  # type: ignore[misc]  # lightning has no types here
    """Early stopping that a run resumed after its last epoch remembers."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the patience was used up before the checkpoint."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
