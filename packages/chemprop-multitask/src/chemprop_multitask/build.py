"""From a configuration to a network of Chemprop's own modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from chemprop import nn

from chemprop_multitask.config import ChempropConfig
from chemprop_multitask.errors import ChempropError
from chemprop_multitask.foundation import load_foundation
from chemprop_multitask.losses import MultiTaskLoss
from chemprop_multitask.message_passing import FastBondMessagePassing
from chemprop_multitask.network import MultiTaskMPNN
from chemprop_multitask.predictor import GroupedPredictor
from chemprop_multitask.tasks import TaskType

AGGREGATION = {
    "mean": nn.MeanAggregation,
    "sum": nn.SumAggregation,
    "norm": nn.NormAggregation,
}


def build_network(
    config: ChempropConfig, task_names: Sequence[str], kinds: Sequence[TaskType]
) -> MultiTaskMPNN:
    """Build an untrained network; torch's generator draws its weights.

    A model of one kind and one head is made of Chemprop's own classes alone, so that Chemprop
    opens its files without this package.
    """
    model, train = config.model, config.training
    message_passing = _message_passing(config)
    network = MultiTaskMPNN(
        message_passing,
        AGGREGATION[model.aggregation](),
        _predictor(config, task_names, kinds, message_passing.output_dim),
        batch_norm=model.batch_norm,
        warmup_epochs=min(train.warmup_epochs, train.epochs - 1),
        init_lr=train.init_lr or train.peak_lr / 10,
        max_lr=train.peak_lr,
        final_lr=train.final_lr or train.peak_lr / 10,
    )
    network.use_loss(MultiTaskLoss.from_config(train, task_names, kinds), tuple(task_names))
    return network


def _message_passing(config: ChempropConfig) -> Any:
    mp = config.model.message_passing
    block = (FastBondMessagePassing if mp.fast else nn.BondMessagePassing)(
        d_h=mp.hidden_size,
        depth=mp.depth,
        dropout=mp.dropout,
        activation=mp.activation,
        bias=mp.bias,
        undirected=mp.undirected,
    )
    if config.model.from_foundation is not None:
        load_foundation(block, config.model.from_foundation)
    if config.model.freeze_encoder:
        if config.model.from_foundation is None:
            raise ChempropError(
                "model.freeze_encoder: expected model.from_foundation with it; found none, and "
                "random weights are not worth keeping"
            )
        block.requires_grad_(False)
    return block


def _predictor(
    config: ChempropConfig, task_names: Sequence[str], kinds: Sequence[TaskType], width: int
) -> Any:
    n_tasks = len(task_names)
    ffn = config.model.ffn
    weights = config.training.task_weights or {}
    shared: dict[str, Any] = {
        "input_dim": width,
        "hidden_dim": ffn.hidden_size,
        "n_layers": ffn.num_layers,
        "dropout": ffn.dropout,
        "task_weights": torch.tensor([weights.get(name, 1.0) for name in task_names]),
    }
    if "regression" in kinds:
        shared["output_transform"] = nn.UnscaleTransform(np.zeros(n_tasks), np.ones(n_tasks))
    if config.groups is not None or len(set(kinds)) > 1:
        groups = config.groups if config.groups is not None else [list(task_names)]
        return GroupedPredictor(
            groups, task_names, task_types=kinds, assignment=config.group_assignment, **shared
        )
    if kinds[0] == "regression":
        return nn.RegressionFFN(n_tasks=n_tasks, **shared)
    return nn.BinaryClassificationFFN(n_tasks=n_tasks, **shared)
