"""Everything `molpool-train chemprop` can be told."""

from __future__ import annotations

from typing import Annotated

import tyro
from chemprop_multitask import ModelConfig, SharedChempropConfig
from pydantic import Field
from sampling_core import JointSamplingConfig
from task_affinity import TaskAffinityConfig

from molpool_pipelines.runs import TrackingConfig
from molpool_pipelines.tables import TableConfig


class TrainModelConfig(ModelConfig):
    """Architecture."""

    from_foundation: Annotated[str | None, tyro.conf.arg(aliases=["--from-foundation"])] = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )


class TrainChempropConfig(TableConfig, SharedChempropConfig):
    """A training run: data, sampling, model, training, where it goes."""

    save_dir: str | None = Field(
        None, description="run folder; by default runs/NAME-TIME of the configuration's name"
    )
    seed: int = Field(42, ge=0, description="seed of split, weights, shuffling and dropout")
    resume: bool = Field(False, description="go on with the run in save_dir")
    overwrite: bool = Field(False, description="replace the run in save_dir")
    model: TrainModelConfig = Field(default_factory=TrainModelConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    task_affinity: TaskAffinityConfig = Field(default_factory=TaskAffinityConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
