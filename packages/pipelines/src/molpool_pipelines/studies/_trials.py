"""What is tuned, and one trial of it: a model over inner folds, its value the mean over them.

A kind of model brings a `Problem`, whose `Objective` trains on one fold and says how well it did.
A `StudyWorker`, which travels to worker processes by pickle, takes trials from the queue and runs
them.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import optuna
import polars as pl
from molpool_common import free_memory, heed_ctrl_c, objects_kept
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.runs import TableRows
from molpool_pipelines.studies._config import HPOError, StudyConfig
from molpool_pipelines.studies._queue import INTERRUPTED, VALUES, Queue, Retry, retried
from molpool_pipelines.studies._samplers import SamplerFactory, derived_seed, make_pruner
from molpool_pipelines.studies._space import Space
from molpool_pipelines.studies._storage import DatabaseLostError, open_storage

Direction = Literal["minimize", "maximize"]
OnEpochEnd = Callable[[int, float], None]
"""Takes epoch (from 0) and its validation score; raises `optuna.TrialPruned` to end the fold."""


@dataclass(frozen=True)
class FoldResult:
    """What one fold gave.

    Parameters
    ----------
    value : float
        The metric on the fold's validation rows.
    numbers : dict of str to float
        Whatever else is worth keeping: the metric of each task, ``best_epoch``.
    """

    value: float
    numbers: dict[str, float] = field(default_factory=dict)


class Objective(Protocol):
    """One kind of model over inner folds.

    Attributes
    ----------
    n_folds : int
        Inner folds; a trial's value is the mean over them.
    epochs_per_fold : int
        Most epochs that a fold reports, whatever the parameters; 1 for models without epochs.
    direction : {"minimize", "maximize"}
        Which scores are better.
    metric : str
        Name of the score on screen and pages: ``macro MA-RAE``.
    """

    n_folds: int
    epochs_per_fold: int
    direction: Direction
    metric: str

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        """Train on the inner training rows of a fold and score its inner validation rows.

        Parameters
        ----------
        params : mapping of str to Any
            Value of each active parameter of the space, fixed ones too.
        fold : int
            From 0.
        on_epoch_end : callable
            To be called with epoch and score as they come. What it raises must pass through.
        seed : int
            Of weights, shuffling and dropout; the same when a killed trial is retried.

        Returns
        -------
        FoldResult
        """


@dataclass(frozen=True)
class Problem:
    """A kind of model, ready to be tuned.

    Parameters
    ----------
    kind : str
        The subcommand: ``chemprop``, ``tabular``, ``mil``.
    build : callable
        Makes the objective; called once in each worker process, to which it is sent by pickle
        (`functools.partial` of a module's function with the configuration).
    n_folds, metric, direction
        As the objective has them, known without building it.
    space : Space
        The search space.
    defaults : mapping of str to Any
        The configuration's own value of each parameter of the space: the first trial.
    identity : mapping of str to Any
        What a study must not change while it goes on, as JSON: digest of the data, kind of folds,
        seed, the settings that no parameter sets. A resumed study with another is refused.
    resolve : callable
        Turns parameters into a full configuration that ``molpool-train`` takes: best.yaml.
    notes : tuple of str
        Printed at the start.
    rejected : DataFrame or None
        Rows of the table that no trial sees, as `rejected_rows` has them.
    rows : TableRows or None
        Digests of the table, the outer test among it.
    unset : mapping of str to Any
        What `identity` has of a configuration that sets nothing: an earlier study that lacks one
        of its keys had that value.
    """

    kind: str
    build: Callable[[], Objective]
    n_folds: int
    metric: str
    direction: Direction
    space: Space
    defaults: Mapping[str, Any]
    identity: Mapping[str, Any]
    resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    notes: tuple[str, ...] = ()
    rejected: pl.DataFrame | None = None
    rows: TableRows | None = None
    unset: Mapping[str, Any] = field(default_factory=dict)


FOLDS, ERROR = "folds", "error"
"""Attributes of a trial: what each fold gave; why it failed."""


class TrialRunner:
    """Runs trials of a study.

    Parameters
    ----------
    queue : Queue
        Where they come from.
    objective : Objective
        The model over the folds.
    space : Space
        The search space.
    defaults : mapping of str to Any
        The configuration's own values, which conditions may name.
    samplers : SamplerFactory
        Makes the sampler of each trial.
    seed : int
        Of the study.
    """

    def __init__(
        self,
        queue: Queue,
        objective: Objective,
        space: Space,
        defaults: Mapping[str, Any],
        samplers: SamplerFactory,
        seed: int,
    ) -> None:
        self._queue = queue
        self._study = queue.study
        self._objective = objective
        self._space = space
        self._defaults = defaults
        self._samplers = samplers
        self._seed = seed
        self.is_exhausted = False

    def run(self, taken: FrozenTrial) -> None:
        """Run a trial and record in the study how it ended.

        Raises
        ------
        KeyboardInterrupt
            After the trial has been put back.
        """
        with self._queue.heartbeats(taken):
            try:
                place = self._queue.place(taken)
                # It seeds itself by the place: tried again, it draws the same.
                self._study.sampler = self._samplers(place)
                trial = optuna.trial.Trial(self._study, taken._trial_id)
                params = self._space.suggest(trial, self._defaults)
                trial.set_user_attr(VALUES, params)
                value = self._folds(trial, params, place)
            except optuna.TrialPruned:
                self._finish(taken, state=TrialState.PRUNED)
            except KeyboardInterrupt:
                self._queue.requeue(taken)
                raise
            except optuna.exceptions.UpdateFinishedTrialError:
                return  # we were taken for lost, and another process runs it
            except DatabaseLostError:
                raise  # no fault of the trial, which others find without a sign of life
            except Exception as error:
                self._fail(taken, error)
            else:
                self._finish(taken, value)
            finally:
                free_memory()

    def _folds(self, trial: optuna.Trial, params: Mapping[str, Any], place: int) -> float:
        done: list[float] = []
        results: list[dict[str, Any]] = []
        for fold in range(self._objective.n_folds):
            begun = time.perf_counter()
            # By the place: a retried trial trains as the lost one would have.
            seed = derived_seed(self._seed, place, fold)
            on_epoch_end = self._epoch_reporter(trial, fold, done)
            result = self._objective.run_fold(params, fold, on_epoch_end, seed)
            # Refused here, where the fold is known: Optuna would say only that the value is not
            # acceptable.
            if not math.isfinite(result.value):
                raise HPOError(
                    f"fold {fold} (of {self._objective.n_folds}): expected a finite "
                    f"{self._objective.metric}; found {result.value}."
                )
            done.append(result.value)
            results.append({**asdict(result), "seconds": time.perf_counter() - begun})
            # After each fold: a pruned trial keeps the folds it had.
            trial.set_user_attr(FOLDS, _json(results))
            if fold + 1 < self._objective.n_folds:
                # A fold that stopped early has no value at its last epoch: this step has one of
                # every trial, so that trials are compared with each other after each fold.
                self._report(trial, fold, self._objective.epochs_per_fold, done)
        return sum(done) / len(done)

    def _epoch_reporter(
        self, trial: optuna.Trial, fold: int, finished: list[float]
    ) -> Callable[[int, float], None]:
        n_epochs = self._objective.epochs_per_fold

        def report(epoch: int, value: float) -> None:
            if not 0 <= epoch < n_epochs:
                raise ValueError(f"epoch: expected 0 to {n_epochs - 1}; found {epoch}.")
            self._report(trial, fold, epoch, [*finished, float(value)])

        return report

    def _report(self, trial: optuna.Trial, fold: int, epoch: int, values: list[float]) -> None:
        # One more step per fold than epochs: the last is the fold's own value.
        step = fold * (self._objective.epochs_per_fold + 1) + epoch
        # The mean over the folds so far, so that trials are compared at the same fold and epoch.
        trial.report(sum(values) / len(values), step)
        heed_ctrl_c()
        if trial.should_prune():
            raise optuna.TrialPruned(f"fold {fold}, epoch {epoch}")

    def _fail(self, taken: FrozenTrial, error: Exception) -> None:
        # Errors that are the user's to mend speak for themselves; of faults the type helps to find
        # them.
        kind = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "
        self._queue.attribute(taken, ERROR, f"{kind}{error}" or repr(error))
        self._finish(taken, state=TrialState.FAIL)

    def _finish(
        self, taken: FrozenTrial, value: float | None = None, state: TrialState | None = None
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                # One that another process has ended meanwhile keeps how it ended.
                self._study.tell(taken.number, value, state=state, skip_if_finished=True)
            except RuntimeError as error:
                # So a sampler says that it has tried every point, once the trial is stored.
                if "Study.stop" not in str(error):
                    raise
                self.is_exhausted = True


def steps_per_trial(n_folds: int, epochs_per_fold: int) -> int:
    """Return how many values a full trial reports."""
    return n_folds * (epochs_per_fold + 1) - 1


def _json(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what JSON can hold: an undefined number is none."""
    return [
        {
            **fold,
            "numbers": {k: v if math.isfinite(v) else None for k, v in fold["numbers"].items()},
        }
        for fold in results
    ]


def error_text(trial: FrozenTrial) -> str | None:
    """Return why a trial failed, if it did."""
    if trial.state != TrialState.FAIL:
        return None
    lost = "interrupted" if trial.user_attrs.get(INTERRUPTED) else "its process was lost"
    return str(trial.user_attrs.get(ERROR, lost))


def params_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the active parameters of a trial, fixed ones too."""
    return dict(trial.user_attrs.get(VALUES, trial.params))


def folds_of(trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return what each finished fold gave: ``value``, ``numbers``, ``seconds``."""
    return list(trial.user_attrs.get(FOLDS, []))


def as_text(value: Any) -> str:
    """Return a parameter's value for a table."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


IDLE = 0.25
"""Seconds between looks for a trial that another process might have left."""


@dataclass(frozen=True)
class StudyWorker:
    """A study to work on.

    Parameters
    ----------
    name, storage : str
        The study and where it is stored.
    config : StudyConfig
        Its settings.
    seed : int
        Of sampler, folds and trials.
    direction : {"minimize", "maximize"}
        Which scores are better.
    space : Space
        The search space.
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
            # Placeholders: each trial gets its own sampler, and the pruner needs the objective's
            # number of steps.
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
            queue.requeue_lost()
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
        # All failures so far and at least so many: a single success shows that the study works.
        if len(ended) >= self.config.max_failures and None not in errors:
            raise HPOError(
                f"study {self.name!r}: expected a trial that succeeds; found that the first "
                f"{len(ended)} failed, the last with: {errors[-1]}"
            )
