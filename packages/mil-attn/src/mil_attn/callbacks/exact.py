"""What makes a resumed run the run that was not interrupted."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from molpool_common import seed_step


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
        seed_step(self.seed, trainer.current_epoch, batch_idx)
