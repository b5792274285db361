"""Exact gradients of every task, one vector-Jacobian product each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def add_gradients(
    jacobian: Tensor, losses: Tensor, rows: Sequence[int], inputs: Sequence[Tensor]
) -> None:
    """Add the gradient of each loss to its row of a Jacobian.

    Parameters
    ----------
    jacobian : Tensor [T, P]
        Written to in place.
    losses : Tensor [K]
        The losses, with their graph, which is kept.
    rows : sequence of int [K]
        Row of each loss.
    inputs : sequence of Tensor
        What to differentiate by, P numbers in all. One that a loss does not reach counts as zeros.

    Notes
    -----
    A loop over backward passes: batched by `torch.vmap` they take 1.5 times as long on a CPU, for
    every activation is then read and written for all tasks at once and leaves the cache.
    """
    for row, loss in zip(rows, losses.unbind(), strict=True):
        if not loss.requires_grad:
            continue
        grads = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        start = 0
        for grad, size in zip(grads, (x.numel() for x in inputs), strict=True):
            if grad is not None:
                jacobian[row, start : start + size] += grad.reshape(-1)
            start += size


def empty_jacobian(n_tasks: int, inputs: Sequence[Tensor]) -> Tensor:
    """Return zeros [T, P] for the gradients of T tasks by inputs of P numbers in all."""
    return inputs[0].new_zeros(n_tasks, sum(x.numel() for x in inputs))


def gramian(jacobian: Tensor, chunk: int = 1 << 16) -> Tensor:
    """Return the products of all rows with all rows, [T, T], summed in double precision.

    Parameters
    ----------
    jacobian : Tensor [T, P]
        A gradient a row.
    chunk : int
        Columns that are multiplied at once in the Jacobian's own precision.
    """
    products = jacobian.new_zeros(len(jacobian), len(jacobian), dtype=torch.float64)
    for columns in torch.split(jacobian, chunk, dim=1):
        products += columns @ columns.T
    return products
