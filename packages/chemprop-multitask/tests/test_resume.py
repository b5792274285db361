"""A run that is killed and resumed ends as one that is not."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from chemprop_multitask import ChempropError, ChempropModel, EpochRecord, MoleculeData
from numpy.typing import NDArray

TASKS = ("a", "b", "c")
STEPS = 3
EPOCHS = 3


class StopError(Exception):
    """Stands in for the end of the process."""


class StopAt(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Raises in a hook, when its step or epoch is reached."""

    def __init__(self, hook: str, at: int) -> None:
        def stop(trainer: pl.Trainer, *_: Any) -> None:
            now = trainer.global_step if hook == "on_train_batch_end" else trainer.current_epoch
            if now == at:
                raise StopError

        setattr(self, hook, stop)


class Phase(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """A curriculum in small: row weights that change with the validations seen."""

    def __init__(self) -> None:
        self.phase = 0

    def __getitem__(self, row: int) -> float:
        return 1.0 + (row % 3) * self.phase

    def __len__(self) -> int:
        return 32

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.phase += 1

    def state_dict(self) -> dict[str, Any]:
        return {"phase": self.phase}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.phase = state_dict["phase"]


Run = Callable[[Path, "StopAt | None", bool], tuple[Any, list[EpochRecord]]]


@pytest.fixture
def run(smiles: list[str], table: NDArray[np.float64], settings: Any) -> Run:
    """Return a function that trains, with dropout, a phase and early stopping, to the end."""
    dropout = {"hidden_size": 16, "dropout": 0.2}
    config = settings(
        epochs=EPOCHS,
        batch_size=12,
        checkpoint_every_steps=1,
        gradient_clip=1.0,
        learning_rate=1e-2,
        model={"message_passing": dropout, "ffn": dropout, "batch_norm": True},
    )

    def train(folder: Path, stop: StopAt | None, resume: bool) -> tuple[Any, list[EpochRecord]]:
        phase = Phase()
        data = MoleculeData(smiles, table, task_names=TASKS, weights=phase)
        val = MoleculeData(smiles, table[::-1].copy(), task_names=TASKS)
        model = ChempropModel.from_config(config, task_names=TASKS)
        records = model.fit(
            data,
            val,
            callbacks=[phase, *([stop] if stop else [])],
            checkpoint_dir=folder,
            resume_from=folder / "last.ckpt" if resume else None,
        )
        state = torch.load(folder / "last.ckpt", weights_only=False)
        return (model.module.state_dict(), state["state_dict"], state["optimizer_states"]), records

    return train


def numbers(records: list[EpochRecord]) -> list[tuple[float | None, ...]]:
    return [(r.epoch, r.train_loss, r.val_loss, r.learning_rate) for r in records]


# Stopping at step s happens before its checkpoint: the run resumes from step s - 1.
MOMENTS = [
    *(("on_train_batch_end", step) for step in range(2, STEPS * EPOCHS + 1)),
    *(("on_validation_start", epoch) for epoch in range(EPOCHS)),
    *(("on_train_epoch_start", epoch) for epoch in range(1, EPOCHS)),
    ("on_train_end", EPOCHS),
]


@pytest.mark.slow
def test_it_resumes_exactly_from_every_moment(run: Run, tmp_path: Path) -> None:
    states, records = run(tmp_path / "whole", None, False)
    assert len(records) == EPOCHS
    for hook, at in MOMENTS:
        folder = tmp_path / f"{hook}-{at}"
        with pytest.raises(StopError):
            run(folder, StopAt(hook, at), False)
        resumed, again = run(folder, None, True)
        torch.testing.assert_close(resumed, states, rtol=0, atol=0, msg=f"{hook} {at}")
        assert numbers(again) == numbers(records), (hook, at)
        assert all(0 < r.seconds < 60 for r in again)


@pytest.mark.slow
def test_a_run_that_stopped_early_stays_stopped(
    data: MoleculeData, smiles: list[str], settings: Any, tmp_path: Path
) -> None:
    assert data.targets is not None
    others = MoleculeData(smiles, data.targets[::-1].copy(), task_names=TASKS)
    config = settings(epochs=30, width=64, learning_rate=1e-2, patience=2)

    def train(**options: Any) -> list[EpochRecord]:
        model = ChempropModel.from_config(config, task_names=TASKS)
        return model.fit(data, others, checkpoint_dir=tmp_path, **options)

    records = train()
    assert len(records) < 30
    again = train(resume_from=tmp_path / "last.ckpt")
    assert numbers(again) == numbers(records)


@pytest.mark.slow
def test_best_weights_survive_resuming_and_moving(run: Run, tmp_path: Path) -> None:
    (kept, _, _), _ = run(tmp_path / "whole", None, False)
    with pytest.raises(StopError):
        run(tmp_path / "here", StopAt("on_train_epoch_start", EPOCHS - 1), False)
    (tmp_path / "here").rename(tmp_path / "there")
    (again, _, _), _ = run(tmp_path / "there", None, True)
    torch.testing.assert_close(again, kept, rtol=0, atol=0)


def test_a_checkpoint_of_something_else_is_named(
    data: MoleculeData, settings: Any, tmp_path: Path
) -> None:
    def resume(path: Path) -> None:
        ChempropModel.from_config(settings(), task_names=TASKS).fit(data, resume_from=path)

    with pytest.raises(ChempropError, match=r"resume_from: .* found no file .*last\.ckpt"):
        resume(tmp_path / "last.ckpt")
    wider = ChempropModel.from_config(settings(width=8), task_names=TASKS)
    wider.save(tmp_path / "model.pt")
    with pytest.raises(ChempropError, match=r"such as last\.ckpt; .*model\.pt is none"):
        resume(tmp_path / "model.pt")
    wider.fit(data, checkpoint_dir=tmp_path)
    with pytest.raises(ChempropError, match=r"of shape \(16, 86\); found \(8, 86\) in .*last"):
        resume(tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").write_bytes((tmp_path / "last.ckpt").read_bytes()[:1000])
    with pytest.raises(ChempropError, match=r"resume_from: .* is cut off"):
        resume(tmp_path / "last.ckpt")


@pytest.mark.slow
def test_kill_9_in_mid_epoch_then_resume(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_run.py")
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path / "broken")]
    # Before the rest, so that it imports while this process trains.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        train = runpy.run_path(str(script))["train"]
        whole = train(tmp_path / "whole")
        assert killed.stdout is not None
        assert killed.stdout.readline() == "step 6\n"
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    saved = torch.load(tmp_path / "broken" / "last.ckpt", weights_only=False)
    assert saved["global_step"] == 5  # within the second epoch of 4 steps
    resumed = train(tmp_path / "broken", resume=True)
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    assert {file.name for file in (tmp_path / "broken").iterdir()} == {"best.ckpt", "last.ckpt"}
