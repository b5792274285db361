"""What every Lightning training of ours does alike; needs the extra ``lightning``."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping


class StopEarly(EarlyStopping):  # type: ignore[misc]  # lightning has no types here
    """Early stopping that a run resumed after its last epoch remembers."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the patience was used up before the checkpoint."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def seed_step(seed: int, *place: int) -> None:
    """Seed torch's generators that are in use by where training stands.

    `torch.manual_seed` seeds those of devices too that nobody uses yet, by a call put off until
    then, with the stack of now written out for a message: a millisecond and a leak a step.

    Parameters
    ----------
    seed : int
        Seed of the run.
    *place : int
        The step, or epoch and batch.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=place)
    # torch takes 64 bits, signed.
    number = int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.default_generator.manual_seed(number)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(number)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(number)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt where Lightning turns Ctrl-C and SIGTERM into an exit of its own.

    It also leaves Ctrl-C ignored; the handler of before is put back.
    """
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, interrupt)
        raise KeyboardInterrupt from None


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says about our deliberate choices, and its advertisements."""
    loggers = [logging.getLogger(n) for n in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*but have no `val_dataloader`.*")
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.. is deprecated.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
