"""What training minimises: weighted losses of tasks and auxiliary groups; the data that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from molpool_common import FloatArray, did_you_mean, listed
from torch import Tensor, nn

from mil_attn._bags import Bags
from mil_attn._config import MILConfig, MILLossConfig
from mil_attn._errors import MILError
from mil_attn._losses import MultiTaskFocal, normalize_lambdas, reg_loss_by_task, reg_loss_weighted
from mil_attn.data._bag_data import BagData
from mil_attn.models._model import MILOutput


@dataclass(frozen=True, eq=False)
class LossTerms:
    """The loss of a batch and what it is made of.

    Attributes
    ----------
    total : Tensor []
        mean over tasks of lam · by_task, plus lambda_aux · aux of each group.
    by_task : Tensor [T]
        Losses of the tasks, before their factors.
    aux : dict of str to Tensor []
        Losses of the auxiliary groups, before their factors.
    """

    total: Tensor
    by_task: Tensor
    aux: dict[str, Tensor]


class Objective(nn.Module):
    """Loss of a batch of T tasks.

    Parameters
    ----------
    config : MILConfig
        Losses, their factors, auxiliary groups.
    n_tasks : int
        Number of tasks T.
    pos_weight : sequence of float [T], optional
        Weight of positives, from `positive_weights`; 1 by default.

    Raises
    ------
    MILError
        If the configuration gives numbers for another number of tasks.
    """

    lam: Tensor

    def __init__(
        self, config: MILConfig, n_tasks: int, pos_weight: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        loss = config.loss
        raw = by_task("loss.lam", loss.lam, n_tasks)
        lam = normalize_lambdas(raw, loss.lam_floor, loss.lam_ceil)
        self.register_buffer("lam", lam.to(torch.get_default_dtype()))
        self.kind = loss.reg_loss_type
        self.aux_weights = {name: group.weight for name, group in config.aux.items()}
        self.focal = (
            MultiTaskFocal(
                [1.0] * n_tasks if pos_weight is None else list(pos_weight),
                by_task("loss.gamma", loss.gamma, n_tasks),
            )
            if config.task_kind == "classification"
            else None
        )

    def forward(self, output: MILOutput, bags: Bags) -> LossTerms:
        """Return the loss of a batch with labels."""
        assert bags.labels is not None
        given = (output.logits, bags.labels, bags.mask, bags.weights)
        tasks = self.focal(*given) if self.focal else reg_loss_by_task(*given, kind=self.kind)
        # Weights of mean 1: dividing by T, not by the tasks present, leaves a task's step
        # independent of which others have labels in the batch.
        total = (self.lam * tasks).mean()
        aux = {
            name: reg_loss_weighted(
                output.aux[name],
                values,
                bags.aux_mask.get(name),
                bags.aux_weights.get(name),
                self.kind,
            )
            for name, values in bags.aux.items()
            if name in output.aux
        }
        for name, value in aux.items():
            total = total + self.aux_weights[name] * value
        return LossTerms(total, tasks, aux)


def by_task(name: str, value: float | Sequence[float], n_tasks: int) -> list[float]:
    """Return one number per task, of one for all or of as many as there are tasks."""
    if isinstance(value, int | float):
        return [float(value)] * n_tasks
    if len(value) != n_tasks:
        raise MILError(
            f"{name}: expected one number, or one per task ({n_tasks}); found {value!r}."
        )
    return list(value)


def positive_weights(labels: FloatArray, loss: MILLossConfig) -> list[float]:
    """Return the weight of each task's positives: as given, or negatives over positives.

    Parameters
    ----------
    labels : ndarray [N, T]
        Of the training fold: 0, 1 or NaN.
    loss : MILLossConfig
        Its `pos_weight`, or its `posw_clip`: the largest weight of each task; that of a task
        without a positive, which has no use for one.
    """
    n_tasks = labels.shape[1]
    if loss.pos_weight is not None:
        return by_task("loss.pos_weight", loss.pos_weight, n_tasks)
    clip = by_task("loss.posw_clip", loss.posw_clip, n_tasks)
    positives = (labels == 1).sum(axis=0)
    negatives = (labels == 0).sum(axis=0)
    # Negatives over positives balances the two classes' share of the loss.
    ratio = np.divide(negatives, positives, out=np.full(n_tasks, np.inf), where=positives > 0)
    # A task without negatives would not be trained on at all.
    return [float(min(r, c)) if r > 0 else 1.0 for r, c in zip(ratio, clip, strict=True)]


def resolve_tasks(config: MILConfig, data: BagData) -> tuple[str, ...]:
    """Return the names of the tasks: the configuration's, or else the data's.

    Raises
    ------
    MILError
        If the data have no labels, or their tasks are others or of another kind.
    """
    if data.labels is None or not data.task_names:
        raise MILError("labels: expected a column for each task in the training data; found none.")
    if data.task_kind != config.task_kind:
        raise MILError(
            f"task_kind: expected that of the data, {data.task_kind!r}; found {config.task_kind!r}."
        )
    if config.tasks and tuple(config.tasks) != tuple(data.task_names):
        raise MILError(
            f"tasks: expected those of the data, {list(data.task_names)}; found {config.tasks}."
        )
    return tuple(data.task_names)


def check_aux(config: MILConfig, data: BagData) -> None:
    """Raise MILError unless the data have the auxiliary groups of the configuration."""
    for name, group in config.aux.items():
        if name not in data.aux:
            raise MILError(
                f"aux: expected the group {name!r} in the training data; "
                f"found {listed([repr(k) for k in data.aux]) or 'none'}. "
                + (did_you_mean(name, list(data.aux)) if data.aux else "")
            )
        if data.aux[name].shape[1] != len(group.columns):
            raise MILError(
                f"aux.{name}: expected {len(group.columns)} columns, {group.columns}; "
                f"found {data.aux[name].shape[1]} in the data."
            )


def check_labels(data: BagData, task_names: tuple[str, ...], stage: str, *, least: int = 1) -> None:
    """Raise MILError unless the data have these tasks, and labels of each."""
    if data.labels is None or tuple(data.task_names) != task_names:
        found = "none" if data.labels is None else f"{list(data.task_names)}"
        raise MILError(f"{stage} data: expected labels of {list(task_names)}; found {found}.")
    counts = (~np.isnan(data.labels)).sum(axis=0)
    for name, n in zip(task_names, counts, strict=True):
        if n < least:
            raise MILError(
                f"task {name!r}: expected a label in the {stage} data; found none "
                f"in {len(data)} bags."
            )
