"""Everything `molpool-affinity` can be told."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from task_affinity import TaskAffinityConfig

from molpool_pipelines.tables import DataConfig


class AffinityCommandConfig(TaskAffinityConfig):
    """One measurement: which table, how it is measured and grouped, what is written."""

    enabled: bool = Field(
        default=True, description="As in a training configuration; this command always measures."
    )
    data_path: str | None = Field(
        default=None, description="Table of molecules: CSV, TSV or Parquet."
    )
    rows: Literal["all", "train"] = Field(
        default="all",
        description=(
            "all: every row of the table; train: those on the training side of data.split_type, as"
            " molpool-train with this seed divides it."
        ),
    )
    on_bad_smiles: Literal["error", "drop"] = Field(
        default="error", description="Stop at SMILES that do not parse, or leave those rows out."
    )
    save_path: str = Field(
        default="task_affinity.npz",
        description="File of the matrix with standard errors; a .csv of the matrix lies beside it.",
    )
    plot_heatmap: str | None = Field(
        default=None, description="Picture of the matrix: .png, .svg or .pdf."
    )
    plot_dendrogram: str | None = Field(
        default=None, description="Picture of the tree of tasks: .png, .svg or .pdf."
    )
    save_groups: str | None = Field(
        default=None, description="JSON file of the groups, for molpool-train's key groups."
    )
    report: str | None = Field(default=None, description="Self-contained HTML page of it all.")
    data: DataConfig = Field(default_factory=DataConfig)

    @model_validator(mode="after")
    def _measures(self) -> Self:
        if not self.enabled:
            raise ValueError("enabled: expected true, as this command measures; found false")
        return self

    @property
    def measurement(self) -> TaskAffinityConfig:
        """The keys of measuring and grouping alone."""
        return TaskAffinityConfig(**{k: getattr(self, k) for k in TaskAffinityConfig.model_fields})
