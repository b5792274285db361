"""What a worker process needs to know of a study; it travels there by pickle."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from molpool_common import heed_ctrl_c, objects_kept

from molpool_pipelines.studies.config import StudyConfig
from molpool_pipelines.studies.errors import HPOError
from molpool_pipelines.studies.objective import Direction, Objective
from molpool_pipelines.studies.queue import Queue, Retry, retried
from molpool_pipelines.studies.samplers import SamplerFactory, make_pruner
from molpool_pipelines.studies.space import Space
from molpool_pipelines.studies.storage import open_storage
from molpool_pipelines.studies.trials import TrialRunner, error_text, steps_per_trial

IDLE = 0.25
"""Seconds between looks for a trial that another process might have left."""


@dataclass(frozen=True)
class StudyTask:
    """A study to work on.

    Parameters
    ----------
    name, storage : str
        The study and where it is kept.
    config : StudyConfig
        Its settings.
    seed : int
        Of sampler, folds and trials.
    direction : {"minimize", "maximize"}
        Which scores are better.
    space : Space
        What is drawn.
    defaults : mapping of str to Any
        The configuration's own values.
    build : callable
        Makes the objective.
    known : frozenset of int
        Trials that had ended before this run.
    deadline : float or None
        When to start no further trial, in seconds of the clock.
    """

    name: str
    storage: str
    config: StudyConfig
    seed: int
    direction: Direction
    space: Space
    defaults: Mapping[str, Any]
    build: Callable[[], Objective]
    known: frozenset[int] = frozenset()
    deadline: float | None = None

    def open_storage(self) -> optuna.storages.BaseStorage:
        """Connect to the storage."""
        return open_storage(
            self.storage,
            heartbeat_interval=self.config.heartbeat_interval,
            grace_period=self.config.grace,
            stale=Retry(self.config.max_retry),
        )

    def queue(self, storage: optuna.storages.BaseStorage | None = None) -> Queue:
        """Return the trials of the study, which must exist."""
        study = optuna.load_study(
            study_name=self.name,
            storage=storage or self.open_storage(),
            sampler=optuna.samplers.RandomSampler(seed=self.seed),
            pruner=optuna.pruners.NopPruner(),
        )
        return Queue(
            study,
            self.config.n_trials,
            max_retry=self.config.max_retry,
            grace=self.config.grace,
            heartbeat=self.config.heartbeat_interval,
        )

    def work(self, queue: Queue, after_trial: Callable[[], None] = lambda: None) -> None:
        """Run trials until the study has all of them, or the space all points, or time is up.

        Parameters
        ----------
        queue : Queue
            The study's.
        after_trial : callable
            Called after each trial, and now and then while there is none.

        Raises
        ------
        HPOError
            If the first trials all failed.
        KeyboardInterrupt
            After the trial that ran has been put back.
        """
        objective = self.build()
        with objects_kept():
            self._work(queue, objective, after_trial)

    def _work(self, queue: Queue, objective: Objective, after_trial: Callable[[], None]) -> None:
        steps = steps_per_trial(objective.n_folds, objective.epochs_per_fold)
        queue.study.pruner = make_pruner(self.config, steps)
        samplers = SamplerFactory(self.config, self.space, self.seed)
        runner = TrialRunner(queue, objective, self.space, self.defaults, samplers, self.seed)
        while not self.is_late():
            heed_ctrl_c()
            queue.collect_lost()
            trial = queue.take()
            if trial is not None:
                runner.run(trial)
                self._check_failures(queue)
                if runner.is_exhausted:
                    return
            elif queue.n_running():
                # Should its process be lost, the trial is ours.
                time.sleep(IDLE)
            else:
                return
            after_trial()

    def is_late(self) -> bool:
        """Return whether time is up."""
        return self.deadline is not None and time.time() >= self.deadline

    def _check_failures(self, queue: Queue) -> None:
        trials = queue.trials()
        again = retried(trials)
        ended = [
            t
            for t in trials
            if t.state.is_finished() and t.number not in self.known and t.number not in again
        ]
        errors = [error_text(t) for t in ended]
        if len(ended) >= self.config.max_failures and None not in errors:
            raise HPOError(
                f"study {self.name!r}: expected a trial that succeeds; found that the first "
                f"{len(ended)} failed, the last with: {errors[-1]}"
            )
