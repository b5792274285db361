"""The masked multi-task loss: what a cell costs, and how cells are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from molpool_common import did_you_mean, over_ranks
from torch import Tensor
from torch.nn import Parameter, functional

from chemprop_multitask._chemprop import ChempropMetric
from chemprop_multitask._config import LossAverage, TrainingConfig
from chemprop_multitask._errors import ChempropError
from chemprop_multitask._tasks import TaskType

REGRESSION_LOSSES = ("mse", "mae", "huber")
CLASSIFICATION_LOSSES = ("bce", "focal")

LOG_SCALE = "log_scale"
"""Name of the learnt scales among the parameters of a loss."""


class MultiTaskLoss(ChempropMetric):  # type: ignore[misc]  # chemprop has no types here
    """Mean loss over tasks (or over labels), a loss of its own kind for each column.

    As a metric it keeps a sum and a count per task, so that a whole validation set is averaged as a
    single batch is: first within each task, then over the tasks that have a label.

    Parameters
    ----------
    kinds : sequence of {"regression", "classification"}
        Kind of each of the T columns.
    regression : {"mse", "mae", "huber"}
        Loss of regression columns.
    classification : {"bce", "focal"}
        Loss of classification columns, on logits; focal: Lin et al. 2017, arXiv:1708.02002.
    average : {"task", "cell", "uncertainty"}
        ``task``: mean over tasks of each task's mean; ``cell``: mean over all labels, as Chemprop
        has it; ``uncertainty``: each task's mean over a scale that is learnt, plus the logarithm of
        the scale (Kendall, Gal and Cipolla, CVPR 2018, arXiv:1705.07115; of ``mae`` it is the
        likelihood of Laplace errors).
    huber_delta : float
        Where the Huber loss turns from square to linear, in units of the scaled target.
    focal_gamma : float
        Focusing exponent; 0 is ``bce``.
    task_weights : sequence of float, optional
        Factor of each task's loss; 1 by default. The average is not divided by their sum.
    """

    def __init__(
        self,
        kinds: Sequence[TaskType],
        *,
        regression: str = "mse",
        classification: str = "bce",
        average: LossAverage = "task",
        huber_delta: float = 1.0,
        focal_gamma: float = 2.0,
        task_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__([1.0] * len(kinds) if task_weights is None else list(task_weights))
        self.kinds = tuple(kinds)
        self.regression = regression
        self.classification = classification
        self.average = average
        self.huber_delta = huber_delta
        self.focal_gamma = focal_gamma
        is_class = torch.tensor([kind == "classification" for kind in kinds])
        self.register_buffer("is_class", is_class, persistent=False)
        # A batch's sums are those of all ranks already.
        self.sync_on_compute = False
        # The parent's states of the same names are one number each; a task mean needs one per task.
        if average == "uncertainty":
            self.log_scale = Parameter(torch.zeros(len(kinds)))
        self.add_state("total_loss", torch.zeros(len(kinds)), dist_reduce_fx="sum")
        self.add_state("num_samples", torch.zeros(len(kinds), dtype=torch.long), "sum")

    def update(
        self,
        preds: Tensor,
        targets: Tensor,
        mask: Tensor | None = None,
        weights: Tensor | None = None,
        lt_mask: Tensor | None = None,
        gt_mask: Tensor | None = None,
    ) -> None:
        """Add a batch; of several ranks each brings a part, and adds the whole.

        Parameters
        ----------
        preds : Tensor [B, T]
            Scaled values, or logits of class 1.
        targets : Tensor [B, T]
            Scaled values or classes, finite everywhere.
        mask : Tensor of bool [B, T], optional
            Where there is a label; everywhere by default.
        weights : Tensor [B] or [B, 1], optional
            Factor of each row's loss. Counts stay those of labels, as in Chemprop.
        lt_mask, gt_mask : Tensor of bool [B, T], optional
            Where the true value is below, or above, the target: predictions there cost nothing.
        """
        mask = torch.ones_like(targets, dtype=torch.bool) if mask is None else mask
        cells = self.cells(preds, targets, lt_mask, gt_mask) * self.task_weights
        if weights is not None:
            cells = cells * weights.view(-1, 1)
        # A product with the mask would let an infinite loss without a label through as NaN.
        summed = torch.where(mask, cells, 0.0).sum(dim=0)
        summed, counts = over_ranks(torch.stack([summed, mask.sum(dim=0).to(summed.dtype)]))
        self.total_loss += summed
        self.num_samples += counts.long()

    def compute(self) -> Tensor:
        """Return the average of all that was added; 0 where nothing had a label."""
        sums: Tensor = self.total_loss
        counts: Tensor = self.num_samples
        if self.average == "cell":
            return sums.sum() / counts.sum().clamp(min=1)
        means = sums / counts.clamp(min=1)
        if self.average == "uncertainty":
            # A task without a label must not have its scale shrunk.
            scaled = means * torch.exp(-self.log_scale) + self.log_scale
            means = torch.where(counts > 0, scaled, 0.0)
        # Over tasks with a label: an absent task would otherwise pull the mean to 0.
        return means.sum() / (counts > 0).sum().clamp(min=1)

    def cells(
        self,
        preds: Tensor,
        targets: Tensor,
        lt_mask: Tensor | None = None,
        gt_mask: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of each cell [B, T], before weights and mask."""
        if lt_mask is not None:
            # A prediction on the allowed side of a bound is set to the bound: no loss, and no
            # gradient.
            preds = torch.where((preds < targets) & lt_mask, targets, preds)
        if gt_mask is not None:
            preds = torch.where((preds > targets) & gt_mask, targets, preds)
        if "classification" not in self.kinds:
            return self._regression(preds, targets)
        if "regression" not in self.kinds:
            return self._classification(preds, targets)
        values = self._regression(preds, targets)
        return torch.where(self.is_class, self._classification(preds, targets), values)

    def _calc_unreduced_loss(
        self,
        preds: Tensor,
        targets: Tensor,
        mask: Tensor,
        weights: Tensor,
        lt_mask: Tensor,
        gt_mask: Tensor,
    ) -> Tensor:
        return self.cells(preds, targets, lt_mask, gt_mask)  # the name that Chemprop asks for

    def _regression(self, preds: Tensor, targets: Tensor) -> Tensor:
        if self.regression == "mae":
            return (preds - targets).abs()
        if self.regression == "huber":
            return functional.huber_loss(preds, targets, reduction="none", delta=self.huber_delta)
        return functional.mse_loss(preds, targets, reduction="none")

    def _classification(self, logits: Tensor, targets: Tensor) -> Tensor:
        bce = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        if self.classification == "bce":
            return bce
        # log(1 - p) of the true class, from logits: no power of a difference that rounds to 0.
        log_miss = functional.logsigmoid(torch.where(targets > 0.5, -logits, logits))
        return torch.exp(self.focal_gamma * log_miss) * bce

    def for_validation(self) -> MultiTaskLoss:
        """Return the loss by which epochs are compared: without what is learnt of the scales."""
        average = "task" if self.average == "uncertainty" else self.average
        return type(self)(
            self.kinds,
            regression=self.regression,
            classification=self.classification,
            average=average,
            huber_delta=self.huber_delta,
            focal_gamma=self.focal_gamma,
            task_weights=self.task_weights.flatten().tolist(),
        )

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"{self.description}, task_weights={self.task_weights.tolist()}"

    @property
    def description(self) -> str:
        """One line for a log: which losses, averaged over what."""
        names = [
            self.classification.upper() if kind == "classification" else self.regression.upper()
            for kind in sorted(set(self.kinds), reverse=True)
        ]
        over = {
            "task": "tasks, each the mean of its labels",
            "cell": "all labels",
            "uncertainty": "tasks, each over a learnt scale",
        }[self.average]
        return f"{' and '.join(names)}, mean over {over}"

    @classmethod
    def from_config(
        cls, config: TrainingConfig, task_names: Sequence[str], kinds: Sequence[TaskType]
    ) -> MultiTaskLoss:
        """Return the loss that a configuration asks for.

        Raises
        ------
        ChempropError
            If the loss fits no task, or a weight is of an unknown task.
        """
        given = config.task_weights or {}
        for name in given:
            if name not in task_names:
                raise ChempropError(
                    f"training.task_weights: expected tasks of the model; found {name!r}. "
                    f"{did_you_mean(name, list(task_names))}"
                )
        _check_family(config.loss, kinds)
        return cls(
            kinds,
            regression=config.loss if config.loss in REGRESSION_LOSSES else "mse",
            classification=config.loss if config.loss in CLASSIFICATION_LOSSES else "bce",
            average=config.loss_average,
            huber_delta=config.huber_delta,
            focal_gamma=config.focal_gamma,
            task_weights=[given.get(name, 1.0) for name in task_names],
        )


def _check_family(loss: str, kinds: Sequence[TaskType]) -> None:
    """Stop at a loss that no task would be trained with."""
    for kind, valid in (
        ("regression", REGRESSION_LOSSES),
        ("classification", CLASSIFICATION_LOSSES),
    ):
        if set(kinds) == {kind} and loss not in ("auto", *valid):
            raise ChempropError(
                f"training.loss: expected auto, {' or '.join(valid)} for {kind} tasks; "
                f"found {loss!r}"
            )
