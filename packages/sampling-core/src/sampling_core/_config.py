"""Configuration of sampling: what a YAML file or a command line may say.

Imports neither torch nor lightning, so that a command's help needs milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from sampling_core._curriculum import CurriculumConfig, NullIsAbsent
from sampling_core._errors import check_alpha

CompositionMode = Literal["multiplicative", "hierarchical"]


class TaskOversamplingConfig(NullIsAbsent):
    """Draw tasks with few labels more often."""

    enabled: bool = Field(default=True, description="Weigh rows by the label count of their task.")
    alpha: float = Field(
        default=0.3,
        description="Exponent of the label count: 0 none of it, 1 in inverse proportion.",
    )

    @field_validator("alpha")
    @classmethod
    def _alpha_in_range(cls, alpha: float) -> float:
        return check_alpha(alpha, "task_oversampling.alpha")


class JointSamplingConfig(NullIsAbsent):
    """How training rows are drawn.

    `task_alpha: x` is accepted as a short form of `task_oversampling: {alpha: x}`, and
    `task_alpha: null` of `task_oversampling: {enabled: false}`.
    """

    _null_has_a_meaning: ClassVar[frozenset[str]] = frozenset({"seed"})

    enabled: bool = Field(default=False, description="Draw by weight instead of shuffling.")
    task_oversampling: TaskOversamplingConfig = Field(
        default_factory=TaskOversamplingConfig, description="The part that looks at tasks."
    )
    curriculum: CurriculumConfig = Field(
        default_factory=CurriculumConfig, description="The part that looks at quality."
    )
    composition_mode: CompositionMode = Field(
        default="multiplicative",
        description="multiplicative: one weight per row; hierarchical: a task, then a row of it.",
    )
    num_samples: int | None = Field(
        default=None, ge=1, description="Draws per epoch; the number of rows if left out."
    )
    seed: int | None = Field(
        default=42, ge=0, le=2**32 - 1, description="Seed of the draws; null: a fresh one."
    )
    increment_seed_per_epoch: bool = Field(
        default=True, description="Draw anew each epoch; false repeats the first."
    )
    log_weight_statistics: bool = Field(
        default=True, description="Log min, max, entropy and effective samples each epoch."
    )
    log_to_mlflow: bool = Field(default=True, description="Send those statistics to MLflow too.")

    @property
    def task_alpha(self) -> float | None:
        """The short form: α of the part that looks at tasks, None where it is off."""
        part = self.task_oversampling
        return part.alpha if part.enabled else None

    @property
    def needs_quality(self) -> bool:
        """Whether rows must have quality labels."""
        return self.enabled and self.curriculum.enabled

    @model_validator(mode="before")
    @classmethod
    def _expand_task_alpha(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "task_alpha" not in data:
            return data
        rest = {key: value for key, value in data.items() if key != "task_alpha"}
        short = {"enabled": False} if data["task_alpha"] is None else {"alpha": data["task_alpha"]}
        long = rest.get("task_oversampling", {})
        if isinstance(long, TaskOversamplingConfig):
            long = long.model_dump(exclude_unset=True)
        if not isinstance(long, Mapping):
            return rest
        on = {"enabled": True} | short
        clash = [key for key, value in on.items() if key in long and long[key] != value]
        if clash:
            raise ValueError(
                f"task_alpha = {data['task_alpha']} and task_oversampling = {dict(long)} differ;"
                " give one of them"
            )
        return rest | {"task_oversampling": {**long, **short}}

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if not self.enabled:
            return self
        if not (self.task_oversampling.enabled or self.curriculum.enabled):
            raise ValueError(
                "joint sampling is enabled, but neither task_oversampling.enabled nor"
                " curriculum.enabled is; switch one of them on or joint sampling off"
            )
        if self.composition_mode == "hierarchical" and not self.task_oversampling.enabled:
            raise ValueError(
                "composition_mode = 'hierarchical' draws a task first and needs"
                " task_oversampling.enabled; use 'multiplicative' for a curriculum alone"
            )
        return self
