"""Torch files of Chemprop's kind, which hold classes beside weights, read so that none runs code.

A torch file is a pickle, and a pickle may call anything. Chemprop names its own classes in the
hyperparameters of a model, so that a reader of bare weights refuses every file of Chemprop. Here
the names that a file asks for are listed without loading it, and it is loaded only where all of
them are layers, metrics or settings of the libraries that a model is made of.
"""

from __future__ import annotations

import zipfile
import zlib
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from molpool_common._digests import DamagedFileError, checked

_MODULES = (
    "chemprop.nn.",
    "chemprop.models.",
    "chemprop.schedulers",
    "chemprop_multitask.",
    "lightning.fabric.utilities.data",
    "lightning.pytorch.utilities.parsing",
    "pytorch_lightning.utilities.parsing",
    "torch.nn.modules.",
    "torchmetrics.",
)
_FUNCTIONS = {
    "torchmetrics.metric.jit_distributed_available",
    "torchmetrics.utilities.data.dim_zero_cat",
    "torchmetrics.utilities.data.dim_zero_max",
    "torchmetrics.utilities.data.dim_zero_mean",
    "torchmetrics.utilities.data.dim_zero_min",
    "torchmetrics.utilities.data.dim_zero_sum",
}
"""How metrics add up over processes; they change nothing."""


class UnsafeFileError(ValueError):
    """A file names what is no part of a model, and could run as code."""


def load_torch_file(path: str | Path) -> Any:
    """Load a torch file on the CPU; of what it holds, nothing runs.

    Parameters
    ----------
    path : str or Path
        A model, a training checkpoint or weights.

    Returns
    -------
    object
        Mostly a dict.

    Raises
    ------
    DamagedFileError
        If its content is not what was written.
    UnsafeFileError
        If it asks for more than layers, metrics and settings of Chemprop, torch and Lightning.
    Exception
        Of half a dozen kinds, from torch, for a file that is damaged or of another program.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    check_intact(checked(path))
    names = get_unsafe_globals_in_checkpoint(path)
    found = [(name, _part_of_a_model(name)) for name in names]
    unsafe = sorted(name for name, part in found if part is None)
    if unsafe:
        raise UnsafeFileError(
            f"expected weights and parts of a Chemprop model; found {', '.join(unsafe[:3])}, which "
            "could run code"
        )
    with safe_globals([(part, name) for name, part in found]):
        return torch.load(path, map_location="cpu", weights_only=True)


def check_intact(path: str | Path) -> None:
    """Hold the parts of a torch archive against their checksums, which torch leaves unread.

    Raises
    ------
    DamagedFileError
        If one is cut or changed. Files that are no archives pass: torch itself refuses those.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, zlib.error) as error:
        damaged = str(error)
    if damaged is not None:
        raise DamagedFileError(
            "torch file",
            expected="parts as their checksums have them",
            found=f"a damaged one, {damaged}",
            where=str(path),
            hint="Restore it. A checkpoint may be removed: training then starts anew.",
        )


def _part_of_a_model(name: str) -> Any:
    """Return the class or function of a name, None unless a model may hold it."""
    if not name.startswith(_MODULES):
        return None
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return None
    if name in _FUNCTIONS:
        return found
    if attribute == "AttributeDict":
        return dict  # Lightning's hyperparameters, whose class torch fills no items into
    from torch.nn import Module

    return found if isinstance(found, type) and issubclass(found, (Module, Enum)) else None
