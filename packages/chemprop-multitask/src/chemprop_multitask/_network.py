"""Chemprop's network with our loss, a head per task group, and how a configuration builds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from molpool_common import FloatArray, of_every_rank
from torch import Tensor
from torch.nn import Identity, Module, ModuleList, Parameter, Sequential
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from chemprop_multitask._chemprop import (
    MLP,
    MPNN,
    MSE,
    BatchMolGraph,
    ChempropMetric,
    Predictor,
    TrainingBatch,
    UnscaleTransform,
    nn,
)
from chemprop_multitask._config import ChempropConfig, MessagePassingConfig
from chemprop_multitask._data import OWN, Scaling
from chemprop_multitask._errors import NonFiniteLossError
from chemprop_multitask._losses import MultiTaskLoss
from chemprop_multitask._message_passing import FastBondMessagePassing, aggregate
from chemprop_multitask._tasks import TaskType, resolve_groups, resolve_task_types

_PARTIAL = "train_loss_so_far"
_SKIPPED = "skipped"

_LAYERS = ("W_o", "W_h", "W_i")

AGGREGATION = {
    "mean": nn.MeanAggregation,
    "sum": nn.SumAggregation,
    "norm": nn.NormAggregation,
}


class _Heads(Module):
    """Heads side by side, their outputs put in the order of the tasks."""

    def __init__(self, heads: Sequence[MLP], columns: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.heads = ModuleList(heads)
        self.order: Tensor
        flat = torch.tensor([t for group in columns for t in group])
        # argsort inverts the permutation; not persistent, since it follows from the groups.
        self.register_buffer("order", torch.argsort(flat), persistent=False)

    def forward(self, Z: Tensor) -> Tensor:
        out = torch.cat([head(Z) for head in self.heads], dim=1)
        return out.index_select(1, self.order)

    def encode(self, Z: Tensor, i: int) -> Tensor:
        layers = [head[:i] for head in self.heads if isinstance(head, Sequential)]
        return torch.cat([hidden(Z) for hidden in layers], dim=1)


class GroupedPredictor(Predictor):  # type: ignore[misc]  # chemprop has no types here
    """A head for each group of tasks; regression and classification may stand side by side.

    With one group its parameters have the names and shapes of Chemprop's own predictors.

    Parameters
    ----------
    groups : sequence of sequences of str or int
        Tasks of each group, by name or column. Each task has one output, in the group that serves
        it.
    task_names : sequence of str
        Names of the T tasks, in the order of the outputs.
    task_types : {"regression", "classification"} or a sequence of them
        Kind of all tasks, or of each.
    assignment : mapping of str to int, optional
        Group, from 0, that serves a task which stands in several.
    input_dim : int
        Width of the fingerprint.
    hidden_dim : int
        Width of a hidden layer of each head.
    n_layers : int
        Hidden layers of each head.
    dropout : float
        Dropout before each layer but the first.
    activation : str
        Nonlinearity.
    criterion : ChempropMetric, optional
        Loss; squared error by default.
    task_weights : Tensor [T], optional
        Weights of the default loss.
    output_transform : UnscaleTransform, optional
        From scaled to real values, with mean 0 and scale 1 for classes.

    Raises
    ------
    ChempropError
        If a group names an unknown task, or a task has no group or several.
    """

    n_targets = 1
    _T_default_criterion = MSE
    _T_default_metric = MSE

    def __init__(
        self,
        groups: Sequence[Sequence[str | int]],
        task_names: Sequence[str],
        *,
        task_types: TaskType | Sequence[TaskType] = "regression",
        assignment: Mapping[str, int] | None = None,
        input_dim: int = 300,
        hidden_dim: int = 300,
        n_layers: int = 1,
        dropout: float = 0.0,
        activation: str = "relu",
        criterion: ChempropMetric | None = None,
        task_weights: Tensor | None = None,
        output_transform: UnscaleTransform | None = None,
    ) -> None:
        super().__init__()
        self.task_types = resolve_task_types(task_names, task_types)
        self.groups = resolve_groups(groups, task_names, assignment)
        # Chemprop rebuilds a predictor from these; groups are written as resolved.
        self.hparams: dict[str, Any] = {
            "cls": type(self),
            "groups": self.groups,
            "task_names": tuple(task_names),
            "task_types": self.task_types,
            "input_dim": input_dim,
            "hidden_dim": hidden_dim,
            "n_layers": n_layers,
            "dropout": dropout,
            "activation": activation,
            "criterion": criterion,
            "task_weights": task_weights,
            "output_transform": output_transform,
        }
        heads = [
            MLP.build(input_dim, len(group), hidden_dim, n_layers, dropout, activation)
            for group in self.groups
        ]
        self.input_dim = input_dim
        in_order = self.groups == (tuple(range(len(task_names))),)
        # A single head bare, so that parameters have the names that Chemprop's own predictor gives
        # them.
        self.ffn = heads[0] if in_order else _Heads(heads, self.groups)
        weights = torch.ones(len(task_names)) if task_weights is None else task_weights
        self.criterion = criterion if criterion is not None else MSE(weights)
        self.output_transform = output_transform if output_transform is not None else Identity()
        is_class = torch.tensor([kind == "classification" for kind in self.task_types])
        self.register_buffer("is_class", is_class, persistent=False)

    @property
    def n_tasks(self) -> int:
        """Number of tasks."""
        return len(self.task_types)

    @property
    def output_dim(self) -> int:
        """Number of outputs, one per task."""
        return len(self.task_types)

    def train_step(self, Z: Tensor) -> Tensor:
        """Return what the loss takes, [B, T]: values, scaled in training, and logits."""
        Y: Tensor = self.output_transform(self.ffn(Z))
        return Y

    def forward(self, Z: Tensor) -> Tensor:
        """Return predictions [B, T]: values, and probabilities of class 1."""
        Y = self.train_step(Z)
        return torch.where(self.is_class, Y.sigmoid(), Y)

    def encode(self, Z: Tensor, i: int) -> Tensor:
        """Return the hidden representation after layer `i` of every head, side by side."""
        if isinstance(self.ffn, _Heads):
            return self.ffn.encode(Z, i)
        hidden: Tensor = self.ffn[:i](Z)
        return hidden


# Files name the class by its public path, which does not change when a module is moved.
GroupedPredictor.__module__ = "chemprop_multitask"


class MultiTaskMPNN(MPNN):  # type: ignore[misc]  # chemprop has no types here
    """A `chemprop.models.MPNN` that is trained with a `MultiTaskLoss`.

    What it is built of, and so what its files name, are the modules that it is given; the loss is
    hung on afterwards by `use_loss`.
    """

    task_names: tuple[str, ...] = ()
    layer_decay: float = 1.0
    unfreeze_every: int = 0
    units: tuple[Tensor, Tensor] | None = None
    skipped: list[NonFiniteLossError] | None = None
    """Batches that were left out of training for their loss; None where the first stops it."""

    def use_units(self, mean: FloatArray, scale: FloatArray) -> None:
        """Take the mean and scale [T] of the training labels; 0 and 1 for classes.

        Chemprop's own transform holds them in single precision, for files that it reads: counts of
        a million that differ by one would all be predicted as their mean. Here they stay in double,
        outside the state of the network, as not every device has it.
        """
        self.units = torch.from_numpy(mean.copy()), torch.from_numpy(scale.copy())
        transform = self.predictor.output_transform
        if isinstance(transform, nn.UnscaleTransform):
            for rounded, exact in zip((transform.mean, transform.scale), self.units, strict=True):
                rounded.copy_(exact.float()[None])

    @property
    def n_descriptors(self) -> int:
        """Number of descriptors that the predictor takes beside the fingerprint."""
        return int(self.predictor.input_dim - self.message_passing.output_dim)

    def use_descriptor_scale(self, mean: FloatArray, scale: FloatArray) -> None:
        """Take the mean and scale [D] of the descriptors, which its file holds as Chemprop's do."""
        for own, fitted in ((self.X_d_transform.mean, mean), (self.X_d_transform.scale, scale)):
            own.copy_(torch.from_numpy(fitted).float()[None])

    @property
    def n_graph_features(self) -> tuple[int, int]:
        """Number of features of an atom and of a bond that it takes beyond Chemprop's own."""
        taken = self.message_passing.hparams
        return int(taken["d_v"] - OWN[0]), int(taken["d_e"] - OWN[1])

    def use_graph_scale(self, scaling: Scaling) -> None:
        """Take the mean and scale of such features, which its file holds as Chemprop's do."""
        transform = self.message_passing.graph_transform
        for fitted, name, own in (
            (scaling.atoms, "V_transform", OWN[0]),
            (scaling.bonds, "E_transform", OWN[1]),
        ):
            if fitted is not None:
                part = getattr(transform, name)
                for buffer, values in zip((part.mean, part.scale), fitted, strict=True):
                    buffer[:, own:] = torch.from_numpy(values).float()

    def use_loss(self, loss: MultiTaskLoss, task_names: tuple[str, ...]) -> None:
        """Train and validate with a loss of these tasks from here on."""
        self.predictor.criterion = loss
        # Another one, for training and validation each sum up an epoch of their own.
        self.metrics[-1] = loss.for_validation()
        self.task_names = task_names

    def fingerprint(
        self, bmg: BatchMolGraph, V_d: Tensor | None = None, X_d: Tensor | None = None
    ) -> Tensor:
        """Return the learned fingerprint of each molecule, [B, F]; Chemprop's numbers, sooner."""
        H = aggregate(self.agg, self.message_passing(bmg, V_d), bmg.batch)
        H = self.bn(H)
        return H if X_d is None else torch.cat((H, self.X_d_transform(X_d)), dim=1)

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor | None:
        """Return the loss of a batch, None of one that is skipped.

        Raises
        ------
        NonFiniteLossError
            If it is not finite, or that of no batch of the epoch is.
        """
        preds = self.scaled(batch.bmg, batch.V_d, batch.X_d)
        wrong = None if self.skipped is None else self._wrong(preds, batch)
        loss = None
        if wrong is None:
            loss = self._loss(self.criterion, preds, batch, "training")
        else:
            self._skip(wrong)
        if self._trainer is not None and self._trainer.is_last_batch:
            # The criterion has summed up the epoch itself; to log it at each step takes its time.
            self.log("train_loss", self.criterion, batch_size=len(batch.bmg), on_epoch=True)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Chemprop's optimiser and schedule, with all of Adam's step in one kernel.

        With a `layer_decay` below 1 each layer has a learning rate of its own, in proportion.
        """
        configured: dict[str, Any] = super().configure_optimizers()
        optimizer = configured["optimizer"]
        if self.layer_decay < 1:
            schedule = configured["lr_scheduler"]["scheduler"].lr_lambdas[0]
            optimizer = Adam(
                {"params": parameters, "lr": self.init_lr * self.layer_decay**depth}
                for depth, parameters in enumerate(self._layer_groups())
            )
            scheduler = {"scheduler": LambdaLR(optimizer, schedule), "interval": "step"}
            configured = {"optimizer": optimizer, "lr_scheduler": scheduler}
        for group in optimizer.param_groups:
            # Of many small parameters the step's cost is kernel launches, not arithmetic.
            group["fused"] = True
        return configured

    def _layer_groups(self) -> list[list[Parameter]]:
        """Return the parameters that are no layer of the encoder, and its layers, the last first.

        Chemprop's layers are ``W_o``, after the messages, ``W_h``, which they all share, and
        ``W_i``, before them.
        """
        layers = [getattr(self.message_passing, name) for name in _LAYERS]
        grouped = [[*layer.parameters()] for layer in layers]
        known = {id(p) for group in grouped for p in group}
        return [[p for p in self.parameters() if id(p) not in known], *grouped]

    def on_train_start(self) -> None:
        """Freeze what is not trained yet, also in a run that goes on within an epoch."""
        self._freeze()

    def on_train_epoch_start(self) -> None:
        """Let one more layer train where its epoch has come."""
        self._freeze()

    def _freeze(self) -> None:
        if not self.unfreeze_every:
            return
        trained = self.trainer.current_epoch // self.unfreeze_every
        for depth, parameters in enumerate(self._layer_groups()[1:], start=1):
            for parameter in parameters:
                parameter.requires_grad_(depth <= trained)

    def validation_step(self, batch: TrainingBatch, batch_idx: int = 0) -> Tensor:
        """Add a batch to the validation loss; Chemprop's own step would predict it twice.

        Returns
        -------
        Tensor [B, T]
            What was predicted, scaled, and logits of classes: `ValidationPredictions` reads them.
        """
        preds = self.scaled(batch.bmg, batch.V_d, batch.X_d)
        self._loss(self.metrics[-1], preds, batch, "validation")
        self.log("val_loss", self.metrics[-1], batch_size=len(batch.bmg))
        return preds

    def scaled(
        self, bmg: BatchMolGraph, V_d: Tensor | None = None, X_d: Tensor | None = None
    ) -> Tensor:
        """Return the predictor's outputs [B, T] as they are trained: scaled values, logits."""
        outputs: Tensor = self.predictor.ffn(self.fingerprint(bmg, V_d, X_d))
        # Losses are summed in single precision at least, whatever was multiplied.
        return outputs if outputs.dtype == torch.float64 else outputs.float()

    def in_units(self, preds: Tensor) -> Tensor:
        """Return scaled values in the unit of the training labels, logits as probabilities.

        Parameters
        ----------
        preds : Tensor [B, T]
            As `scaled` returns them.

        Returns
        -------
        Tensor of float64 [B, T]
            On the CPU.
        """
        preds = preds.cpu()
        if isinstance(self.predictor, nn.BinaryClassificationFFN):
            return preds.sigmoid().double()
        mean, scale = self._units()
        values = preds.double() * scale + mean
        is_class = getattr(self.predictor, "is_class", None)
        if is_class is None:
            return values
        return torch.where(is_class.cpu(), preds.sigmoid().double(), values)

    def _units(self) -> tuple[Tensor, Tensor]:
        """Return mean and scale in double; of a file without, those of Chemprop's transform."""
        if self.units is not None:
            return self.units
        transform = self.predictor.output_transform
        if not isinstance(transform, nn.UnscaleTransform):
            return torch.zeros(self.n_tasks), torch.ones(self.n_tasks)
        return transform.mean[0].cpu().double(), transform.scale[0].cpu().double()

    def _wrong(self, preds: Tensor, batch: TrainingBatch) -> NonFiniteLossError | None:
        """Return what is wrong with a batch, before its loss is added to those of the epoch."""
        mask, targets = batch.Y.isfinite(), batch.Y.nan_to_num(nan=0.0)
        cells = self.criterion.cells(preds.detach(), targets, batch.lt_mask, batch.gt_mask)
        if torch.where(mask, cells * batch.w, 0.0).sum().isfinite():
            return None
        return self._not_finite(cells * batch.w, mask, batch, "training")

    def _skip(self, wrong: NonFiniteLossError) -> None:
        assert self.skipped is not None
        self.skipped.append(wrong)
        # Weights that are not finite themselves never give a loss again.
        if self.trainer.is_last_batch and not self.criterion.num_samples.any():
            raise wrong

    def _loss(
        self, criterion: MultiTaskLoss, preds: Tensor, batch: TrainingBatch, stage: str
    ) -> Tensor:
        mask = batch.Y.isfinite()
        targets = batch.Y.nan_to_num(nan=0.0)
        loss: Tensor = criterion(preds, targets, mask, batch.w, batch.lt_mask, batch.gt_mask)
        if not loss.isfinite():
            cells = criterion.cells(preds.detach(), targets, batch.lt_mask, batch.gt_mask)
            raise self._not_finite(cells * batch.w, mask, batch, stage)
        return loss

    def _not_finite(
        self, cells: Tensor, mask: Tensor, batch: TrainingBatch, stage: str
    ) -> NonFiniteLossError:
        bad = (~cells.isfinite() & mask).nonzero().tolist()
        # Of several ranks each sees a part of the batch.
        found = [(batch.bmg.rows[b], t) for b, t in bad]
        cells_of = [cell for own in of_every_rank(found) for cell in own]
        every = {row for own in of_every_rank(batch.bmg.rows) for row in own}
        # Finite cells can still sum to infinity: then no row is to blame alone.
        rows = sorted({row for row, _ in cells_of}) or sorted(every)
        tasks = [self.task_names[t] for t in sorted({t for _, t in cells_of})]
        tasks = tasks or list(self.task_names)
        return NonFiniteLossError(stage, self.trainer.current_epoch, rows, tasks)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the running epoch's loss has summed up; at its end that is over."""
        if self.skipped:
            checkpoint[_SKIPPED] = [(s.stage, s.epoch, s.rows, s.tasks) for s in self.skipped]
        epoch_loop = self.trainer.fit_loop.epoch_loop
        if not epoch_loop.batch_progress.is_last_batch:
            checkpoint[_PARTIAL] = {
                "total_loss": self.criterion.total_loss.detach().clone(),
                "num_samples": self.criterion.num_samples.clone(),
                "updates": self.criterion._update_count,
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the sums of the epoch that was broken off."""
        if self.skipped is not None:
            self.skipped = [NonFiniteLossError(*of) for of in checkpoint.get(_SKIPPED, ())]
        if (partial := checkpoint.get(_PARTIAL)) is not None:
            with torch.no_grad():
                self.criterion.total_loss.copy_(partial["total_loss"])
                self.criterion.num_samples.copy_(partial["num_samples"])
            self.criterion._update_count = partial["updates"]


def build_network(
    config: ChempropConfig,
    task_names: Sequence[str],
    kinds: Sequence[TaskType],
    n_descriptors: int = 0,
    n_graph_features: tuple[int, int] = (0, 0),
) -> MultiTaskMPNN:
    """Build an untrained network; torch's generator draws its weights.

    A model of one kind and one head is made of Chemprop's own classes alone, so that Chemprop
    opens its files without this package.
    """
    model, train = config.model, config.training
    message_passing = _message_passing(config.model.message_passing, *n_graph_features)
    network = MultiTaskMPNN(
        message_passing,
        AGGREGATION[model.aggregation](),
        _predictor(config, task_names, kinds, message_passing.output_dim + n_descriptors),
        batch_norm=model.batch_norm,
        # Chemprop's Noam schedule divides by the epochs after the warm-up.
        warmup_epochs=min(train.warmup_epochs, train.epochs - 1),
        init_lr=train.init_lr or train.peak_lr / 10,
        max_lr=train.peak_lr,
        final_lr=train.final_lr or train.peak_lr / 10,
        # A placeholder of the right shape, as that of the targets below.
        X_d_transform=(
            nn.ScaleTransform(np.zeros(n_descriptors), np.ones(n_descriptors))
            if n_descriptors
            else None
        ),
    )
    network.use_loss(MultiTaskLoss.from_config(train, task_names, kinds), tuple(task_names))
    network.layer_decay, network.unfreeze_every = train.layer_decay, train.unfreeze_every
    return network


def _message_passing(mp: MessagePassingConfig, n_atom: int, n_bond: int) -> Any:
    sizes: dict[str, Any] = {}
    if n_atom or n_bond:
        # Placeholders of the right shape, as those of descriptors and targets.
        both = zip((n_atom, n_bond), OWN, strict=True)
        scales = [nn.ScaleTransform(np.zeros(n), np.ones(n), pad=own) for n, own in both]
        sizes = {"d_v": OWN[0] + n_atom, "d_e": OWN[1] + n_bond}
        sizes["graph_transform"] = nn.GraphTransform(*scales)
    return (FastBondMessagePassing if mp.fast else nn.BondMessagePassing)(
        d_h=mp.hidden_size,
        depth=mp.depth,
        dropout=mp.dropout,
        activation=mp.activation,
        bias=mp.bias,
        undirected=mp.undirected,
        **sizes,
    )


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
        # A placeholder of the right shape: training sets means and scales from its own labels.
        shared["output_transform"] = nn.UnscaleTransform(np.zeros(n_tasks), np.ones(n_tasks))
    if config.groups is not None or len(set(kinds)) > 1:
        groups = config.groups if config.groups is not None else [list(task_names)]
        return GroupedPredictor(
            groups, task_names, task_types=kinds, assignment=config.group_assignment, **shared
        )
    if kinds[0] == "regression":
        return nn.RegressionFFN(n_tasks=n_tasks, **shared)
    return nn.BinaryClassificationFFN(n_tasks=n_tasks, **shared)
