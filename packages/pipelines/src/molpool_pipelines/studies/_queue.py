"""The trials of a study as a queue: each is taken by one process, and those of dead ones come back.

A trial waits in the storage before it runs, and Optuna lets one process alone take it. Originals
are counted by their numbers, which the storage hands out one by one: the first `n_trials` may run,
so that workers who add one at the same moment cannot run more than asked for.
"""

from __future__ import annotations

import copy
import os
import socket
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import optuna
from molpool_common import start_ticks
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


@dataclass(frozen=True)
class WorkerProcess:
    """A process among all machines that share a study.

    Parameters
    ----------
    host : str
        Name of the machine, for people.
    machine : str
        The machine since it was started, and the container on it.
    pid : int
        Number of the process.
    started : int
        When it was started, in ticks since the machine was: numbers are used again.
    """

    host: str
    machine: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> WorkerProcess:
        """Return this process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), start_ticks(os.getpid()))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> WorkerProcess:
        """Return the process that `as_dict` wrote down."""
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """Return the process for a trial's attributes."""
        return asdict(self)

    def is_dead(self) -> bool | None:
        """Return whether the process has ended; None of one on another machine."""
        if self.machine != _machine():
            return None
        return start_ticks(self.pid) != self.started


@cache
def _machine() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):
        # A rebooted machine has the same name and other processes.
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):  # the same number is another process in another container
        parts.append(Path("/proc/self/ns/pid").readlink().name)
    return "/".join(parts)


PROCESS, HEARTBEAT, LOST, INTERRUPTED = "owner", "heartbeat", "lost", "interrupted"
VALUES = "values"
"""Attributes of a trial: the process that runs it, its signs of life, how it was left; its active
parameters, fixed ones too."""
_ORIGIN, _HISTORY = "failed_trial", "retry_history"
"""Where Optuna's own retry callback notes the same."""

UNCLAIMED = 30.0
"""Seconds after which a running trial that names no process is taken for lost.

A process writes its name within milliseconds of taking a trial.
"""


def origin(trial: FrozenTrial) -> int:
    """Return the number of the trial that this one tries again, or its own."""
    return int(trial.system_attrs.get(_ORIGIN, trial.number))


