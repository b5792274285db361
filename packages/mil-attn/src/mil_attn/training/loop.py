"""Lightning's trainer, set up to be quiet, deterministic and resumable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
import torch
from molpool_common import (
    KeepBestAndLast,
    LoaderPosition,
    StopEarly,
    interruptible,
    quick_products,
    quiet,
)
from torch import Tensor

from mil_attn.callbacks.exact import BatchSeed
from mil_attn.callbacks.records import EpochRecord, Recorder
from mil_attn.config import MILTrainingConfig
from mil_attn.training.loader import BagLoader
from mil_attn.training.module import MILModule

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@dataclass(frozen=True)
class Trained:
    """What the loop left behind: a record an epoch, which was the best, and its weights."""

    records: list[EpochRecord]
    best_epoch: int
    best_state: dict[str, Tensor]


def run(
    module: MILModule,
    config: MILTrainingConfig,
    train: BagLoader,
    val: BagLoader | None,
    *,
    seed: int,
    checkpoint_dir: Path | None,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: Callable[[EpochRecord], None] | None = None,
    resume_from: Path | None = None,
) -> Trained:
    """Train a module and keep its best and its last epoch.

    Parameters
    ----------
    module : MILModule
        Trained in place; ends with the weights of the last epoch.
    config : MILTrainingConfig
        Epochs, patience, accumulation, clipping, accelerator.
    train, val : BagLoader
        Batches; without `val` there is no early stopping and the last epoch is the best.
    seed : int
        Seed of dropout.
    checkpoint_dir : Path or None
        Where ``best.ckpt`` and ``last.ckpt`` go; None: nowhere.
    callbacks : sequence of Callback
        Beside our own.
    on_epoch : callable, optional
        Told of each epoch as it ends.
    resume_from : Path, optional
        A ``last.ckpt`` to go on from.
    """
    mode: Literal["max", "min"] = "max" if module.is_classifier else "min"
    recorder = Recorder(on_epoch)
    kept = KeepBestAndLast(
        checkpoint_dir,
        module.monitor if val is not None else None,
        mode,
        every_n_steps=config.checkpoint_every_steps,
    )
    exact = [BatchSeed(seed), LoaderPosition(train)]
    stopping = (
        [StopEarly(module.monitor, mode=mode, patience=config.patience)]
        if val is not None and config.patience is not None
        else []
    )
    with quiet(), _deterministic():
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            max_epochs=config.epochs,
            accumulate_grad_batches=config.accumulate_grad_batches,
            gradient_clip_val=config.gradient_clip,
            deterministic=True,
            callbacks=[recorder, *exact, *callbacks, *stopping, kept],
            logger=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        with quick_products(trainer.strategy.root_device):
            _fit(trainer, module, train, val, resume_from)
    assert kept.best_epoch is not None  # at least one epoch was trained
    return Trained(recorder.records, kept.best_epoch, kept.best_state())


def _fit(
    trainer: pl.Trainer,
    module: MILModule,
    train: BagLoader,
    val: BagLoader | None,
    resume_from: Path | None,
) -> None:
    # Of checkpoints only those that `check_checkpoint` has read before.
    with interruptible():
        trainer.fit(module, train, val, ckpt_path=resume_from, weights_only=True)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Put back what ``Trainer(deterministic=True)`` sets for the whole process."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get(_CUBLAS)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        if workspace is None:
            os.environ.pop(_CUBLAS, None)
