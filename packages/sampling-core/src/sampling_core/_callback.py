"""Moves a curriculum on during training with lightning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from molpool_common import did_you_mean

from sampling_core._curriculum import PHASES, CurriculumState, foreseen_end
from sampling_core._errors import SamplingError

try:
    from lightning.pytorch.callbacks import Callback, EarlyStopping
    from lightning.pytorch.trainer.states import TrainerFn
except ModuleNotFoundError as _error:
    raise ImportError(
        "CurriculumCallback needs lightning: pip install 'sampling-core[lightning]'"
    ) from _error

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

_log = logging.getLogger(__name__)


class CurriculumCallback(Callback):  # type: ignore[misc]  # lightning is read as Any
    """Update a curriculum with the validation loss, and carry it through checkpoints.

    Parameters
    ----------
    state : CurriculumState
        The state that the sampler reads too.
    monitor : str
        Logged metric that falls as the model improves. Ranks use its mean, so that they change
        phase together.
    reset_early_stopping_on_phase_change : bool
        Give every `EarlyStopping` callback its full patience, and a fresh best score, in each
        phase. Its patience should exceed that of the curriculum, which otherwise cannot move on
        before training stops.

    Attributes
    ----------
    on_warning : callable
        Told when training cannot come, or did not come, to the last phase; by default a
        `UserWarning`.

    Raises
    ------
    SamplingError
        After a validation that did not log the metric.
    """

    def __init__(
        self,
        state: CurriculumState,
        monitor: str = "val_loss",
        reset_early_stopping_on_phase_change: bool = False,
    ) -> None:
        self.state = state
        self.monitor = monitor
        self.reset_early_stopping_on_phase_change = reset_early_stopping_on_phase_change
        self.on_warning: Callable[[str], None] = _warn
        self._foreseen = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say at once what would leave training in an early phase."""
        stops = [c.patience for c in trainer.callbacks if isinstance(c, EarlyStopping)]
        # Lightning writes "no limit" as -1.
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        message = foreseen_end(
            self.state,
            epochs=epochs,
            validated=bool(trainer.enable_validation),
            stop_after=min(stops, default=None),
        )
        self._foreseen = message is not None
        if message is not None:
            self.on_warning(message)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch, for a fixed schedule."""
        if self.state.end_epoch():
            self._moved_on(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where training ended, unless that was foreseen or it is the last phase."""
        if self.state.is_last or self._foreseen:
            return
        early = any(isinstance(c, EarlyStopping) and c.stopped_epoch for c in trainer.callbacks)
        self.on_warning(
            f"curriculum: {'early stopping' if early else 'the last epoch'} ended training in phase"
            f" {self.state.phase!r}, before {PHASES[-1]!r}. Set phase_epochs, or"
            + (
                " reset_early_stopping_on_phase_change true, or raise the patience of early"
                " stopping."
                if early
                else " train longer."
            )
        )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take in the loss of a validation that belongs to training."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        if self.state.update(self._monitored(trainer)):
            self._moved_on(trainer)
        for logger in trainer.loggers:
            logger.log_metrics(
                {"curriculum_phase": self.state.phase_index}, step=trainer.global_step
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the curriculum for a checkpoint."""
        return self.state.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the curriculum from a checkpoint."""
        self.state.load_state_dict(state_dict)

    def _moved_on(self, trainer: Trainer) -> None:
        _log.info("curriculum: phase %s from here on", self.state.phase)
        if self.reset_early_stopping_on_phase_change:
            _reset_early_stopping(trainer)

    def _monitored(self, trainer: Trainer) -> float:
        metrics = trainer.callback_metrics
        if self.monitor not in metrics:
            raise SamplingError(
                f"monitor: no metric {self.monitor!r} after validation."
                f" {did_you_mean(self.monitor, sorted(metrics))}"
            )
        return float(trainer.strategy.reduce(metrics[self.monitor], reduce_op="mean"))


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def _reset_early_stopping(trainer: Trainer) -> None:
    for callback in trainer.callbacks:
        if isinstance(callback, EarlyStopping):
            callback.wait_count = 0
            worst = torch.tensor(torch.inf)
            callback.best_score = worst if callback.mode == "min" else -worst
