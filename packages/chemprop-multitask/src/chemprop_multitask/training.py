"""The training loop around Lightning: callbacks, quiet logs, best and last checkpoints."""

from __future__ import annotations

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from chemprop.data.collate import collate_batch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, Sampler

from chemprop_multitask.config import TrainingConfig
from chemprop_multitask.data import MoleculeData

MONITOR = "val_loss"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with; losses in units of the scaled targets."""

    epoch: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float


class _Recorder(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps an `EpochRecord` an epoch, through checkpoints too."""

    def __init__(self, report: Callable[[EpochRecord], None] | None) -> None:
        self.records: list[EpochRecord] = []
        self._report = report
        self._started = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = trainer.callback_metrics
        record = EpochRecord(
            epoch=trainer.current_epoch,
            train_loss=float(metrics["train_loss_epoch"]),
            val_loss=float(metrics[MONITOR]) if MONITOR in metrics else None,
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
            seconds=time.perf_counter() - self._started,
        )
        self.records.append(record)
        if self._report is not None:
            self._report(record)

    def state_dict(self) -> dict[str, Any]:
        return {"records": [asdict(r) for r in self.records]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.records = [EpochRecord(**r) for r in state_dict["records"]]


@dataclass(frozen=True)
class FitResult:
    """What training left behind."""

    records: list[EpochRecord]
    best: Path | None


def loader(
    data: MoleculeData, batch_size: int, sampler: Sampler[int] | None = None
) -> DataLoader[Any]:
    """Return batches of Chemprop graphs in the sampler's order, or in row order."""
    return DataLoader(data, batch_size=batch_size, sampler=sampler, collate_fn=collate_batch)


def run(
    module: pl.LightningModule,
    config: TrainingConfig,
    train: DataLoader[Any],
    val: DataLoader[Any] | None,
    *,
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
    train, val : DataLoader
        Batches; without `val` there is no early stopping and the last epoch counts as best.
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
    recorder = _Recorder(on_epoch)
    best = ModelCheckpoint(
        checkpoint_dir,
        filename="best",
        monitor=MONITOR if val is not None else None,
        save_last=True,
        save_on_train_epoch_end=True,  # so that last.ckpt holds whole epochs
        enable_version_counter=False,
    )
    stopping = (
        [EarlyStopping(MONITOR, patience=config.patience)]
        if val is not None and config.patience is not None
        else []
    )
    with _quiet():
        trainer = pl.Trainer(
            accelerator=config.accelerator,
            devices=1,
            max_epochs=config.epochs,
            gradient_clip_val=config.gradient_clip,
            callbacks=[recorder, *callbacks, *stopping, best],
            logger=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        _fit(trainer, module, train, val, resume_from)
    path = Path(best.best_model_path) if best.best_model_path else None
    return FitResult(recorder.records, path)


def _fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    train: DataLoader[Any],
    val: DataLoader[Any] | None,
    resume_from: Path | None,
) -> None:
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        # Chemprop keeps classes among its hyperparameters, which weights_only refuses.
        trainer.fit(module, train, val, ckpt_path=resume_from, weights_only=False)
    except SystemExit:
        # Lightning turns Ctrl-C and SIGTERM into an exit of its own and leaves Ctrl-C ignored.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what Lightning says about our deliberate choices, and its advertisements."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")
            warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.. is deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
