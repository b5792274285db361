"""Claim: two workers on two cores finish 20 light trials at least 1.7 times faster than one.

A trial is 3 s of sines on one thread, over three folds. Each study is a command of its
own, timed from its start to its end: Python and its imports, the workers' start, the trials and the
report. The ratio is that of the two times. Exit status 1 if it is below the claim. It means
something on a quiet machine with two cores only.

Physical limit: 2, less what is done once: some 3 s to import and 2 s for the report.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, Literal

import numpy as np
from claims import Claim, settle, timed
from molpool_common import ConfigModel
from molpool_pipelines.runs import TrackingConfig
from molpool_pipelines.studies import (
    FoldResult,
    OnEpochEnd,
    Problem,
    StudyConfig,
    read_space,
    run_study,
)
from pydantic import Field

CLAIM = 1.7
TRIALS, FOLDS, SECONDS, SIZE = 20, 3, 3.0, 20_000


class Config(ConfigModel):
    n_sines: int
    save_dir: str | None = None
    overwrite: bool = False
    seed: int = 0
    study: StudyConfig = Field(default_factory=StudyConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)


class Training:
    """So many sines a fold."""

    n_folds, epochs_per_fold = FOLDS, 1
    direction: Literal["minimize", "maximize"] = "minimize"
    metric = "error"

    def __init__(self, n_sines: int) -> None:
        self._numbers = np.random.default_rng(0).normal(size=SIZE)
        self._n_sines = n_sines

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        here = self._numbers
        for _ in range(self._n_sines):
            here = np.sin(here)
        return FoldResult((params["x"] - 0.3) ** 2 + 0.0 * float(here[0]))


def problem(config: Config) -> Problem:
    space = read_space({"x": {"low": 0.0, "high": 1.0}})
    build = partial(Training, config.n_sines)
    return Problem("benchmark", build, FOLDS, "error", "minimize", space, {}, {}, dict)


def main() -> int:
    n_trials = int(sys.argv[1]) if len(sys.argv) > 1 else TRIALS
    n_sines = calibrated()
    seconds = {}
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            study = StudyConfig(n_trials=n_trials, workers=workers, pruner="none")
            config = Config(n_sines=n_sines, save_dir=f"{folder}/study", study=study)
            seconds[workers] = timed(partial(command, config.model_dump_json()))
        print(f"{n_trials} trials, {workers} workers: {seconds[workers]:.1f} s")
    ratio = seconds[1] / seconds[2]
    two, one = f"{seconds[2]:.1f} s", f"{seconds[1]:.1f} s"
    return settle(Claim("two workers against one", ratio, CLAIM, ours=two, peer=one))


def command(config: str) -> None:
    arguments = [sys.executable, str(Path(__file__).resolve()), "study", config]
    subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL)


def calibrated() -> int:
    """Return the sines a fold that make a trial last a little more than 3 s."""
    numbers = np.random.default_rng(0).normal(size=SIZE)
    begun = process_time()
    for _ in range(3000):
        numbers = np.sin(numbers)
    return round(1.05 * SECONDS / FOLDS / (process_time() - begun) * 3000)


if __name__ == "__main__":
    if sys.argv[1:2] == ["study"]:
        sys.exit(run_study(Config.model_validate_json(sys.argv[2]), problem, name="benchmark"))
    sys.exit(main())
