"""The training loop around Lightning: callbacks, quiet logs, best and last checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as pl
from molpool_common import (
    KeepBestAndLast,
    LoaderPosition,
    StopEarly,
    interruptible,
    quick_products,
    quiet,
)

from chemprop_multitask.batches import BatchLoader
from chemprop_multitask.callbacks import (
    MONITOR,
    EpochRecord,
    Recorder,
    StepSeed,
)
from chemprop_multitask.config import TrainingConfig


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
