from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from molpool_common.checkpoints import KeepBestAndLast
from molpool_common.training import quiet
from torch import nn
from torch.utils.data import DataLoader

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

    def on_train_batch_start(self, *_: Any) -> None:
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
