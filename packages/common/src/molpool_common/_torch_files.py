"""Torch files of Chemprop's kind, which hold classes beside weights, read so that none runs code.

A torch file is a pickle, and a pickle may call anything. Chemprop names its own classes in the
hyperparameters of a model, so that a reader of bare weights refuses every file of Chemprop. Here
the names that a file asks for are listed without loading it, and it is loaded only where all of
them are layers, metrics or settings of the libraries that a model is made of.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

from molpool_common._digests import DamagedFileError, checked
from molpool_common._input_files import check_readable, check_unpacked

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


TRUST = (
    "load model files that hold more than weights and parts of Chemprop models: such a file may "
    "run any code on this machine, so only if you know who made it"
)
"""Description of the key ``trust_checkpoint`` of a command that loads models of others."""

_SWITCH = "MOLPOOL_TRUST_CHECKPOINT"
"""In the environment, which worker processes inherit."""


@contextmanager
def trusting_files(*, trusted: bool = True) -> Iterator[None]:
    """Let `load_torch_file` run what files hold, as pickle does, while the block runs."""
    before = os.environ.pop(_SWITCH, None)
    if trusted:
        trust_files()
    try:
        yield
    finally:
        os.environ.pop(_SWITCH, None)
        if before is not None:
            os.environ[_SWITCH] = before


def trust_files() -> None:
    """Trust files until the `trusting_files` around it ends, which every command has."""
    os.environ[_SWITCH] = "1"


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
        If it asks for more than layers, metrics and settings of Chemprop, torch and Lightning, and
        is not trusted.
    Exception
        Of half a dozen kinds, from torch, for a file that is damaged or of another program.
    """
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    check_readable(Path(path), "model")
    check_intact(checked(path))
    if _SWITCH in os.environ:
        return torch.load(path, map_location="cpu", weights_only=False)
    names = get_unsafe_globals_in_checkpoint(path)
    found = [(name, _part_of_a_model(name)) for name in names]
    unsafe = sorted(name for name, part in found if part is None)
    if unsafe:
        raise UnsafeFileError(
            f"expected weights and parts of a Chemprop model; found {', '.join(unsafe[:3])}, which "
            "could run code. --trust-checkpoint true loads it all the same: only if you know who "
            "made the file"
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
        check_unpacked(Path(path), "torch file")
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
