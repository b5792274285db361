"""The configuration of a study of Chemprop models."""

from __future__ import annotations

from chemprop_multitask import SharedChempropConfig
from pydantic import Field
from sampling_core import JointSamplingConfig
from task_affinity import TaskAffinityConfig

from molpool_pipelines.runs import TrackingConfig
from molpool_pipelines.studies._config import StudyConfig
from molpool_pipelines.studies._space import SpaceConfig
from molpool_pipelines.tables import TableConfig


class ChempropRunConfig(TableConfig, SharedChempropConfig):
    """What `molpool-train chemprop` takes, key by key; no app imports another."""

    save_dir: str | None = Field(
        None, description="study folder; by default runs/NAME-TIME of the configuration's name"
    )
    seed: int = Field(42, ge=0, description="seed of split, weights, shuffling and dropout")
    resume: bool = Field(False, description="read by molpool-train; a study always goes on")
    overwrite: bool = Field(False, description="replace the run in save_dir")
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    task_affinity: TaskAffinityConfig = Field(default_factory=TaskAffinityConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)


class HPOChempropConfig(ChempropRunConfig):
    """A study: a training configuration, what is tried in its place, and how."""

    study: StudyConfig = Field(default_factory=StudyConfig)
    space: SpaceConfig = Field(
        default_factory=dict,
        description="parameters to narrow, fix or add, by dotted key: a value, "
        "{low: …, high: …, log: true} or {choices: […]}, with when: {KEY: VALUE}",
    )
