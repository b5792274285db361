"""What rides along with training: epoch records, dropout's seed, checkpoints."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from molpool_common.training import seed_step

from chemprop_multitask.batches import BatchLoader

MONITOR = "val_loss"


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training ended with; losses in units of the scaled targets."""

    epoch: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float


class Recorder(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Keeps an `EpochRecord` an epoch, through checkpoints too.

    Parameters
    ----------
    report : callable or None
        Told of each epoch as it ends.
    """

    def __init__(self, report: Callable[[EpochRecord], None] | None) -> None:
        self.records: list[EpochRecord] = []
        self._report = report
        self._started = 0.0
        self._before = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an epoch that is gone on with."""
        self._started = time.perf_counter() - self._before

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of a new epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch."""
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
        """Return the records and how long the epoch has run."""
        return {
            "records": [asdict(r) for r in self.records],
            "seconds": time.perf_counter() - self._started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the records of the epochs before."""
        self.records = [EpochRecord(**r) for r in state_dict["records"]]
        self._before = float(state_dict["seconds"])


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


class LoaderPosition(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Carries the training loader's position through checkpoints.

    Lightning does so itself, but only where the loader is set up after the checkpoint is read;
    Chemprop's learning rate schedule asks for its length, and so sets it up, before.

    Parameters
    ----------
    loader : BatchLoader
        The training loader.
    """

    def __init__(self, loader: BatchLoader) -> None:
        self._loader = loader

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the loader where it was."""
        self._loader.load_state_dict(state_dict)


class Checkpoints(Checkpoint):  # type: ignore[misc]  # lightning has no types here
    """Keeps ``best.ckpt`` and ``last.ckpt``, each whole at every moment.

    Parameters
    ----------
    folder : Path
        Where they go.
    monitored : bool
        Whether there is a validation loss; without one the last epoch is the best.
    every_n_steps : int or None
        Steps between checkpoints within an epoch; None: only at its end.
    """

    def __init__(self, folder: Path, *, monitored: bool, every_n_steps: int | None) -> None:
        self.folder = folder
        self.monitored = monitored
        self.every_n_steps = every_n_steps
        self.best_score: float | None = None

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "best.ckpt"

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Write ``last.ckpt`` within an epoch.

        Not after an epoch's last batch: Lightning would resume there past the validation.
        """
        within = not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.every_n_steps and within and trainer.global_step % self.every_n_steps == 0:
            self._write(trainer, "last.ckpt")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write ``last.ckpt``, and ``best.ckpt`` where the epoch is the best so far."""
        score = float(trainer.callback_metrics[MONITOR]) if self.monitored else 0.0
        better = self.best_score is None or not self.monitored or score < self.best_score
        if better:
            self.best_score = score
        self._write(trainer, *(["best.ckpt"] if better else []), "last.ckpt")

    def _write(self, trainer: pl.Trainer, *names: str) -> None:
        """Write one checkpoint under several names, the last of them by renaming."""
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "new.ckpt.part"
        trainer.save_checkpoint(fresh)
        for name in names[:-1]:
            twin = self.folder / f"{name}.part"
            shutil.copyfile(fresh, twin)
            os.replace(twin, self.folder / name)
        os.replace(fresh, self.folder / names[-1])

    def state_dict(self) -> dict[str, Any]:
        """Return the best loss so far."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best loss of the epochs before."""
        self.best_score = state_dict["best_score"]
