"""What a caller hands in: the loss of each task on a batch, and how a batch may be divided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


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
