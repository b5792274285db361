"""What the screen says of an epoch."""

from __future__ import annotations

import io

from chemprop_multitask import EpochRecord
from molpool_pipelines.fitting import TrainingScreen
from rich.console import Console


def screen() -> tuple[TrainingScreen, io.StringIO]:
    text = io.StringIO()
    return TrainingScreen(Console(file=text), 5, None), text


def record(epoch: int, val_loss: float | None) -> EpochRecord:
    return EpochRecord(epoch, 1.0, val_loss, 1e-3, 0.1)


def test_a_star_marks_the_best_loss_so_far_also_of_the_epochs_before_a_break() -> None:
    first, text = screen()
    for epoch, loss in enumerate((0.5, 0.7)):
        first.epoch(record(epoch, loss))
    assert [line.count("*") for line in text.getvalue().splitlines()] == [0, 1, 0]
    resumed, text = screen()
    resumed.load_state_dict(first.state_dict())
    for epoch, later in enumerate((0.6, 0.4, None), start=2):
        resumed.epoch(record(epoch, later))
    assert [line.count("*") for line in text.getvalue().splitlines()] == [0, 0, 1, 0]
