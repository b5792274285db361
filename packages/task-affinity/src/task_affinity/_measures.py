"""What is measured at a training step: the kinds of affinity behind one interface.

Exact gradients by the shared parameters, gradients by the encoder's output, and TAG's own
lookahead: how a step for one task changes the loss of every other. `_probes` has the random
estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from molpool_common import FloatArray
from torch import Tensor, nn

from task_affinity._gradients import (
    EncoderOutput,
    FunctionalLosses,
    RandomState,
    SeparableLosses,
    TaskLosses,
    add_gradients,
    empty_jacobian,
    gramian,
)
from task_affinity._result import cosines


@dataclass(frozen=True)
class Step:
    """A training step between its forward and its backward pass.

    Parameters
    ----------
    batch : object
        What the losses take.
    losses : Tensor [T]
        Loss of each task, with the graph of the training step.
    tasks : Tensor of int [K]
        Tasks with a label in the batch.
    random : RandomState
        Where torch's generators stood before the forward pass.
    """

    batch: Any
    losses: Tensor
    tasks: Tensor
    random: RandomState


class Measure(Protocol):
    """Affinities of the tasks of a step; leaves no trace in model or training."""

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Return what the step's forward pass is to be run in; called right before it."""
        ...

    def __call__(self, step: Step) -> FloatArray:
        """Return the affinities [K, K] of the tasks that have a label."""
        ...


class EncoderGradients:
    """Dot products or cosines of exact gradients by the shared parameters."""

    def __init__(
        self,
        model: nn.Module,
        losses: TaskLosses,
        parameters: Mapping[str, Tensor],
        *,
        cosine: bool,
    ) -> None:
        self._model = model
        self._losses = losses
        self._functional = FunctionalLosses(model, losses)
        self._inputs = list(parameters.values())
        self._cosine = cosine
        first = next(p for p in model.parameters() if p.requires_grad)
        # Parts need a forward pass of their own, which pays where tasks go back all the way.
        self._divides = any(p is first for p in self._inputs)

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Nothing has to be seen of the forward pass."""
        return nullcontext()

    def __call__(self, step: Step) -> FloatArray:
        """Return the affinities [K, K]."""
        return _affinities(self.jacobian(step), cosine=self._cosine)

    def jacobian(self, step: Step) -> Tensor:
        """Return the gradients of the tasks that have a label, [K, P]."""
        jacobian = empty_jacobian(len(step.tasks), self._inputs)
        parts = (
            self._losses.parts(self._model, step.batch)
            if self._divides and isinstance(self._losses, SeparableLosses)
            else []
        )
        if len(parts) < 2:
            add_gradients(jacobian, step.losses[step.tasks], range(len(step.tasks)), self._inputs)
            return jacobian
        row_of = {task: row for row, task in enumerate(step.tasks.tolist())}
        for part in parts:
            losses, present = self._functional(part.batch, step.random)
            tasks = present.nonzero().squeeze(1)
            rows = [row_of[task] for task in tasks.tolist()]
            # Gradients are linear: a part's share of the labels weighs its mean loss (see `Part`).
            add_gradients(jacobian, (losses * part.weights)[tasks], rows, self._inputs)
        return jacobian


class RepresentationGradients:
    """Dot products or cosines of gradients by the encoder's output: only heads go back."""

    def __init__(self, output: EncoderOutput, *, cosine: bool) -> None:
        self._output = output
        self._cosine = cosine

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Catch the encoder's output."""
        return self._output

    def __call__(self, step: Step) -> FloatArray:
        """Return the affinities [K, K]."""
        inputs = self._output.tensors
        jacobian = empty_jacobian(len(step.tasks), inputs)
        add_gradients(jacobian, step.losses[step.tasks], range(len(step.tasks)), inputs)
        return _affinities(jacobian, cosine=self._cosine)


def _affinities(jacobian: Tensor, *, cosine: bool) -> FloatArray:
    """Return cosines or dot products [K, K] of gradients [K, P]."""
    products: FloatArray = gramian(jacobian).cpu().numpy()
    return cosines(products) if cosine else products


class Lookahead:
    """The share of each task's loss that a step on another task's gradient takes away.

    Parameters
    ----------
    model, losses : Module, TaskLosses
        What is trained.
    parameters : mapping of str to Tensor
        The shared parameters, θ; heads stay where they are.
    step : float
        Length η of the step.

    Notes
    -----
    Fifty et al. 2021, arXiv:2109.04617, equation 1.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: TaskLosses,
        parameters: Mapping[str, Tensor],
        *,
        step: float,
    ) -> None:
        self._functional = FunctionalLosses(model, losses)
        self._parameters = parameters
        self._step = step

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Nothing has to be seen of the forward pass."""
        return nullcontext()

    def __call__(self, step: Step) -> FloatArray:
        """Return the affinities [K, K]: 1 − Lᵢ(θ − η gⱼ) / Lᵢ(θ); not finite where Lᵢ is 0."""
        # Losses of training's own pass, which the replayed random state makes comparable with
        # `after`.
        before = step.losses.detach()[step.tasks]
        columns = []
        for task in step.tasks.tolist():
            after = before
            if step.losses[task].requires_grad:
                stepped = _stepped(step.losses[task], self._parameters, self._step)
                with torch.no_grad():
                    after = self._functional(step.batch, step.random, stepped)[0][step.tasks]
            # Column j holds what all tasks receive from j, as `tag` reads the matrix.
            columns.append(1 - after / before)
        return torch.stack(columns, dim=1).double().cpu().numpy()


def _stepped(loss: Tensor, parameters: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    values = list(parameters.values())
    grads = torch.autograd.grad(loss, values, retain_graph=True, allow_unused=True)
    return {
        name: value.detach() if grad is None else value.detach() - step * grad
        for (name, value), grad in zip(parameters.items(), grads, strict=True)
    }
