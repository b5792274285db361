"""The best and the last state of training, in files whole at every moment; needs ``lightning``."""

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
    """Writes ``last.ckpt`` as training goes on and ``best.ckpt`` where an epoch is the best so far.

    Parameters
    ----------
    folder : Path or None
        Where they go; None: nothing is written, the best weights are kept in memory.
    monitor : str or None
        The metric that decides; None: the last epoch is the best.
    mode : {"max", "min"}
        Whether more or less of it is better.
    every_n_steps : int or None
        Steps of the optimiser between checkpoints within an epoch; None: only at its end.
    """

    def __init__(
        self,
        folder: Path | None,
        monitor: str | None,
        mode: Literal["max", "min"] = "min",
        *,
        every_n_steps: int | None = None,
    ) -> None:
        self.folder = folder
        self.monitor = monitor
        self.mode = mode
        self.every_n_steps = every_n_steps
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self._written_at = 0
        self._best_state: dict[str, Tensor] = {}

    @property
    def best(self) -> Path | None:
        """The file of the best epoch; None where there is none."""
        return None if self.folder is None or self.best_epoch is None else self.folder / BEST

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Write ``last.ckpt`` within an epoch.

        Not after an epoch's last batch: Lightning would resume there past the validation. And only
        where a step has just been made: gradients of a step that is not complete are not kept.
        """
        step = trainer.global_step
        due = self.every_n_steps and step % self.every_n_steps == 0 and step != self._written_at
        within = not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if due and within and self.folder is not None:
            self._write(trainer, self.folder, LAST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write ``last.ckpt``, and ``best.ckpt`` where the epoch is the best so far."""
        score = None if self.monitor is None else float(trainer.callback_metrics[self.monitor])
        better = self._is_better(score)
        if better:
            self.best_score, self.best_epoch = score, trainer.current_epoch
        if self.folder is not None:
            self._write(trainer, self.folder, *([BEST] if better else []), LAST)
        elif better:
            state = pl_module.state_dict()
            self._best_state = {name: value.detach().clone() for name, value in state.items()}

    def best_state(self) -> dict[str, Tensor]:
        """Return the weights of the best epoch."""
        if self.best is None:
            return self._best_state
        content = torch.load(self.best, map_location="cpu", weights_only=True)
        state: dict[str, Tensor] = content["state_dict"]
        return state

    def _write(self, trainer: pl.Trainer, folder: Path, *names: str) -> None:
        """Write one checkpoint under several names, the last of them by renaming."""
        self._written_at = trainer.global_step
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "new.ckpt.part"
        trainer.save_checkpoint(fresh)
        for name in names[:-1]:
            twin = folder / f"{name}.part"
            shutil.copyfile(fresh, twin)
            os.replace(twin, folder / name)
        os.replace(fresh, folder / names[-1])

    def _is_better(self, score: float | None) -> bool:
        if score is None or self.best_score is None:
            return True
        return score > self.best_score if self.mode == "max" else score < self.best_score

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, its epoch, and the step of this checkpoint."""
        return {
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "written_at": self._written_at,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best score of the epochs before."""
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]
        self._written_at = state_dict["written_at"]
