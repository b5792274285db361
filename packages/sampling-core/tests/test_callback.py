from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.states import TrainerFn
from sampling_core import CurriculumCallback, CurriculumState, JointSampler, SamplingError
from torch.utils.data import DataLoader, TensorDataset

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice on worker processes, and its own use of what torch deprecates.
    "ignore:.*does not have many workers",
    "ignore:.*num_workers",
    "ignore::FutureWarning:lightning",
    "ignore::DeprecationWarning:lightning",
    "ignore:.*tensorboardX",
    "ignore:Checkpoint directory .* exists",
    "ignore:.*smaller than the logging interval",
    # Most runs here are too short for all phases; what is said of it has tests of its own.
    "ignore:curriculum:UserWarning",
    "ignore:.*but have no `val_dataloader`",
)


class Scripted(LightningModule):  # type: ignore[misc]  # lightning is read as Any
    """One weight; its validation losses are a script."""

    def __init__(self, losses: list[float], name: str = "val_loss") -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.losses, self.name = losses, name
        self.rows: list[list[int]] = []

    def on_train_epoch_start(self) -> None:
        self.rows.append([])

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        self.rows[-1] += batch[0].long().tolist()
        return (self.weight * batch[0]).sum()

    def validation_step(self, batch: list[torch.Tensor]) -> None:
        epoch = 0 if self.trainer.sanity_checking else self.current_epoch
        self.log(self.name, self.losses[epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def loader(sampler: Any = None) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.arange(6.0)), batch_size=3, sampler=sampler)


def trainer(folder: Path, epochs: int, *callbacks: Any, **options: Any) -> Trainer:
    given: dict[str, Any] = {"logger": False, "enable_checkpointing": False} | options
    return Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **given,
    )


def test_phase_follows_validation_and_steers_the_draws(tmp_path: Path) -> None:
    state = CurriculumState(patience=1)
    quality = ["high", "high", "medium", "low", "low", "low"]
    sampler = JointSampler(torch.ones(6, 1), quality, state, num_samples=300, seed=0)
    model = Scripted([1.0, 1.0, 0.5, 0.7])
    fit = trainer(tmp_path, 4, CurriculumCallback(state), logger=CSVLogger(tmp_path))
    fit.fit(model, loader(sampler), loader())
    # The sanity check before training counted for nothing.
    assert state.history == [(2, "expand"), (4, "robust")]
    assert [any(row >= 3 for row in rows) for rows in model.rows] == [False, False, True, True]
    assert (tmp_path / "lightning_logs/version_0/metrics.csv").read_text().count("curriculum_phase")


def test_validation_outside_training_changes_nothing(tmp_path: Path) -> None:
    state = CurriculumState(patience=1)
    run = trainer(tmp_path, 1, CurriculumCallback(state))
    run.validate(Scripted([1.0]), loader(), verbose=False)
    assert state.state_dict() == CurriculumState().state_dict()


