"""What rides along with training: epoch records, dropout's seed.

What a model predicted while it was validated, so that it need not be predicted again.

The training loop around Lightning: callbacks, quiet logs, best and last checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from molpool_common import (
    EpochRecorder,
    KeepBestAndLast,
    LoaderPosition,
    StopEarly,
    interruptible,
    quick_products,
    quiet,
    seed_step,
)
from numpy.typing import NDArray
from torch import Tensor

from chemprop_multitask._batches import BatchLoader
from chemprop_multitask._config import TrainingConfig

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


@dataclass(frozen=True)
class FitResult:
    """What training left behind."""

    records: list[EpochRecord]
    best: Path | None


def run(
    module: pl.LightningModule,
    config: TrainingConfig,
    train: BatchLoader,
    val: BatchLoader | None,
    *,
    seed: int,
    checkpoint_dir: Path,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: Callable[[EpochRecord], None] | None = None,
    resume_from: Path | None = None,
) -> FitResult:
    """Train a module and keep its best and its last checkpoint.

    Parameters
    ----------
    module : LightningModule
        Trained in place; ends with the weights of the last epoch.
    config : TrainingConfig
        Epochs, patience, clipping, accelerator.
    train, val : BatchLoader
        Batches; without `val` there is no early stopping and the last epoch counts as best.
    seed : int
        Seed of dropout.
    checkpoint_dir : Path
        Where ``best.ckpt`` and ``last.ckpt`` go.
    callbacks : sequence of Callback
        Added after our own.
    on_epoch : callable, optional
        Told of each epoch as it ends.
    resume_from : Path, optional
        A ``last.ckpt`` to go on from.

    Returns
    -------
    FitResult
    """
    recorder = Recorder(on_epoch)
    exact = [StepSeed(seed), LoaderPosition(train)]
    kept = KeepBestAndLast(
        checkpoint_dir,
        MONITOR if val is not None else None,
        every_n_steps=config.checkpoint_every_steps,
    )
    stopping = (
        [StopEarly(MONITOR, patience=config.patience)]
        if val is not None and config.patience is not None
        else []
    )
    with quiet():
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            max_epochs=config.epochs,
            gradient_clip_val=config.gradient_clip,
            callbacks=[recorder, *exact, *callbacks, *stopping, kept],
            logger=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        with quick_products(trainer.strategy.root_device):
            _fit(trainer, module, train, val, resume_from)
    return FitResult(recorder.records, kept.best)


def _fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    train: BatchLoader,
    val: BatchLoader | None,
    resume_from: Path | None,
) -> None:
    # Chemprop keeps classes among its hyperparameters, which weights_only refuses.
    with interruptible():
        trainer.fit(module, train, val, ckpt_path=resume_from, weights_only=False)
