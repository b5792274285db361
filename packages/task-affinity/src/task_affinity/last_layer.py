"""Exact products of gradients by an encoder's last layer, for any number of tasks.

An output of that layer reaches only its own unit of each example's representation, so that the
gradient of a task by the weights of one output is a combination of one row an example: with B
examples and D units, D products of matrices B wide give what T backward passes would.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from task_affinity.errors import TaskAffinityError
from task_affinity.functional import FunctionalLosses, RandomState
from task_affinity.gradients import add_gradients, empty_jacobian
from task_affinity.losses import TaskLosses
from task_affinity.representation import EncoderOutput, find_module

TASKS_AT_ONCE = 64
"""Tasks whose gradients go back through the heads together."""
UNITS_AT_ONCE = 30
"""Units whose products are taken together: what memory they need stays that of the gradients."""
MOST_ERROR = 1e-2
"""Largest difference of the layer's gradients from autograd's, as a share: float32 leaves 1e-5."""


class OutputLayer(NamedTuple):
    """Where an encoder ends, so that probing takes the gradients of its last layer exactly.

    Parameters
    ----------
    layer : str or Module
        The encoder's last linear layer, or its name within the model. After it come only functions
        that keep units apart: activations, dropout, sums or means over the rows of an example.
    representation : str or Module
        The module that puts out the B examples' representations [B, D], D the layer's outputs.
    """

    layer: str | nn.Module
    representation: str | nn.Module


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
    """Products of the tasks' gradients by an encoder's last layer.

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
        self._output = EncoderOutput(model, where.representation)
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

    def products(self, batch: Any, random: RandomState) -> Tensor:
        """Return the products of the gradients of the tasks that have a label, [K, K] of float64.

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
        rows = self._rows(passed.x, *self._slopes(passed), back.shape[1])
        if not self._is_checked:
            self._check(batch, random, passed, back, rows)
            self._is_checked = True
        return _products(back, rows)

    def _forward(self, batch: Any, random: RandomState) -> _Pass:
        """Run the losses; only what follows the layer leaves a graph."""
        seen: list[tuple[Tensor, Tensor]] = []

        def cut(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            z = output.detach().requires_grad_()
            seen.append((inputs[0].detach(), z))
            return z

        detached = {name: p.detach() for name, p in self._parameters.items()}
        handle = self._layer.register_forward_hook(cut)
        try:
            with self._output:
                losses, present = self._functional(batch, random, detached)
        finally:
            handle.remove()
        outputs = self._output.tensors
        shapes = [list(out.shape) for out in outputs]
        width = self._layer.out_features
        if len(seen) != 1 or len(shapes) != 1 or shapes[0][1:] != [width] or seen[0][0].ndim != 2:
            raise TaskAffinityError(
                f"output_layer: expected {self._name!r} to take rows [A, F] once a pass, and a "
                f"representation [B, {width}] after it; found {len(seen)} calls and outputs of "
                f"shape {shapes}"
            )
        return _Pass(losses, present.nonzero().squeeze(1), *seen[0], outputs[0])

    def _slopes(self, passed: _Pass) -> tuple[Tensor, Tensor]:
        """Return how each row's units move their example's [A, D], and whose the rows are [A]."""
        out, z = passed.representation, passed.z
        (slopes,) = torch.autograd.grad(out.sum(), z, retain_graph=True)
        # Examples weighted by their number tell by the same slopes which one a row belongs to.
        number = torch.arange(1, len(out) + 1, device=out.device, dtype=out.dtype)
        (weighted,) = torch.autograd.grad((out * number[:, None]).sum(), z, retain_graph=True)
        squares = (slopes * slopes).sum(dim=1)
        example = (weighted * slopes).sum(dim=1) / squares.where(squares > 0, 1)
        return slopes, (example.round().long() - 1).clamp(0, len(out) - 1)

    def _rows(self, x: Tensor, slopes: Tensor, example: Tensor, n: int) -> Tensor:
        """Return the derivatives of each example's units by the weights of each, [B, D, P]."""
        of_key = {"weight": x, "bias": torch.ones_like(x[:, :1])}
        columns = torch.cat([of_key[key] for key in self._names], dim=1)
        rows = x.new_zeros(n, slopes.shape[1], columns.shape[1])
        sizes = torch.bincount(example, minlength=n).tolist()
        for own, which in zip(rows, torch.split(example.argsort(), sizes), strict=True):
            torch.mm(slopes[which].T, columns[which], out=own)
        return rows

    def _check(
        self, batch: Any, random: RandomState, passed: _Pass, back: Tensor, rows: Tensor
    ) -> None:
        """Compare with autograd: units that mix, or a layer that is used twice, are refused."""
        weights = torch.linspace(1.0, 2.0, len(back), device=back.device, dtype=back.dtype)
        ours = torch.einsum("kbd,k,bdp->dp", back, weights, rows)
        tracked = {name: p.detach() for name, p in self._parameters.items()}
        own = [tracked[name].requires_grad_() for name in self.names]
        losses, _ = self._functional(batch, random, tracked)
        total = (losses[passed.tasks] * weights).sum()
        grads = torch.autograd.grad(total, own)
        theirs = torch.cat([g.reshape(len(ours), -1) for g in grads], dim=1)
        error = float((theirs - ours).norm() / theirs.norm().clamp(min=1e-30))
        if not error <= MOST_ERROR:
            raise TaskAffinityError(
                f"output_layer: expected each output of {self._name!r} to reach only its own unit "
                f"of one example's representation; found gradients that differ from that by "
                f"{error:.0%}"
            )


def _gradients(passed: _Pass) -> Tensor:
    """Return the gradients of the tasks that have a label by the representation, [K, B, D]."""
    losses, out = passed.losses[passed.tasks], passed.representation
    gradients = empty_jacobian(len(losses), [out]).view(len(losses), *out.shape)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            for start in range(0, len(losses), TASKS_AT_ONCE):
                one_each = torch.eye(len(losses), device=losses.device, dtype=losses.dtype)
                chosen = one_each[start : start + TASKS_AT_ONCE]
                (gradients[start : start + TASKS_AT_ONCE],) = torch.autograd.grad(
                    losses, out, chosen, is_grads_batched=True, retain_graph=True
                )
    except RuntimeError:  # an operation of the heads that cannot go back for many at once
        gradients.zero_()
        add_gradients(gradients.view(len(losses), -1), losses, range(len(losses)), [out])
    return gradients


def _products(back: Tensor, rows: Tensor) -> Tensor:
    """Return the sum over units of U K Uᵀ, with U [K, B] of the tasks and K [B, B] of the rows."""
    n_tasks, _, n_units = back.shape
    total = back.new_zeros(n_tasks, n_tasks, dtype=torch.float64)
    for start in range(0, n_units, UNITS_AT_ONCE):
        which = slice(start, start + UNITS_AT_ONCE)
        own = rows[:, which].transpose(0, 1)
        kernel = own @ own.transpose(1, 2)
        u = back[:, :, which].permute(2, 0, 1).contiguous()
        left = (u @ kernel).transpose(0, 1).reshape(n_tasks, -1)
        total += left @ u.transpose(0, 1).reshape(n_tasks, -1).T
    return total
