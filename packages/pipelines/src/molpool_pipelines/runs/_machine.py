"""What a run asks of the machine it is on, checked before anything is read."""

from __future__ import annotations

from molpool_common import InputError

KEY = "training.accelerator"


def check_accelerator(accelerator: str) -> None:
    """Refuse a GPU that is not there.

    Parameters
    ----------
    accelerator : {"auto", "cpu", "gpu", "cuda", "mps"}
        ``gpu`` is any; ``auto`` takes one where there is one.

    Raises
    ------
    InputError
        If this machine, or this build of PyTorch, has none of its kind.
    """
    if accelerator in {"auto", "cpu"}:
        return
    # Seconds to import, and only who insists on a GPU has to wait for it here.
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if there.get(accelerator, any(there.values())):
        return
    built = torch.version.cuda or torch.version.hip
    raise InputError(
        KEY,
        expected="a GPU that PyTorch finds on this machine",
        found=f"{accelerator!r}, and none"
        + ("" if built else f" (PyTorch {torch.__version__} is built without CUDA)"),
        hint="--training.accelerator auto takes a GPU where there is one, else the processor.",
    )
