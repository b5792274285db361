"""The configuration of a study of bags: that of `molpool-train mil`, with study and space."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from mil_attn import MILRunConfig
from molpool_common import short_flag
from pydantic import Field, field_validator, model_validator

from molpool_pipelines.fitting import TrainMILConfig
from molpool_pipelines.studies._config import StudyConfig, StudyRunConfig

MILFoldType = Literal[
    "multilabel", "stratified", "scaffold", "cluster", "time", "plate", "random", "stored"
]
SAMPLED = "sampled"
_EARLIER = "drawn"


class MILStudyConfig(StudyConfig):
    """Trials, folds, sampler, pruner and storage of a study of bags."""

    fold_type: Annotated[MILFoldType, short_flag("--fold-type")] = Field(  # type: ignore[assignment]  # bags have more kinds
        "multilabel",
        description="inner folds: the labels of each task dealt out evenly (multilabel), their "
        "combinations (stratified), scaffolds, clusters or plates kept together, later bags "
        "(time), random molecules, or those of fold_column (stored); no molecule is in two",
    )
    min_w: str | float | None = Field(
        None,
        description="weight of the worst task in the score that trials are compared by; by default "
        "training.min_w; sampled: each trial's own, as in the literature, so that a trial also "
        "gains by a weight that is kind to it",
    )

    @field_validator("min_w")
    @classmethod
    def _weight(cls, value: Any) -> Any:
        if value in {SAMPLED, _EARLIER}:
            return SAMPLED
        if value is None:
            return value
        try:
            # Flags bring text.
            number = float(value)
        except ValueError:
            raise ValueError(f"expected a number from 0 to 1, or {SAMPLED}") from None
        if not 0 <= number <= 1:
            raise ValueError(f"expected a number from 0 to 1, or {SAMPLED}")
        return number


class HPOMILConfig(StudyRunConfig, TrainMILConfig):
    """A study: data, outer split, model, training as of `molpool-train mil`, study and space."""

    study: MILStudyConfig = Field(default_factory=MILStudyConfig)

    @model_validator(mode="after")
    def _columns(self) -> Self:
        if self.study.fold_type == "plate" and self.split.plate_column is None:
            raise ValueError("split.plate_column: expected a column with study.fold_type plate")
        if self.study.fold_type == "time" and self.split.time_column is None:
            raise ValueError("split.time_column: expected a column with study.fold_type time")
        return self

    @property
    def run(self) -> MILRunConfig:
        """The sections of a training run alone."""
        own = set(MILRunConfig.model_fields)
        return MILRunConfig.model_validate(self.model_dump(include=own, exclude_unset=True))

    @property
    def score_weight(self) -> float | None:
        """Weight of the worst task when trials are compared; None: each trial's own."""
        if self.study.min_w == SAMPLED:
            return None
        return self.training.min_w if self.study.min_w is None else float(self.study.min_w)
