"""What every training with Lightning shares: order of the rows, seeds, records, checkpoints, loop.

A run that is stopped at any moment and resumed ends with the weights of one that was not: the rows
follow from seed and epoch (`EpochShuffle`), the batch at which an epoch goes on from
`ResumableLoader`, dropout from seed and step (`StepSeed`), and `KeepBestAndLast` writes files that
are whole at every moment. Needs the extra ``lightning``.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import asdict, fields
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler

from molpool_common._errors import InputError
from molpool_common._folders import atomic_path
from molpool_common._matmul import fast_matmul
from molpool_common._put_off import put_off
from molpool_common._ranks import (
    in_step,
    keeping_step,
    local_world_size,
    rank,
    together,
    world_size,
)
from molpool_common._torch_files import check_intact, load_torch_file

with put_off("torch._dynamo", "scipy.signal"):
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
    from lightning.pytorch.strategies import DDPStrategy

Batch = TypeVar("Batch")
Record = TypeVar("Record")

BEST = "best.ckpt"
LAST = "last.ckpt"


class EpochShuffle(Sampler[int]):
    """Every row once per epoch, in an order that follows from seed and epoch alone.

    Parameters
    ----------
    n : int
        Number of rows.
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
        # Both numbers are hashed: seed 1 at epoch 2 is not seed 2 at epoch 1.
        rng = np.random.default_rng([self.seed, self.epoch])
        return iter(rng.permutation(self.n).tolist())


