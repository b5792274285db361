"""Architecture and training of a multi-task Chemprop model."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from molpool_common import ConfigModel
from pydantic import Field, model_validator

Activation = Literal["relu", "leakyrelu", "prelu", "tanh", "elu"]
AggregationName = Literal["mean", "sum", "norm"]
LossName = Literal["auto", "mse", "mae", "huber", "bce", "focal"]
LossAverage = Literal["task", "cell", "uncertainty"]
Precision = Literal["auto", "32", "bf16", "64"]
BestEpoch = Literal["model", "task"]
Sharing = Literal["heads", "separate"]
TaskWeight = Annotated[float, Field(ge=0)]


class MessagePassingConfig(ConfigModel):
    """Directed bond message passing (Yang et al. 2019, doi:10.1021/acs.jcim.9b00237)."""

    depth: int = Field(3, ge=1, description="number of message passing steps")
    hidden_size: int = Field(300, ge=1, description="width of a bond's hidden state")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each step")
    activation: Activation = Field("relu", description="nonlinearity")
    bias: bool = Field(False, description="bias in the message weights")
    undirected: bool = Field(False, description="average the two directions of each bond")
    fast: bool = Field(
        True, description="sparse matmul for the sums; false: Chemprop's own block, same numbers"
    )


class FFNConfig(ConfigModel):
    """The predictor on top of the molecule's fingerprint."""

    num_layers: int = Field(2, ge=1, description="hidden layers")
    hidden_size: int = Field(300, ge=1, description="width of a hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each layer")


class ModelConfig(ConfigModel):
    """Architecture."""

    type: Literal["chemprop"] = Field("chemprop", description="kind of model")
    message_passing: MessagePassingConfig = Field(default_factory=MessagePassingConfig)
    aggregation: AggregationName = Field("mean", description="atoms to molecule")
    batch_norm: bool = Field(False, description="batch normalisation of the fingerprint")
    ffn: FFNConfig = Field(default_factory=FFNConfig)
    from_foundation: str | None = Field(
        None, description="file whose message passing weights to start from: a Chemprop model"
    )
    freeze_encoder: bool = Field(
        False, description="leave the weights of from_foundation as they are, train the rest"
    )


class TrainingConfig(ConfigModel):
    """Optimisation: Adam with a linear warm-up and an exponential decay."""

    epochs: int = Field(50, ge=1, description="most epochs to train")
    batch_size: int = Field(64, ge=1, description="molecules per step")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate")
    max_lr: float | None = Field(None, gt=0, description="the same, where given")
    init_lr: float | None = Field(
        None, gt=0, description="learning rate of the first step; by default a tenth of the highest"
    )
    final_lr: float | None = Field(
        None, gt=0, description="learning rate of the last step; by default a tenth of the highest"
    )
    warmup_epochs: int = Field(2, ge=0, description="epochs of warm-up, at most epochs - 1")
    patience: int | None = Field(
        10, ge=1, description="epochs without a better validation loss before stopping; None: never"
    )
    loss: LossName = Field(
        "auto",
        description="auto: mse for regression, bce for classification; in a model of both kinds a "
        "loss named here is that of its own kind",
    )
    loss_average: LossAverage = Field(
        "task",
        description="task: mean over tasks of each task's mean; cell: mean over all labels, where "
        "a dense task outweighs a rare one; uncertainty: as task, each divided by a scale of its "
        "errors that is learnt",
    )
    huber_delta: float = Field(
        1.0, gt=0, description="where huber turns linear, in standard deviations of the task"
    )
    focal_gamma: float = Field(2.0, ge=0, description="focusing exponent of focal; 0 is bce")
    task_weights: dict[str, TaskWeight] | None = Field(
        None, description="factor of a task's loss, by task name; 1 where not given"
    )
    best_epoch: BestEpoch = Field(
        "model",
        description="which epoch's weights are kept where there are validation rows: model: those "
        "of the least loss; task: for each task those of its own least loss, a model for each",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="learning rate of a layer over that of the next one towards the output, from "
        "the head down the message passing; below 1 spares what a foundation knows",
    )
    unfreeze_every: int = Field(
        0,
        ge=0,
        description="epochs after which one more layer of the message passing, from the last, is "
        "trained, the head alone at first; 0: all from the start",
    )
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    non_finite: Literal["stop", "skip"] = Field(
        "stop",
        description="at a training batch whose loss is NaN or infinite: stop, naming rows and "
        "tasks, or skip it, counted",
    )
    checkpoint_every_steps: int | None = Field(
        200, ge=1, description="steps between checkpoints within an epoch; None: only at its end"
    )
    precision: Precision = Field(
        "32",
        description="of products and activations in training: bf16 is quicker where the processor "
        "has it, and auto takes it there; weights, steps and predictions stay in single precision; "
        "64: all of training in double",
    )
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field(
        "auto", description="where to train; gpu: CUDA or MPS, auto: the same where there is one"
    )

    @property
    def peak_lr(self) -> float:
        """Highest learning rate."""
        return self.max_lr or self.learning_rate


class ChempropConfig(ConfigModel):
    """A model and its training."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    groups: list[list[str]] | None = Field(
        None, description="task groups, one head each; by default one head serves all tasks"
    )
    group_assignment: dict[str, int] | None = Field(
        None, description="group, from 0, that serves a task which stands in several, by task"
    )

    @model_validator(mode="after")
    def _frozen_or_unfrozen(self) -> Self:
        if self.model.freeze_encoder and self.training.unfreeze_every:
            raise ValueError(
                "training.unfreeze_every: expected 0 with model.freeze_encoder, which leaves the "
                f"message passing as it is; found {self.training.unfreeze_every}"
            )
        return self


class EnsembleConfig(ChempropConfig):
    """Several models of one configuration: every seed on every fold."""

    n_seeds: int = Field(5, ge=1, description="models per fold, which differ by their seed")
    n_folds: int = Field(1, ge=1, description="pairs of training and validation data")


class EnsembleSection(ConfigModel):
    """Several models, one for each seed on each fold; their mean predicts, their spread warns."""

    n_seeds: int = Field(1, ge=1, description="models per fold, which differ by their seed")
    n_folds: int = Field(
        1, ge=1, description="parts of all rows but the test split, each of which validates once"
    )

    @property
    def n_members(self) -> int:
        """Number of models."""
        return self.n_seeds * self.n_folds


class SharedChempropConfig(ChempropConfig):
    """A model and its training, how its tasks share it, and how many of it there are."""

    groups: list[list[str]] | str | None = Field(  # type: ignore[assignment]  # read to a list
        None,
        description="task groups, one head each, as lists of tasks or a groups.json; by default "
        "one head serves all tasks",
    )
    sharing: Sharing = Field(
        "heads",
        description="heads: one model with a head for each group; separate: a model for each group",
    )
    ensemble: EnsembleSection = Field(default_factory=EnsembleSection)

    @model_validator(mode="before")
    @classmethod
    def _sharing_beside_its_section(cls, values: Any) -> Any:
        """Take `sharing` from within a command's `task_affinity`, where it reads as well."""
        section = values.get("task_affinity") if isinstance(values, dict) else None
        if not isinstance(section, dict) or "sharing" not in section or "sharing" in values:
            return values
        rest = {key: value for key, value in section.items() if key != "sharing"}
        return {**values, "sharing": section["sharing"], "task_affinity": rest}
