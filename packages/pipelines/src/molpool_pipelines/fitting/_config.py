"""Configuration of training runs: everything that `molpool-train` takes."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from chemprop_multitask import ModelConfig, SharedChempropConfig
from mil_attn import MILRunConfig
from molpool_common import PATH, ConfigModel, short_flag
from pydantic import Field, field_validator, model_validator
from sampling_core import JointSamplingConfig
from task_affinity import TaskAffinityConfig

from molpool_pipelines.models import LEAST_OF_STRATUM, LEVEL, SHIFT, MemberName, ShiftKind
from molpool_pipelines.runs import RunConfig
from molpool_pipelines.tables import ON_BAD_SMILES, OnBadSmiles, TableConfig


class TrainModelConfig(ModelConfig):
    """Architecture."""

    from_foundation: Annotated[str | None, PATH, short_flag("--from-foundation")] = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )


BaselineChoice = Literal["none", "fast", "all"]


class BaselineConfig(ConfigModel):
    """What a run is held against."""

    baselines: BaselineChoice = Field(
        "fast",
        description="simple models on the same rows, for comparison: fast: mean of the task, "
        "nearest neighbours and LightGBM; all: a random forest too",
    )


class IntervalConfig(ConfigModel):
    """What the intervals of a run shall hold for."""

    level: float = Field(
        LEVEL, gt=0, lt=1, description="share of new molecules that the intervals shall cover"
    )
    strata_column: Annotated[str | None, short_flag("--strata-column")] = Field(
        None,
        description="column of series, projects or assay versions, each of which calibrates its "
        f"own intervals; those with fewer than {LEAST_OF_STRATUM} calibration molecules of a task "
        "do so together",
    )
    shift: ShiftKind = Field("none", description=SHIFT)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.strata_column is not None and self.shift != "none":
            raise ValueError("shift: expected none with strata_column, found both")
        return self


class LearningCurveConfig(ConfigModel):
    """Whether more data would help."""

    learning_curve: list[float] = Field(
        default_factory=list,
        description="shares of the training molecules, such as .1 .2 .5 1, on which the model is "
        "trained besides, to say whether more data would help; each takes as much of a training",
    )

    @field_validator("learning_curve")
    @classmethod
    def _shares(cls, shares: list[float]) -> list[float]:
        wrong = [share for share in shares if not 0 < share <= 1]
        if wrong:
            raise ValueError(f"expected shares above 0, at most 1, found {wrong[0]:g}")
        return shares


class TrainChempropConfig(
    IntervalConfig,
    LearningCurveConfig,
    BaselineConfig,
    RunConfig,
    TableConfig,
    SharedChempropConfig,
):
    """A training run: data, sampling, model, training, where it goes.

    Studies configure their trials by it too.
    """

    seed: int = Field(42, ge=0, description="seed of split, weights, shuffling and dropout")
    model: TrainModelConfig = Field(default_factory=TrainModelConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    task_affinity: TaskAffinityConfig = Field(default_factory=TaskAffinityConfig)


class TrainMILConfig(IntervalConfig, BaselineConfig, RunConfig, MILRunConfig):
    """A training run: data, split, model, training, where it goes."""

    on_bad_smiles: OnBadSmiles = Field("drop", description=ON_BAD_SMILES)


class NetworkConfig(ConfigModel):
    """The multi-task network."""

    members: int = Field(4, ge=1, description="networks whose mean predicts, trained at once")
    hidden: int = Field(512, ge=8, description="units of a layer")
    epochs: int = Field(40, ge=1, description="passes over the training rows")
    dropout: float = Field(0.3, ge=0, lt=1, description="share of units left out in training")
    learning_rate: float = Field(2e-3, gt=0, description="highest of the one-cycle schedule")
    weight_decay: float = Field(0.01, ge=0, description="of AdamW")
    batch_size: int = Field(128, ge=1, description="rows per step")
    task_power: float = Field(
        0.5, ge=0, le=1, description="0: all labels weigh the same; 1: all tasks do"
    )


class TrainTabularConfig(
    IntervalConfig, LearningCurveConfig, BaselineConfig, RunConfig, TableConfig
):
    """Models on features: data, features, models, how they are mixed and calibrated."""

    command: ClassVar[str] = "tabular"
    """That takes it, and by which an interrupted run goes on."""

    seed: int = Field(42, ge=0, description="seed of split, folds, weights and trees")
    model: list[MemberName] = Field(
        default_factory=lambda: list[MemberName](["mlp"]),
        min_length=1,
        description="models on the same features, whose mixture predicts",
    )
    features: str = Field(
        "rdkit2d+morgan_count+minimol",
        description="featurisers, joined by +; molecule_features.featurizer_names() lists them",
    )
    weights: Literal["equal", "fitted"] = Field(
        "equal",
        description="how models are mixed: equally, or by non-negative weights per task that are "
        "fitted to predictions out of fold",
    )
    folds: int = Field(
        5,
        ge=2,
        description="folds of the rows that are not tested, of the split's own kind: rows out of "
        "fold weigh the models and calibrate the intervals",
    )
    time_budget: str | None = Field(
        None,
        description="time that fitting may take, as 90s, 10m or 2h; models that would take longer "
        "are left out, which is said",
    )
    limits: Literal["auto", "none"] = Field(
        "auto",
        description="auto: floors and ceilings of assays are found in the labels, learnt as "
        "bounds, and predictions and intervals end there",
    )
    mlp: NetworkConfig = Field(default_factory=NetworkConfig)

    @field_validator("time_budget")
    @classmethod
    def _duration(cls, text: str | None) -> str | None:
        if text is not None:
            seconds_of(text)
        return text


def seconds_of(text: str) -> float:
    """Return the seconds of a duration: ``90s``, ``10m``, ``2h``, or a number of seconds."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smh]?)\s*", text)
    if found is None or float(found[1]) <= 0:
        raise ValueError(f"expected a duration such as 90s, 10m or 2h, found {text!r}")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


