"""Exact dot products of gradients by an encoder's last layer, for any number of tasks.

An output of that layer reaches only its own unit of each example's representation, so that the
gradient of a task by the weights of one output is a combination of one row per example: with B
examples and D units, D matmuls of width B give what T backward passes would.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from task_affinity._errors import TaskAffinityError
from task_affinity._gradients import (
    FunctionalLosses,
    RandomState,
    TaskLosses,
    add_gradients,
    empty_jacobian,
    find_module,
)

TASKS_AT_ONCE = 32
"""Tasks whose gradients go back through the heads together."""
UNITS_AT_ONCE = 30
"""Units that are multiplied together: what memory they need stays that of the gradients."""
MOST_ERROR = 1e-2
"""Largest difference of the layer's gradients from autograd's, as a share: float32 leaves 1e-5."""


class OutputLayer(NamedTuple):
    """Where an encoder ends, so that probing takes the gradients of its last layer exactly.

    Parameters
    ----------
    layer : str or Module
        The encoder's last linear layer, or its name within the model. After it come only functions
        that keep units apart: activations, dropout, sums or means over the rows of an example.
    head : str or Module
        The first module that takes the B examples' representations [B, D], D the layer's outputs.
    """

    layer: str | nn.Module
    head: str | nn.Module


class _Pass(NamedTuple):
    """A forward pass that ends in the layer's graph."""

    losses: Tensor
    """[T]"""
    tasks: Tensor
    """[K], those that have a label."""
    x: Tensor
    """[A, F], what goes into the layer."""
    z: Tensor
    """[A, D], what it puts out; gradients go back to here."""
    representation: Tensor
    """[B, D]"""


