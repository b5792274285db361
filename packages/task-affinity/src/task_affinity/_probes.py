"""Affinities from random directions, at a cost that does not grow with the number of tasks.

For v ~ N(0, I) the derivatives J v of all T losses along v have the covariance J Jᵀ, so that the
dot products of K such vectors estimate the Gramian; one forward-mode pass gives J v for any T. The
encoder's last layer, where it is known, is taken exactly (`_last_layer`): the noise is that of the
small rest.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from molpool_common import FloatArray
from scipy.special import hyp2f1
from torch import Tensor, nn
from torch.autograd import forward_ad

from task_affinity._errors import TaskAffinityError
from task_affinity._gradients import (
    EncoderOutput,
    FunctionalLosses,
    RandomState,
    TaskLosses,
)
from task_affinity._last_layer import LastLayer
from task_affinity._measures import Step
from task_affinity._result import cosines, inverse_lengths

logger = logging.getLogger(__name__)


def normal_directions(inputs: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
    """Draw a standard normal direction for tensors, on their device."""
    return [
        torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype) for x in inputs
    ]


def forward_derivatives(
    losses: FunctionalLosses,
    batch: Any,
    random: RandomState,
    parameters: Mapping[str, Tensor],
    directions: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """Take the derivative of every loss along a direction in one forward pass.

    Parameters
    ----------
    losses : FunctionalLosses
        The losses as a function of parameters.
    batch : object
        What they take.
    random : RandomState
        Whose draws dropout repeats.
    parameters : mapping of str to Tensor
        Where to differentiate.
    directions : sequence of Tensor
        Along what, of the shapes of `parameters`.

    Returns
    -------
    derivatives : Tensor [T]
    present : Tensor of bool [T]
        Which losses there are.

    Raises
    ------
    NotImplementedError
        If the model holds an operation without a forward derivative.
    """
    # Without a graph, so that memory stays that of inference, twice.
    with torch.no_grad(), forward_ad.dual_level(), _quiet_decompositions():
        duals = {
            name: forward_ad.make_dual(value.detach(), direction)  # type: ignore[no-untyped-call]
            for (name, value), direction in zip(parameters.items(), directions, strict=True)
        }
        values, present = losses(batch, random, duals)
        tangent = forward_ad.unpack_dual(values).tangent  # type: ignore[no-untyped-call]
    return torch.zeros_like(values) if tangent is None else tangent, present


def double_backward_derivatives(
    losses: Tensor, inputs: Sequence[Tensor]
) -> Callable[[Sequence[Tensor]], Tensor]:
    """Return a function that gives J v, [T], from the graph of the losses.

    Jᵀu is linear in u, so that the gradient of ⟨Jᵀu, v⟩ by u is J v. Every operation must be
    twice differentiable; the cost does not depend on T, the memory is that of two backward passes.

    Parameters
    ----------
    losses : Tensor [T]
        The losses, with their graph, which stays.
    inputs : sequence of Tensor
        What to differentiate by.
    """
    u = torch.zeros_like(losses, requires_grad=True)
    grads = torch.autograd.grad(losses, inputs, u, create_graph=True, allow_unused=True)

    def along(directions: Sequence[Tensor]) -> Tensor:
        terms = [(g * v).sum() for g, v in zip(grads, directions, strict=True) if g is not None]
        if not terms:
            return torch.zeros_like(losses)
        (derivatives,) = torch.autograd.grad(torch.stack(terms).sum(), u, retain_graph=True)
        return derivatives

    return along


class ProbedCosines:
    """Unbiased cosines of gradients from their derivatives along K random directions.

    A plain ratio of estimated products is drawn towards zero. The pair of derivatives along a
    normal direction is bivariate normal, so that the ratio is a sample correlation with known
    means, for which r ₂F₁(½, ½; (K − 1)/2; 1 − r²) is unbiased (Olkin and Pratt 1958,
    doi:10.1214/aoms/1177706717, with K degrees of freedom).

    Parameters
    ----------
    n_probes : int
        Number of directions K, at least 2.

    Raises
    ------
    TaskAffinityError
        If K is 1: no function of a single derivative has the cosine as its mean.
    """

    def __init__(self, n_probes: int) -> None:
        if n_probes < 2:
            raise TaskAffinityError(
                f"n_probes: expected at least 2 for cosines of probed gradients; found {n_probes}"
            )
        self._n_probes = n_probes
        # At K = 2 the function is the sign, at K = 3 it is steep at 0: nodes crowd there.
        self._nodes = np.linspace(-1.0, 1.0, 4002) ** 3
        series = hyp2f1(0.5, 0.5, (n_probes - 1) / 2, 1 - self._nodes**2)
        self._values = self._nodes * series

    def __call__(self, derivatives: FloatArray, exact: FloatArray | None = None) -> FloatArray:
        """Return estimates of cosines [T, T].

        Parameters
        ----------
        derivatives : ndarray [T, K]
            Derivatives of T losses along K directions.
        exact : ndarray [T, T], optional
            Dot products of the gradients by parameters that the directions leave out. The estimate
            is then unbiased to order 1/K, which is what is left of a share of a gradient.
        """
        if exact is not None:
            return _partly_exact(
                exact, derivatives @ derivatives.T / self._n_probes, self._n_probes
            )
        plain = cosines(derivatives @ derivatives.T)
        upper = np.triu_indices(len(plain), 1)
        plain[upper] = np.interp(plain[upper], self._nodes, self._values)
        plain.T[upper] = plain[upper]
        return plain


def _partly_exact(exact: FloatArray, probed: FloatArray, n_probes: int) -> FloatArray:
    """Return cosines from exact products plus estimates from n directions, less their bias.

    The estimates q of the products, α and β of the squares have the second moments of a Wishart
    matrix: cov(q, α) = 2qα/n, var α = 2α²/n, cov(α, β) = 2q²/n. Expanding N / √(xy) by them gives
    the bias of order 1/n, which is taken off.
    """
    products = exact + probed
    squares = np.diag(products)
    share = np.divide(np.diag(probed), squares, out=np.zeros_like(squares), where=squares > 0)
    plain = cosines(products)
    units = inverse_lengths(products)
    part = probed * units * units[:, None]
    both = share + share[:, None]
    bias = (
        0.75 * plain * (share**2 + share[:, None] ** 2) - part * both + 0.5 * plain * part**2
    ) / n_probes
    unbiased: FloatArray = plain - bias
    np.fill_diagonal(unbiased, squares > 0)
    return unbiased


@contextmanager
def _quiet_decompositions() -> Iterator[None]:
    # Forward mode loads decompositions that torch itself still scripts, with a deprecation warning.
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", "`torch.jit.script", category)
        yield


class ProbedGradients:
    """Dot products or cosines of gradients, estimated along random directions.

    Parameters
    ----------
    model, losses : Module, TaskLosses
        What is trained.
    parameters : mapping of str to Tensor
        The shared parameters.
    output : EncoderOutput or None
        Probe the gradients by this instead.
    n_probes : int
        Directions per step.
    generator : Generator
        Draws them; on the model's device.
    cosine : bool
        Cosines, else dot products.
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
        self._exact: FloatArray | None = None
        self._ready: FloatArray | None = None
        self._forward_mode = True

    def watching(self, batch: Any, random: RandomState) -> AbstractContextManager[object]:
        """Measure what needs no graph of the step, before that fills the memory."""
        self._ready = None
        if self._output is not None:
            return self._output
        self._exact = None
        if self._last is not None:
            self._exact = self._last.gramian(batch, random).cpu().numpy()
        if self._exact is not None and not self._inputs:
            self._ready = self._estimate(torch.zeros(len(self._exact), self._n_probes))
        elif self._forward_mode:
            try:
                self._ready = self._estimate(self._forward_derivatives(batch, random))
            except NotImplementedError as error:
                logger.info("probes go through two backward passes each: %s", error)
                self._forward_mode = False
        return nullcontext()

    def __call__(self, step: Step) -> FloatArray:
        """Return the estimated affinities [K, K]."""
        ready, self._ready = self._ready, None
        if ready is not None:
            return ready
        inputs = self._output.tensors if self._output is not None else self._inputs
        along = double_backward_derivatives(step.losses[step.tasks], inputs)
        return self._estimate(torch.stack([along(v) for v in self._directions(inputs)], dim=1))

    def _estimate(self, derivatives: Tensor) -> FloatArray:
        """Return affinities [K, K] from derivatives [K, n_probes] and what is exact."""
        numbers = derivatives.double().cpu().numpy()
        if self._cosines is not None:
            return self._cosines(numbers, self._exact)
        products: FloatArray = numbers @ numbers.T / self._n_probes
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
