"""Everything `molpool-train mil` can be told."""

from __future__ import annotations

from mil_attn import MILRunConfig
from pydantic import Field

from molpool_pipelines.runs import TrackingConfig


class TrainMILConfig(MILRunConfig):
    """A training run: data, split, model, training, where it goes."""

    save_dir: str | None = Field(
        None, description="run folder; by default runs/NAME-TIME of the configuration's name"
    )
    resume: bool = Field(False, description="go on with the run in save_dir")
    overwrite: bool = Field(False, description="replace the run in save_dir")
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
