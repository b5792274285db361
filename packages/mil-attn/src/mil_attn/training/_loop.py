"""The training loop: batches, what rides along with an epoch, and Lightning's trainer.

Order and dropout follow from seed, epoch and batch alone, so that a run which is resumed is the run
that was not interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import lightning.pytorch as pl
import torch
from molpool_common import EpochRecorder, ResumableLoader, StepSeed, fit_module
from torch import Tensor
from torch.utils.data import Sampler

from mil_attn._bags import Bags
from mil_attn._config import MILTrainingConfig
from mil_attn.data._bag_data import BagData
from mil_attn.training._module import MILModule

_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


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


class BagLoader(ResumableLoader[Bags]):
    """Batches of a data set, each made when it is asked for.

    Parameters
    ----------
    data : BagData
        N bags, scaled.
    batch_size, sampler
        As in `molpool_common.ResumableLoader`.
    """

    def __init__(self, data: BagData, batch_size: int, sampler: Sampler[int] | None = None) -> None:
        super().__init__(data, batch_size, sampler)
        self.data = data

    def _batch(self, rows: Sequence[int]) -> Bags:
        return self.data.batch(rows)

    def _without_labels(self, batch: Bags) -> Bags:
        none = {name: torch.full_like(values, torch.nan) for name, values in batch.aux.items()}
        labels = None if batch.labels is None else torch.full_like(batch.labels, torch.nan)
        return replace(batch, labels=labels, mask=None, aux=none, aux_mask={})


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
        Batches; without `val`, or where the configuration keeps the last epoch, there is no early
        stopping and the last epoch is the best.
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
    recorder = Recorder(on_epoch)
    with _deterministic():
        checkpoints = fit_module(
            module,
            train,
            val,
            config,
            monitor=module.monitor if config.keep == "best" else None,
            # Not by the step, of which the batches of one accumulation have the same.
            seed=StepSeed(seed, per_batch=True),
            recorder=recorder,
            mode="max" if module.is_classifier else "min",
            checkpoint_dir=checkpoint_dir,
            callbacks=callbacks,
            resume_from=resume_from,
            accumulate_grad_batches=config.accumulate_grad_batches,
            deterministic=True,
        )
    assert checkpoints.best_epoch is not None  # at least one epoch was trained
    return Trained(recorder.records, checkpoints.best_epoch, checkpoints.best_state())


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