class TrainBlendConfig(TrainTabularConfig):
    """Models of several kinds, mixed by weights per task."""

    command: ClassVar[str] = "blend"

    model: list[MemberName] = Field(
        default_factory=lambda: list[MemberName](["lightgbm", "mlp", "gp"]),
        min_length=1,
        description="models on the same features, whose mixture predicts",
    )
    weights: Literal["equal", "fitted"] = Field(
        "fitted",
        description="how models are mixed: equally, or by non-negative weights per task that are "
        "fitted to predictions out of fold",
    )


class TrainAutoConfig(TrainBlendConfig):
    """The best model of a table within a time budget; what is not said is chosen, and printed."""

    command: ClassVar[str] = "auto"

    time_budget: str | None = Field(
        "10m",
        description="time that fitting may take, as 90s, 10m or 2h; models that would take longer "
        "are left out, which is said",
    )
    choose_split: bool = Field(
        True,
        description="whether a random split is replaced: by time where data.time_column is "
        "given, else by scaffold, as new molecules are seldom drawn at random",
    )


class CVConfig(ConfigModel):
    """Repeated k-fold cross-validation: a run for each fold, and their test rows in one folder."""

    folds: int | None = Field(
        None, ge=2, description="folds, each of which tests once; the split type is data.split_type"
    )
    repeats: int = Field(
        1, ge=1, description="times that all folds are drawn anew, each with its own seed"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.repeats > 1 and self.folds is None:
            raise ValueError("folds: expected a number with repeats, found none")
        return self

    @property
    def cells(self) -> list[tuple[int, int]]:
        """Repeat and fold of each run, from 0; none without folds."""
        return [(r, f) for r in range(self.repeats) for f in range(self.folds or 0)]


class CrossValidated(ConfigModel):
    """What every kind of model takes besides: one run, or one for each fold."""

    cv: CVConfig = Field(default_factory=CVConfig)


class TrainChempropCommand(CrossValidated, TrainChempropConfig):
    """What `molpool-train chemprop` takes."""


class TrainMILCommand(CrossValidated, TrainMILConfig):
    """What `molpool-train mil` takes."""


class TrainTabularCommand(CrossValidated, TrainTabularConfig):
    """What `molpool-train tabular` takes."""


class TrainBlendCommand(CrossValidated, TrainBlendConfig):
    """What `molpool-train blend` takes."""