class ResumableLoader(ABC, Generic[Batch]):
    """Batches in a sampler's order; its state is the number of batches it has handed out.

    An epoch's order is taken to be a function of the number given to the sampler's `set_epoch`
    and of its `state_dict`, where it has them. So a restored loader repeats the draws of its epoch
    and leaves out those that were handed out before, whatever the sampler.

    Parameters
    ----------
    data : sized
        N rows.
    batch_size : int
        Rows per batch.
    sampler : Sampler, optional
        Draws the rows; by default all of them in order. Lightning calls its `set_epoch`, if it has
        `set_epoch`.
    drop_single : bool
        Leave out a last batch of one row, which batch normalisation cannot be trained on.
    """

    batch_sampler = None  # Lightning, having found `sampler`, asks for torch's other name too

    def __init__(
        self,
        data: Sized,
        batch_size: int,
        sampler: Sampler[int] | None = None,
        *,
        drop_single: bool = False,
    ) -> None:
        self.batch_size = batch_size
        self.sampler: Any = SequentialSampler(data) if sampler is None else sampler
        self.drop_single = drop_single
        self._handed_out = 0
        self._resume_at = 0

    @abstractmethod
    def _batch(self, rows: Sequence[int]) -> Batch:
        """Return the batch of some rows."""

    @abstractmethod
    def _without_labels(self, batch: Batch) -> Batch:
        """Return a batch with its labels taken away."""

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)
        # A batch of one row has no variance for batch normalisation.
        return full + (rest > (1 if self.drop_single else 0))

    def __iter__(self) -> Iterator[Batch]:
        # Lightning asks for the iterator before it calls the sampler's `set_epoch`; as this is a
        # generator, nothing is drawn until the first batch is taken.
        # A state taken at an epoch's end resumes with the next epoch.
        # Of several ranks each takes its share of each batch: together they train on the batches of
        # one process, and what a checkpoint says of the place holds for any number of them.
        start = self._resume_at if self._resume_at < len(self) else 0
        self._resume_at = 0
        # Skipped draws are drawn all the same: the generator then stands where it stood.
        rows = islice(iter(self.sampler), start * self.batch_size, None)
        for number in range(start, len(self)):
            # Before the yield: a state taken while the batch is trained on counts it.
            self._handed_out = number + 1
            yield self._share(list(islice(rows, self.batch_size)))

    def _share(self, rows: Sequence[int]) -> Batch:
        """Return this rank's part of a batch; of one with fewer rows than ranks perhaps nothing."""
        if not in_step():
            return self._batch(rows)
        own = rows[rank() :: world_size()]
        # No network takes a batch of nothing: a row without labels has no loss and no gradient.
        return self._batch(own) if own else self._without_labels(self._batch(rows[:1]))

    def rows_in(self, number: int) -> int:
        """Return how many rows a batch has, over all ranks."""
        return min(self.batch_size, len(self.sampler) - number * self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return the number of batches handed out and, where it has one, the sampler's state."""
        state: dict[str, Any] = {"handed_out": self._handed_out}
        if hasattr(self.sampler, "state_dict"):
            state["sampler"] = self.sampler.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go where `state_dict` stood; the next iteration hands out the rest of that epoch."""
        self._resume_at = int(state["handed_out"])
        if "sampler" in state and hasattr(self.sampler, "load_state_dict"):
            self.sampler.load_state_dict(state["sampler"])


class LoaderPosition(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Carries the training loader's position through checkpoints.

    Lightning does so itself, but only where the loader is set up after the checkpoint is read; a
    learning rate schedule that asks for its length sets it up before.

    Parameters
    ----------
    loader : ResumableLoader
        The training loader.
    """

    def __init__(self, loader: ResumableLoader[Any]) -> None:
        self._loader = loader

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state."""
        return self._loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the loader where it was."""
        self._loader.load_state_dict(state_dict)


def seed_step(seed: int, *place: int) -> None:
    """Seed torch's generators that are in use by where training stands.

    `torch.manual_seed` seeds those of devices too that nobody uses yet, by a call put off until
    then, with the stack of now written out for a message: a millisecond and a leak per step.

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


class StepSeed(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Seeds dropout by where training stands, so that a resumed run draws what another would.

    Parameters
    ----------
    seed : int
        Seed of the run.
    per_batch : bool
        By epoch and batch instead of the optimiser's step, which all batches of one accumulation
        of gradients have in common.
    """

    def __init__(self, seed: int, *, per_batch: bool = False) -> None:
        self.seed = seed
        self.per_batch = per_batch

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed torch's generators; who trains puts them back at the end."""
        # Ranks that dropped the same units would train on less noise than one process does.
        own = [rank()] if trainer.global_rank else []
        if self.per_batch:
            seed_step(self.seed, trainer.current_epoch, batch_idx, *own)
        else:
            seed_step(self.seed, trainer.global_step, *own)


class EpochRecorder(pl.Callback, Generic[Record]):  # type: ignore[misc]  # lightning: no types
    """One record per epoch; the seconds of an epoch that is resumed count on.

    Of a record's fields ``epoch`` (from 0), ``learning_rate`` (at the end) and ``seconds`` are
    known here; every other is the logged metric of its name, None where it was not logged
    (``train_loss`` always is).

    Parameters
    ----------
    report : callable, optional
        Called with the record of each epoch.

    Attributes
    ----------
    record_type : type
        A dataclass of plain values.
    metric_names : mapping of str to str
        The metric of a field, where it is not of the field's name.
    """

    record_type: ClassVar[type]
    metric_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, report: Callable[[Record], None] | None = None) -> None:
        self.records: list[Record] = []
        self._report = report
        self._started = 0.0
        self._before = 0.0

    def record(self, trainer: pl.Trainer, seconds: float) -> Record:
        """Return the record of the epoch that ends."""
        metrics = trainer.callback_metrics
        values: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": seconds,
        }
        for name in {field.name for field in fields(self.record_type)} - values.keys():
            metric = self.metric_names.get(name, name)
            logged = metric in metrics or name == "train_loss"
            values[name] = float(metrics[metric]) if logged else None
        return self.record_type(**values)  # type: ignore[no-any-return]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of an epoch that is resumed."""
        # on_train_epoch_start is not called for an epoch that is resumed within.
        self._started = time.perf_counter() - self._before

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of a new epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch."""
        record = self.record(trainer, time.perf_counter() - self._started)
        self.records.append(record)
        if self._report is not None:
            self._report(record)

    def state_dict(self) -> dict[str, Any]:
        """Return the records and how long the epoch has run."""
        return {
            "records": [asdict(r) for r in self.records],  # type: ignore[call-overload]
            "seconds": time.perf_counter() - self._started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the records of the epochs before."""
        self.records = [self.record_type(**r) for r in state_dict["records"]]
        self._before = float(state_dict["seconds"])


