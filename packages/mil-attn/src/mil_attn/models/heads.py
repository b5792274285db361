"""Linear heads on task embeddings."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class TaskHeads(nn.Module):
    """One linear head a task, on that task's own embedding.

    Parameters
    ----------
    n_tasks : int
        Number of tasks T.
    width : int
        Width of an embedding.
    """

    def __init__(self, n_tasks: int, width: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(n_tasks, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(n_tasks))

    def forward(self, z_tasks: Tensor) -> Tensor:
        """Return [B, T] of embeddings [B, T, width]."""
        return torch.einsum("btw,tw->bt", z_tasks, self.weight) + self.bias


class AuxHeads(nn.ModuleDict):
    """Shared linear heads, one a group, on the mean of the task embeddings.

    Parameters
    ----------
    groups : mapping of str to int
        Outputs of each group.
    width : int
        Width of an embedding.
    """

    def __init__(self, groups: Mapping[str, int], width: int) -> None:
        super().__init__({name: nn.Linear(width, n) for name, n in groups.items()})

    def forward(self, z_tasks: Tensor) -> dict[str, Tensor]:
        """Return [B, outputs] of each group, of embeddings [B, T, width]."""
        z_aux = z_tasks.mean(1)
        return {name: head(z_aux) for name, head in self.items()}
