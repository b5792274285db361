"""Configuration of affinity and grouping: what a YAML file or a command line may say.

Imports neither torch nor scikit-learn, so that a command's help needs milliseconds.
"""

from __future__ import annotations

import re
from typing import Literal, Self

from molpool_common import ConfigModel, Seed
from pydantic import Field, field_validator, model_validator

AffinityType = Literal["cosine", "dot_product", "lookahead"]
Estimator = Literal["auto", "exact", "probe"]
GradientScope = Literal["encoder", "representation"]
ClusteringMethod = Literal["agglomerative", "spectral", "tag"]

DEFAULT_EXCLUSIONS = ("predictor", "predict", "ffn", "output", "readout", "head")
"""A parameter whose name holds one of these is not the encoder's, unless patterns are given."""


_N_GROUPS, _BATCH_SIZE = 3, 64


class TaskAffinityConfig(ConfigModel):
    """Measure how tasks help each other during a short training, and group them by it."""

    enabled: bool = Field(default=False, description="Measure affinities and group the tasks.")
    n_groups: int | Literal["auto"] = Field(
        default=_N_GROUPS,
        description="Number of groups, 1 to that of tasks; where none is given at most as many as"
        " these; auto: by silhouette.",
    )
    affinity_epochs: int = Field(
        default=1, ge=1, description="Epochs of the short training that is measured."
    )
    affinity_batch_size: int = Field(
        default=_BATCH_SIZE,
        ge=1,
        description="Molecules per batch of it; where none is given at most those of the table.",
    )
    affinity_lr: float = Field(
        default=1e-3, gt=0, description="Adam's learning rate in it; the step of lookahead, too."
    )
    affinity_type: AffinityType = Field(
        default="cosine",
        description=(
            "cosine or dot_product of the tasks' gradients, which are the same unless"
            " normalize_gradients is false; lookahead: fall of one task's loss after a step on"
            " another's (TAG; row receives from column)."
        ),
    )
    normalize_gradients: bool = Field(
        default=True,
        description="Scale gradients to unit length before dot products, which makes cosines of"
        " them; false: dot_product is normalised at the end, by the mean over all batches.",
    )
    estimator: Estimator = Field(
        default="auto",
        description=(
            "exact: one backward pass per task; probe: random forward derivatives, whose cost does"
            " not grow with the number of tasks; auto: by the number of tasks."
        ),
    )
    n_probes: int = Field(default=8, ge=1, description="Random directions per step for probe.")
    gradient_scope: GradientScope = Field(
        default="encoder",
        description=(
            "encoder: gradients to the shared parameters; representation: to the encoder's"
            " output, cheaper and of about the same ranks."
        ),
    )
    every_n_steps: int = Field(
        default=1,
        ge=1,
        description=(
            "Measure one training step in n, and those with the first label of a task, however"
            " rare."
        ),
    )
    clustering_method: ClusteringMethod = Field(
        default="agglomerative",
        description=(
            "agglomerative: average linkage; spectral: graph cut; tag: groups that may overlap,"
            " by the affinity that each task receives."
        ),
    )
    n_bootstrap: int = Field(
        default=100,
        ge=0,
        description="Resamples of the batches that show how stable the groups are; 0: none.",
    )
    encoder_param_patterns: list[str] = Field(
        default=[],
        description=(
            "Take parameters whose name holds one of these; if empty, those whose name holds none"
            f" of {', '.join(DEFAULT_EXCLUSIONS)}."
        ),
    )
    device: str = Field(
        default="auto", description="auto (CUDA if there is one), cpu, mps, cuda or cuda:N."
    )
    seed: Seed = Field(
        default=42, description="Seed of the shuffling, the probes and the grouping."
    )
    log_affinity_matrix: bool = Field(
        default=True,
        description="Log the matrix, one row per task; print it where nobody listens to logs.",
    )

    @property
    def normalizes_means(self) -> bool:
        """Whether means of dot products are normalised at the end, not batch by batch."""
        return self.affinity_type == "dot_product" and not self.normalize_gradients

    def n_groups_of(self, n_tasks: int) -> int | Literal["auto"]:
        """Return the number of groups of some tasks: the default is no more than there are."""
        return self.n_groups if self.is_given("n_groups") else min(_N_GROUPS, n_tasks)

    def batch_size_of(self, n_rows: int) -> int:
        """Return the batch size of some molecules: the default is no more than there are."""
        size = self.affinity_batch_size
        return size if self.is_given("affinity_batch_size") else max(1, min(size, n_rows))

    def for_table(self, n_tasks: int, n_rows: int) -> Self:
        """Return a copy whose defaults suit a number of tasks and of molecules with labels."""
        wanted = {
            "n_groups": self.n_groups_of(n_tasks),
            "affinity_batch_size": self.batch_size_of(n_rows),
        }
        return self.model_copy(update=wanted)

    @field_validator("n_groups", mode="before")
    @classmethod
    def _number_or_auto(cls, n_groups: object) -> object:
        words = isinstance(n_groups, str) and n_groups != "auto" and not n_groups.isdecimal()
        if words or (isinstance(n_groups, int) and n_groups < 1):
            raise ValueError("expected 'auto' or a number from 1 to that of tasks")
        return n_groups

    @field_validator("device")
    @classmethod
    def _known_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError("expected auto, cpu, mps, cuda or cuda:N")
        return device

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.affinity_type == "lookahead" and self.estimator == "probe":
            raise ValueError(
                "estimator: expected 'exact' or 'auto' with affinity_type 'lookahead', which is no"
                " dot product of gradients; found 'probe'"
            )
        if self.affinity_type == "lookahead" and self.clustering_method == "spectral":
            raise ValueError(
                "clustering_method: expected 'tag' or 'agglomerative' with affinity_type"
                " 'lookahead', which is not symmetric; found 'spectral'"
            )
        return self