class StopEarly(EarlyStopping):  # type: ignore[misc]  # lightning has no types here
    """Early stopping that a run resumed after its last epoch remembers."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop at once where the patience was used up before the checkpoint."""
        if self.wait_count >= self.patience:
            # Lightning restores the counter and not the decision: it would train one more epoch.
            trainer.should_stop = True


class KeepBestAndLast(Checkpoint):  # type: ignore[misc]  # lightning has no types here
    """Writes ``last.ckpt`` as training goes on and ``best.ckpt`` where an epoch is the best so far.

    Parameters
    ----------
    folder : Path or None
        Where they go; None: nothing is written, the best weights stay in memory.
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
        where a step has just been made: gradients of an incomplete step are not saved.
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
        state: dict[str, Tensor] = load_torch_file(self.best)["state_dict"]
        return state

    def _write(self, trainer: pl.Trainer, folder: Path, *names: str) -> None:
        """Write one checkpoint under several names, the last of them by renaming."""
        self._written_at = trainer.global_step
        folder.mkdir(parents=True, exist_ok=True)
        fresh = folder / "new.ckpt.part"
        trainer.save_checkpoint(fresh)
        if trainer.is_global_zero:
            _rename(fresh, folder, names)
        # Without it another rank may look for the file before it is there.
        trainer.strategy.barrier()

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


def _rename(fresh: Path, folder: Path, names: Sequence[str]) -> None:
    # The one before goes only when the new one is known to be whole.
    check_intact(fresh)
    for name in names[:-1]:
        # `best.ckpt` first and `last.ckpt` after: a run killed in between resumes from the older
        # last and finds a better best again.
        with atomic_path(folder / name) as twin:
            shutil.copyfile(fresh, twin)
    with atomic_path(folder / names[-1]) as twin:
        os.replace(fresh, twin)


class _OwnSignals(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Puts the handler of SIGTERM back that Lightning has replaced.

    Its own tells the other ranks in the midst of whatever they exchange, and both wait for ever.
    """

    def __init__(self) -> None:
        self._sigterm = signal.getsignal(signal.SIGTERM)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put it back; Lightning has registered its own by then."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._sigterm)


