"""Configuration of training runs: everything that `molpool-train` takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from chemprop_multitask import (
    BestEpoch,
    ChempropConfig,
    FFNConfig,
    LossName,
    MessagePassingConfig,
    ModelConfig,
    Precision,
    SharedChempropConfig,
    TrainingConfig,
)
from mil_attn import MILRunConfig
from molpool_common import PATH, Alone, ConfigModel, Seed, short_flag
from pydantic import BeforeValidator, Field, field_validator, model_validator
from sampling_core import JointSamplingConfig
from task_affinity import TaskAffinityConfig

from molpool_pipelines.models import (
    LEAST_OF_STRATUM,
    LEVEL,
    SHIFT,
    BagMemberName,
    FeatureFilesConfig,
    MemberName,
    ShiftKind,
)
from molpool_pipelines.runs import RunConfig
from molpool_pipelines.tables import ON_BAD_SMILES, OnBadSmiles, TableConfig

FEATURES = "rdkit2d+morgan_count+minimol+admet_fingerprint"
"""What models on features take unless told otherwise: the best of `studies/accuracy.py`."""


class TrainModelConfig(ModelConfig):
    """Architecture."""

    from_foundation: Annotated[str | None, PATH, short_flag("--from-foundation")] = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )


_MANY_BAGS = 20_000
"""Training bags from which on kernels and forests would take longer than attention."""

_ON_OR_OFF = {
    **dict.fromkeys(("true", "yes", "1"), "all"),
    **dict.fromkeys(("false", "no", "0"), "none"),
}
"""What studies were told until the choice was the same everywhere."""


def _as_choice(said: object) -> object:
    return _ON_OR_OFF.get(str(said).casefold(), said)


BaselineChoice = Annotated[
    Literal["none", "fast", "all"], BeforeValidator(_as_choice), Alone("all")
]


class BaselineConfig(ConfigModel):
    """What a run is held against."""

    baselines: BaselineChoice = Field(
        "fast",
        description="simple models on the same rows, for comparison: fast: mean of the task, "
        "nearest neighbours and LightGBM; all: a random forest too. They take as long as the run's "
        "own models at most, or a minute where that is more",
    )


class IntervalConfig(ConfigModel):
    """What the intervals of a run shall hold for."""

    level: float = Field(
        LEVEL, gt=0, lt=1, description="share of new molecules that the intervals shall cover"
    )
    strata_column: str | None = Field(
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


class LimitsConfig(ConfigModel):
    """What assays report at least and at most."""

    limits: list[str] = Field(
        default_factory=lambda: ["auto"],
        min_length=1,
        description="floors and ceilings of assays, at which labels are learnt as bounds and "
        "predictions and intervals end: auto finds them in the labels, none has none; "
        "TASK=FLOOR:CEILING says those of a task, in the table's units, as KSOL=:250",
    )

    @field_validator("limits", mode="before")
    @classmethod
    def _listed(cls, asked: Any) -> Any:
        return [asked] if isinstance(asked, str) else asked

    @field_validator("limits")
    @classmethod
    def _known(cls, asked: list[str]) -> list[str]:
        words = [text for text in asked if text in ("auto", "none")]
        named = [text.rpartition("=")[0] for text in asked if text not in ("auto", "none")]
        if len(words) > 1 or "" in named or len(set(named)) < len(named):
            raise ValueError(
                "expected auto or none, and TASK=FLOOR:CEILING once a task, found "
                f"{' '.join(asked)}"
            )
        return asked


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
    LimitsConfig,
    LearningCurveConfig,
    BaselineConfig,
    RunConfig,
    TableConfig,
    SharedChempropConfig,
    FeatureFilesConfig,
):
    """A training run: data, sampling, model, training, where it goes.

    Studies configure their trials by it too.
    """

    features: Annotated[str | None, short_flag("--molecule-featurizers")] = Field(
        None,
        description="featurisers of descriptors that the predictor takes beside the learned "
        "fingerprint, joined by +, as rdkit2d+minimol; molecule_features.featurizer_names() lists "
        "them",
    )
    origins: int = Field(
        2,
        ge=0,
        le=10,
        description="for a split by time without folds: models trained besides on the rows up to "
        "so many origins in their later half, whose errors on the rows that follow calibrate the "
        "intervals; two take about as long as the run's own training. 0: validation rows alone",
    )
    seed: Seed = Field(42, description="seed of split, weights, shuffling and dropout")
    model: TrainModelConfig = Field(default_factory=TrainModelConfig)
    joint_sampling: JointSamplingConfig = Field(default_factory=JointSamplingConfig)
    task_affinity: TaskAffinityConfig = Field(default_factory=TaskAffinityConfig)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        of_atoms = self.atom_features_path is not None or self.bond_features_path is not None
        others = {
            "features": self.features if self.descriptors_path else None,
            "data.predict_path": self.data.predict_path,
            "data.test_path": self.data.test_path,
            "data.sources": self.data.sources or None,
            "data.structure": of_atoms and self.data.structure != "given",
        }
        given = [key for key, value in others.items() if value]
        if self.files and given:
            raise ValueError(
                f"{self.files[0]}: expected none beside {given[0]}, as its rows are those of "
                f"data_path as given; found {getattr(self, self.files[0])!r}"
            )
        return self


class BagBlendConfig(ConfigModel):
    """Models of the same bags, whose mixture predicts."""

    models: Annotated[list[BagMemberName], short_flag("--models")] = Field(
        default_factory=list,
        description="models of bags: attention over instances, kernels between bags, and models on "
        "statistics of bags (mean, least, largest, sd, count). By default attention, extra_trees, "
        "lightgbm, minmax_kernel and mmd_kernel, from 20 000 training bags on attention and "
        "lightgbm",
    )
    weights: Literal["equal", "fitted"] = Field(
        "fitted",
        description="how models are mixed: equally, or by non-negative weights per task that are "
        "fitted to predictions out of fold",
    )
    folds: int = Field(
        5,
        ge=2,
        description="folds of the bags that are not tested, of the split's own kind (with stored "
        "folds theirs): bags out of fold weigh the models, and calibrate their mixture",
    )
    head: Literal["ridge", "svm"] = Field(
        "ridge",
        description="what learns on a kernel: kernel ridge, which for values is the mean of a "
        "Gaussian process, or a support vector machine",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _distinct(cls, names: Any) -> Any:
        if isinstance(names, list) and len(set(names)) < len(names):
            raise ValueError(f"expected each model once, found {', '.join(names)}")
        return names

    def of_bags(self, n: int) -> list[BagMemberName]:
        """Return the models, by default those for `n` training bags."""
        if self.models:
            return list(self.models)
        if n >= _MANY_BAGS:
            return ["attention", "lightgbm"]
        return ["attention", "extra_trees", "lightgbm", "minmax_kernel", "mmd_kernel"]


class TrainMILConfig(
    IntervalConfig, LimitsConfig, LearningCurveConfig, BaselineConfig, RunConfig, MILRunConfig
):
    """A training run: data, split, model, training, where it goes."""

    blend: BagBlendConfig = Field(default_factory=BagBlendConfig)

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


class RelatedConfig(ConfigModel):
    """Tables of other assays of which the tasks may learn, joined by structure."""

    tables: Annotated[list[str], PATH, short_flag("--related-table")] = Field(
        default_factory=list,
        description="tables of related assays (a screen, a counter assay, a public property)",
    )
    assays: Annotated[list[str], short_flag("--related-assays")] = Field(
        default_factory=list,
        description="their columns to learn from; of a table that has none of them, all columns "
        "of numbers",
    )
    by: Annotated[str | None, short_flag("--related-by")] = Field(
        None,
        description="column of a related table whose values are assays apart, such as the "
        "concentration of a screen",
    )
    smiles: Annotated[str | None, short_flag("--related-smiles")] = Field(
        None,
        description="their column of SMILES; by default, and in tables without it, one called "
        "SMILES, in any case, or the only one that has SMILES in its name",
    )
    use: Annotated[
        Literal["auto", "features", "heads", "pretraining"], short_flag("--related-use")
    ] = Field(
        "auto",
        description="features: predictions of a network of the related assay are columns of the "
        "models; heads: the network of the tasks learns it too; pretraining: that network learns "
        "it first, and then the tasks; auto: for each task what helps on rows out of fold, and "
        "nothing where nothing does",
    )
    weight: float = Field(
        0.2, gt=0, le=1, description="of a related row as heads learn it, beside 1"
    )
    test_labels: Literal["drop", "keep"] = Field(
        "drop", description="what becomes of related labels of the run's own test molecules"
    )


class WideMessagePassingConfig(MessagePassingConfig):
    """Directed bond message passing (Yang et al. 2019, doi:10.1021/acs.jcim.9b00237)."""

    depth: int = Field(5, ge=1, description="number of message passing steps")
    hidden_size: int = Field(700, ge=1, description="width of a bond's hidden state")


class SmallHeadConfig(FFNConfig):
    """The predictor on top of the molecule's fingerprint."""

    num_layers: int = Field(1, ge=1, description="hidden layers")


