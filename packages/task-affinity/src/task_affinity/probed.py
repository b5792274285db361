"""Affinities at a training step from random directions, with the last layer exact where known."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from task_affinity.functional import FunctionalLosses, RandomState
from task_affinity.last_layer import LastLayer
from task_affinity.losses import TaskLosses
from task_affinity.measures import Step
from task_affinity.probes import (
    ProbedCosines,
    double_backward_derivatives,
    forward_derivatives,
    normal_directions,
)
from task_affinity.representation import EncoderOutput

logger = logging.getLogger(__name__)


class ProbedGradients:
    """Products or cosines of gradients estimated along random directions, for any number of tasks.

    Parameters
    ----------
    model, losses : Module, TaskLosses
        What is trained.
    parameters : mapping of str to Tensor
        The shared parameters.
    output : EncoderOutput or None
        Probe the gradients by this instead.
    n_probes : int
        Directions a step.
    generator : Generator
        Draws them; on the model's device.
    cosine : bool
        Cosines, else products.
    last : LastLayer, optional
        Takes the gradients by the encoder's last layer exactly; the other parameters are probed.
        They hold most of the gradients' length, so that what noise is left is small.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: TaskLosses,
        parameters: Mapping[str, Tensor],
        output: EncoderOutput | None,
        *,
        n_probes: int,
        generator: torch.Generator,
        cosine: bool,
        last: LastLayer | None = None,
    ) -> None:
        self._functional = FunctionalLosses(model, losses)
        exact = last.names if last is not None else ()
        self._last = last if exact else None
        self._parameters = {name: p for name, p in parameters.items() if name not in exact}
        self._inputs = list(self._parameters.values())
        self._output = output
        self._n_probes = n_probes
        self._generator = generator
        self._cosines = ProbedCosines(n_probes) if cosine else None
        self._exact: NDArray[np.float64] | None = None
        self._ready: NDArray[np.float64] | None = None
        self._forward_mode = True

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Measure what needs no graph of the step, before that fills the memory."""
        self._ready = None
        if self._output is not None:
            return self._output
        self._exact = None
        if self._last is not None:
            self._exact = self._last.products(batch, random).cpu().numpy()
        if self._exact is not None and not self._inputs:
            self._ready = self._estimate(torch.zeros(len(self._exact), self._n_probes))
        elif self._forward_mode:
            try:
                self._ready = self._estimate(self._forward_derivatives(batch, random))
            except NotImplementedError as error:
                logger.info("probes go through two backward passes each: %s", error)
                self._forward_mode = False
        return nullcontext()

    def __call__(self, step: Step) -> NDArray[np.float64]:
        """Return the estimated affinities [K, K]."""
        ready, self._ready = self._ready, None
        if ready is not None:
            return ready
        inputs = self._output.tensors if self._output is not None else self._inputs
        along = double_backward_derivatives(step.losses[step.tasks], inputs)
        return self._estimate(torch.stack([along(v) for v in self._directions(inputs)], dim=1))

    def _estimate(self, derivatives: Tensor) -> NDArray[np.float64]:
        """Return affinities [K, K] from derivatives [K, n_probes] and what is exact."""
        numbers = derivatives.double().cpu().numpy()
        if self._cosines is not None:
            return self._cosines(numbers, self._exact)
        products: NDArray[np.float64] = numbers @ numbers.T / self._n_probes
        return products if self._exact is None else products + self._exact

    def _forward_derivatives(self, batch: Any, random: RandomState) -> Tensor:
        """Return J v of the K tasks with a label for every direction, [K, n_probes]."""
        columns = []
        for direction in self._directions(self._inputs):
            derivatives, present = forward_derivatives(
                self._functional, batch, random, self._parameters, direction
            )
            columns.append(derivatives[present])
        return torch.stack(columns, dim=1)

    def _directions(self, inputs: Sequence[Tensor]) -> Iterator[list[Tensor]]:
        return (normal_directions(inputs, self._generator) for _ in range(self._n_probes))
