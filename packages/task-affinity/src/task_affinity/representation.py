"""The encoder's output, caught in the middle of a forward pass."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from task_affinity.errors import TaskAffinityError, did_you_mean


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
        """What the module put out, a tensor a call.

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
