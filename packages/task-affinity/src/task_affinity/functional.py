"""Losses at other weights, evaluated without a trace in the model or in training's randomness."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from task_affinity.losses import TaskLosses


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
        replaced = {name: buffer.clone() for name, buffer in self._module.named_buffers()}
        replaced |= {f"model.{name}": value for name, value in (parameters or {}).items()}
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
