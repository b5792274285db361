"""Configuration of training runs: everything that `molpool-train` takes."""

from __future__ import annotations

from typing import Annotated, Self

import tyro
from chemprop_multitask import ModelConfig, SharedChempropConfig
from mil_attn import MILRunConfig
from molpool_common import ConfigModel
from pydantic import Field, model_validator
from sampling_core import JointSamplingConfig
from task_affinity import TaskAffinityConfig

from molpool_pipelines.runs import RunConfig
from molpool_pipelines.tables import TableConfig


class TrainModelConfig(ModelConfig):
    """Architecture."""

    from_foundation: Annotated[str | None, tyro.conf.arg(aliases=["--from-foundation"])] = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )


class TrainChempropConfig(RunConfig, TableConfig, SharedChempropConfig):
    """A training run: data, sampling, model, training, where it goes.

    Studies configure their trials by it too.
    """

    seed: int = Field(42, ge=0, description="seed of split, weights, shuffling and dropout")
    model: TrainModelConfig = Field(default_factory=TrainModelConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    task_affinity: TaskAffinityConfig = Field(default_factory=TaskAffinityConfig)


class TrainMILConfig(RunConfig, MILRunConfig):
    """A training run: data, split, model, training, where it goes."""


class CVConfig(ConfigModel):
    """Repeated k-fold cross-validation: a run for each fold, and their test rows in one folder."""

    folds: int | None = Field(
        None, ge=2, description="folds, each of which tests once; the split type is data.split_type"
    )
    repeats: int = Field(
        1, ge=1, description="times that all folds are drawn anew, each with its own seed"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.repeats > 1 and self.folds is None:
            raise ValueError("folds: expected a number with repeats, found none")
        return self

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Repeat and fold of each run, from 0; none without folds."""
        return [(r, f) for r in range(self.repeats) for f in range(self.folds or 0)]


class TrainChempropCommand(TrainChempropConfig):
    """What `molpool-train chemprop` takes: one run, or one for each fold of a cross-validation."""

    cv: CVConfig = Field(default_factory=CVConfig)


class TrainMILCommand(TrainMILConfig):
    """What `molpool-train mil` takes: one run, or one for each fold of a cross-validation."""

    cv: CVConfig = Field(default_factory=CVConfig)
