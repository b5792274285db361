"""What a user sees while a model trains: a line an epoch above a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from chemprop_multitask import EpochRecord

    from molpool_pipelines.fitting.sampling import SamplingLog


class TrainingScreen(pl.callbacks.ProgressBar):  # type: ignore[misc]  # lightning has no types here
    """A progress bar over all batches, and a line for each epoch that ends.

    Parameters
    ----------
    console : Console
        Where to draw.
    epochs : int
        Most epochs to train.
    sampling : SamplingLog or None
        Statistics to show beside the losses.
    """

    def __init__(self, console: Console, epochs: int, sampling: SamplingLog | None) -> None:
        super().__init__()
        self._console = console
        self._epochs = epochs
        self._sampling = sampling
        self._best = float("inf")
        self._header_shown = False
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("batches"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def disable(self) -> None:
        """Lightning asks for this on ranks other than the first: nothing is drawn there."""
        self._progress.disable = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the batch the run is at."""
        total = self._epochs * trainer.num_training_batches
        self._bar = self._progress.add_task("Training", total=total, completed=_done(trainer))
        self._progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Move the bar."""
        epoch = f"Epoch {trainer.current_epoch + 1}/{self._epochs}"
        self._progress.update(self._bar, completed=_done(trainer), description=epoch)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self._progress.stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the message stands alone."""
        self._progress.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return the best loss so far, for the star of a resumed run."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best loss of the epochs before."""
        self._best = float(state_dict["best"])

    def epoch(self, record: EpochRecord) -> None:
        """Print the line of an epoch that ended."""
        improved = record.val_loss is not None and record.val_loss < self._best
        if improved and record.val_loss is not None:
            self._best = record.val_loss
        columns = _COLUMNS if self._sampling else _COLUMNS[:4]
        if not self._header_shown:
            self._header_shown = True
            self._print("  ".join(f"{name:>{width}}" for name, width, _ in columns), style="bold")
        stats = self._sampling.rows[-1] if self._sampling else {}
        values = {**vars(record), **stats, "epoch": record.epoch + 1, "best": improved}
        self._print("  ".join(f"{show(values):>{width}}" for _, width, show in columns))

    def _print(self, line: str, style: str | None = None) -> None:
        self._progress.console.print(line, style=style, highlight=False, markup=False)


def _done(trainer: pl.Trainer) -> int:
    """Return the batches trained on; steps are fewer where gradients accumulate."""
    done: int = trainer.fit_loop.epoch_loop.total_batch_idx + 1
    return done


def _number(key: str, form: str) -> Callable[[dict[str, Any]], str]:
    return lambda v: "–" if v.get(key) is None else format(v[key], form)


def _val(values: dict[str, Any]) -> str:
    return _number("val_loss", ".4f")(values) + ("*" if values["best"] else " ")


# Together they fit 80 columns; a star marks the best validation loss so far.
_COLUMNS: tuple[tuple[str, int, Callable[[dict[str, Any]], str]], ...] = (
    ("epoch", 5, _number("epoch", "d")),
    ("train", 7, _number("train_loss", ".4f")),
    ("val ", 8, _val),
    ("s", 5, _number("seconds", ".1f")),
    ("phase", 6, lambda v: v.get("phase") or "–"),
    ("min p", 7, _number("min", ".1e")),
    ("max p", 7, _number("max", ".1e")),
    ("entropy", 7, _number("entropy", ".3f")),
    ("eff.rows", 8, _number("effective_samples", ".0f")),
)


def metric_table(rows: list[list[Any]], columns: list[str], title: str) -> Table:
    """Return the closing table: a row a task, the macro mean last."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    for n, row in enumerate(rows):
        if n == len(rows) - 1:
            table.add_section()
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
