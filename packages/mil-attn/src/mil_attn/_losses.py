"""Losses over the labels that are there: focal loss, squared errors, weights of the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from molpool_common import did_you_mean, over_ranks
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from mil_attn._errors import MILError

RegLoss = Literal["mse"]


def masked_mean(
    cells: Tensor,
    labels: Tensor,
    mask: Tensor | None,
    weights: Tensor | None,
    *,
    dim: int | None = None,
) -> Tensor:
    """Return the weighted mean of losses over the labels that count, of all ranks that train.

    Parameters
    ----------
    cells : Tensor [B, T]
        One loss per label.
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
    both = over_ranks(torch.stack([summed, share.sum(dim=dim)]))
    return both[0] / torch.where(both[1] > 0, both[1], 1.0)


class MultiTaskFocal(nn.Module):
    """Binary cross-entropy with weighted positives, times (1 - p_t)^gamma, averaged per task.

    p_t is the probability given to the true class. With gamma 0 it is
    `torch.nn.BCEWithLogitsLoss`.

    Parameters
    ----------
    pos_weight : Tensor or sequence of float [T]
        Weight of each task's positives, above 0.
    gamma : Tensor or sequence of float [T]
        Focal exponent of each task, 0 or more.

    Raises
    ------
    MILError
        If a number is out of range or the lengths differ.

    References
    ----------
    Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", ICCV (2017).
    """

    pos_weight: Tensor
    gamma: Tensor

    def __init__(
        self, pos_weight: Tensor | Sequence[float], gamma: Tensor | Sequence[float]
    ) -> None:
        super().__init__()
        weight = torch.as_tensor(pos_weight, dtype=torch.get_default_dtype())
        exponent = torch.as_tensor(gamma, dtype=torch.get_default_dtype())
        if weight.dim() != 1 or weight.shape != exponent.shape:
            raise MILError(
                "pos_weight, gamma: expected one number per task each; "
                f"found shapes {list(weight.shape)} and {list(exponent.shape)}."
            )
        _check("pos_weight", weight, "above 0", weight > 0)
        _check("gamma", exponent, "of 0 or more", exponent >= 0)
        self.register_buffer("pos_weight", weight)
        self.register_buffer("gamma", exponent)

    def forward(
        self,
        logits: Tensor,
        labels: Tensor,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of each task.

        Parameters
        ----------
        logits : Tensor [B, T]
            Predictions.
        labels : Tensor [B, T]
            0 or 1, NaN where missing.
        mask : BoolTensor [B, T], optional
            Whether a label counts; a missing one never does.
        weights : Tensor [B, T], optional
            Weights of the labels; 1 by default.

        Returns
        -------
        Tensor [T]
            Weighted means over the labels that count; 0 for a task that has none in the batch.
        """
        cells = self.cells(logits, labels)
        return masked_mean(cells, labels, mask, weights, dim=0)

    def cells(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each label [B, T]; 0 where it is missing."""
        present = ~labels.isnan()
        y = torch.where(present, labels, 0.0).to(logits.dtype)
        bce = binary_cross_entropy_with_logits(
            logits, y, pos_weight=self.pos_weight, reduction="none"
        )
        # As an exponential of gamma log(1 - p_t): a power has no derivative at 1 - p_t = 0.
        focus = torch.exp(self.gamma * logsigmoid(logits * (1 - 2 * y)))
        return torch.where(present, focus * bce, 0.0)


def _check(name: str, values: Tensor, expected: str, right: Tensor) -> None:
    wrong = ~(right & values.isfinite())
    if bool(wrong.any()):
        t = int(wrong.nonzero()[0])
        raise MILError(
            f"{name}: expected finite numbers {expected}; found {values[t].item():g} of task {t}."
        )


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
        raise MILError(f"raw: expected one weight per task; found shape {list(values.shape)}.")
    wrong = ~((values > 0) & values.isfinite())
    if bool(wrong.any()):
        t = int(wrong.nonzero()[0])
        raise MILError(
            f"raw: expected finite weights above 0; found {values[t].item():g} of task {t}."
        )
    if not 0 < floor <= ceil:
        raise MILError(f"floor, ceil: expected 0 < floor <= ceil; found {floor:g} and {ceil:g}.")
    # Bounds act on ratios to the mean, so that they do not depend on the unit of `raw`; the second
    # division undoes what clipping did to the mean, and the learning rate keeps its meaning.
    clipped = (values / values.mean()).clamp(floor, ceil)
    return clipped / clipped.mean()
