"""The best and the last epoch: in files that are whole at every moment, or in memory."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

BEST = "best.ckpt"
LAST = "last.ckpt"


class KeepBestAndLast(Checkpoint):  # type: ignore[misc]  # lightning has no types here
    """Writes ``last.ckpt`` after each epoch and ``best.ckpt`` where it is the best so far.

    Parameters
    ----------
    folder : Path or None
        Where they go; None: nothing is written, the best weights are kept in memory.
    monitor : str or None
        The metric that decides; None: the last epoch is the best.
    mode : {"max", "min"}
        Whether more or less of it is better.
    """

    def __init__(
        self, folder: Path | None, monitor: str | None, mode: Literal["max", "min"]
    ) -> None:
        self.folder = folder
        self.monitor = monitor
        self.mode = mode
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self._best_state: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the epoch."""
        score = None if self.monitor is None else float(trainer.callback_metrics[self.monitor])
        better = self._is_better(score)
        if better:
            self.best_score, self.best_epoch = score, trainer.current_epoch
        if self.folder is not None:
            self._write(trainer, self.folder, better=better)
        elif better:
            state = pl_module.state_dict()
            self._best_state = {name: value.detach().clone() for name, value in state.items()}

    def best_state(self) -> dict[str, Tensor]:
        """Return the weights of the best epoch."""
        if self.folder is None:
            return self._best_state
        content = torch.load(self.folder / BEST, map_location="cpu", weights_only=True)
        state: dict[str, Tensor] = content["state_dict"]
        return state

    def _write(self, trainer: pl.Trainer, folder: Path, *, better: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "new.ckpt.part"
        trainer.save_checkpoint(fresh)
        if better:
            twin = folder / f"{BEST}.part"
            shutil.copyfile(fresh, twin)
            os.replace(twin, folder / BEST)
        os.replace(fresh, folder / LAST)

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
