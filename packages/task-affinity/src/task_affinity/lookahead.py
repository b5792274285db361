"""How a step for one task changes the loss of every other: TAG proper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from task_affinity.functional import FunctionalLosses, RandomState


def lookahead_affinities(
    functional: FunctionalLosses,
    batch: Any,
    random: RandomState,
    losses: Tensor,
    tasks: Tensor,
    parameters: Mapping[str, Tensor],
    step: float,
) -> Tensor:
    """Return the share of each task's loss that a step on another task's gradient takes away.

    Parameters
    ----------
    functional : FunctionalLosses
        The losses as a function of parameters.
    batch : object
        What they take.
    random : RandomState
        Where the generators stood before the forward pass that gave `losses`.
    losses : Tensor [T]
        Losses at the present parameters, with their graph.
    tasks : Tensor of int [K]
        Tasks with a label in the batch.
    parameters : mapping of str to Tensor
        The shared parameters, θ.
    step : float
        Length η of the step.

    Returns
    -------
    Tensor [K, K]
        Row i receives from column j: 1 − Lᵢ(θ − η gⱼ) / Lᵢ(θ); not finite where Lᵢ is 0.

    Notes
    -----
    Fifty et al. 2021, arXiv:2109.04617, equation 1. Heads stay where they are.
    """
    before = losses.detach()[tasks]
    columns = []
    for task in tasks.tolist():
        after = before
        if losses[task].requires_grad:
            stepped = _stepped(losses[task], parameters, step)
            with torch.no_grad():
                after = functional(batch, random, stepped)[0][tasks]
        columns.append(1 - after / before)
    return torch.stack(columns, dim=1)


def _stepped(loss: Tensor, parameters: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    values = list(parameters.values())
    grads = torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True)
    return {
        name: value.detach() if grad is None else value.detach() - step * grad
        for (name, value), grad in zip(parameters.items(), grads, strict=True)
    }
