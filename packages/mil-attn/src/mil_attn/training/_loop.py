"""The training loop: batches, what rides along with an epoch, and Lightning's trainer.

Order and dropout follow from seed, epoch and batch alone, so that a run which is resumed is the run
that was not interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch
from molpool_common import (
    EpochRecorder,
    KeepBestAndLast,
    LoaderPosition,
    ResumableLoader,
    StopEarly,
    interruptible,
    quick_products,
    quiet,
    seed_step,
)
from torch import Tensor
from torch.utils.data import Sampler

from mil_attn._bags import Bags
from mil_attn._config import MILTrainingConfig
from mil_attn.data._bag_data import BagData
from mil_attn.training._module import MILModule

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


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


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with.

    Attributes
    ----------
    epoch : int
        From 0.
    train_loss, val_loss : float
        Total loss, means over bags; None without validation.
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


class Recorder(EpochRecorder[EpochRecord]):
    """Records an `EpochRecord` per epoch."""

    record_type = EpochRecord

    def record(self, trainer: pl.Trainer, seconds: float) -> EpochRecord:
        """Return the record of the epoch that ends."""
        metrics = trainer.callback_metrics
        values = {
            name: float(metrics[name]) if name in metrics else None
            for name in ("val_loss", "val_macro_ap", "val_min_ap", "val_macro_ma_rae")
        }
        return EpochRecord(
            epoch=trainer.current_epoch,
            train_loss=float(metrics["train_loss"]),
            **values,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=seconds,
        )


class BagLoader(ResumableLoader[Bags]):
    """Batches of a data set, each made when it is asked for.

    Parameters
    ----------
    data : BagData
        N bags, scaled.
    batch_size, sampler
        As in `molpool_common.loading.ResumableLoader`.
    """

    def __init__(self, data: BagData, batch_size: int, sampler: Sampler[int] | None = None) -> None:
        super().__init__(data, batch_size, sampler)
        self.data = data

    def _batch(self, rows: Sequence[int]) -> Bags:
        return self.data.batch(rows)


class Shuffle(Sampler[int]):
    """Every bag once per epoch, in an order that follows from seed and epoch alone.

    Parameters
    ----------
    n : int
        Number of bags.
    seed : int
        Seed of all orders.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[int]:
        # Seeded by both numbers: an epoch can be resumed without replaying those before it.
        rng = np.random.default_rng([self.seed, self.epoch])
        return iter(rng.permutation(self.n).tolist())


@dataclass(frozen=True)
class Trained:
    """What the loop left behind: a record per epoch, which was the best, and its weights."""

    records: list[EpochRecord]
    best_epoch: int
    best_state: dict[str, Tensor]


def train_epochs(
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
        Called with the record of each epoch at its end.
    resume_from : Path, optional
        A ``last.ckpt`` to go on from.
    """
    # Average precision rises as models improve, a loss falls.
    mode: Literal["max", "min"] = "max" if module.is_classifier else "min"
    recorder = Recorder(on_epoch)
    checkpoints = KeepBestAndLast(
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
            callbacks=[recorder, *exact, *callbacks, *stopping, checkpoints],
            logger=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            # Sanity batches before the first epoch would be counted among its validation logits.
            num_sanity_val_steps=0,
        )
        with quick_products(trainer.strategy.root_device):
            _fit(trainer, module, train, val, resume_from)
    assert checkpoints.best_epoch is not None  # at least one epoch was trained
    return Trained(recorder.records, checkpoints.best_epoch, checkpoints.best_state())


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