def _devices(module: pl.LightningModule, settings: LoopSettings) -> dict[str, Any]:
    """Return what Lightning's trainer is to train on: one device, or this rank's with the others.

    Raises
    ------
    InputError
        If batch normalisation, which has to see the whole batch, cannot, or batches are skipped,
        which Lightning does not allow a rank.
    """
    if not together():
        return {"devices": 1}
    if settings.non_finite == "skip":
        raise InputError("training.non_finite", expected="stop over processes", found="skip")
    normalised = any(isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in module.modules())
    if normalised and not torch.cuda.is_available():
        raise InputError(
            "model.batch_norm",
            expected="false over several processes without a GPU: torch synchronises it on GPUs",
            found="true",
        )
    # Layers that are trained later have no gradient until then.
    later = bool(getattr(module, "unfreeze_every", 0))
    return {
        "devices": local_world_size(),
        "num_nodes": world_size() // local_world_size(),
        "strategy": DDPStrategy(find_unused_parameters=later),
        "sync_batchnorm": normalised,
    }


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
            # A batch that is skipped, which is counted and told.
            warnings.filterwarnings("ignore", ".*`training_step` returned `None`.*")
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.. is deprecated.*")
            # What is logged is the same on each rank already.
            warnings.filterwarnings("ignore", ".*recommended to use .*sync_dist=True.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class LoopSettings(Protocol):
    """What a training section of any package says about the loop."""

    @property
    def epochs(self) -> int:
        """Most epochs."""

    @property
    def patience(self) -> int | None:
        """Epochs without a better validation before stopping; None: never."""

    @property
    def gradient_clip(self) -> float | None:
        """Largest norm of the gradient."""

    @property
    def checkpoint_every_steps(self) -> int | None:
        """Steps between checkpoints within an epoch; None: only at its end."""

    @property
    def accelerator(self) -> str:
        """Where to train."""

    @property
    def non_finite(self) -> str:
        """What becomes of a batch whose loss is not finite: ``stop`` or ``skip``."""


def fit_module(
    module: pl.LightningModule,
    train: ResumableLoader[Any],
    val: ResumableLoader[Any] | None,
    settings: LoopSettings,
    *,
    monitor: str | None,
    seed: StepSeed,
    recorder: EpochRecorder[Any],
    mode: Literal["max", "min"] = "min",
    checkpoint_dir: Path | None,
    callbacks: Sequence[pl.Callback] = (),
    resume_from: Path | None = None,
    weights_only: bool = True,
    **options: Any,
) -> KeepBestAndLast:
    """Train a module, exactly resumable, and keep its best and its last epoch.

    Parameters
    ----------
    module : LightningModule
        Trained in place; ends with the weights of the last epoch.
    train, val : ResumableLoader
        Batches; without `val` there is no early stopping and the last epoch is the best.
    settings : LoopSettings
        Epochs, patience, clipping, checkpoints, accelerator.
    monitor : str or None
        The logged metric that decides which epoch is best; None: the last, as without `val`.
    seed : StepSeed
        Seeds dropout.
    recorder : EpochRecorder
        Takes down each epoch.
    mode : {"max", "min"}
        Whether more or less of the metric is better.
    checkpoint_dir : Path or None
        Where ``best.ckpt`` and ``last.ckpt`` go; None: nowhere.
    callbacks : sequence of Callback
        Run after recorder and seed, before early stopping and checkpoints, which see their work.
    resume_from : Path, optional
        A ``last.ckpt`` to go on from.
    weights_only : bool
        Refuse a checkpoint that holds more than plain values and tensors.
    **options
        Further ones of `lightning.pytorch.Trainer`.

    Raises
    ------
    KeyboardInterrupt
        At Ctrl-C and SIGTERM; ``last.ckpt`` stands.
    RankLostError
        If another of several ranks ends; ``last.ckpt`` stands.
    InputError
        If the model cannot be trained over several ranks.
    """
    judged_by = None if val is None else monitor
    checkpoints = KeepBestAndLast(
        checkpoint_dir, judged_by, mode, every_n_steps=settings.checkpoint_every_steps
    )
    stopping = (
        [StopEarly(judged_by, mode=mode, patience=settings.patience)]
        if judged_by is not None and settings.patience is not None
        else []
    )
    # First in the list: callbacks are restored and called in this order, and those of the caller
    # may draw random numbers.
    exact = [recorder, seed, LoaderPosition(train), *([_OwnSignals()] if together() else [])]
    with quiet():
        trainer = pl.Trainer(
            accelerator=settings.accelerator,
            **_devices(module, settings),
            max_epochs=settings.epochs,
            gradient_clip_val=settings.gradient_clip,
            callbacks=[*exact, *callbacks, *stopping, checkpoints],
            logger=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            enable_model_summary=False,
            # Lightning would replace the sampler, and with it the order of rows.
            use_distributed_sampler=False,
            # A validation before training would advance the generators of a new run and not those
            # of a resumed one.
            num_sanity_val_steps=0,
            **options,
        )
        with fast_matmul(trainer.strategy.root_device), interruptible(), keeping_step():
            trainer.fit(module, train, val, ckpt_path=resume_from, weights_only=weights_only)
    return checkpoints