def retried(trials: Sequence[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials that ended without a result and were queued again."""
    return {number for t in trials for number in t.system_attrs.get(_HISTORY, [])}


def counted_trials(trials: Sequence[FrozenTrial], n_trials: int) -> list[FrozenTrial]:
    """Return the trials that count: the first `n_trials` originals and what tries them again."""
    originals = sorted(t.number for t in trials if origin(t) == t.number)
    # By number, not by time: workers that add a trial at the same moment agree on which are too
    # many.
    allowed = set(originals[:n_trials])
    return [t for t in trials if origin(t) in allowed]


class Queue:
    """The trials of one study, as a worker sees them.

    Parameters
    ----------
    study : Study
        The study.
    n_trials : int
        How many trials it shall have.
    max_retry : int
        How often a trial is retried whose process was lost.
    grace : float
        Seconds without a sign of life after which a process elsewhere counts as lost.
    heartbeat : float
        Seconds between signs of life.
    """

    def __init__(
        self, study: Study, n_trials: int, *, max_retry: int, grace: float, heartbeat: float
    ) -> None:
        self.study = study
        self.n_trials = n_trials
        self._retry = Retry(max_retry)
        self._grace = grace
        self._heartbeat = heartbeat
        self._storage: BaseStorage = study._storage
        self._process = WorkerProcess.here()

    def trials(self) -> list[FrozenTrial]:
        """Return the trials that count."""
        return counted_trials(self.study.get_trials(deepcopy=False), self.n_trials)

    def take(self) -> FrozenTrial | None:
        """Take a waiting trial, or add one; None once there is none to be had."""
        while True:
            trials = self.trials()
            for trial in trials:
                # Waiting ones first: those that were lost, and the defaults.
                if trial.state == TrialState.WAITING and self._claim(trial):
                    return trial
            if sum(origin(t) == t.number for t in trials) >= self.n_trials:
                return None
            # Not enqueued: some samplers leave all parameters of such a trial to who enqueued it.
            self.study.add_trial(optuna.create_trial(state=TrialState.WAITING))

    def _claim(self, trial: FrozenTrial) -> bool:
        try:
            taken: bool = self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        # After the state: a process that dies between the two is found by `UNCLAIMED`.
        if taken:
            self.attribute(trial, PROCESS, self._process.as_dict())
        return taken

    def place(self, trial: FrozenTrial) -> int:
        """Return the number of a trial, or of the one it tries again, among those that are none.

        Draws and seeds go by it: trials that are tried again take numbers too, by chance.
        """
        return sum(origin(t) == t.number < origin(trial) for t in self.trials())

    def n_running(self) -> int:
        """Return how many trials run, here or elsewhere."""
        return sum(t.state == TrialState.RUNNING for t in self.trials())

    def requeue(self, trial: FrozenTrial) -> None:
        """Let another process run a trial that this one leaves."""
        self._end(trial, INTERRUPTED)

    def requeue_lost(self) -> int:
        """Put back the trials of processes that have ended; returns how many."""
        lost = [t for t in self.trials() if t.state == TrialState.RUNNING and self._is_lost(t)]
        n_lost = sum(self._end(trial, LOST) for trial in lost)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # For databases, which keep heartbeats themselves; on a journal it does nothing.
            optuna.storages.fail_stale_trials(self.study)
        return n_lost

    def _is_lost(self, trial: FrozenTrial) -> bool:
        process = trial.user_attrs.get(PROCESS)
        if process is None:
            begun = trial.datetime_start
            return begun is not None and (datetime.now() - begun).total_seconds() > UNCLAIMED
        dead = WorkerProcess.from_dict(process).is_dead()
        if dead is not None:
            return dead
        # Only of other machines, where a process id says nothing.
        beat = trial.user_attrs.get(HEARTBEAT)
        return beat is not None and time.time() - beat > self._grace

    def _end(self, trial: FrozenTrial, reason: str) -> bool:
        """Fail a running trial and queue it again; False if another process has ended it."""
        try:
            # Before the state: attributes of a finished trial cannot be set any more.
            self.attribute(trial, reason, True)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except optuna.exceptions.UpdateFinishedTrialError:
            return False
        self._retry(self.study, self._storage.get_trial(trial._trial_id))
        return True

    def attribute(self, trial: FrozenTrial, name: str, value: Any) -> None:
        """Note something of a running trial."""
        self._storage.set_trial_user_attr(trial._trial_id, name, value)

    @contextmanager
    def heartbeats(self, trial: FrozenTrial) -> Iterator[None]:
        """Give signs of life of a trial while the block runs."""
        self._beat(trial)
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self._heartbeat):
                try:
                    self._beat(trial)
                except optuna.exceptions.UpdateFinishedTrialError:
                    return  # taken from us

        # Not stopped by the training, which holds the interpreter for milliseconds at a time.
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _beat(self, trial: FrozenTrial) -> None:
        # A database keeps signs of life itself; a journal has none, and gets an attribute.
        if record := getattr(self._storage, "record_heartbeat", None):
            record(trial._trial_id)
        else:
            self.attribute(trial, HEARTBEAT, time.time())


class Retry:
    """Queues a trial again whose process was lost; what Optuna calls for one gone stale.

    Optuna's own callback would hand the lost process's attributes on to the new trial.

    Parameters
    ----------
    max_retry : int
        How often. A trial that was interrupted by its user is queued again however often.
    """

    def __init__(self, max_retry: int) -> None:
        self._max_retry = max_retry

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Queue a failed trial again."""
        interrupted = trial.user_attrs.get(INTERRUPTED, False)
        # An interruption by the user is no fault of the trial and does not use up its retries.
        n_lost = trial.user_attrs.get("n_lost", 0) + (not interrupted)
        if n_lost > self._max_retry:
            return
        history = [*trial.system_attrs.get(_HISTORY, []), trial.number]
        # The defaults stay recognisable as such when they are retried.
        source = {k: v for k, v in trial.user_attrs.items() if k == "source"}
        attributes = copy.deepcopy(dict(trial.system_attrs))
        # Lost while it drew, it draws anew: the rest alone would be drawn as if it came first.
        drawn = VALUES in trial.user_attrs
        study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=trial.params if drawn else {},
                distributions=trial.distributions if drawn else {},
                user_attrs={**source, "n_lost": n_lost},
                system_attrs={**attributes, _ORIGIN: origin(trial), _HISTORY: history},
            )
        )
