"""The best and the last epoch, each file whole at every moment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint

BEST = "best.ckpt"
LAST = "last.ckpt"


class KeepBestAndLast(Checkpoint):  # type: ignore[misc]  # lightning has no types here
    """Writes ``last.ckpt`` after each epoch and ``best.ckpt`` where it is the best so far.

    Parameters
    ----------
    folder : Path
        Where they go.
    monitor : str or None
        The metric that decides; None: the last epoch is the best.
    mode : {"max", "min"}
        Whether more or less of it is better.
    """

    def __init__(self, folder: Path, monitor: str | None, mode: Literal["max", "min"]) -> None:
        self.folder = folder
        self.monitor = monitor
        self.mode = mode
        self.best_score: float | None = None
        self.best_epoch: int | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch."""
        score = None if self.monitor is None else float(trainer.callback_metrics[self.monitor])
        better = self._is_better(score)
        if better:
            self.best_score, self.best_epoch = score, trainer.current_epoch
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "new.ckpt.part"
        trainer.save_checkpoint(fresh)
        if better:
            twin = self.folder / f"{BEST}.part"
            shutil.copyfile(fresh, twin)
            os.replace(twin, self.folder / BEST)
        os.replace(fresh, self.folder / LAST)

    def _is_better(self, score: float | None) -> bool:
        if score is None or self.best_score is None:
            return True
        return score > self.best_score if self.mode == "max" else score < self.best_score

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far and its epoch."""
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score of the epochs before."""
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]