class NetworksModelConfig(ModelConfig):
    """Architecture."""

    message_passing: WideMessagePassingConfig = Field(default_factory=WideMessagePassingConfig)
    ffn: SmallHeadConfig = Field(default_factory=SmallHeadConfig)
    from_foundation: Annotated[str | None, PATH] = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )


class NetworksTrainingConfig(TrainingConfig):
    """Optimisation; to the end, as rows out of fold weigh the networks."""

    epochs: int = Field(26, ge=1, description="epochs to train")
    loss: LossName = Field("mae", description="of regression tasks, scaled per task")
    precision: Precision = Field(
        "auto",
        description="of products and activations in training: bf16 is quicker where the processor "
        "has it, and auto takes it there; weights, steps and predictions stay in single precision",
    )
    best_epoch: BestEpoch = Field(
        "task",
        description="which epoch's weights are kept where val_share is above 0: model: those of "
        "the least loss; task: for each task those of its own least loss",
    )


class ChempropMemberConfig(ConfigModel):
    """Chemprop networks, each of a group of related tasks: wide, with a small head."""

    model: NetworksModelConfig = Field(default_factory=NetworksModelConfig)
    training: NetworksTrainingConfig = Field(default_factory=NetworksTrainingConfig)
    groups: list[str] = Field(
        default_factory=lambda: ["affinity"],
        min_length=1,
        description="tasks that share a network, joined by + (LogD+KSOL MPPB+MBPB+MGMB), tasks in "
        "none are left to the other models; all: one network; each: one for each task; affinity: "
        "as the tasks' gradients agree in a short training",
    )
    networks: int = Field(1, ge=1, description="networks for each group, whose mean predicts")
    val_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training molecules by which the best epochs are chosen; 0: all "
        "train, to the last epoch",
    )
    with_features: bool = Field(
        False, description="whether the head takes the features beside the learned fingerprint"
    )

    @property
    def network(self) -> ChempropConfig:
        """What each network is and how it is trained."""
        return ChempropConfig(model=self.model, training=self.training)


