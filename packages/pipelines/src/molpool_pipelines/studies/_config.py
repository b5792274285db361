"""The ``study`` section of a configuration, and what `retrain` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tyro
from molpool_common import PATH, USER_ERROR, ConfigModel, InputError, Seed, short_flag
from pydantic import Field, field_validator, model_validator

from molpool_pipelines.fitting import BaselineChoice
from molpool_pipelines.runs import ACCEPT_CHANGED_TABLE
from molpool_pipelines.studies._parameters import plain
from molpool_pipelines.studies._space import SpaceConfig


class HPOError(ValueError):
    """A study, its space or its storage cannot be used as asked."""

    exit_code = USER_ERROR


FoldType = Literal["random", "scaffold", "cluster", "stratified", "time", "stored"]
PrunerName = Literal["median", "percentile", "hyperband", "none"]


class StudyConfig(ConfigModel):
    """Trials, folds, sampler, pruner and storage of a study."""

    n_trials: Annotated[int, short_flag("--n-trials")] = Field(
        50, ge=1, description="trials of the study, over all workers and resumes"
    )
    n_folds: Annotated[int, short_flag("--n-folds")] = Field(
        3, ge=2, description="inner folds; a trial's score is the mean over them"
    )
    fold_type: Annotated[FoldType, short_flag("--fold-type")] = Field(
        "random",
        description="inner folds: random molecules, scaffolds or clusters kept together, the "
        "labels of each task dealt out evenly (stratified), later molecules (time), or those of "
        "fold_column (stored)",
    )
    fold_column: Annotated[str | None, short_flag("--fold-column")] = Field(
        None, description="column of fold names, for fold_type stored"
    )
    metric: Annotated[str | None, short_flag("--metric")] = Field(
        None, description="what is tuned for; by default the model's own"
    )
    sampler: Annotated[str, short_flag("--sampler")] = Field(
        "TPESampler", description="name of a class in optuna.samplers"
    )
    sampler_options: dict[str, Any] = Field(
        default_factory=dict, description="its arguments, by name"
    )
    pruner: Annotated[PrunerName, short_flag("--pruner")] = Field(
        "median", description="when to give up a trial between folds and epochs"
    )
    pruner_options: dict[str, Any] = Field(
        default_factory=dict,
        description="its arguments: n_startup_trials, percentile, min_resource, ...",
    )
    timeout: Annotated[float | None, short_flag("--timeout")] = Field(
        None, gt=0, description="seconds after which no further trial is started"
    )
    seed: Seed | None = Field(
        None, description="seed of sampler, folds and trials; by default the run's"
    )
    workers: Annotated[int, short_flag("--workers")] = Field(
        1, ge=1, description="processes here; the cores are shared out among them"
    )
    storage: Annotated[str | None, PATH, short_flag("--storage")] = Field(
        None,
        description="database address, postgresql://USER@HOST/NAME, or a journal file; by default "
        "journal.log in the study folder",
    )
    study_name: Annotated[str | None, short_flag("--study-name")] = Field(
        None, description="name in the storage; by default that of the study folder"
    )
    enqueue: Annotated[str | None, PATH, short_flag("--enqueue")] = Field(
        None, description="YAML or JSON list of parameters to try after the defaults"
    )
    try_defaults: bool = Field(
        True, description="whether the first trial is the configuration's own values"
    )
    default_space: bool = Field(
        True, description="whether `space` changes the model's own space or starts from nothing"
    )
    space_version: Literal[1, 2] = Field(
        2,
        description="of the model's own space: 1 also tries dot products of gradients where they "
        "are cosines; a study begun with one goes on with it",
    )
    baselines: Annotated[BaselineChoice, short_flag("--baselines")] = Field(
        "none",
        description="simple models on Morgan counts and 2D descriptors under the same folds: fast: "
        "mean of the task, nearest neighbours and LightGBM; all: a random forest too",
    )
    heartbeat_interval: int = Field(
        60, ge=1, description="seconds between signs of life of a running trial"
    )
    grace_period: int | None = Field(
        None, ge=1, description="seconds without one after which it is retried; by default 2 x"
    )
    max_retry: int = Field(
        2, ge=0, description="how often a trial is retried whose worker was killed"
    )
    max_failures: int = Field(
        3, ge=1, description="failures in a row at the start after which the study stops"
    )

    @field_validator("sampler_options", "pruner_options")
    @classmethod
    def _typed(cls, options: dict[str, Any]) -> dict[str, Any]:
        # From flags all values are text, which Optuna's classes would take as it is.
        return {name: plain(value) for name, value in options.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fold_type == "stored" and self.fold_column is None:
            raise ValueError("fold_column: expected a column with fold_type stored, found none")
        if self.fold_column is not None and self.fold_type != "stored":
            raise ValueError(
                f"fold_type: expected stored with a fold_column, found {self.fold_type!r}"
            )
        # A trial would count as dead between two signs of life.
        if self.grace_period is not None and self.grace_period <= self.heartbeat_interval:
            raise ValueError(
                f"grace_period: expected more than heartbeat_interval, "
                f"{self.heartbeat_interval}, found {self.grace_period}"
            )
        return self

    @property
    def grace(self) -> int:
        """Seconds without a sign of life after which a trial counts as dead."""
        return self.grace_period or 2 * self.heartbeat_interval


class StudyRunConfig(ConfigModel):
    """What a study of any kind says beside the training configuration that it tunes."""

    save_dir: Annotated[str | None, PATH] = Field(
        None, description="study folder; by default runs/NAME-TIME of the configuration's name"
    )
    resume: bool = Field(False, description="read by molpool-train; a study always goes on")
    # Only in the file: as a flag it would be that of study.baselines.
    baselines: Annotated[BaselineChoice, tyro.conf.Fixed] = Field(
        "fast", description="of runs: simple models beside those that are retrained"
    )
    space: SpaceConfig = Field(
        default_factory=dict,
        description="parameters to narrow, fix or add, by dotted key: a value, "
        "{low: …, high: …, log: true} or {choices: […]}, with when: {KEY: VALUE}",
    )


class RetrainConfig(ConfigModel):
    """Which trials to train again, and what to compare them with."""

    study_dir: Annotated[str | None, PATH] = Field(None, description="folder of the study")
    k: int = Field(
        1, ge=1, description="how many of the best trials to train; two or more make an ensemble"
    )
    trial: int | None = Field(None, ge=0, description="number of the trial to train instead")
    name: str | None = Field(
        None, description="folder below STUDY/retrained; by default best, best-K or trial-N"
    )
    defaults: bool = Field(
        False, description="train the study's first trial, the defaults, in the same way too"
    )
    baselines: BaselineChoice = Field(
        "none",
        description="simple models on the same rows: fast: mean of the task, nearest neighbours "
        "and LightGBM; all: a random forest too",
    )
    storage: Annotated[str | None, PATH] = Field(
        None, description="where the study is kept, if the folder's note of it lacks the password"
    )
    overwrite: bool = Field(False, description="replace what is there under this name")
    accept_changed_table: bool = Field(False, description=ACCEPT_CHANGED_TABLE)

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.trial is not None and self.k > 1:
            raise ValueError("trial: expected one trial, or k of the best; found both")
        # `overwrite` removes what lies below this name.
        if self.name is not None and (Path(self.name).name != self.name or self.name == ".."):
            raise ValueError(f"name: expected the name of a folder; found {self.name!r}")
        return self

    @property
    def study(self) -> Path:
        """Folder of the study."""
        if self.study_dir is None:
            raise InputError("--study-dir", expected="the folder of a study", found="none")
        return Path(self.study_dir)

    @property
    def folder(self) -> Path:
        """Where the retrained models go."""
        best = "best" if self.k == 1 else f"best-{self.k}"
        name = self.name or (best if self.trial is None else f"trial-{self.trial}")
        return self.study / "retrained" / name