def test_checkpoint_carries_the_curriculum(tmp_path: Path) -> None:
    losses = [1.0, 1.1, 1.2, 1.3, 1.4]
    whole = CurriculumState(patience=2)
    trainer(tmp_path, 5, CurriculumCallback(whole)).fit(Scripted(losses), loader(), loader())
    first, second = CurriculumState(patience=2), CurriculumState(patience=2)
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, save_top_k=0)
    run = trainer(tmp_path, 3, CurriculumCallback(first), save, enable_checkpointing=True)
    run.fit(Scripted(losses), loader(), loader())
    assert first.phase == "expand"
    run = trainer(tmp_path, 5, CurriculumCallback(second), save, enable_checkpointing=True)
    run.fit(Scripted(losses), loader(), loader(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert second.state_dict() == whole.state_dict()
    assert second.phase == "robust"


@pytest.mark.parametrize(("reset", "epochs"), [(False, 4), (True, 7)])
def test_phase_change_resets_early_stopping(tmp_path: Path, reset: bool, epochs: int) -> None:
    # Early stopping gives up after three validations without improvement. Curriculum: change at
    # the third validation, where a reset makes that very loss the best of the new phase.
    state = CurriculumState(patience=2, phase_weights=None)
    stop = EarlyStopping("val_loss", patience=3)
    model = Scripted([1.0, 2.0, 3.0, 4.0, 2.5, 3.0, 3.0, 3.0, 3.0])
    callback = CurriculumCallback(state, reset_early_stopping_on_phase_change=reset)
    trainer(tmp_path, 7, callback, stop).fit(model, loader(), loader())
    assert len(model.rows) == epochs


@pytest.mark.parametrize("mode", ["min", "max"])
def test_reset_forgets_the_best_score(tmp_path: Path, mode: str) -> None:
    state = CurriculumState(patience=1)
    # It monitors a metric of its own, which only the reset touches.
    stop = EarlyStopping("train_loss", mode=mode, patience=9, check_on_train_epoch_end=False)
    stop.best_score, stop.wait_count = torch.tensor(0.5), 7
    run = trainer(tmp_path, 1, CurriculumCallback(state, "val_loss", True), stop)
    run.state.fn = TrainerFn.FITTING
    run.callback_metrics["val_loss"] = torch.tensor(float("nan"))
    callback = run.callbacks[0]  # pyrefly: ignore[missing-attribute]
    callback.on_validation_end(run, Scripted([1.0]))
    assert stop.wait_count == 0
    assert stop.best_score == (torch.inf if mode == "min" else -torch.inf)


def test_missing_metric_is_named(tmp_path: Path) -> None:
    run = trainer(tmp_path, 1, CurriculumCallback(CurriculumState(), "val_los"))
    message = "no metric 'val_los' after validation. Did you mean 'val_loss'"
    with pytest.raises(SamplingError, match=message):
        run.fit(Scripted([1.0]), loader(), loader())


def told(state: CurriculumState, folder: Path, *stops: EarlyStopping, **fit: Any) -> list[str]:
    """Return what the callback says about a training with constant validation loss."""
    callback, said = CurriculumCallback(state), []
    callback.on_warning = said.append
    epochs = fit.pop("epochs", 9)
    val = loader() if fit.pop("validated", True) else None
    run = trainer(folder, epochs, callback, *stops)
    run.fit(Scripted([1.0] * epochs), loader(), val)
    return said


@pytest.mark.parametrize("validated", [True, False])
def test_a_fixed_schedule_needs_no_validation(tmp_path: Path, validated: bool) -> None:
    state = CurriculumState(patience=1, phase_epochs=[2, 1, 3, 5])
    quality = ["high", "high", "medium", "low", "low", "low"]
    sampler = JointSampler(torch.ones(6, 1), quality, state, num_samples=300, seed=0)
    model = Scripted([1.0] * 8)
    run = trainer(tmp_path, 8, CurriculumCallback(state))
    run.fit(model, loader(sampler), loader() if validated else None)
    assert state.history == [(2, "expand"), (3, "robust"), (6, "polish")]
    assert [any(row >= 3 for row in rows) for rows in model.rows] == [False] * 2 + [True] * 6


def test_a_fixed_schedule_is_carried_by_checkpoints(tmp_path: Path) -> None:
    first, second = (CurriculumState(phase_epochs=2) for _ in range(2))
    save = ModelCheckpoint(dirpath=tmp_path, save_last=True, save_top_k=0)
    run = trainer(tmp_path, 3, CurriculumCallback(first), save, enable_checkpointing=True)
    run.fit(Scripted([1.0] * 9), loader())
    run = trainer(tmp_path, 7, CurriculumCallback(second), save, enable_checkpointing=True)
    run.fit(Scripted([1.0] * 9), loader(), ckpt_path=str(tmp_path / "last.ckpt"))
    assert second.history == [(2, "expand"), (4, "robust"), (6, "polish")]


def test_without_validation_it_says_that_it_stays(tmp_path: Path) -> None:
    (message,) = told(CurriculumState(), tmp_path, validated=False)
    assert "without a validation split it stays in phase 'warmup'" in message
    assert "Set phase_epochs" in message


def test_what_cannot_come_is_said_once_and_before_training(tmp_path: Path) -> None:
    (message,) = told(CurriculumState(patience=3), tmp_path, epochs=10)
    assert "10 epochs are too few for phase 'polish', which begins after 10 at the ear" in message
    assert told(CurriculumState(patience=3), tmp_path, epochs=11) == []
    stop = EarlyStopping("val_loss", patience=5)
    (message,) = told(CurriculumState(patience=5), tmp_path, stop, epochs=40)
    assert "early stopping after 5 epochs without improvement ends training in" in message
    (message,) = told(CurriculumState(phase_epochs=[2, 3, 4]), tmp_path, epochs=5)
    assert "5 epochs end in phase 'expand'; 'polish' would begin after 9" in message
    (message,) = told(CurriculumState(phase_epochs=3), tmp_path, epochs=9)
    assert "9 epochs end in phase 'robust'" in message
    assert told(CurriculumState(phase_epochs=3), tmp_path, epochs=10) == []


def test_where_early_stopping_ended_it(tmp_path: Path) -> None:
    # Seven epochs without improvement: two changes of phase, and none to the last.
    stop = EarlyStopping("val_loss", patience=7)
    (message,) = told(CurriculumState(patience=3), tmp_path, stop, epochs=40)
    assert message.startswith("curriculum: early stopping ended training in phase 'robust', before")
    stop = EarlyStopping("val_loss", patience=10)
    assert told(CurriculumState(patience=3), tmp_path, stop, epochs=40) == []


def test_by_default_it_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="in phase 'warmup'"):
        CurriculumCallback(CurriculumState()).on_warning("in phase 'warmup'")