class TabICLConfig(ConfigModel):
    """Files of TabICL's weights; nothing is downloaded."""

    classifier: Annotated[str | None, PATH] = Field(
        None, description="for tasks of classes, such as tabicl-classifier-v2-20260212.ckpt"
    )
    regressor: Annotated[str | None, PATH] = Field(
        None, description="for tasks of values, such as tabicl-regressor-v2-20260212.ckpt"
    )


class TrainTabularConfig(
    IntervalConfig, LimitsConfig, LearningCurveConfig, BaselineConfig, RunConfig, TableConfig
):
    """Models on features: data, features, models, how they are mixed and calibrated."""

    command: ClassVar[str] = "tabular"
    """That takes it, and by which an interrupted run goes on."""

    seed: Seed = Field(42, description="seed of split, folds, weights and trees")
    model: list[MemberName] = Field(
        default_factory=lambda: list[MemberName](["mlp"]),
        min_length=1,
        description="models of the same molecules, whose mixture predicts; chemprop takes their "
        "graphs, the others their features; xgboost, catboost and tabicl where they are installed",
    )
    features: str = Field(
        FEATURES,
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
        "fold weigh the models and calibrate the intervals; where none are given, down to two for "
        "a time budget",
    )
    time_budget: str | None = Field(
        None,
        description="time that the run may take, as 90s, 10m or 2h; what would take longer is "
        "left out, and one model made shorter where none has time, which is said; learning curves "
        "and distillation come on top",
    )
    mlp: NetworkConfig = Field(default_factory=NetworkConfig)
    tabicl: TabICLConfig = Field(default_factory=TabICLConfig)
    chemprop: ChempropMemberConfig = Field(default_factory=ChempropMemberConfig)
    joint_sampling: JointSamplingConfig = Field(
        default_factory=JointSamplingConfig, description="how the network draws its rows"
    )
    related: RelatedConfig = Field(default_factory=RelatedConfig)
    distill: bool = Field(
        False,
        description="whether one network learns what the models together predict, to be used "
        "in their place: RUN/distilled",
    )
    distill_path: Annotated[str | None, PATH] = Field(
        None, description="table of SMILES without labels, of which the network learns too"
    )

    def options(self, name: MemberName) -> dict[str, Any]:
        """Return what a model on features is told that is not its default."""
        if name == "tabicl":
            # A model keeps the paths, and may predict from another folder.
            files = self.tabicl.model_dump().items()
            return {key: str(Path(file).absolute()) for key, file in files if file is not None}
        return self.mlp.model_dump() if name == "mlp" else {}

    @model_validator(mode="after")
    def _distilled(self) -> Self:
        if self.distill_path is not None and not self.distill:
            raise ValueError("distill: expected true with distill_path, found false")
        return self

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
        description="models of the same molecules, whose mixture predicts; chemprop takes their "
        "graphs, the others their features",
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
        description="time that the run may take, as 90s, 10m or 2h; what would take longer is "
        "left out, and one model made shorter where none has time, which is said; learning curves "
        "and distillation come on top",
    )
    choose_split: bool = Field(
        True,
        description="whether a random split is replaced: by time where data.time_column is "
        "given, else by scaffold, as new molecules are seldom drawn at random",
    )
    choose_scale: bool = Field(
        True,
        description="whether tasks of which a few values are many times the others are learnt as "
        "logarithms, where data.transform names no scale",
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


class TrainerConfig(ConfigModel):
    """The processes that train one model together, each on its share of every batch."""

    devices: int = Field(
        1,
        ge=1,
        description="processes on this machine, one for each GPU or for some of its cores; the "
        "model is that of one process",
    )
    num_nodes: int = Field(
        1,
        ge=1,
        description="machines, on each of which the same command is started, with MASTER_ADDR, "
        "MASTER_PORT and NODE_RANK in its environment; torchrun does all of it too",
    )
    strategy: Literal["auto", "ddp"] = Field(
        "auto", description="ddp: Lightning's DDP also with one process; auto: with several only"
    )


class TrainedTogether(ConfigModel):
    """What models that Lightning trains take besides: how many processes train them."""

    trainer: TrainerConfig = Field(default_factory=TrainerConfig)


class CrossValidated(ConfigModel):
    """What every kind of model takes besides: one run, or one for each fold."""

    cv: CVConfig = Field(default_factory=CVConfig)


class TrainChempropCommand(TrainedTogether, CrossValidated, TrainChempropConfig):
    """What `molpool-train chemprop` takes."""


class TrainMILCommand(TrainedTogether, CrossValidated, TrainMILConfig):
    """What `molpool-train mil` takes."""


class TrainTabularCommand(CrossValidated, TrainTabularConfig):
    """What `molpool-train tabular` takes."""


class TrainBlendCommand(CrossValidated, TrainBlendConfig):
    """What `molpool-train blend` takes."""


class TrainAutoCommand(CrossValidated, TrainAutoConfig):
    """What `molpool-train auto` takes."""


class ReproduceConfig(ConfigModel):
    """Which run is trained again, and where."""

    run: Annotated[str | None, PATH] = Field(None, description="folder of a finished training run")
    save_dir: Annotated[str | None, PATH] = Field(
        None, description="where the second run goes; by default RUN-reproduced"
    )
