"""What a run of a model starts from: a table, a split, a model and its training."""

from __future__ import annotations

from typing import Literal, Self

from molpool_common import ConfigModel
from pydantic import Field, model_validator

from mil_attn.config import MILConfig
from mil_attn.data.source_config import MILDataConfig

Side = Literal["train", "val", "test"]


class MILSplitConfig(ConfigModel):
    """Folds, of which one tests; validation is drawn from the rest."""

    split_type: Literal["multilabel", "stratified", "scaffold", "plate", "random", "stored"] = (
        Field("multilabel", description="how bags are divided; no molecule is on two sides")
    )
    n_folds: int = Field(10, ge=2, description="number of folds; with stored folds theirs counts")
    fold: int = Field(0, ge=0, description="the fold that tests, from 0")
    val_ratio: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of the bags not tested that validate; 0: none, and the last epoch is "
        "kept. Which bags test does not depend on it",
    )
    split_seed: int | None = Field(None, description="seed of the folds; by default the run's")
    fold_path: str | None = Field(
        None, description="for stored: table of folds with the id column; by default data_path"
    )
    fold_column: str | None = Field(None, description="for stored: column of fold numbers")
    fold_where: dict[str, str] = Field(
        default_factory=dict, description="rows of fold_path that count, as COLUMN VALUE"
    )
    plate_column: str | None = Field(None, description="for plate: column of plates in data_path")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for kind, key in (("stored", "fold_column"), ("plate", "plate_column")):
            if self.split_type == kind and getattr(self, key) is None:
                raise ValueError(f"{key}: expected a column with split_type {kind}, found none")
        if self.split_type != "stored" and self.fold >= self.n_folds:
            raise ValueError(
                f"fold: expected 0 to {self.n_folds - 1}, as n_folds says; found {self.fold}"
            )
        return self


class MILExportConfig(ConfigModel):
    """Which attention is written."""

    attention: list[Side] = Field(
        ["train", "test"],
        description="sides whose attention is written, beside that of predict_path",
    )
    effects: bool = Field(
        True, description="effect of leaving each conformer out, beside its attention"
    )
    sdf: int = Field(
        20,
        ge=0,
        description="molecules of kind smiles, those of highest predictions on the test side, "
        "whose conformers attention_test.sdf holds and attention.html shows; 0: none",
    )


class MILRunConfig(MILConfig):
    """A table, a split, a model and its training: the sections that every command knows."""

    data_path: str | None = Field(None, description="table of molecules or of instances")
    seed: int = Field(42, ge=0, description="seed of split, weights, shuffling and dropout")
    threshold_metric: Literal["f1", "accuracy", "balanced_accuracy", "mcc"] = Field(
        "f1", description="what decision thresholds maximise on validation data"
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict,
        description="decision thresholds by task, instead of those chosen on validation data",
    )
    data: MILDataConfig = Field(default_factory=MILDataConfig)
    split: MILSplitConfig = Field(default_factory=MILSplitConfig)
    export: MILExportConfig = Field(default_factory=MILExportConfig)
