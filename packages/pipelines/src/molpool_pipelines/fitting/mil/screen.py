"""What a user sees: a bar while molecules are computed, a line an epoch while a model trains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from molpool_pipelines.fitting.screen import TrainingScreen

if TYPE_CHECKING:
    from mil_attn import EpochRecord
    from mil_attn import Progress as Told


class MILScreen(TrainingScreen):
    """A progress bar over all batches, and a line for each epoch that ends.

    Parameters
    ----------
    console : Console
        Where to draw.
    epochs : int
        Most epochs to train.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        super().__init__(console, epochs, None)
        self._best = -float("inf")

    def epoch(self, record: EpochRecord) -> None:  # type: ignore[override]  # another record
        """Print the line of an epoch that ended; a star marks the best so far."""
        score = record.val_macro_ap
        if score is None and record.val_loss is not None:
            score = -record.val_loss
        improved = score is not None and score > self._best
        if improved and score is not None:
            self._best = score
        values = [f"{record.epoch + 1:>5}", f"{record.train_loss:>8.4f}"]
        values += [_shown(v) for v in (record.val_loss, record.val_macro_ap, record.val_min_ap)]
        if not self._header_shown:
            self._header_shown = True
            self._print("epoch     train       val  macro AP    min AP        s", style="bold")
        star = "*" if improved else " "
        self._print("  ".join([*values, f"{record.seconds:>6.1f}{star}"]))


def _shown(value: float | None) -> str:
    return f"{'–':>8}" if value is None else f"{value:>8.4f}"


@contextmanager
def features_bar(console: Console) -> Iterator[Told]:
    """Give what `read_bags` tells of its progress, drawn as a bar a stage."""
    bars: dict[str, Any] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("molecules"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, transient=True)

    def told(stage: str, done: int, total: int) -> None:
        # Not before: a bar without a task leaves an empty line behind.
        progress.start()
        if stage not in bars:
            bars[stage] = progress.add_task(stage.capitalize(), total=total)
        progress.update(bars[stage], completed=done, total=total)

    try:
        yield told
    finally:
        if bars:
            progress.stop()
