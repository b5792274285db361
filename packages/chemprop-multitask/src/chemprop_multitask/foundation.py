"""Message passing weights from a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chemprop_multitask.errors import ChempropError

_PREFIX = "message_passing."
_FIRST = "W_i.weight"

OTHER_FEATURES = "It is of another featuriser: atoms and bonds have another number of features."
"""What the width of the first weights, which multiply the features, says."""


def load_foundation(message_passing: nn.Module, path: str | Path) -> None:
    """Copy the weights of a pretrained encoder into a message passing block.

    Parameters
    ----------
    message_passing : torch.nn.Module
        Block of the same architecture; changed in place.
    path : str or Path
        A Chemprop model or checkpoint, or a file with ``hyper_parameters`` and ``state_dict`` of
        the block alone, as CheMeleon has it. Like any torch file, only from a trusted source.

    Raises
    ------
    ChempropError
        If the file is missing or damaged, or a parameter is missing or of another shape.
    """
    state = read_torch_file(path, "model.from_foundation").get("state_dict")
    if not isinstance(state, Mapping):
        raise ChempropError(
            f"model.from_foundation: expected a Chemprop model or encoder; {path} has no state_dict"
        )
    inner = {k.removeprefix(_PREFIX): v for k, v in state.items() if k.startswith(_PREFIX)}
    found: Mapping[str, Tensor] = inner or state
    wanted = message_passing.state_dict()
    for name, tensor in wanted.items():
        if name not in found or found[name].shape != tensor.shape:
            shape = tuple(found[name].shape) if name in found else "none"
            advice = "Set model.message_passing as the foundation has it."
            if name == _FIRST and name in found and found[name].shape[1] != tensor.shape[1]:
                advice = OTHER_FEATURES
            raise ChempropError(
                f"model.from_foundation: expected parameter {name!r} of shape "
                f"{tuple(tensor.shape)}; found {shape} in {path}. {advice}"
            )
    # What the file holds beyond the block, such as the scaling of extra features, is not of it.
    message_passing.load_state_dict({name: found[name] for name in wanted})


def read_torch_file(path: str | Path, parameter: str) -> dict[str, Any]:
    """Return the dict that a torch file holds, on the CPU.

    Raises
    ------
    ChempropError
        If the file is missing, cut off, or does not hold a dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ChempropError(f"{parameter}: expected a model file; found no file {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise ChempropError(
            f"{parameter}: expected a model file; {path} is cut off, damaged or of another "
            f"program ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
        ) from error
    if not isinstance(content, dict):
        raise ChempropError(
            f"{parameter}: expected a model file; {path} holds a {type(content).__name__}"
        )
    return content
