"""What is measured at a training step: the kinds of affinity behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from task_affinity.functional import FunctionalLosses, RandomState
from task_affinity.gradients import add_gradients, empty_jacobian, gramian
from task_affinity.lookahead import lookahead_affinities
from task_affinity.losses import SeparableLosses, TaskLosses
from task_affinity.products import cosines
from task_affinity.representation import EncoderOutput


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

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return the affinities [K, K] of the tasks that have a label."""
        ...


class EncoderGradients:
    """Products or cosines of exact gradients by the shared parameters."""

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

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return the affinities [K, K]."""
        products = gramian(self.jacobian(step)).cpu().numpy()
        return cosines(products) if self._cosine else products

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
            add_gradients(jacobian, (losses * part.weights)[tasks], rows, self._inputs)
        return jacobian


class RepresentationGradients:
    """Products or cosines of gradients by the encoder's output, for which only heads go back."""

    def __init__(self, output: EncoderOutput, *, cosine: bool) -> None:
        self._output = output
        self._cosine = cosine

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Catch the encoder's output."""
        return self._output

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return the affinities [K, K]."""
        inputs = self._output.tensors
        jacobian = empty_jacobian(len(step.tasks), inputs)
        add_gradients(jacobian, step.losses[step.tasks], range(len(step.tasks)), inputs)
        products = gramian(jacobian).cpu().numpy()
        return cosines(products) if self._cosine else products


class Lookahead:
    """Falls of every task's loss after a gradient step on each."""

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

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return the affinities [K, K]; row i receives from column j."""
        affinities = lookahead_affinities(
            self._functional,
            step.batch,
            step.random,
            step.losses,
            step.tasks,
            self._parameters,
            self._step,
        )
        return affinities.double().cpu().numpy()
