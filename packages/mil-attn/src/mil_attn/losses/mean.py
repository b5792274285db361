"""Means over the labels that are there."""

from __future__ import annotations

import torch
from torch import Tensor


def masked_mean(
    cells: Tensor,
    labels: Tensor,
    mask: Tensor | None,
    weights: Tensor | None,
    *,
    dim: int | None = None,
) -> Tensor:
    """Return the weighted mean of losses over the labels that count.

    Parameters
    ----------
    cells : Tensor [B, T]
        A loss a label.
    labels : Tensor [B, T]
        NaN where missing.
    mask : BoolTensor [B, T] or None
        Whether a label counts; a missing one never does.
    weights : Tensor [B, T] or None
        Weights of the labels; 1 if None.
    dim : int, optional
        The dimension to average over; by default all.

    Returns
    -------
    Tensor
        0 where no label counts.
    """
    counts = ~labels.isnan()
    if mask is not None:
        counts = counts & mask
    share = counts.to(cells.dtype)
    if weights is not None:
        share = torch.where(counts, weights.to(cells.dtype), share)
    # Where nothing counts, 0/0 would be NaN; and a product of NaN with 0 as well.
    summed = (torch.where(counts, cells, 0.0) * share).sum(dim=dim)
    total = share.sum(dim=dim)
    return summed / torch.where(total > 0, total, 1.0)
