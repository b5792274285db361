"""k networks of one shape as one: their weights are stacked, and each layer is one batched product.

Nothing is shared between them. Each has its own initial weights, dropout masks and batches, from
its own random stream, so that it becomes what it would have become alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter

import numpy as np
import torch
from molpool_common import Float32Array, FloatArray, IntArray, fast_matmul
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional

from multitask_models._errors import ModelError
from multitask_models._labels import Labels
from multitask_models._protocol import RowSampler

FINE_TUNING = 0.25
"""Rate of layers that begin as another network's, as a share of that of the last layer."""

_LAST = ("head", "noise")
"""Weights of a network that are of its tasks alone."""

PREDICTED_ROWS = 2048
"""Rows that are predicted at a time."""

WHOLE_ROWS = 64
"""Rows are filled up to a multiple of so many: a product of few rows is summed in another order,
and a prediction would depend on how many others there are."""


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
    time_limit: float | None = None


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

    def weights(self, n_dense: int, n_sparse: int, hidden: int, n_tasks: int) -> Weights:
        """Return initial weights: uniform within 1 / sqrt(inputs of the layer), as torch's are."""

        def layer(n_in: int, n_out: int) -> tuple[Tensor, Tensor]:
            bound = max(n_in, 1) ** -0.5
            drawn = self._start.uniform(-bound, bound, (n_in + 1, n_out)).astype(np.float32)
            return torch.from_numpy(drawn[:-1]), torch.from_numpy(drawn[-1:])

        weights: Weights = {}
        for name, n_in, n_out in (
            ("input", n_dense + n_sparse, hidden),
            ("block", hidden, hidden),
            ("head", hidden, n_tasks),
        ):
            weights[f"{name}.weight"], weights[f"{name}.bias"] = layer(n_in, n_out)
        joint = weights["input.weight"]
        weights["input.weight"], weights["sparse.weight"] = joint[:n_dense], joint[n_dense:]
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
class Batch:
    """Rows of k networks.

    Parameters
    ----------
    dense : Tensor [k, B, D]
    sparse : tuple of Tensor, or None
        Positions of the entries other than zero in the k stacked weight matrices, where each of
        k B rows begins among them, and their values; None where all is dense.
    targets, signs, weights : Tensor [k, B, T]
        As in `TrainingRows`.
    """

    dense: Tensor
    sparse: tuple[Tensor, Tensor, Tensor] | None
    targets: Tensor
    signs: Tensor
    weights: Tensor


@dataclass(frozen=True)
class TrainingRows:
    """What the networks learn, as tensors.

    Parameters
    ----------
    dense : Tensor [N, D]
        Inputs.
    sparse : csr_matrix [N, S]
        The other inputs, most of which are zero.
    targets : Tensor [N, T]
        Standardised labels, 0 where there is none.
    signs : Tensor [N, T]
        -1 where a label is an upper bound, +1 where it is a lower one.
    weights : Tensor [N, T]
        0 where there is no label, 1 on average over the labels.
    classification : Tensor of bool [T]
    """

    dense: Tensor
    sparse: csr_matrix
    targets: Tensor
    signs: Tensor
    weights: Tensor
    classification: Tensor

    @classmethod
    def of(
        cls, inputs: Float32Array, labels: Labels, task_power: float, n_sparse: int = 0
    ) -> TrainingRows:
        """Return inputs [N, C], the last of them sparse, and labels, here standardised."""
        centre, spread = labels.centre_and_spread()
        standardised = np.nan_to_num((labels.values - centre) / spread, nan=0.0)
        n = labels.n_labels
        weights = labels.present * labels.weights[:, None] * (n.max() / n) ** task_power
        weights *= labels.present.sum() / weights.sum()
        n_dense = inputs.shape[1] - n_sparse
        return cls(
            torch.from_numpy(np.ascontiguousarray(inputs[:, :n_dense])),
            csr_matrix(inputs[:, n_dense:]),
            torch.from_numpy(standardised.astype(np.float32)),
            torch.from_numpy(labels.signs.astype(np.float32)),
            torch.from_numpy(weights.astype(np.float32)),
            torch.from_numpy(labels.classification),
        )

    def batch(self, rows: IntArray, dropout: _Dropout) -> Batch:
        """Return rows [k, B] with inputs left out at random."""
        taken = torch.from_numpy(rows)
        dense = dropout.inputs(list(self.dense[taken]))
        sparse = None
        if self.sparse.shape[1]:
            parts = [self.sparse[member] for member in rows]
            values = dropout.inputs([torch.from_numpy(part.data) for part in parts])
            columns = [part.indices.astype(np.int64) for part in parts]
            lengths = np.concatenate([np.diff(part.indptr) for part in parts])
            for i, column in enumerate(columns):
                column += i * self.sparse.shape[1]
            sparse = (
                torch.from_numpy(np.concatenate(columns)),
                torch.from_numpy(np.cumsum(lengths) - lengths),
                torch.cat(values),
            )
        return Batch(
            torch.stack(dense),
            sparse,
            self.targets[taken],
            self.signs[taken],
            self.weights[taken],
        )


