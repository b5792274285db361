"""Everything `molpool-train chemprop` can be told."""

from __future__ import annotations

from typing import Literal

from chemprop_multitask.config import ChempropConfig
from molpool_common.data_config import DataConfig
from molpool_common.tracking import TrackingConfig
from pydantic import Field
from sampling_core.config import JointSamplingConfig


class TrainChempropConfig(ChempropConfig):
    """A training run: data, sampling, model, training, where it goes."""

    data_path: str | None = Field(None, description="table of molecules: CSV, TSV or Parquet")
    save_dir: str | None = Field(
        None, description="run folder; by default runs/NAME-TIME of the configuration's name"
    )
    seed: int = Field(42, ge=0, description="seed of split, weights, shuffling and dropout")
    resume: bool = Field(False, description="go on with the run in save_dir")
    overwrite: bool = Field(False, description="replace the run in save_dir")
    on_bad_smiles: Literal["error", "drop"] = Field(
        "error", description="stop at SMILES that do not parse, or leave those rows out"
    )
    duplicates: Literal["error", "mean", "median", "keep"] = Field(
        "keep",
        description="rows of one molecule (stereoisomers count as one) and quality: error refuses "
        "different values of a task, mean and median merge them, keep leaves them",
    )
    task_type: Literal["auto", "regression", "classification"] = Field(
        "auto",
        description="kind of all tasks; auto: classification for those whose values are all 0 or 1",
    )
    data: DataConfig = Field(default_factory=DataConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
