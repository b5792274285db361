"""The gradients of the tasks' losses, exactly: what they are of, by what, and how they are taken.

A caller hands in the losses of a batch (`TaskLosses`), and perhaps how a batch may be divided
(`SeparableLosses`, `label_blocks`). `FunctionalLosses` evaluates them at other weights without a
trace in the model or in training's randomness. Gradients are by the shared parameters
(`encoder_parameters`) or by what the encoder puts out (`EncoderOutput`), one vector-Jacobian
product per task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from molpool_common import BoolArray, FloatArray, IntArray, did_you_mean, listed
from torch import Tensor, nn
from torch.func import functional_call

from task_affinity._config import DEFAULT_EXCLUSIONS
from task_affinity._errors import TaskAffinityError

OVERHEAD = 2.0
"""What a backward pass costs however small, in examples of mean size."""


class TaskLosses(Protocol):
    """Any callable that gives each task's mean loss on a batch.

    It runs the model's own forward pass and must leave nothing behind: no metric updated, nothing
    drawn from a generator other than torch's.
    """

    def __call__(self, model: nn.Module, batch: Any, /) -> tuple[Tensor, Tensor]:
        """Return the losses of a batch, and which of them there are.

        Parameters
        ----------
        model : Module
            The model, its parameters perhaps replaced for this call.
        batch : object
            A batch as the loader gave it.

        Returns
        -------
        losses : Tensor [T]
            Mean loss of each task over its labels; whatever where there is none.
        present : Tensor of bool [T]
            Whether the batch has a label of the task.
        """
        ...


@dataclass(frozen=True)
class Part:
    """Some examples of a batch.

    Parameters
    ----------
    batch : object
        What the losses take.
    weights : Tensor [T]
        Share of each task's labels that is in this part: the batch's loss is the sum over its
        parts of weight times loss.
    """

    batch: Any
    weights: Tensor


@runtime_checkable
class SeparableLosses(Protocol):
    """Losses that can also divide a batch, so that no task goes back through others' examples."""

    def __call__(self, model: nn.Module, batch: Any, /) -> tuple[Tensor, Tensor]:
        """See `TaskLosses`."""
        ...

    def parts(self, model: nn.Module, batch: Any) -> Sequence[Part]:
        """Divide a batch into parts of similar labels; one part or none where that is no gain.

        Examples must not act on each other in the model, as batch normalisation makes them.
        """
        ...


@dataclass(frozen=True)
class RandomState:
    """Where torch's generators stood: the CPU's and, on a GPU, that device's too.

    Parameters
    ----------
    cpu : Tensor
        State of the CPU generator.
    cuda : Tensor or None
        State of the device's generator.
    device : torch.device
        Device of the model.
    """

    cpu: Tensor
    cuda: Tensor | None
    device: torch.device

    @classmethod
    def now(cls, device: torch.device) -> RandomState:
        """Note the present state."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), cuda, device)

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Draw from here on the numbers that followed this state; afterwards go on as before."""
        devices = [self.device] if self.cuda is not None else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self.cpu)
            if self.cuda is not None:
                torch.cuda.set_rng_state(self.cuda, self.device)
            yield