def train(
    rows: TrainingRows,
    recipe: Recipe,
    seeds: Sequence[np.random.SeedSequence],
    sampler: RowSampler | None = None,
    start: Weights | None = None,
    kept: Weights | None = None,
) -> tuple[Weights, float]:
    """Train a network for each seed, all at once, but for those that are trained already.

    Parameters
    ----------
    rows : TrainingRows
    recipe : Recipe
    seeds : sequence of SeedSequence [k]
    sampler : RowSampler or None
        Which rows come; by default all, in random order.
    start : dict of Tensor, optional
        Weights of as many networks of these inputs, or of one, whose layers but the last are where
        training begins; they then learn at `FINE_TUNING` times the rate of the last.
    kept : dict of Tensor, optional
        Weights of the networks of the first seeds, trained before.

    Returns
    -------
    weights : dict of Tensor
        Of the k networks.
    epochs : float
        Passes over the rows that were made: those of the recipe, or as many as its time allowed.
    """
    n, n_tasks = rows.targets.shape
    batch = min(recipe.batch_size, n)
    n_steps = -(-recipe.epochs * n // batch)
    members = [Member(seed) for seed in seeds]
    first = 0 if kept is None else len(kept["head.bias"])
    members = members[first:]
    if not members:
        assert kept is not None
        return kept, float(recipe.epochs)
    dropout = _Dropout(members, recipe)
    shape = (rows.dense.shape[1], rows.sparse.shape[1], recipe.hidden, n_tasks)
    weights = _stacked([member.weights(*shape) for member in members])
    if recipe.tobit:
        weights["noise"] = torch.zeros(len(members), 1, n_tasks)
    streams = [
        member.rows(n, batch, sampler, (first + i) * recipe.epochs)
        for i, member in enumerate(members)
    ]
    body = [name for name in weights if not name.startswith(_LAST)] if start else []
    for name in body:
        assert start is not None
        own = start[name][first:] if len(start[name]) > 1 else start[name]
        weights[name] = own.expand_as(weights[name]).clone()
    for parameter in weights.values():
        parameter.requires_grad_()
    groups = [{"params": [w for name, w in weights.items() if name not in body]}]
    rates = [recipe.learning_rate]
    if body:
        groups.append({"params": [weights[name] for name in body]})
        rates.append(FINE_TUNING * recipe.learning_rate)
    optimizer = torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=n_steps)
    # One sum over members: their gradients do not meet.
    scale = float(batch * rows.weights.sum() / n)
    place, taken_steps, begun = 0, 0, perf_counter()
    with fast_matmul():
        while place < n_steps:
            taken = rows.batch(np.stack([next(stream) for stream in streams]), dropout)
            outputs = _forward(weights, taken.dense, taken.sparse, dropout)
            losses = label_losses(
                outputs,
                taken.targets,
                taken.signs,
                rows.classification,
                recipe.beta,
                weights.get("noise"),
            )
            loss = (taken.weights * losses).sum() / scale
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            taken_steps += 1
            place += 1
            if recipe.time_limit is not None:
                # A rate that never came down would waste the steps that were taken.
                gone = (perf_counter() - begun) / recipe.time_limit
                place = max(place, min(n_steps, int(gone * n_steps)))
                schedule.last_epoch = place - 1
            schedule.step()
    trained = {name: weight.detach() for name, weight in weights.items()}
    if kept is not None:
        trained = {name: torch.cat([kept[name], weight]) for name, weight in trained.items()}
    return trained, taken_steps * batch / n


def _stacked(members: Sequence[Weights]) -> Weights:
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


class _Dropout:
    """Dropout of each member by its own stream of random bytes; rates are multiples of 1/256."""

    def __init__(self, members: Sequence[Member], recipe: Recipe) -> None:
        self._members = members
        self._inputs, self._hidden = (
            round(256 * rate) for rate in (recipe.input_dropout, recipe.dropout)
        )

    def inputs(self, parts: list[Tensor]) -> list[Tensor]:
        """Return the inputs of each member with some of them 0."""
        return self._dropped(parts, self._inputs)

    def hidden(self, x: Tensor) -> Tensor:
        """Return units [k, B, H] with some of them 0."""
        return torch.stack(self._dropped(list(x), self._hidden)) if self._hidden else x

    def _dropped(self, parts: list[Tensor], threshold: int) -> list[Tensor]:
        if not threshold:
            return parts
        factor = 256 / (256 - threshold)
        return [
            part * member.mask(part.shape, threshold).to(part.dtype).mul_(factor)
            for member, part in zip(self._members, parts, strict=True)
        ]


def _forward(
    weights: Weights,
    dense: Tensor,
    sparse: tuple[Tensor, Tensor, Tensor] | None,
    dropout: _Dropout | None = None,
) -> Tensor:
    """Return outputs [k, B, T] of inputs [k, B, D] and entries of the sparse ones."""
    units = _hidden(weights, dense, sparse, dropout)
    return torch.baddbmm(weights["head.bias"], units, weights["head.weight"])


