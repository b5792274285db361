"""Where the affinity phase runs."""

from __future__ import annotations

import torch

from task_affinity.errors import TaskAffinityError


def resolve_device(name: str) -> torch.device:
    """Return the device of a configuration; ``auto`` is CUDA where there is one.

    Raises
    ------
    TaskAffinityError
        If this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise TaskAffinityError(
            f"device: expected auto, cpu or one of {torch.cuda.device_count()} CUDA devices; "
            f"found {name!r}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise TaskAffinityError(f"device: expected auto or cpu; found {name!r}, not available here")
    return device
