"""Claim: a study costs at most 2 % on top of the training that it does.

A trial "trains" 3 folds of 10 epochs, 2 s of sines on one thread in all, and reports each epoch's
score. It runs once in a bare loop and once in a study: drawn by TPE, looked at by the median
pruner after each epoch, written to the journal, heartbeat and log, with the table of trials and
screen kept up to date. The two take turns in this process; the ratio is the median over the trials.
What a study does once, at its start and its end, is not counted. Exit status 1 if the ratio is
beyond the claim. It means something on a quiet machine only.

Physical limit: the journal forces one record per trial to the disk, 1 to 10 ms; some 50 records in
between are written and read back, 0.1 ms each.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, Literal

import numpy as np
from claims import Claim, settle, timed
from molpool_common import RunFolder, tune_process
from molpool_pipelines.runs import NullTracker
from molpool_pipelines.studies import (
    FoldResult,
    OnEpochEnd,
    Problem,
    StudyConfig,
    StudyRecorder,
    StudyScreen,
    StudyWorker,
    open_study,
    read_space,
)
from rich.console import Console

CLAIM = 1.02
TRIALS, FOLDS, EPOCHS, SECONDS, SIZE = 20, 3, 10, 2.0, 20_000
SPACE = {f"x{i}": {"low": 0.0, "high": 1.0} for i in range(8)}


class Training:
    """So many sines an epoch."""

    n_folds, epochs_per_fold = FOLDS, EPOCHS
    direction: Literal["minimize", "maximize"] = "minimize"
    metric = "error"

    def __init__(self, n_sines: int) -> None:
        self._numbers = np.random.default_rng(0).normal(size=SIZE)
        self._n_sines = n_sines

    def epoch(self) -> float:
        here = self._numbers
        for _ in range(self._n_sines):
            here = np.sin(here)
        return float(here[0])

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        value = 0.0
        for epoch in range(EPOCHS):
            # All score alike, so that none is pruned: each trial is as long as a bare one.
            value = 0.0 * self.epoch() - epoch
            on_epoch_end(epoch, value)
        return FoldResult(value, {"best_epoch": EPOCHS - 1})

    def bare(self) -> None:
        for fold in range(FOLDS):
            self.run_fold({}, fold, lambda _epoch, _value: None, 0)


def main() -> int:
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    tune_process()  # as every worker does
    training = Training(calibrated())
    bare: list[float] = []
    tuned: list[float] = []
    busy = 0.0
    with tempfile.TemporaryDirectory() as folder:
        step = study(training, Path(folder) / "study", n_trials)
        for _ in range(n_trials):
            before = process_time()
            bare.append(timed(training.bare))
            busy -= process_time() - before
            before = process_time()
            tuned.append(timed(step))
            busy += process_time() - before
    print(f"{n_trials} trials of {FOLDS} folds x {EPOCHS} epochs")
    for name, seconds in (("bare loop", bare), ("study", tuned)):
        print(f"{name:10s} {median(seconds):.3f} s per trial")
    print(f"of which this process computed {busy / n_trials * 1e3:.0f} ms per trial more")
    ratio = median([t / b for t, b in zip(tuned, bare, strict=True)])
    ours, peer = (f"{median(seconds):.3f} s" for seconds in (tuned, bare))
    return settle(
        Claim(
            "trial of a study, of a bare loop's", ratio, CLAIM, at_most=True, ours=ours, peer=peer
        )
    )


def calibrated() -> int:
    """Return the sines an epoch that make a trial last about 2 s."""
    probe = Training(1000)
    begun = process_time()
    probe.epoch()
    return max(1, round(SECONDS / (FOLDS * EPOCHS) / (process_time() - begun) * 1000))


def study(training: Training, folder: Path, n_trials: int) -> Callable[[], None]:
    """Return what runs the next trial of a study, with all that a run does about it."""
    space = read_space(SPACE)
    problem = Problem(
        "benchmark", lambda: training, FOLDS, "error", "minimize", space, {}, {}, dict
    )
    run = RunFolder.create(folder)
    run.write_json("study.json", {"name": "overhead", "n_trials": n_trials})
    config = StudyConfig(n_trials=n_trials)
    worker = StudyWorker(
        "overhead", str(folder / "journal.log"), config, 0, "minimize", space, {}, problem.build
    )
    storage = worker.open_storage()
    open_study(worker, problem, storage)
    queue = worker.queue(storage)
    recorder = StudyRecorder(
        queue, problem, run, StudyScreen(Console(stderr=True), n_trials), NullTracker()
    )

    def step() -> None:
        # One trial more than there are: the loop that a worker runs, a turn at a time.
        done = sum(t.state.is_finished() for t in queue.trials())
        queue.n_trials = done + 1
        worker.work(queue, recorder.update)
        queue.n_trials = n_trials

    return step


if __name__ == "__main__":
    sys.exit(main())
