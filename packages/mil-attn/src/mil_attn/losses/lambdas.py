"""Weights of the tasks in the loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mil_attn.errors import MILError


def normalize_lambdas(raw: Sequence[float] | Tensor, floor: float, ceil: float) -> Tensor:
    """Return task weights of mean 1: divided by their mean, clipped, divided by the new mean.

    Parameters
    ----------
    raw : sequence of float or Tensor [T]
        Positive weights.
    floor, ceil : float
        Bounds of the weights before the last division; 0 < floor <= ceil.

    Returns
    -------
    Tensor [T]
        float64; their sum is T.

    Raises
    ------
    MILError
        If a weight is not positive and finite, or the bounds are not in order.
    """
    values = torch.as_tensor(raw, dtype=torch.float64)
    if values.dim() != 1 or not len(values):
        raise MILError(f"raw: expected one weight a task; found shape {list(values.shape)}.")
    wrong = ~((values > 0) & values.isfinite())
    if bool(wrong.any()):
        t = int(wrong.nonzero()[0])
        raise MILError(
            f"raw: expected finite weights above 0; found {values[t].item():g} of task {t}."
        )
    if not 0 < floor <= ceil:
        raise MILError(f"floor, ceil: expected 0 < floor <= ceil; found {floor:g} and {ceil:g}.")
    clipped = (values / values.mean()).clamp(floor, ceil)
    return clipped / clipped.mean()
