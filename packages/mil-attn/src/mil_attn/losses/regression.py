"""Losses of values: auxiliary heads and regression tasks."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from molpool_common import did_you_mean
from torch import Tensor

from mil_attn.errors import MILError
from mil_attn.losses.mean import masked_mean

RegLoss = Literal["mse"]


def reg_loss_weighted(
    pred: Tensor,
    y: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    kind: str = "mse",
) -> Tensor:
    """Return the weighted mean loss over all values that are there.

    Parameters
    ----------
    pred : Tensor [B, A]
        Predictions.
    y : Tensor [B, A]
        Values, NaN where missing.
    mask : BoolTensor [B, A], optional
        Whether a value counts; a missing one never does.
    weights : Tensor [B, A], optional
        Weights of the values; 1 by default.
    kind : {"mse"}
        The loss of one value.

    Returns
    -------
    Tensor []
        0 where no value counts.

    Raises
    ------
    MILError
        If the kind is unknown.
    """
    return masked_mean(_cells(pred, y, kind), y, mask, weights)


def reg_loss_by_task(
    pred: Tensor,
    y: Tensor,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    kind: str = "mse",
) -> Tensor:
    """Return the loss of each task [T]; otherwise as `reg_loss_weighted`."""
    return masked_mean(_cells(pred, y, kind), y, mask, weights, dim=0)


def _cells(pred: Tensor, y: Tensor, kind: str) -> Tensor:
    if kind not in get_args(RegLoss):
        raise MILError(
            f"kind: expected the name of a loss; found {kind!r}. "
            + did_you_mean(kind, get_args(RegLoss))
        )
    present = ~y.isnan()
    difference = torch.where(present, pred - torch.where(present, y, 0.0).to(pred.dtype), 0.0)
    return difference.square()
