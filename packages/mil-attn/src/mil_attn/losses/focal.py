"""Focal loss of several tasks with missing labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from mil_attn.errors import MILError
from mil_attn.losses.mean import masked_mean


class MultiTaskFocal(nn.Module):
    """Binary cross-entropy with weighted positives, times (1 - p_t)^gamma, a mean for each task.

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
                "pos_weight, gamma: expected one number a task each; "
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
