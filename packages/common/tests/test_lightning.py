from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from molpool_common import (
    EpochRecorder,
    EpochShuffle,
    KeepBestAndLast,
    LoaderPosition,
    ResumableLoader,
    StepSeed,
    fit_module,
    interruptible,
    quiet,
    seed_step,
)
from torch import nn
from torch.utils.data import DataLoader, Sampler


class Stateful(Sampler[int]):
    """Draws that follow from its seed and epoch; the seed is in its state."""

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.seed, self.epoch = n, seed, 0

    def __len__(self) -> int:
        return self.n

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng([self.seed, self.epoch]).integers(self.n, size=self.n))

    def state_dict(self) -> dict[str, int]:
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.seed = state["seed"]


class Rows(ResumableLoader[tuple[int, ...]]):
    """Batches that are the rows themselves."""

    def _batch(self, rows: Sequence[int]) -> tuple[int, ...]:
        return tuple(map(int, rows))

    def _without_labels(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(-row for row in batch)


def fresh(seed: int) -> Rows:
    loader = Rows(range(32), 5, Stateful(32, seed))
    loader.sampler.set_epoch(2)
    return loader


@pytest.mark.parametrize("taken", range(8))
def test_a_restored_loader_hands_out_the_rest(taken: int) -> None:
    whole = list(fresh(1))
    assert len(whole) == 7
    broken_off = fresh(1)
    iterator = iter(broken_off)
    for _ in range(taken):
        next(iterator)
    resumed = fresh(99)
    LoaderPosition(resumed).load_state_dict(LoaderPosition(broken_off).state_dict())
    # What was saved at an epoch's end goes on with a whole epoch.
    assert list(resumed) == (whole[taken:] if taken < 7 else whole)
    assert list(resumed) == whole


def test_an_epoch_that_was_broken_off_does_not_shorten_the_next() -> None:
    loader = Rows(range(32), 5)
    next(iter(loader))
    assert [row for batch in loader for row in batch] == list(range(32))


@pytest.mark.parametrize(("drop", "sizes"), [(True, [4, 4]), (False, [4, 4, 1])])
def test_a_single_row_at_the_end(drop: bool, sizes: list[int]) -> None:
    loader = Rows(range(9), 4, drop_single=drop)
    assert len(loader) == len(sizes)
    assert [len(batch) for batch in loader] == sizes


SCORES = [3.0, 1.0, 2.0]
BATCHES = 5


class Module(pl.LightningModule):  # type: ignore[misc]  # lightning has no types here
    """One weight that grows by 1 a step; the score of each epoch is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return -self.weight.sum()

    def on_train_epoch_end(self) -> None:
        self.log("score", SCORES[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


class Seen(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Looks before each batch which step last.ckpt is of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.steps: list[int | None] = []

    def on_train_batch_start(self, *_: Any, **__: Any) -> None:
        file = self.folder / "last.ckpt"
        there = file.exists()
        self.steps.append(torch.load(file, weights_only=True)["global_step"] if there else None)


def train(kept: KeepBestAndLast, *others: Any, accumulate: int = 1, **fit: Any) -> Module:
    module = Module()
    with quiet():
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=len(SCORES),
            accumulate_grad_batches=accumulate,
            callbacks=[kept, *others],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(range(BATCHES)), weights_only=True, **fit)  # type: ignore[arg-type]
    return module


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


@pytest.mark.parametrize(
    ("mode", "monitor", "best"),
    [("min", "score", 1), ("max", "score", 0), ("min", None, 2)],
)
def test_the_best_epoch_is_kept_in_a_file_or_in_memory(
    mode: Any, monitor: str | None, best: int, tmp_path: Path
) -> None:
    kept = [KeepBestAndLast(folder, monitor, mode) for folder in (tmp_path / "here", None)]
    for one in kept:
        train(one)
        assert one.best_epoch == best
        assert one.best_score == (None if monitor is None else SCORES[best])
        # Mean gradient 1: a weight of so many steps.
        assert float(one.best_state()["weight"]) == BATCHES * (best + 1)
    assert kept[0].best == tmp_path / "here" / "best.ckpt"
    assert kept[1].best is None
    assert {f.name for f in (tmp_path / "here").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize(
    ("every", "accumulate", "steps"),
    [
        (2, 1, [None, None, 2, 2, 4, 5, 6, 6, 8, 8, 10, 10, 12, 12, 14]),
        # Two batches a step, the fifth of an epoch a step of its own: never between the two.
        (1, 2, [None, None, 1, 1, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8]),
        (None, 1, [None] * 5 + [5] * 5 + [10] * 5),
    ],
)
def test_within_an_epoch_it_is_written_only_where_a_step_is_complete(
    every: int | None, accumulate: int, steps: list[int | None], tmp_path: Path
) -> None:
    seen = Seen(tmp_path)
    train(KeepBestAndLast(tmp_path, "score", every_n_steps=every), seen, accumulate=accumulate)
    assert seen.steps == steps


def test_its_state_comes_back(tmp_path: Path) -> None:
    kept, again = (KeepBestAndLast(tmp_path, "score") for _ in range(2))
    train(kept)
    again.load_state_dict(kept.state_dict())
    expected = {"best_score": 1.0, "best_epoch": 1, "written_at": len(SCORES) * BATCHES}
    assert again.state_dict() == kept.state_dict() == expected
    assert again.best == kept.best


def test_a_place_in_training_has_its_own_draws_and_the_same_each_time() -> None:
    def draws(seed: int, *place: int) -> list[float]:
        seed_step(seed, *place)
        return [float(x) for x in torch.rand(3)]

    with torch.random.fork_rng(devices=[]):
        assert draws(0, 1, 2) == draws(0, 1, 2)
        every = [draws(0, 1, 2), draws(0, 2, 1), draws(1, 1, 2), draws(0, 1)]
    assert all(a != b for i, a in enumerate(every) for b in every[:i])


def test_an_exit_of_lightnings_is_an_interruption_and_ctrl_c_is_heeded_again() -> None:
    def ends_as_lightning_does() -> None:
        with interruptible():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise SystemExit(1)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ends_as_lightning_does()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_lightnings_advice_is_silent_inside_alone() -> None:
    logger = logging.getLogger("lightning.pytorch")
    before = logger.level
    with quiet():
        assert not logger.isEnabledFor(logging.INFO)
        assert logger.isEnabledFor(logging.WARNING)
    assert logger.level == before


@pytest.mark.parametrize("n", [0, 1, 30])
def test_the_order_follows_from_seed_and_epoch_alone(n: int) -> None:
    first, second = EpochShuffle(n, 1), EpochShuffle(n, 1)
    first.set_epoch(3)
    list(second)  # what was drawn before does not matter
    second.set_epoch(3)
    assert len(first) == n
    assert list(first) == list(second)
    assert sorted(first) == list(range(n))
    if n == 30:
        assert list(first) != list(EpochShuffle(n, 1)) != list(EpochShuffle(n, 2))


class Draws(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Draws once in each batch."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        self.values.append(float(torch.rand(1)))


@pytest.mark.parametrize(("per_batch", "distinct"), [(False, 9), (True, 15)])
def test_dropout_is_seeded_by_step_or_by_batch(per_batch: bool, distinct: int) -> None:
    # Accumulating two batches there are 3 steps per epoch of 5 batches.
    draws = Draws()
    with torch.random.fork_rng(devices=[]):
        train(KeepBestAndLast(None, None), StepSeed(1, per_batch=per_batch), draws, accumulate=2)
    assert len(draws.values) == 15
    assert len(set(draws.values)) == distinct


@dataclass(frozen=True)
class Settings:
    epochs: int = 3
    patience: int | None = None
    gradient_clip: float | None = None
    checkpoint_every_steps: int | None = 1
    accelerator: str = "cpu"
    non_finite: str = "stop"


@dataclass(frozen=True)
class Record:
    epoch: int


class Recorder(EpochRecorder[Record]):
    record_type = Record

    def record(self, trainer: pl.Trainer, seconds: float) -> Record:
        return Record(trainer.current_epoch)


@dataclass(frozen=True)
class LossRecord:
    epoch: int
    train_loss: float
    val_loss: float | None
    learning_rate: float
    seconds: float


class LossRecorder(EpochRecorder[LossRecord]):
    record_type = LossRecord
    metric_names: ClassVar = {"train_loss": "loss_epoch"}


def test_a_record_holds_the_logged_metrics_of_its_fields() -> None:
    metrics = {"loss_epoch": torch.tensor(0.5), "other": torch.tensor(9.0)}
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.25)
    trainer: Any = SimpleNamespace(
        callback_metrics=metrics, current_epoch=2, optimizers=[optimiser]
    )
    recorder = LossRecorder()
    assert recorder.record(trainer, 3.0) == LossRecord(2, 0.5, None, 0.25, 3.0)
    metrics["val_loss"] = torch.tensor(1.5)
    assert recorder.record(trainer, 3.0) == LossRecord(2, 0.5, 1.5, 0.25, 3.0)
    del metrics["loss_epoch"]
    with pytest.raises(KeyError, match="loss_epoch"):  # never a record without its loss
        recorder.record(trainer, 3.0)


class Noisy(pl.LightningModule):  # type: ignore[misc]  # lightning has no types here
    """A weight that moves by the rows of a batch and by noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def training_step(self, batch: tuple[int, ...], batch_idx: int) -> torch.Tensor:
        if self.global_step == 5:
            self.stop()
        return self.weight.sum() * (batch[0] + torch.rand(1)).item()

    def stop(self) -> None:
        """Do nothing."""

    def validation_step(self, batch: tuple[int, ...], batch_idx: int) -> None:
        self.log("score", SCORES[self.current_epoch], batch_size=len(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fitted(
    module: Noisy, folder: Path | None, settings: Settings | None = None, **options: Any
) -> tuple[KeepBestAndLast, list[Record]]:
    recorder = Recorder()
    with torch.random.fork_rng(devices=[]):
        kept = fit_module(
            module,
            Rows(range(12), 4, EpochShuffle(12, 3)),
            Rows(range(4), 4),
            settings or Settings(),
            monitor="score",
            seed=StepSeed(2),
            recorder=recorder,
            checkpoint_dir=folder,
            **options,
        )
    return kept, recorder.records


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Give SIGINT its effect: a run in the background of a shell starts with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_a_module_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole, broken, resumed = Noisy(), Noisy(), Noisy()
    kept, records = fitted(whole, None)
    assert (kept.best_epoch, records) == (1, [Record(epoch) for epoch in range(3)])
    broken.stop = lambda: signal.raise_signal(signal.SIGINT)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        fitted(broken, tmp_path)
    again, numbers = fitted(resumed, tmp_path, resume_from=tmp_path / "last.ckpt")
    assert torch.equal(resumed.weight, whole.weight)
    assert numbers == records
    assert torch.equal(again.best_state()["weight"], kept.best_state()["weight"])


def test_patience_ends_the_training_of_a_module() -> None:
    module = Noisy()
    _, records = fitted(module, None, Settings(patience=1))
    assert len(records) == 3  # the third score is worse than the second, the best
    _, records = fitted(Noisy(), None, Settings(patience=1), mode="max")
    assert len(records) == 2