class LastLayer:
    """Dot products of the tasks' gradients by an encoder's last layer.

    Parameters
    ----------
    model, losses : Module, TaskLosses
        What is trained.
    parameters : mapping of str to Tensor
        The shared parameters.
    where : OutputLayer
        Where the encoder ends.

    Raises
    ------
    TaskAffinityError
        If the model has no such modules, or the layer is not a linear one.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: TaskLosses,
        parameters: Mapping[str, Tensor],
        where: OutputLayer,
    ) -> None:
        self._name, layer = find_module(model, where.layer, "output_layer")
        if not isinstance(layer, nn.Linear):
            raise TaskAffinityError(
                f"output_layer: expected a torch.nn.Linear; found {type(layer).__name__} as "
                f"{self._name!r}"
            )
        self._layer = layer
        self._head_name, self._head = find_module(model, where.head, "output_layer")
        self._functional = FunctionalLosses(model, losses)
        self._names = {
            key: name
            for key, own in layer.named_parameters()
            for name, shared in parameters.items()
            if shared is own
        }
        self._parameters = parameters
        self._is_checked = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its parameters among the shared ones; none where it is not shared or frozen."""
        return tuple(self._names.values())

    def gramian(self, batch: Any, random: RandomState) -> Tensor:
        """Return the dot products of the K labelled tasks' gradients, [K, K] of float64.

        Parameters
        ----------
        batch : object
            What the losses take.
        random : RandomState
            Whose draws dropout repeats.

        Raises
        ------
        TaskAffinityError
            If the layer is not the encoder's last as `OutputLayer` says.
        """
        passed = self._forward(batch, random)
        back = _gradients(passed)
        slopes, example = self._slopes(passed)
        columns = self._columns(passed.x)
        if not self._is_checked:
            weights = torch.linspace(1.0, 2.0, len(passed.tasks)).to(slopes)
            ours = (slopes * back.combined(weights)[example]).T @ columns
            self._check(ours, batch, random, passed.tasks, weights)
            self._is_checked = True
        return _gramian(back, slopes, columns, example)

    def _forward(self, batch: Any, random: RandomState) -> _Pass:
        """Run the losses; only what follows the layer leaves a graph."""
        seen: list[tuple[Tensor, Tensor]] = []
        taken: list[Tensor] = []

        def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            z = output.detach().requires_grad_()
            seen.append((inputs[0].detach(), z))
            return z

        def take(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            taken.append(inputs[0])

        detached = {name: p.detach() for name, p in self._parameters.items()}
        hooks = (
            self._layer.register_forward_hook(cut),
            self._head.register_forward_pre_hook(take),
        )
        try:
            losses, present = self._functional(batch, random, detached)
        finally:
            for hook in hooks:
                hook.remove()
        self._check_shapes(seen, taken)
        return _Pass(losses, present.nonzero().squeeze(1), *seen[0], taken[0])

    def _check_shapes(self, seen: list[tuple[Tensor, Tensor]], taken: list[Tensor]) -> None:
        width = self._layer.out_features
        shapes = [list(tensor.shape) for tensor in taken]
        if len(seen) != 1 or len(taken) != 1 or shapes[0][1:] != [width] or seen[0][0].ndim != 2:
            raise TaskAffinityError(
                f"output_layer: expected {self._name!r} to take rows [A, F] once per pass, and "
                f"{self._head_name!r} a representation [B, {width}] after it; found {len(seen)} "
                f"calls of the one, and inputs of shape {shapes} of the other"
            )

    def _slopes(self, passed: _Pass) -> tuple[Tensor, Tensor]:
        """Return how each row's units move their example's [A, D], and whose the rows are [A]."""
        out, z = passed.representation, passed.z
        (slopes,) = torch.autograd.grad(out.sum(), z, retain_graph=True)
        # Examples weighted by their number show by the same slopes whose row it is.
        number = torch.arange(1, len(out) + 1, device=out.device, dtype=out.dtype)
        (weighted,) = torch.autograd.grad((out * number[:, None]).sum(), z, retain_graph=True)
        squares = (slopes * slopes).sum(dim=1)
        example = (weighted * slopes).sum(dim=1) / squares.where(squares > 0, 1)
        return slopes, (example.round().long() - 1).clamp(0, len(out) - 1)

    def _columns(self, x: Tensor) -> Tensor:
        """Return what the layer's tracked parameters multiply in each row, [A, P]."""
        of_key = {"weight": x, "bias": torch.ones_like(x[:, :1])}
        return torch.cat([of_key[key] for key in self._names], dim=1)

    def _check(
        self, ours: Tensor, batch: Any, random: RandomState, tasks: Tensor, weights: Tensor
    ) -> None:
        """Compare the gradient of weighted losses [D, P] with autograd's.

        They differ where units mix, or the layer is used elsewhere too.
        """
        tracked = {name: p.detach() for name, p in self._parameters.items()}
        own = [tracked[name].requires_grad_() for name in self.names]
        losses, _ = self._functional(batch, random, tracked)
        total = (losses[tasks] * weights).sum()
        grads = torch.autograd.grad(total, own)
        theirs = torch.cat([g.reshape(len(ours), -1) for g in grads], dim=1)
        error = float((theirs - ours).norm() / theirs.norm().clamp(min=1e-30))
        if not error <= MOST_ERROR:
            raise TaskAffinityError(
                f"output_layer: expected each output of {self._name!r} to reach only its own unit "
                f"of one example's representation; found gradients that differ from that by "
                f"{error:.0%}"
            )


class _Gradients(NamedTuple):
    """Gradients of K tasks by the representations of B examples, only where a task has a label."""

    task: Tensor
    """[L], from 0 to K - 1."""
    example: Tensor
    """[L], from 0 to B - 1."""
    rows: Tensor
    """[L, D]"""
    shape: tuple[int, int]
    """K and B."""

    def units(self, which: slice) -> Tensor:
        """Return the gradients by some of the units, [units, K, B]."""
        dense = self.rows.new_zeros(self.rows[:, which].shape[1], *self.shape)
        dense[:, self.task, self.example] = self.rows[:, which].T
        return dense

    def combined(self, weights: Tensor) -> Tensor:
        """Return the gradient of the tasks' weighted sum, [B, D]."""
        sums = self.rows.new_zeros(self.shape[1], self.rows.shape[1])
        return sums.index_add(0, self.example, self.rows * weights[self.task, None])


def _gradients(passed: _Pass) -> _Gradients:
    """Return the gradients by the representation of the K tasks that have a label."""
    losses, out = passed.losses[passed.tasks], passed.representation
    tasks, examples, rows = [], [], []
    for start in range(0, len(losses), TASKS_AT_ONCE):
        back = _back(losses, out, range(start, min(start + TASKS_AT_ONCE, len(losses))))
        task, example = (back != 0).any(dim=2).nonzero(as_tuple=True)
        tasks.append(start + task)
        examples.append(example)
        rows.append(back[task, example])
    shape = (len(losses), len(out))
    return _Gradients(torch.cat(tasks), torch.cat(examples), torch.cat(rows), shape)


def _back(losses: Tensor, out: Tensor, which: range) -> Tensor:
    """Return the gradients of some losses by a tensor [B, D], [n, B, D]."""
    one_each = losses.new_zeros(len(which), len(losses))
    one_each[range(len(which)), which] = 1.0
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            (together,) = torch.autograd.grad(
                losses, out, one_each, is_grads_batched=True, retain_graph=True
            )
        return together
    except RuntimeError:  # an operation of the heads that cannot go back for many at once
        single = empty_jacobian(len(which), [out])
        add_gradients(single, losses[which.start : which.stop], range(len(which)), [out])
        return single.view(len(which), *out.shape)


def _gramian(back: _Gradients, slopes: Tensor, columns: Tensor, example: Tensor) -> Tensor:
    """Return the sum over units of U K Uᵀ: U [K, B] of the tasks, K [B, B] of the examples."""
    n_tasks, n_examples = back.shape
    total = slopes.new_zeros(n_tasks, n_tasks, dtype=torch.float64)
    order = example.argsort()
    sizes = torch.bincount(example, minlength=n_examples).tolist()
    for start in range(0, slopes.shape[1], UNITS_AT_ONCE):
        units = slice(start, start + UNITS_AT_ONCE)
        own = [slopes[a, units].T @ columns[a] for a in torch.split(order, sizes)]
        rows = torch.stack(own, dim=1)  # [units, B, P]
        u = back.units(units)
        left = (u @ (rows @ rows.transpose(1, 2))).transpose(0, 1).reshape(n_tasks, -1)
        total += left @ u.transpose(0, 1).reshape(n_tasks, -1).T
    return total
