"""Architecture and training of a multi-task Chemprop model."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Activation = Literal["relu", "leakyrelu", "prelu", "tanh", "elu"]
AggregationName = Literal["mean", "sum", "norm"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class MessagePassingConfig(_Section):
    """Directed bond message passing (Yang et al. 2019, doi:10.1021/acs.jcim.9b00237)."""

    depth: int = Field(3, ge=1, description="number of message passing steps")
    hidden_size: int = Field(300, ge=1, description="width of a bond's hidden state")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each step")
    activation: Activation = Field("relu", description="nonlinearity")
    bias: bool = Field(False, description="bias in the message weights")
    undirected: bool = Field(False, description="average the two directions of each bond")


class FFNConfig(_Section):
    """The predictor on top of the molecule's fingerprint."""

    num_layers: int = Field(2, ge=1, description="hidden layers")
    hidden_size: int = Field(300, ge=1, description="width of a hidden layer")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each layer")


class ModelConfig(_Section):
    """Architecture."""

    type: Literal["chemprop"] = Field("chemprop", description="kind of model")
    message_passing: MessagePassingConfig = Field(default_factory=MessagePassingConfig)
    aggregation: AggregationName = Field("mean", description="atoms to molecule")
    batch_norm: bool = Field(False, description="batch normalisation of the fingerprint")
    ffn: FFNConfig = Field(default_factory=FFNConfig)


class TrainingConfig(_Section):
    """Optimisation: Adam with a linear warm-up and an exponential decay."""

    epochs: int = Field(50, ge=1, description="most epochs to train")
    batch_size: int = Field(64, ge=1, description="molecules a step")
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
    gradient_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="where to train")

    @property
    def peak_lr(self) -> float:
        """Highest learning rate."""
        return self.max_lr or self.learning_rate


class ChempropConfig(_Section):
    """A model and its training."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
