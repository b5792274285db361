"""One trial: its folds in turn, told to Optuna epoch by epoch."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import optuna
from molpool_common import free_memory, heed_ctrl_c
from optuna.trial import FrozenTrial, TrialState

from molpool_pipelines.studies.errors import HPOError
from molpool_pipelines.studies.objective import Objective
from molpool_pipelines.studies.queue import INTERRUPTED, Queue, origin
from molpool_pipelines.studies.samplers import SamplerFactory, derived_seed
from molpool_pipelines.studies.space import Space

VALUES, FOLDS, ERROR = "values", "folds", "error"
"""Attributes of a trial: active parameters, fixed ones too; what each fold gave; why it failed."""


class TrialRunner:
    """Runs trials of a study.

    Parameters
    ----------
    queue : Queue
        Where they come from.
    objective : Objective
        The model over the folds.
    space : Space
        What is drawn.
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
        """Run a trial and tell the study how it ended.

        Raises
        ------
        KeyboardInterrupt
            After the trial has been put back.
        """
        with self._queue.alive(taken):
            try:
                # It seeds itself by the trial's number.
                self._study.sampler = self._samplers(taken.number)
                trial = optuna.trial.Trial(self._study, taken._trial_id)
                params = self._space.suggest(trial, self._defaults)
                trial.set_user_attr(VALUES, params)
                value = self._folds(trial, params, origin(taken))
            except optuna.TrialPruned:
                self._tell(taken, state=TrialState.PRUNED)
            except KeyboardInterrupt:
                self._queue.give_back(taken)
                raise
            except optuna.exceptions.UpdateFinishedTrialError:
                return  # we were taken for lost, and another process runs it
            except Exception as error:
                self._fail(taken, error)
            else:
                self._tell(taken, value)
            finally:
                free_memory()

    def _folds(self, trial: optuna.Trial, params: Mapping[str, Any], number: int) -> float:
        done: list[float] = []
        kept: list[dict[str, Any]] = []
        for fold in range(self._objective.n_folds):
            begun = time.perf_counter()
            tell = self._teller(trial, fold, done)
            seed = derived_seed(self._seed, number, fold)
            result = self._objective.run_fold(params, fold, tell, seed)
            if not math.isfinite(result.value):
                raise HPOError(
                    f"fold {fold + 1} of {self._objective.n_folds}: expected a finite "
                    f"{self._objective.metric}; found {result.value}."
                )
            done.append(result.value)
            kept.append({**asdict(result), "seconds": time.perf_counter() - begun})
            trial.set_user_attr(FOLDS, _json(kept))
            if fold + 1 < self._objective.n_folds:
                # A fold that stopped early has no value at its last epoch: this step has one of
                # every trial, so that trials are compared with each other after each fold.
                self._report(trial, fold, self._objective.epochs_per_fold, done)
        return sum(done) / len(done)

    def _teller(
        self, trial: optuna.Trial, fold: int, finished: list[float]
    ) -> Callable[[int, float], None]:
        n_epochs = self._objective.epochs_per_fold

        def tell(epoch: int, value: float) -> None:
            if not 0 <= epoch < n_epochs:
                raise ValueError(f"epoch: expected 0 to {n_epochs - 1}; found {epoch}.")
            self._report(trial, fold, epoch, [*finished, float(value)])

        return tell

    def _report(self, trial: optuna.Trial, fold: int, epoch: int, values: list[float]) -> None:
        step = fold * (self._objective.epochs_per_fold + 1) + epoch
        trial.report(sum(values) / len(values), step)
        heed_ctrl_c()
        if trial.should_prune():
            raise optuna.TrialPruned(f"fold {fold + 1}, epoch {epoch + 1}")

    def _fail(self, taken: FrozenTrial, error: Exception) -> None:
        kind = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "
        self._queue.attribute(taken, ERROR, f"{kind}{error}" or repr(error))
        self._tell(taken, state=TrialState.FAIL)

    def _tell(
        self, taken: FrozenTrial, value: float | None = None, state: TrialState | None = None
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                # One that another process has ended meanwhile keeps how it ended.
                self._study.tell(taken.number, value, state=state, skip_if_finished=True)
            except RuntimeError as error:
                # So a sampler says that it has drawn every point, once the trial is stored.
                if "Study.stop" not in str(error):
                    raise
                self.is_exhausted = True


def steps_per_trial(n_folds: int, epochs_per_fold: int) -> int:
    """Return how many values a whole trial reports."""
    return n_folds * (epochs_per_fold + 1) - 1


def _json(kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what JSON can hold: an undefined number is none."""
    return [
        {
            **fold,
            "numbers": {k: v if math.isfinite(v) else None for k, v in fold["numbers"].items()},
        }
        for fold in kept
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