def _hidden(
    weights: Weights,
    dense: Tensor,
    sparse: tuple[Tensor, Tensor, Tensor] | None,
    dropout: _Dropout | None = None,
) -> Tensor:
    """Return the units [k, B, H] that the head sees."""
    first = torch.baddbmm(weights["input.bias"], dense, weights["input.weight"])
    if sparse is not None:
        positions, starts, values = sparse
        rows = functional.embedding_bag(
            positions,
            weights["sparse.weight"].flatten(0, 1),
            starts,
            mode="sum",
            per_sample_weights=values,
        )
        first = first + rows.view_as(first)
    hidden = _activated(weights, "input", first)
    if dropout is not None:
        hidden = dropout.hidden(hidden)
    second = torch.baddbmm(weights["block.bias"], hidden, weights["block.weight"])
    inner = _activated(weights, "block", second)
    if dropout is not None:
        inner = dropout.hidden(inner)
    return hidden + inner


def _activated(weights: Weights, name: str, linear: Tensor) -> Tensor:
    normal = functional.layer_norm(linear, linear.shape[-1:])
    scaled = weights[f"{name}.norm.bias"] + normal * weights[f"{name}.norm.weight"]
    return functional.silu(scaled)


def label_losses(
    outputs: Tensor,
    targets: Tensor,
    signs: Tensor,
    classification: Tensor,
    beta: float,
    log_noise: Tensor | None,
) -> Tensor:
    """Return the loss of each label, [k, B, T]; of a bound only what lies outside it.

    Parameters
    ----------
    outputs, targets, signs : Tensor [k, B, T]
    classification : Tensor of bool [T]
        Tasks with the logistic loss.
    beta : float
        Error beyond which the smooth L1 loss is linear.
    log_noise : Tensor [k, 1, T] or None
        Logarithm of the labels' standard deviation for a normal likelihood in its place.
    """
    error = outputs - targets
    if log_noise is None:
        outside = torch.where(signs * error > 0, 0.0, error)
        nothing = torch.zeros_like(error)
        losses = functional.smooth_l1_loss(outside, nothing, reduction="none", beta=beta)
    else:
        losses = _tobit(error, signs, log_noise)
    if not classification.any():
        return losses
    binary = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
    return torch.where(classification, binary, losses)


def _tobit(error: Tensor, signs: Tensor, log_noise: Tensor) -> Tensor:
    """Return the negative logarithm of a normal likelihood whose bounds are tails (Tobin 1958)."""
    z = error * torch.exp(-log_noise)
    # An upper bound holds with the probability of the tail below -z, a lower one with the other.
    tail = -torch.special.log_ndtr(signs * z)
    return torch.where(signs == 0, 0.5 * z**2 + log_noise, tail)


@torch.no_grad()
def residual_deviation(
    weights: Weights, rows: TrainingRows, recipe: Recipe, seeds: Sequence[np.random.SeedSequence]
) -> FloatArray:
    """Return the deviation of exact training labels from predictions under dropout, [T].

    Standardised. Without dropout the networks have all but learned the labels by heart.
    """
    dropout = _Dropout([Member(seed.spawn(1)[0]) for seed in seeds], recipe)
    squares, n = np.zeros(rows.targets.shape[1]), np.zeros(rows.targets.shape[1])
    for numbers in np.array_split(
        np.arange(len(rows.dense)), -(-len(rows.dense) // PREDICTED_ROWS)
    ):
        batch = rows.batch(np.tile(numbers, (len(seeds), 1)), dropout)
        outputs = _forward(weights, batch.dense, batch.sparse, dropout)
        exact = ((batch.weights > 0) & (batch.signs == 0)).double()
        squares += (exact * (outputs - batch.targets) ** 2).sum((0, 1)).numpy()
        n += exact.sum((0, 1)).numpy()
    return np.sqrt(np.divide(squares, n, out=np.full_like(squares, np.nan), where=n > 0))


@torch.no_grad()
def outputs_of(weights: Weights, inputs: Float32Array) -> FloatArray:
    """Return the outputs [k, N, T] of trained networks."""
    return _by_rows(_forward, weights, inputs).double().numpy()


def hidden_of(weights: Weights, inputs: Float32Array) -> Float32Array:
    """Return the units [k, N, H] that the heads of trained networks see."""
    units: Float32Array = _by_rows(_hidden, weights, inputs).numpy()
    return units


def _by_rows(
    layers: Callable[[Weights, Tensor, None], Tensor], weights: Weights, inputs: Float32Array
) -> Tensor:
    k = len(weights["head.bias"])
    weights = {
        **weights,
        "input.weight": torch.cat([weights[n] for n in ("input.weight", "sparse.weight")], dim=1),
    }
    chunks = torch.split(torch.from_numpy(inputs), PREDICTED_ROWS)

    def of_chunk(rows: Tensor) -> Tensor:
        filled = functional.pad(rows, (0, 0, 0, -len(rows) % WHOLE_ROWS))
        return layers(weights, filled.expand(k, -1, -1), None)[:, : len(rows)]

    with fast_matmul():
        return torch.cat([of_chunk(rows) for rows in chunks], dim=1)
