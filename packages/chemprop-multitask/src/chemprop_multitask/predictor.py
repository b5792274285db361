"""One feed-forward head a task group, behind the interface of Chemprop's predictors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from chemprop.nn import UnscaleTransform
from chemprop.nn.ffn import MLP
from chemprop.nn.metrics import MSE, ChempropMetric
from chemprop.nn.predictors import Predictor
from torch import Tensor, nn

from chemprop_multitask.tasks import TaskType, resolve_groups, resolve_task_types


class _Heads(nn.Module):
    """Heads side by side, their outputs put in the order of the tasks."""

    def __init__(self, heads: Sequence[MLP], columns: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)
        self.order: Tensor
        flat = torch.tensor([t for group in columns for t in group])
        self.register_buffer("order", torch.argsort(flat), persistent=False)

    def forward(self, Z: Tensor) -> Tensor:
        out = torch.cat([head(Z) for head in self.heads], dim=1)
        return out.index_select(1, self.order)

    def encode(self, Z: Tensor, i: int) -> Tensor:
        layers = [head[:i] for head in self.heads if isinstance(head, nn.Sequential)]
        return torch.cat([hidden(Z) for hidden in layers], dim=1)


class GroupedPredictor(Predictor):  # type: ignore[misc]  # chemprop has no types here
    """A head for each group of tasks; regression and classification may stand side by side.

    With one group its parameters have the names and shapes of Chemprop's own predictors.

    Parameters
    ----------
    groups : sequence of sequences of str or int
        Tasks of each group, by name or column. Each task has one output, in the group that serves
        it.
    task_names : sequence of str
        Names of the T tasks, in the order of the outputs.
    task_types : {"regression", "classification"} or a sequence of them
        Kind of all tasks, or of each.
    assignment : mapping of str to int, optional
        Group, from 0, that serves a task which stands in several.
    input_dim : int
        Width of the fingerprint.
    hidden_dim : int
        Width of a hidden layer of each head.
    n_layers : int
        Hidden layers of each head.
    dropout : float
        Dropout before each layer but the first.
    activation : str
        Nonlinearity.
    criterion : ChempropMetric, optional
        Loss; squared error by default.
    task_weights : Tensor [T], optional
        Weights of the default loss.
    output_transform : UnscaleTransform, optional
        From scaled to real values, with mean 0 and scale 1 for classes.

    Raises
    ------
    ChempropError
        If a group names an unknown task, or a task has no group or several.
    """

    n_targets = 1
    _T_default_criterion = MSE
    _T_default_metric = MSE

    def __init__(
        self,
        groups: Sequence[Sequence[str | int]],
        task_names: Sequence[str],
        *,
        task_types: TaskType | Sequence[TaskType] = "regression",
        assignment: Mapping[str, int] | None = None,
        input_dim: int = 300,
        hidden_dim: int = 300,
        n_layers: int = 1,
        dropout: float = 0.0,
        activation: str = "relu",
        criterion: ChempropMetric | None = None,
        task_weights: Tensor | None = None,
        output_transform: UnscaleTransform | None = None,
    ) -> None:
        super().__init__()
        self.task_types = resolve_task_types(task_names, task_types)
        self.groups = resolve_groups(groups, task_names, assignment)
        # Chemprop rebuilds a predictor from these; groups are written as resolved.
        self.hparams: dict[str, Any] = {
            "cls": type(self),
            "groups": self.groups,
            "task_names": tuple(task_names),
            "task_types": self.task_types,
            "input_dim": input_dim,
            "hidden_dim": hidden_dim,
            "n_layers": n_layers,
            "dropout": dropout,
            "activation": activation,
            "criterion": criterion,
            "task_weights": task_weights,
            "output_transform": output_transform,
        }
        heads = [
            MLP.build(input_dim, len(group), hidden_dim, n_layers, dropout, activation)
            for group in self.groups
        ]
        self.input_dim = input_dim
        in_order = self.groups == (tuple(range(len(task_names))),)
        self.ffn = heads[0] if in_order else _Heads(heads, self.groups)
        weights = torch.ones(len(task_names)) if task_weights is None else task_weights
        self.criterion = criterion if criterion is not None else MSE(weights)
        self.output_transform = output_transform if output_transform is not None else nn.Identity()
        is_class = torch.tensor([kind == "classification" for kind in self.task_types])
        self.register_buffer("is_class", is_class, persistent=False)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.task_types)

    @property
    def output_dim(self) -> int:
        """Number of outputs, one a task."""
        return len(self.task_types)

    def train_step(self, Z: Tensor) -> Tensor:
        """Return what the loss takes, [B, T]: values, scaled in training, and logits."""
        Y: Tensor = self.output_transform(self.ffn(Z))
        return Y

    def forward(self, Z: Tensor) -> Tensor:
        """Return predictions [B, T]: values, and probabilities of class 1."""
        Y = self.train_step(Z)
        return torch.where(self.is_class, Y.sigmoid(), Y)

    def encode(self, Z: Tensor, i: int) -> Tensor:
        """Return the hidden representation after layer `i` of every head, side by side."""
        if isinstance(self.ffn, _Heads):
            return self.ffn.encode(Z, i)
        hidden: Tensor = self.ffn[:i](Z)
        return hidden
