"""What a user sees while a study runs: a line a trial above a progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from molpool_pipelines.studies.stored import Counts, StoredStudy, score
from molpool_pipelines.studies.table import seconds_of, state_of
from molpool_pipelines.studies.trials import error_text


class StudyScreen:
    """A progress bar with the best score, and a line for each trial that ends.

    Parameters
    ----------
    console : Console
        Where to draw.
    n_trials : int
        Trials of the whole study.
    """

    def __init__(self, console: Console, n_trials: int) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[counts]}"),
            console=console,
            transient=True,
        )
        self._n_trials = n_trials
        self._task: TaskID | None = None
        self._header_shown = False

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the bar while the block runs."""
        try:
            yield
        finally:
            if self._task is not None:
                self._progress.stop()

    def update(self, stored: StoredStudy) -> None:
        """Draw where the study stands."""
        counts = Counts.of(stored.trials)
        best = stored.complete()[:1]
        text = f"best {score(best[0]):.4f}, trial {best[0].number}" if best else "no score yet"
        others = f"{counts.pruned} pruned, {counts.failed} failed, {counts.running} running"
        if not self._console.is_terminal:
            return
        if self._task is None:
            self._progress.start()
            # What was done before is no sign of how fast it goes now.
            self._task = self._progress.add_task(
                text, total=self._n_trials, completed=counts.done, counts=others
            )
        self._progress.update(self._task, description=text, completed=counts.done, counts=others)

    def trial(self, trial: FrozenTrial, stored: StoredStudy, again: set[int]) -> None:
        """Print the line of a trial that ended; a star marks the best so far."""
        if not self._header_shown:
            self._header_shown = True
            self._print(f"trial       score        s  state     ({stored.metric})", style="bold")
        is_best = bool(stored.complete()) and stored.complete()[0].number == trial.number
        value = f"{score(trial):.4f}" if trial.state == TrialState.COMPLETE else "–"
        seconds = seconds_of(trial)
        error = error_text(trial) if trial.state == TrialState.FAIL else None
        line = f"{trial.number:>5}  {value:>9}{'*' if is_best else ' '}  {seconds or 0:>7.1f}  "
        self._print(line + state_of(trial, again) + (f": {error}" if error else ""))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._print(text)

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, highlight=False, markup=False, style=style, soft_wrap=True)
