"""Model files and training checkpoints: plain values and tensors, so that reading runs no code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mil_attn.errors import MILError

KEY = "mil_attn"


def read_file(path: str | Path, parameter: str = "model") -> dict[str, Any]:
    """Return the content of a model file or checkpoint of this package.

    Raises
    ------
    MILError
        If it is missing, damaged, or of another program.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise MILError(
            f"{parameter}: expected a file that this package wrote; found {found} {path}."
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0][:120]
        raise MILError(
            f"{parameter}: expected a whole file that this package wrote; {path}: {reason}"
        ) from error
    if not isinstance(content, dict) or KEY not in content or "state_dict" not in content:
        raise MILError(
            f"{parameter}: expected a file that this package wrote; {path} is of another program."
        )
    return content


def check_resumable(path: str | Path, module: nn.Module) -> Path:
    """Return the path of a training checkpoint that a module could go on from.

    Parameters
    ----------
    path : str or Path
        The checkpoint.
    module : Module
        The untrained model of the run.

    Raises
    ------
    MILError
        If it is no training checkpoint, or of another model.
    """
    content = read_file(path, "resume_from")
    if "optimizer_states" not in content:
        raise MILError(
            f"resume_from: expected a training checkpoint, such as last.ckpt; {path} is none."
        )
    wanted_shapes = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    found_shapes = {name: tuple(t.shape) for name, t in content["state_dict"].items()}
    for name in sorted(wanted_shapes.keys() | found_shapes.keys()):
        if wanted_shapes.get(name) != found_shapes.get(name):
            raise MILError(
                f"resume_from: expected parameter {name!r} of shape {wanted_shapes.get(name)}; "
                f"found {found_shapes.get(name)} in {path}, a checkpoint of another model."
            )
    return Path(path)
