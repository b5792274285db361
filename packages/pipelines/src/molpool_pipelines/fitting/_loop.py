"""What surrounds the training of a network: screen, draws, records of epochs.

Chemprop and MIL runs fit through their packages' one Lightning loop; here stands what a run adds to
it, with the same callbacks in the same order for both, so that either resumes as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import polars as pol
from molpool_common import BoolArray, FloatArray, RunFolder, tell
from rich.console import Console
from sampling_core import (
    PHASES,
    CurriculumState,
    JointSampler,
    QualityWeights,
    RarePositiveSampler,
)

from molpool_pipelines.runs import DRAW_WEIGHT, LOSS_WEIGHT, SAMPLING, Tracker

if TYPE_CHECKING:
    from chemprop_multitask import EpochRecord
    from mil_attn import EpochRecord as MILEpochRecord


def on_epoch_end(
    run: RunFolder,
    tracker: Tracker,
    screen: TrainingScreen,
    *,
    log: SamplingLog | None = None,
    drawn: Callable[[], pol.DataFrame] | None = None,
    track_sampling: bool = True,
    which: Mapping[str, int] | None = None,
    prefix: str = "",
) -> Callable[[Any], None]:
    """Return what records an epoch: on the screen, in log.jsonl, sampling.parquet and tracker.

    Parameters
    ----------
    run : RunFolder
        Where it goes.
    tracker : Tracker
        Where numbers are logged besides.
    screen : TrainingScreen
        Prints the line of the epoch.
    log : SamplingLog, optional
        Of what the model's sampler draws.
    drawn : callable, optional
        All of the run's draws so far, for sampling.parquet; not written without.
    track_sampling : bool
        Whether numbers of the sampler go to the tracker.
    which : mapping of str to int, optional
        Member and group, where the run has several models.
    prefix : str
        Of the tracker's names.
    """

    def record_epoch(record: Any) -> None:
        screen.epoch(record)
        run.log("epoch", **(which or {}), **vars(record))
        # The prefix keeps series of ensemble members apart, which share steps in one MLflow run.
        values = {k: v for k, v in vars(record).items() if k != "epoch" and v is not None}
        numbers = {prefix + k: v for k, v in values.items()}
        if log is not None and drawn is not None:
            # Rewritten each epoch, since Parquet cannot be appended to and an interrupted run
            # should have it.
            run.write_frame(SAMPLING, drawn())
            if track_sampling:
                numbers |= log.numbers(f"{prefix}sampling/")
        tracker.metrics(numbers, step=record.epoch)

    return record_epoch


class SamplingLog(pl.Callback):  # type: ignore[misc]  # lightning has no types here
    """Records, per epoch, phase and weights, and what was drawn of each task and quality.

    Parameters
    ----------
    sampler : JointSampler, RarePositiveSampler or None
        Draws the rows; None: each comes once.
    targets : ndarray [N, T]
        Labels of the rows drawn from, NaN where missing.
    tasks : sequence of str
        Names of the T tasks.
    state : CurriculumState, optional
        Phase of the curriculum.
    quality : sequence of str, optional
        Quality of each row, counted by the labels that the curriculum knows.
    weights : QualityWeights, optional
        Loss weights of a curriculum that weighs rows instead of drawing them.
    positives : bool
        Whether targets are classes, whose positives are counted too.
    """

    def __init__(
        self,
        sampler: JointSampler | RarePositiveSampler | None,
        targets: FloatArray,
        tasks: Sequence[str],
        *,
        state: CurriculumState | None = None,
        quality: Sequence[str] | None = None,
        weights: QualityWeights | None = None,
        positives: bool = False,
    ) -> None:
        self._sampler = sampler
        self._weights = weights
        self._state = state
        self._rows = len(targets)
        self._counted = _columns(np.isfinite(targets), "labels", tasks)
        if positives:
            self._counted |= _columns(targets == 1, "positives", tasks)
        # Of the configured labels, best first, those that stand in the table.
        for label in state.qualities if state is not None else ():
            if label in (quality or []):
                self._counted[f"quality: {label}"] = np.array(quality) == label
        self.rows: list[dict[str, Any]] = []

    @property
    def held(self) -> dict[str, int]:
        """What the rows drawn from hold, named as the columns that count draws."""
        return {name: int(of_rows.sum()) for name, of_rows in self._counted.items()}

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch that begins; its draws are a pure function of seed and epoch."""
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "phase": self._state.phase if self._state is not None else None,
        }
        if self._sampler is not None:
            # Asking for the draws consumes nothing: the loader gets the same ones afterwards.
            drawn = np.bincount(self._sampler.draws(), minlength=self._rows)
            row |= self._sampler.statistics().as_dict()
        else:
            drawn = np.ones(self._rows, dtype=np.int64)
            # Rows that all come once differ by what they weigh in the loss.
            row |= self._weights.statistics().as_dict() if self._weights is not None else {}
        row["distinct_rows"] = int((drawn > 0).sum())
        row |= self._quality_weights()
        row |= {name: int(drawn[of_rows].sum()) for name, of_rows in self._counted.items()}
        self.rows.append(row)

    def _quality_weights(self) -> dict[str, float]:
        """Return the weight of each quality in this phase, by the column that holds it."""
        if self._weights is not None:
            return {f"{LOSS_WEIGHT}{q}": w for q, w in self._weights.by_quality().items()}
        weights = self._state.sampling_probs() if self._state is not None else {}
        return {f"{DRAW_WEIGHT}{q}": w for q, w in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the rows, so that a resumed run keeps the epochs before."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows of the epochs before."""
        self.rows = list(state_dict["rows"])

    def numbers(self, prefix: str) -> dict[str, float]:
        """Return the numbers of the latest epoch under prefixed names."""
        row = dict(self.rows[-1])
        if self._state is not None:
            # A series of numbers draws the phases; their names are in sampling.parquet.
            row["phase"] = PHASES.index(row["phase"])
        # The epoch is the step of the tracker, no series of its own.
        return {
            prefix + k: v for k, v in row.items() if isinstance(v, int | float) and k != "epoch"
        }

    def frame(self) -> pol.DataFrame:
        """Return one row per epoch."""
        # All rows: a phase that is None in the first hundred epochs would otherwise give the column
        # a null type.
        return pol.DataFrame(self.rows, infer_schema_length=None)


def _columns(which: BoolArray, what: str, tasks: Sequence[str]) -> dict[str, BoolArray]:
    return {f"{what}: {task}": of_task for task, of_task in zip(tasks, which.T, strict=True)}


_STAGE = "Training"


class TrainingScreen(pl.callbacks.ProgressBar):  # type: ignore[misc]  # lightning has no types here
    """Tells how far a training is, and prints a line for each epoch that ends.

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
        self._header_printed = False
        self._silent = False

    def disable(self) -> None:
        """Lightning asks for this on ranks other than the first: nothing is told there."""
        self._silent = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin at the batch the run is at."""
        self._tell(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any, **__: Any
    ) -> None:
        """Say how far the training is."""
        self._tell(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """End, however many epochs were left."""
        tell(_STAGE, 1, 1)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """End, so that the message stands alone."""
        tell(_STAGE, 1, 1)

    def _tell(self, trainer: pl.Trainer) -> None:
        if not self._silent:
            total = self._epochs * int(trainer.num_training_batches)
            tell(_STAGE, _done(trainer), total, "batches")

    def state_dict(self) -> dict[str, Any]:
        """Return the best loss so far, for the star of a resumed run."""
        return {"best": self._best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the best loss of the epochs before."""
        self._best = float(state_dict["best"])

    def epoch(self, record: EpochRecord) -> None:
        """Print the line of an epoch that ended."""
        # Strictly below, as the checkpoint callback has it: the star marks the epoch whose weights
        # are saved.
        improved = record.val_loss is not None and record.val_loss < self._best
        if improved and record.val_loss is not None:
            self._best = record.val_loss
        columns = _COLUMNS if self._sampling else _COLUMNS[:4]
        if not self._header_printed:
            self._header_printed = True
            self._print("  ".join(f"{name:>{width}}" for name, width, _ in columns), style="bold")
        stats = self._sampling.rows[-1] if self._sampling else {}
        values = {**vars(record), **stats, "epoch": record.epoch + 1, "best": improved}
        self._print("  ".join(f"{show(values):>{width}}" for _, width, show in columns))

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, highlight=False, markup=False)


def _done(trainer: pl.Trainer) -> int:
    """Return the batches trained on; steps are fewer where gradients accumulate."""
    # The index counts on over epochs and is restored from a checkpoint, unlike `batch_idx`.
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


class MILScreen(TrainingScreen):
    """Tells how far a training is, and prints a line for each epoch that ends.

    Parameters
    ----------
    console : Console
        Where to draw.
    epochs : int
        Most epochs to train.
    """

    def __init__(self, console: Console, epochs: int) -> None:
        super().__init__(console, epochs, None)
        # Average precision is to be maximised, unlike the loss of the parent class.
        self._best = -float("inf")

    def epoch(self, record: MILEpochRecord) -> None:  # type: ignore[override]  # another record
        """Print the line of an epoch that ended; a star marks the best so far."""
        score = record.val_macro_ap
        if score is None and record.val_loss is not None:
            # Regression, or validation bags without a positive: the loss selects the epoch instead.
            score = -record.val_loss
        improved = score is not None and score > self._best
        if improved and score is not None:
            self._best = score
        values = [f"{record.epoch + 1:>5}", f"{record.train_loss:>8.4f}"]
        values += [
            _score_cell(v) for v in (record.val_loss, record.val_macro_ap, record.val_min_ap)
        ]
        if not self._header_printed:
            self._header_printed = True
            self._print("epoch     train       val  macro AP    min AP        s", style="bold")
        star = "*" if improved else " "
        self._print("  ".join([*values, f"{record.seconds:>6.1f}{star}"]))


def _score_cell(value: float | None) -> str:
    return f"{'–':>8}" if value is None else f"{value:>8.4f}"
