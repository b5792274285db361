"""Configuration of training runs: everything that `molpool-train` takes."""

from __future__ import annotations

from typing import Annotated

from chemprop_multitask import ModelConfig, SharedChempropConfig
from mil_attn import MILRunConfig
from molpool_common import PATH, short_flag
from pydantic import Field
from sampling_core import JointSamplingConfig
from task_affinity import TaskAffinityConfig

from molpool_pipelines.runs import RunConfig
from molpool_pipelines.tables import ON_BAD_SMILES, OnBadSmiles, TableConfig


class TrainModelConfig(ModelConfig):
    """Architecture."""

    from_foundation: Annotated[str | None, PATH, short_flag("--from-foundation")] = Field(
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

    on_bad_smiles: OnBadSmiles = Field("drop", description=ON_BAD_SMILES)
