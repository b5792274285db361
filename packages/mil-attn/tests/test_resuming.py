"""Training that is broken off goes on to the same end."""

from __future__ import annotations

import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from mil_attn._config import MILConfig
from mil_attn._errors import MILError
from mil_attn._fitting import FitResult, fit, predict
from mil_attn.data._bag_data import BagData
from mil_attn.training._loop import EpochRecord
from mil_attn.training._module import MILModule
from molpool_common import EpochShuffle

Settings = Callable[..., MILConfig]
MakeData = Callable[..., BagData]


class StopError(Exception):
    """Stands in for the end of the process."""


class StopAt(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Raises in a hook of an epoch, or of one of its batches."""

    def __init__(self, hook: str, epoch: int, batch: int | None) -> None:
        def stop(trainer: pl.Trainer, _: Any, *rest: Any) -> None:
            if trainer.current_epoch == epoch and batch in (None, rest[-1] if rest else None):
                raise StopError

        setattr(self, hook, stop)


class Drawn(EpochShuffle):
    """A sampler that remembers what it drew in each epoch."""

    def __init__(self, n: int, seed: int) -> None:
        super().__init__(n, seed)
        self.seen: dict[int, list[int]] = {}

    def __iter__(self) -> Any:
        self.seen[self.epoch] = list(super().__iter__())
        return iter(self.seen[self.epoch])


def numbers(records: list[EpochRecord]) -> list[tuple[float | None, ...]]:
    return [(r.epoch, r.train_loss, r.val_loss, r.val_macro_ap, r.val_min_ap) for r in records]


# 5 batches an epoch, 2 a step: steps 1 to 3 in epoch 0, 4 to 6 in epoch 1. Stopping in the hook of
# a batch comes before its checkpoint. Last, the step that is resumed from.
MOMENTS = [
    ("on_train_batch_end", 0, 2, 1),
    ("on_train_batch_end", 1, 1, 3),
    ("on_train_batch_end", 1, 2, 4),
    ("on_train_batch_end", 1, 3, 4),
    ("on_train_batch_end", 1, 4, 5),
    ("on_validation_start", 1, None, 5),
    ("on_train_epoch_start", 2, None, 6),
    ("on_train_end", 3, None, 9),
]


@pytest.mark.slow
def test_resuming_equals_no_stop(settings: Settings, make_data: MakeData, tmp_path: Path) -> None:
    # The last step of an epoch is of one batch.
    data, val = make_data(36), make_data(20, seed=1)
    config = settings(
        epochs=3,
        batch_size=8,
        accumulate_grad_batches=2,
        gradient_clip=1.0,
        checkpoint_every_steps=1,
        instance_dropout=0.3,
        mixup=0.4,
    )

    def run(folder: Path, stop: StopAt | None, resume: bool) -> tuple[FitResult, Any, Drawn]:
        sampler = Drawn(36, 7)
        result = fit(
            config,
            data,
            val,
            sampler=sampler,
            callbacks=[stop] if stop else [],
            checkpoint_dir=folder,
            resume_from=folder / "last.ckpt" if resume else None,
        )
        state = torch.load(folder / "last.ckpt", weights_only=True)
        return result, (state["state_dict"], state["optimizer_states"]), sampler

    whole, states, sampler = run(tmp_path / "whole", None, False)
    assert sorted(sampler.seen) == [0, 1, 2]
    assert len({tuple(rows) for rows in sampler.seen.values()}) == 3
    for hook, epoch, batch, step in MOMENTS:
        folder = tmp_path / f"{hook}-{epoch}-{batch}"
        with pytest.raises(StopError):
            run(folder, StopAt(hook, epoch, batch), False)
        saved = torch.load(folder / "last.ckpt", weights_only=True)
        assert saved["global_step"] == step
        resumed, again, _ = run(folder, None, True)
        moment = f"{hook} {epoch} {batch}"
        torch.testing.assert_close(again, states, rtol=0, atol=0, msg=moment)
        assert numbers(resumed.records) == numbers(whole.records), moment
        assert resumed.best_epoch == whole.best_epoch
        np.testing.assert_array_equal(predict(resumed.module, val), predict(whole.module, val))


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
    saved = torch.load(tmp_path / "broken" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 5  # within the second epoch of 4 steps
    resumed = train(tmp_path / "broken", resume=True)
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    assert {file.name for file in (tmp_path / "broken").iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.slow
def test_a_run_that_stopped_early_stays_stopped(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    def train(**options: Any) -> FitResult:
        config = settings(epochs=30, patience=2)
        return fit(config, make_data(), make_data(seed=1), checkpoint_dir=tmp_path, **options)

    first = train()
    assert len(first.records) < 30
    again = train(resume_from=tmp_path / "last.ckpt")
    assert numbers(again.records) == numbers(first.records)
    assert again.best_epoch == first.best_epoch


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    def interrupt(record: EpochRecord) -> None:
        if record.epoch == 1 and threading.current_thread() is threading.main_thread():
            signal.raise_signal(signal.SIGINT)

    # A shell starts what runs in its background with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(settings(epochs=9), make_data(), on_epoch=interrupt, checkpoint_dir=tmp_path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    result = fit(settings(epochs=3), make_data(), resume_from=tmp_path / "last.ckpt")
    assert [r.epoch for r in result.records] == [0, 1, 2]


def test_a_checkpoint_of_something_else_is_named(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data()
    wider = fit(settings({"mixer_hidden": 8}, epochs=1), data, checkpoint_dir=tmp_path).module
    with pytest.raises(MILError, match=r"found .* in .*last\.ckpt, a checkpoint of another model"):
        fit(settings(), data, resume_from=tmp_path / "last.ckpt")
    wider.save(tmp_path / "model.pt")
    with pytest.raises(MILError, match=r"such as last\.ckpt; .*model\.pt is none"):
        fit(settings(), data, resume_from=tmp_path / "model.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:1000])
    with pytest.raises(MILError, match=r"model: expected a complete file .*cut\.pt"):
        MILModule.load(tmp_path / "cut.pt")
    torch.save({"a": 1}, tmp_path / "other.pt")
    with pytest.raises(MILError, match=r"other\.pt is of another program"):
        MILModule.load(tmp_path / "other.pt")


def test_a_checkpoint_of_other_tasks_or_features_is_named(
    settings: Settings, make_data: MakeData, tmp_path: Path
) -> None:
    data = make_data()
    fit(settings(epochs=1), data, checkpoint_dir=tmp_path)
    names = tuple(f"f{i + 1}" for i in range(12))
    swapped = (names[1], names[0], *names[2:])
    cases = [
        (
            data.replace(task_names=("a", "c")),
            "same tasks; .*expected 'c', found 'b' at position 2",
        ),
        (data.replace(feature_names_2d=swapped), "same 2D features; .*'f2', found 'f1'"),
        (data.replace(x2d=None, feature_names_2d=()), "same 2D features; .*expected 0, found 12"),
        (data.replace(feature_names_3d=swapped), "same 3D features"),
    ]
    for other, message in cases:
        config = settings({"use_2d": other.x2d is not None}, epochs=1)
        with pytest.raises(MILError, match=f"resume_from: .*{message}"):
            fit(config, other, resume_from=tmp_path / "last.ckpt")
