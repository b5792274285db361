"""k networks of one shape as one: their weights are stacked, and each layer is one batched product.

Nothing is shared between them. Each has its own initial weights, dropout masks and batches, from
its own random stream, so that it becomes what it would have become alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from molpool_common import Float32Array, FloatArray, IntArray, fast_matmul
from torch import Tensor
from torch.nn import functional

from multitask_models._errors import ModelError
from multitask_models._labels import Labels
from multitask_models._protocol import RowSampler

PREDICTED_ROWS = 2048
"""Rows that are predicted at a time."""


@dataclass(frozen=True)
class Recipe:
    """How a network is shaped and trained; see `MultitaskMLP`."""

    hidden: int
    dropout: float
    input_dropout: float
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    beta: float
    task_power: float
    tobit: bool


Weights = dict[str, Tensor]
"""Stacked over members, each [k, ...]."""


class Member:
    """The random streams of one network.

    Parameters
    ----------
    seed : SeedSequence
        Of this network alone.
    """

    def __init__(self, seed: np.random.SeedSequence) -> None:
        start, order, masks = seed.spawn(3)
        self._start = np.random.default_rng(start)
        self._order = np.random.default_rng(order)
        self._masks = np.random.Generator(np.random.SFC64(masks))

    def weights(self, n_inputs: int, hidden: int, n_tasks: int) -> Weights:
        """Return initial weights: uniform within 1 / sqrt(inputs of the layer), as torch's are."""

        def layer(n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
            bound = n_in**-0.5
            drawn = self._start.uniform(-bound, bound, (n_in + 1, n_out)).astype(np.float32)
            return torch.from_numpy(drawn[:-1]), torch.from_numpy(drawn[-1:])

        weights: Weights = {}
        for name, n_in, n_out in (
            ("input", max(n_inputs, 1), hidden),
            ("block", hidden, hidden),
            ("head", hidden, n_tasks),
        ):
            weights[f"{name}.weight"], weights[f"{name}.bias"] = layer(n_in, n_out)
        for name in ("input", "block"):
            weights[f"{name}.norm.weight"] = torch.ones(1, hidden)
            weights[f"{name}.norm.bias"] = torch.zeros(1, hidden)
        return weights

    def mask(self, shape: tuple[int, ...], threshold: int) -> Tensor:
        """Return random bytes from `threshold` on as 1, others as 0."""
        n = int(np.prod(shape))
        drawn = self._masks.integers(0, 2**64, -(-n // 8), dtype=np.uint64).view(np.uint8)[:n]
        return torch.from_numpy(drawn >= threshold).view(shape)

    def rows(
        self, n: int, batch: int, sampler: RowSampler | None, first: int
    ) -> Iterator[IntArray]:
        """Yield batches of row numbers without end, from pass to pass over n rows.

        A sampler says which rows come, not how many: passes number `first`, `first` + 1, ... of
        it are strung together.
        """
        waiting: IntArray = np.empty(0, dtype=np.int64)
        for epoch in count(first):
            if sampler is None:
                drawn = self._order.permutation(n)
            else:
                sampler.set_epoch(epoch)
                drawn = np.fromiter(sampler, dtype=np.int64)
            if not len(drawn):
                raise ModelError("sampler: expected rows with features and labels; drew none.")
            waiting = np.concatenate([waiting, drawn])
            while len(waiting) >= batch:
                yield waiting[:batch]
                waiting = waiting[batch:]


@dataclass(frozen=True)
class TrainingRows:
    """What the networks learn, as tensors.

    Parameters
    ----------
    inputs : Tensor [N, C]
    targets : Tensor [N, T]
        Standardised labels, 0 where there is none.
    signs : Tensor [N, T]
        -1 where a label is an upper bound, +1 where it is a lower one.
    weights : Tensor [N, T]
        0 where there is no label, 1 on average over the labels.
    classification : Tensor of bool [T]
    """

    inputs: Tensor
    targets: Tensor
    signs: Tensor
    weights: Tensor
    classification: Tensor

    @classmethod
    def of(cls, inputs: Float32Array, labels: Labels, task_power: float) -> TrainingRows:
        """Return inputs and labels for training; the latter leave it standardised."""
        centre, spread = labels.centre_and_spread()
        standardised = np.nan_to_num((labels.values - centre) / spread, nan=0.0)
        n = labels.n_labels
        weights = labels.present * labels.weights[:, None] * (n.max() / n) ** task_power
        weights *= labels.present.sum() / weights.sum()
        return cls(
            torch.from_numpy(inputs),
            torch.from_numpy(standardised.astype(np.float32)),
            torch.from_numpy(labels.signs.astype(np.float32)),
            torch.from_numpy(weights.astype(np.float32)),
            torch.from_numpy(labels.classification),
        )

    def rows(self, rows: Tensor) -> TrainingRows:
        """Return some rows, [k, B] of them."""
        return TrainingRows(
            self.inputs[rows],
            self.targets[rows],
            self.signs[rows],
            self.weights[rows],
            self.classification,
        )


def train(
    rows: TrainingRows,
    recipe: Recipe,
    seeds: Sequence[np.random.SeedSequence],
    sampler: RowSampler | None = None,
) -> Weights:
    """Train a network for each seed, all at once.

    Parameters
    ----------
    rows : TrainingRows
    recipe : Recipe
    seeds : sequence of SeedSequence [k]
    sampler : RowSampler or None
        Which rows come; by default all, in random order.

    Returns
    -------
    dict of Tensor
        Weights of the k networks.
    """
    n, n_tasks = rows.targets.shape
    batch = min(recipe.batch_size, n)
    n_steps = -(-recipe.epochs * n // batch)
    members = [Member(seed) for seed in seeds]
    weights = _stacked([m.weights(rows.inputs.shape[1], recipe.hidden, n_tasks) for m in members])
    if recipe.tobit:
        weights["noise"] = torch.zeros(len(members), 1, n_tasks)
    streams = [
        member.rows(n, batch, sampler, i * recipe.epochs) for i, member in enumerate(members)
    ]
    parameters = list(weights.values())
    for parameter in parameters:
        parameter.requires_grad_()
    optimizer = torch.optim.AdamW(
        parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=n_steps
    )
    # One sum over members: their gradients do not meet.
    scale = float(batch * rows.weights.sum() / n)
    with fast_matmul():
        for _ in range(n_steps):
            drawn = torch.from_numpy(np.stack([next(stream) for stream in streams]))
            taken = rows.rows(drawn)
            dropout = _Dropout(members, recipe)
            outputs = forward(weights, taken.inputs, dropout)
            loss = (taken.weights * _losses(outputs, taken, weights, recipe)).sum() / scale
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return {name: weight.detach() for name, weight in weights.items()}


def _stacked(members: Sequence[Weights]) -> Weights:
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


class _Dropout:
    """Dropout of each member by its own stream of random bytes; rates are multiples of 1/256."""

    def __init__(self, members: Sequence[Member], recipe: Recipe) -> None:
        self._members = members
        self._inputs, self._hidden = (
            round(256 * rate) for rate in (recipe.input_dropout, recipe.dropout)
        )

    def inputs(self, x: Tensor) -> Tensor:
        return self._dropped(x, self._inputs)

    def hidden(self, x: Tensor) -> Tensor:
        return self._dropped(x, self._hidden)

    def _dropped(self, x: Tensor, threshold: int) -> Tensor:
        if not threshold:
            return x
        kept = torch.stack([member.mask(x.shape[1:], threshold) for member in self._members])
        return x * kept.to(x.dtype).mul_(256 / (256 - threshold))


def forward(weights: Weights, x: Tensor, dropout: _Dropout | None = None) -> Tensor:
    """Return outputs [k, B, T] of inputs [k, B, C]."""
    if dropout is not None:
        x = dropout.inputs(x)
    hidden = _layer(weights, "input", x)
    if dropout is not None:
        hidden = dropout.hidden(hidden)
    inner = _layer(weights, "block", hidden)
    if dropout is not None:
        inner = dropout.hidden(inner)
    return torch.baddbmm(weights["head.bias"], hidden + inner, weights["head.weight"])


def _layer(weights: Weights, name: str, x: Tensor) -> Tensor:
    linear = torch.baddbmm(weights[f"{name}.bias"], x, weights[f"{name}.weight"])
    normal = functional.layer_norm(linear, linear.shape[-1:])
    scaled = weights[f"{name}.norm.bias"] + normal * weights[f"{name}.norm.weight"]
    return functional.silu(scaled)


def _losses(outputs: Tensor, rows: TrainingRows, weights: Weights, recipe: Recipe) -> Tensor:
    """Return the loss of each label, [k, B, T]; of a bound only what lies outside it."""
    error = outputs - rows.targets
    if recipe.tobit:
        losses = _tobit(error, rows.signs, weights["noise"])
    else:
        outside = torch.where(rows.signs * error > 0, 0.0, error)
        losses = functional.smooth_l1_loss(
            outside, torch.zeros_like(error), reduction="none", beta=recipe.beta
        )
    if not rows.classification.any():
        return losses
    binary = functional.binary_cross_entropy_with_logits(outputs, rows.targets, reduction="none")
    return torch.where(rows.classification, binary, losses)


def _tobit(error: Tensor, signs: Tensor, log_noise: Tensor) -> Tensor:
    """Return the negative logarithm of a normal likelihood whose bounds are tails (Tobin 1958)."""
    z = error * torch.exp(-log_noise)
    density = 0.5 * z**2 + log_noise
    # P(truth <= label) for an upper bound: the tail below -z.
    tail = -torch.special.log_ndtr(signs * z)
    return torch.where(signs == 0, density, tail)


@torch.no_grad()
def outputs_of(weights: Weights, inputs: Float32Array) -> FloatArray:
    """Return the outputs [k, N, T] of trained networks."""
    k = len(weights["head.bias"])
    chunks = torch.split(torch.from_numpy(inputs), PREDICTED_ROWS)
    with fast_matmul():
        parts = [forward(weights, chunk.expand(k, -1, -1)) for chunk in chunks]
    return torch.cat(parts, dim=1).double().numpy()