class FunctionalLosses:
    """The losses as a function of some of the model's parameters.

    Parameters
    ----------
    model : Module
        The model. Buffers are copied for each call, so that batch statistics stay as they are.
    losses : TaskLosses
        Loss of each task.
    """

    def __init__(self, model: nn.Module, losses: TaskLosses) -> None:
        self._module = _WithLosses(model, losses)

    def __call__(
        self, batch: Any, random: RandomState, parameters: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Evaluate the losses on a batch.

        Parameters
        ----------
        batch : object
            What the losses take.
        random : RandomState
            Whose draws dropout repeats.
        parameters : mapping of str to Tensor, optional
            Values to take the place of the model's parameters of these names.

        Returns
        -------
        losses : Tensor [T]
        present : Tensor of bool [T]
        """
        # Batch norm updates its buffers in place: it gets copies, and the model's own stay.
        replaced = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        replaced |= {f"model.{name}": value for name, value in (parameters or {}).items()}
        # The same dropout masks as in training's own pass: otherwise their noise would be taken for
        # an effect of the step.
        with random.replayed():
            outcome: tuple[Tensor, Tensor] = functional_call(self._module, replaced, (batch,))
        return outcome


class _WithLosses(nn.Module):
    """Makes `functional_call`, which calls a module, call the losses of one."""

    def __init__(self, model: nn.Module, losses: TaskLosses) -> None:
        super().__init__()
        self.model = model
        self._losses = losses

    def forward(self, batch: Any) -> tuple[Tensor, Tensor]:
        return self._losses(self.model, batch)


def label_blocks(
    labelled: BoolArray, sizes: FloatArray, overhead: float = OVERHEAD
) -> list[IntArray]:
    """Divide examples so that going back once per task and block costs little in all.

    A block costs its size and the overhead for each task that any of its examples has, and once
    more for its forward pass. Examples of one label pattern stay together; starting from the
    patterns, the two blocks whose union saves most are joined until none saves.

    Parameters
    ----------
    labelled : ndarray of bool [B, T]
        Which labels there are.
    sizes : ndarray [B]
        Sizes of the examples, of mean 1.
    overhead : float
        Cost of a pass beside that of the examples in it.

    Returns
    -------
    list of ndarray of int
        Rows of each block, ascending; all B rows of a table with labels, each once.
    """
    patterns, inverse = np.unique(labelled, axis=0, return_inverse=True)
    tasks = patterns.astype(np.float64)
    size = np.bincount(inverse.ravel(), sizes, len(patterns)).astype(np.float64)
    members = [np.flatnonzero(inverse.ravel() == k) for k in range(len(patterns))]
    while len(members) > 1:
        first, second = _best_union(tasks, size, overhead)
        if first == second:
            break
        tasks[first] = np.maximum(tasks[first], tasks[second])
        size[first] += size[second]
        members[first] = np.sort(np.concatenate([members[first], members[second]]))
        tasks, size = np.delete(tasks, second, axis=0), np.delete(size, second)
        del members[second]
    return members


def _best_union(tasks: FloatArray, size: FloatArray, overhead: float) -> tuple[int, int]:
    """Return the two blocks whose union saves most, or one block twice where none saves."""
    n = tasks.sum(axis=1)
    # |A ∪ B| = |A| + |B| - |A ∩ B|, the intersections as one matmul of 0/1 rows.
    together = n[:, None] + n - tasks @ tasks.T
    apart = _cost(n, size, overhead)
    change = _cost(together, size[:, None] + size, overhead) - apart[:, None] - apart
    # The diagonal wins the argmin only if no union saves.
    np.fill_diagonal(change, 0.0)
    first, second = np.unravel_index(np.argmin(change), change.shape)
    return int(first), int(second)


def _cost(n_tasks: FloatArray, size: FloatArray, overhead: float) -> FloatArray:
    # One backward pass per task, and one forward pass of about the same cost.
    cost: FloatArray = (n_tasks + 1) * (size + overhead)
    return cost


def encoder_parameters(model: nn.Module, patterns: Sequence[str] = ()) -> dict[str, nn.Parameter]:
    """Return the trained parameters of the shared encoder by name.

    Parameters
    ----------
    model : Module
        The model; a parameter under two names is given once, under the first.
    patterns : sequence of str
        Parts of names. With any, the parameters that contain one of them; without, those that
        contain none of `DEFAULT_EXCLUSIONS`. Case does not matter.

    Raises
    ------
    TaskAffinityError
        If there is none, or none that is trained.
    """
    named = dict(model.named_parameters())
    chosen = {name: p for name, p in named.items() if _is_encoder(name, patterns)}
    if not chosen:
        found = (
            f"{listed([repr(p) for p in patterns])}, which match none"
            if patterns
            else f"no patterns, which leaves out every name with {listed(DEFAULT_EXCLUSIONS)}"
        )
        raise TaskAffinityError(
            "encoder_param_patterns: expected parts of the names of shared parameters; found "
            f"{found}. The model has {listed(list(named), limit=6) or 'no parameter'}."
        )
    trained = {name: p for name, p in chosen.items() if p.requires_grad}
    if not trained:
        raise TaskAffinityError(
            "encoder_param_patterns: expected an encoder with a parameter that is trained; found "
            f"requires_grad = False for {listed(list(chosen), limit=6)}"
        )
    return trained


def _is_encoder(name: str, patterns: Sequence[str]) -> bool:
    lower = name.lower()
    if patterns:
        return any(pattern.lower() in lower for pattern in patterns)
    return not any(pattern in lower for pattern in DEFAULT_EXCLUSIONS)


def add_gradients(
    jacobian: Tensor, losses: Tensor, rows: Sequence[int], inputs: Sequence[Tensor]
) -> None:
    """Add the gradient of each loss to its row of a Jacobian.

    Parameters
    ----------
    jacobian : Tensor [T, P]
        Written to in place.
    losses : Tensor [K]
        The losses, with their graph, which stays.
    rows : sequence of int [K]
        Row of each loss.
    inputs : sequence of Tensor
        What to differentiate by, P numbers in all; zeros where a loss does not depend on it.

    Notes
    -----
    A loop over backward passes: batched by `torch.vmap` they take 1.5 times as long on a CPU, for
    every activation is then read and written for all tasks at once and leaves the cache.
    """
    for row, loss in zip(rows, losses.unbind(), strict=True):
        # A task that does not depend on any parameter keeps its row of zeros.
        if not loss.requires_grad:
            continue
        grads = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        start = 0
        for grad, size in zip(grads, (x.numel() for x in inputs), strict=True):
            if grad is not None:
                jacobian[row, start : start + size] += grad.reshape(-1)
            start += size


def empty_jacobian(n_tasks: int, inputs: Sequence[Tensor]) -> Tensor:
    """Return zeros [T, P] for the gradients of T tasks by inputs of P numbers in all."""
    return inputs[0].new_zeros(n_tasks, sum(x.numel() for x in inputs))


def gramian(jacobian: Tensor, chunk: int = 1 << 16) -> Tensor:
    """Return the dot products of all rows with all rows, [T, T], summed in double precision.

    Parameters
    ----------
    jacobian : Tensor [T, P]
        One gradient per row.
    chunk : int
        Columns that are multiplied at once in the Jacobian's own precision.
    """
    total = jacobian.new_zeros(len(jacobian), len(jacobian), dtype=torch.float64)
    for columns in torch.split(jacobian, chunk, dim=1):
        # Matmuls in float32 are quick and short sums lose little; the long sum over P goes in
        # float64.
        total += columns @ columns.T
    return total


class EncoderOutput:
    """Catches what a module puts out during a forward pass; a context manager.

    Parameters
    ----------
    model : Module
        The model.
    module : str or Module
        The encoder's last module, or its name within the model.

    Raises
    ------
    TaskAffinityError
        If the model has no such module.
    """

    def __init__(self, model: nn.Module, module: str | nn.Module) -> None:
        self._name, self._module = find_module(model, module, "encoder_output")
        self._caught: list[Tensor] = []

    def __enter__(self) -> Self:
        self._caught.clear()
        self._handle = self._module.register_forward_hook(self._catch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._handle.remove()

    def _catch(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise TaskAffinityError(
                f"encoder_output: expected a module whose output is a tensor; found that of "
                f"{self._name!r}: {type(output).__name__}"
            )
        if not output.requires_grad:
            raise TaskAffinityError(
                f"encoder_output: expected an output that requires grad; found that of "
                f"{self._name!r}, which does not: no parameter up to it is trained"
            )
        self._caught.append(output)

    @property
    def tensors(self) -> list[Tensor]:
        """What the module put out, one tensor per call.

        Raises
        ------
        TaskAffinityError
            If it was not called.
        """
        if not self._caught:
            raise TaskAffinityError(
                f"encoder_output: expected a module that the losses call; found {self._name!r}, "
                "which took no part in the forward pass"
            )
        return list(self._caught)


def find_module(model: nn.Module, module: str | nn.Module, parameter: str) -> tuple[str, nn.Module]:
    """Return a module of a model with its name within it; `parameter` names it in a message."""
    named = dict(model.named_modules())
    if isinstance(module, nn.Module):
        names = [name for name, other in named.items() if other is module]
        if names:
            return names[0], module
        raise TaskAffinityError(
            f"{parameter}: expected a module of the model; found another {type(module).__name__}"
        )
    if module in named:
        return module, named[module]
    valid = [name for name in named if name]
    raise TaskAffinityError(
        f"{parameter}: expected a module of the model; found {module!r}. "
        f"{did_you_mean(module, valid)}"
    )
