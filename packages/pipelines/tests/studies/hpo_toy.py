"""A model without data: its score is known by hand. Also run by worker processes of the tests."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from molpool_common import ConfigModel, InputError
from molpool_pipelines.runs import TrackingConfig
from molpool_pipelines.studies._config import StudyConfig
from molpool_pipelines.studies._space import SpaceConfig, read_space
from molpool_pipelines.studies._study import run_study
from molpool_pipelines.studies._trials import FoldResult, OnEpochEnd, Problem
from pydantic import Field

SPACE = {
    "x": {"low": -2.0, "high": 2.0},
    "n": {"low": 1, "high": 5},
    "kind": {"choices": ["a", "b"]},
    "y": {"low": 0.1, "high": 10.0, "log": True, "when": {"kind": "b"}},
}


class ToyConfig(ConfigModel):
    x: float = 1.0
    n: int = 2
    kind: str = "a"
    y: float = 100.0
    z: float = 0.0
    seed: int = 0
    epochs: int = 3
    seconds: float = 0.0
    fails: str = "never"
    marks: str | None = None
    save_dir: str | None = None
    overwrite: bool = False
    accept_changed_table: bool = False
    study: StudyConfig = Field(default_factory=lambda: StudyConfig(n_trials=8))
    space: SpaceConfig = Field(default_factory=dict)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)


class ToyObjective:
    """Score of fold k after epoch e: (x² + n/10 + k) / (e + 1) + 1."""

    direction: Literal["minimize", "maximize"] = "minimize"
    metric = "toy error"

    def __init__(self, config: ToyConfig) -> None:
        self.n_folds = config.study.n_folds
        self.epochs_per_fold = config.epochs
        self._config = config

    def run_fold(
        self, params: Mapping[str, Any], fold: int, on_epoch_end: OnEpochEnd, seed: int
    ) -> FoldResult:
        config = self._config
        params = {"x": config.x, "n": config.n, **params}
        self._misbehave(fold)
        if config.marks:
            with Path(config.marks).open("a") as file:
                file.write(f"{os.getpid()} {fold} {params['x']!r} {seed}\n")
        value = 0.0
        for epoch in range(config.epochs):
            time.sleep(config.seconds / config.epochs)
            value = score(params, fold, epoch)
            on_epoch_end(epoch, value)
        return FoldResult(value, {"best_epoch": config.epochs - 1, "seed": seed})

    def _misbehave(self, fold: int) -> None:
        fails, _, where = self._config.fails.partition(":")
        if fails == "always" or (fails == "later" and fold == 1):
            raise RuntimeError(f"cannot train fold {fold}")
        if fails == "nan":
            return
        if fails == "killed":
            # Once only, whichever process comes first.
            flag = Path(where)
            try:
                flag.touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


def score(params: Mapping[str, Any], fold: int, epoch: int) -> float:
    return (params["x"] ** 2 + params["n"] / 10 + fold) / (epoch + 1) + 1


def build(config: ToyConfig) -> ToyObjective:
    return ToyObjective(config)


def toy_problem(config: ToyConfig) -> Problem:
    default = SPACE if config.study.default_space else {}
    space = read_space(config.space, default, ToyConfig)
    return Problem(
        kind="toy",
        build=partial(build, config),
        n_folds=config.study.n_folds,
        metric="toy error",
        direction="minimize",
        space=space,
        defaults={name: getattr(config, name) for name in space.parameters},
        identity={"data": {"z": config.z}},
        resolve=partial(resolve, config),
    )


def bad_build() -> ToyObjective:
    raise InputError("model", expected="a good one", found="a bad one")


def resolve(config: ToyConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("x", "n", "kind", "y", "z")
    return {key: params.get(key, getattr(config, key)) for key in keys}


def run(config: ToyConfig) -> int:
    return run_study(config, toy_problem, name="toy")


def main(text: str) -> int:
    """Run a study as a process of its own, as the command does."""
    from molpool_common import guarded

    return guarded("toy", lambda: run(ToyConfig.model_validate_json(text)))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    import hpo_toy  # pickled names must lead to the module, not to __main__

    sys.exit(hpo_toy.main(sys.argv[1]))
