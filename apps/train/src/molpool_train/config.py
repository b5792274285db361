"""Everything `molpool-train chemprop` can be told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import tyro
from chemprop_multitask.config import ChempropConfig, ModelConfig
from molpool_common.config import ConfigModel
from molpool_common.data_config import DataConfig
from molpool_common.tracking import TrackingConfig
from pydantic import Field, model_validator
from sampling_core.config import JointSamplingConfig
from task_affinity.config import TaskAffinityConfig

Sharing = Literal["heads", "separate"]


class TrainModelConfig(ModelConfig):
    """Architecture."""

    from_foundation: Annotated[str | None, tyro.conf.arg(aliases=["--from-foundation"])] = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )


class EnsembleSection(ConfigModel):
    """Several models, one for each seed on each fold; their mean predicts, their spread warns."""

    n_seeds: int = Field(1, ge=1, description="models a fold, which differ by their seed")
    n_folds: int = Field(
        1, ge=1, description="parts of all rows but the test side, each of which validates once"
    )

    @property
    def n_members(self) -> int:
        """Number of models."""
        return self.n_seeds * self.n_folds


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
    task_types: dict[str, Literal["regression", "classification"]] = Field(
        default_factory=dict, description="kind of single tasks, by name; goes before task_type"
    )
    groups: list[list[str]] | str | None = Field(  # type: ignore[assignment]  # read to a list
        None,
        description="task groups, one head each, as lists of tasks or a groups.json; by default "
        "one head serves all tasks",
    )
    sharing: Sharing = Field(
        "heads",
        description="heads: one model with a head for each group; separate: a model for each group",
    )
    model: TrainModelConfig = Field(default_factory=TrainModelConfig)
    ensemble: EnsembleSection = Field(default_factory=EnsembleSection)
    data: DataConfig = Field(default_factory=DataConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    task_affinity: TaskAffinityConfig = Field(default_factory=TaskAffinityConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)

    @model_validator(mode="before")
    @classmethod
    def _sharing_beside_its_section(cls, values: Any) -> Any:
        """Take `sharing` from within `task_affinity`, where it reads as well."""
        section = values.get("task_affinity") if isinstance(values, dict) else None
        if not isinstance(section, dict) or "sharing" not in section or "sharing" in values:
            return values
        rest = {key: value for key, value in section.items() if key != "sharing"}
        return {**values, "sharing": section["sharing"], "task_affinity": rest}
