"""The ``study`` section: how many trials, which folds, which sampler, where it is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import tyro
from molpool_common import ConfigModel
from pydantic import Field, field_validator, model_validator

from molpool_pipelines.studies.values import plain

FoldType = Literal["random", "scaffold", "time", "stored"]
PrunerName = Literal["median", "percentile", "hyperband", "none"]


def _alias(flag: str) -> Any:
    return tyro.conf.arg(aliases=[flag])


class StudyConfig(ConfigModel):
    """Trials, folds, sampler, pruner and storage of a study."""

    n_trials: Annotated[int, _alias("--n-trials")] = Field(
        50, ge=1, description="trials of the whole study, over all workers and resumes"
    )
    n_folds: Annotated[int, _alias("--n-folds")] = Field(
        3, ge=2, description="inner folds; a trial's score is the mean over them"
    )
    fold_type: Annotated[FoldType, _alias("--fold-type")] = Field(
        "random",
        description="inner folds: random molecules, whole scaffolds, later molecules (time), or "
        "those of fold_column (stored)",
    )
    fold_column: Annotated[str | None, _alias("--fold-column")] = Field(
        None, description="column of fold names, for fold_type stored"
    )
    metric: Annotated[str | None, _alias("--metric")] = Field(
        None, description="what is tuned for; by default the model's own"
    )
    sampler: Annotated[str, _alias("--sampler")] = Field(
        "TPESampler", description="name of a class in optuna.samplers"
    )
    sampler_options: dict[str, Any] = Field(
        default_factory=dict, description="its arguments, by name"
    )
    pruner: Annotated[PrunerName, _alias("--pruner")] = Field(
        "median", description="when to give up a trial between folds and epochs"
    )
    pruner_options: dict[str, Any] = Field(
        default_factory=dict,
        description="its arguments: n_startup_trials, percentile, min_resource, ...",
    )
    timeout: Annotated[float | None, _alias("--timeout")] = Field(
        None, gt=0, description="seconds after which no further trial is started"
    )
    seed: int | None = Field(
        None, ge=0, description="seed of sampler, folds and trials; by default the run's"
    )
    workers: Annotated[int, _alias("--workers")] = Field(
        1, ge=1, description="processes here; the cores are shared out among them"
    )
    storage: Annotated[str | None, _alias("--storage")] = Field(
        None,
        description="database address, postgresql://USER@HOST/NAME, or a journal file; by default "
        "journal.log in the study folder",
    )
    study_name: Annotated[str | None, _alias("--study-name")] = Field(
        None, description="name in the storage; by default that of the study folder"
    )
    enqueue: Annotated[str | None, _alias("--enqueue")] = Field(
        None, description="YAML or JSON list of parameters to try after the defaults"
    )
    try_defaults: bool = Field(
        True, description="whether the first trial is the configuration's own values"
    )
    default_space: bool = Field(
        True, description="whether `space` changes the model's own space or starts from nothing"
    )
    baselines: Annotated[bool, _alias("--baselines")] = Field(
        False,
        description="score LightGBM and a random forest on Morgan counts and 2D descriptors under "
        "the same folds",
    )
    heartbeat_interval: int = Field(
        60, ge=1, description="seconds between signs of life of a running trial"
    )
    grace_period: int | None = Field(
        None, ge=1, description="seconds without one after which it is tried again; by default 2 x"
    )
    max_retry: int = Field(
        2, ge=0, description="how often a trial is tried again whose worker was killed"
    )
    max_failures: int = Field(
        3, ge=1, description="failures in a row at the start after which the study stops"
    )

    @field_validator("sampler_options", "pruner_options")
    @classmethod
    def _typed(cls, options: dict[str, Any]) -> dict[str, Any]:
        return {name: plain(value) for name, value in options.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.fold_type == "stored" and self.fold_column is None:
            raise ValueError("fold_column: expected a column with fold_type stored, found none")
        if self.fold_column is not None and self.fold_type != "stored":
            raise ValueError(
                f"fold_type: expected stored with a fold_column, found {self.fold_type!r}"
            )
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
