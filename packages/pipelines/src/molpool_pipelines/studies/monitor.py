"""What a study leaves behind while it runs: log, table, best configuration, tracking, screen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import yaml
from molpool_common import RunFolder
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.runs import Tracker
from molpool_pipelines.studies.objective import Problem
from molpool_pipelines.studies.queue import Queue, retried
from molpool_pipelines.studies.screen import StudyScreen
from molpool_pipelines.studies.stored import Counts, StoredStudy, score, stored_study
from molpool_pipelines.studies.table import seconds_of, state_of, trials_frame
from molpool_pipelines.studies.trials import error_text, folds_of, params_of

TRIALS, BEST = "trials.parquet", "best.yaml"

_EVERY = 15.0
"""Seconds between tables, which take longer the more trials there are."""


class Monitor:
    """Follows a study in its storage, whoever runs its trials.

    Parameters
    ----------
    queue : Queue
        The study's.
    problem : Problem
        What is tuned.
    run : RunFolder
        The study's folder.
    screen : StudyScreen
        Where it is shown.
    tracker : Tracker
        Where trials are logged, each below the study.
    """

    def __init__(
        self, queue: Queue, problem: Problem, run: RunFolder, screen: StudyScreen, tracker: Tracker
    ) -> None:
        self._queue = queue
        self.problem = problem
        self._run = run
        self._screen = screen
        self._tracker = tracker
        # A resumed study has said before what it did then.
        self._seen = {t.number for t in queue.trials() if t.state.is_finished()}
        self._written = time.monotonic()
        self._best: int | None = None

    def stored(self) -> StoredStudy:
        """Return what the study holds now."""
        return stored_study(self._queue.study, self._queue.n_trials)

    def update(self) -> None:
        """Tell of the trials that have ended since the last time."""
        stored = self.stored()
        ended = [t for t in stored.trials if t.state.is_finished() and t.number not in self._seen]
        again = retried(stored.trials)
        for trial in ended:
            self._seen.add(trial.number)
            self._screen.trial(trial, stored, again)
            self._log(trial, again)
            self._track(trial)
        self._screen.update(stored)
        if ended and time.monotonic() - self._written > _EVERY:
            self.write(stored)

    def write(self, stored: StoredStudy) -> None:
        """Write the table of trials and the best configuration."""
        self._run.write_frame(TRIALS, trials_frame(stored))
        best = stored.complete()[:1]
        if best and best[0].number != self._best:
            self._best = best[0].number
            self._run.write_text(BEST, best_yaml(stored, best[0], self.problem))
        self._written = time.monotonic()

    def _log(self, trial: FrozenTrial, again: set[int]) -> None:
        self._run.log(
            "trial",
            number=trial.number,
            state=state_of(trial, again),
            value=trial.value if trial.state == TrialState.COMPLETE else None,
            seconds=seconds_of(trial),
            params=params_of(trial),
            error=error_text(trial),
        )

    def _track(self, trial: FrozenTrial) -> None:
        failed = trial.state == TrialState.FAIL
        name = f"trial-{trial.number:04d}"
        with self._tracker.nested(name, params_of(trial), failed=failed) as tracker:
            for step, value in sorted(trial.intermediate_values.items()):
                tracker.metrics({"running_mean": value}, step)
            for k, fold in enumerate(folds_of(trial)):
                tracker.metrics({"fold_value": fold["value"]}, k)
                numbers = {n: v for n, v in fold["numbers"].items() if v is not None}
                tracker.metrics(numbers, k)
            if trial.state == TrialState.COMPLETE:
                tracker.metrics({self.problem.metric: score(trial)})


def best_yaml(stored: StoredStudy, trial: FrozenTrial, problem: Problem) -> str:
    """Return the configuration of a trial as a file that molpool-train takes."""
    resolved: Mapping[str, Any] = problem.resolve(params_of(trial))
    text = yaml.safe_dump(dict(resolved), sort_keys=False, allow_unicode=True, width=100)
    said = f"# Trial {trial.number} of {stored.name}: {stored.metric} {score(trial):.4f}"
    return f"{said} over {stored.identity['n_folds']} inner folds\n{text}"


def summary(stored: StoredStudy) -> str:
    """Return one line on how a study stands."""
    counts = Counts.of(stored.trials)
    parts = [f"{counts.complete} complete", f"{counts.pruned} pruned", f"{counts.failed} failed"]
    if counts.tried_again:
        parts.append(f"{counts.tried_again} tried again")
    return f"{counts.done} of {stored.n_trials} trials: {', '.join(parts)}"
