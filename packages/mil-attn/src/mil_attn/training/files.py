"""Model files and training checkpoints: plain values and tensors, so that reading runs no code."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

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


class Described(Protocol):
    """A module that says what it is of."""

    def describe(self) -> dict[str, Any]:
        """Return plain values: ``task_names``, ``scaler`` and others."""

    def state_dict(self) -> Mapping[str, torch.Tensor]:
        """Return the weights by name."""


def check_resumable(path: str | Path, module: Described) -> Path:
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
        If it is no training checkpoint, or of other tasks, features or architecture.
    """
    content = read_file(path, "resume_from")
    if "optimizer_states" not in content:
        raise MILError(
            f"resume_from: expected a training checkpoint, such as last.ckpt; {path} is none."
        )
    for what, wanted, found in _names(module.describe(), content[KEY]):
        if wanted != found:
            raise MILError(
                f"resume_from: expected a checkpoint of the same {what}; {path}: "
                f"{_first_difference(wanted, found)}"
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


def _names(
    ours: Mapping[str, Any], theirs: Mapping[str, Any]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what is named: tasks and features, as this run and as the checkpoint has them."""
    yield "tasks", list(ours["task_names"]), list(theirs["task_names"])
    for what, key in (("3D features", "instances"), ("2D features", "x2d")):
        columns = [(of["scaler"] or {}).get(key) or {"names": []} for of in (ours, theirs)]
        yield what, list(columns[0]["names"]), list(columns[1]["names"])


def _first_difference(wanted: Sequence[str], found: Sequence[str]) -> str:
    if len(wanted) != len(found):
        return f"expected {len(wanted)}, found {len(found)}."
    i = next(i for i, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b)
    return f"expected {wanted[i]!r}, found {found[i]!r} at position {i + 1}."
