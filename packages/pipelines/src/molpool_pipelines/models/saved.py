"""Saved models of every kind behind one interface: SMILES in, predictions out."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from molpool_common import FloatArray, InputError, read_yaml
from numpy.typing import NDArray

if TYPE_CHECKING:
    from chemprop_multitask import Ensemble

CONFIG, MODELS = "config.resolved.yaml", "models"
_MIL_KEY = b"mil_attn"


@dataclass(frozen=True)
class Predicted:
    """What a model says of N molecules; rows that it cannot predict are NaN, with a reason.

    Parameters
    ----------
    mean : ndarray [N, T]
        Values, or probabilities of class 1.
    sd : ndarray [N, T] or None
        Uncertainty; None where the model has none.
    decisions : ndarray of bool [N, T] or None
        Whether class 1 is called, where the model has thresholds.
    reasons : list of str or None, length N
        Why a row has no prediction; None where it has one.
    """

    mean: FloatArray
    sd: FloatArray | None
    decisions: NDArray[np.bool_] | None
    reasons: list[str | None]


class SavedModel(Protocol):
    """A model that predicts T tasks of molecules.

    Attributes
    ----------
    kind : {"chemprop", "mil"}
        Which program's.
    task_names : tuple of str, length T
        Its tasks.
    task_types : tuple of {"regression", "classification"}, length T
        Their kinds.
    n_members : int
        Models whose mean predicts.
    most_rows : int
        Rows that are predicted at a time at most, so that progress shows.
    """

    kind: Literal["chemprop", "mil"]
    task_names: tuple[str, ...]
    task_types: tuple[Literal["regression", "classification"], ...]
    n_members: int
    most_rows: int

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules whose SMILES RDKit reads."""


class ChempropSaved:
    """A model or an ensemble of `molpool-train chemprop`, or of `chemprop train`."""

    kind: Literal["chemprop", "mil"] = "chemprop"
    most_rows = 1 << 20

    def __init__(self, ensemble: Ensemble) -> None:
        self._ensemble = ensemble
        self.task_names = ensemble.task_names
        self.task_types = ensemble.members[0].task_types
        self.n_members = len(ensemble.members)

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules whose SMILES RDKit reads; the sd is the members'."""
        mean, sd = self._ensemble.predict(smiles, batch_size=batch_size)
        none: list[str | None] = [None] * len(smiles)
        return Predicted(mean, sd if self.n_members > 1 else None, None, none)


def load_model(path: Path) -> SavedModel:
    """Read whatever model of ours there is, only from a trusted source.

    Parameters
    ----------
    path : Path
        A run folder, a folder of an ensemble, or a model file.

    Raises
    ------
    InputError, ChempropError, MILError
        If there is no model, or one that cannot be read.
    """
    if is_mil(path):
        from molpool_pipelines.models.saved_mil import MILSaved

        return MILSaved.load(path)
    from chemprop_multitask import Ensemble

    return ChempropSaved(Ensemble.load(path))


def check_model_path(path: Path) -> None:
    """Raise `InputError` where there is no model; looks at names only."""
    if not path.exists():
        raise InputError("model_dir", expected="a run folder or a model file", found=f"no {path}")
    patterns = ("model.pt", "member-*.pt", f"{MODELS}/member-*.pt")
    if path.is_dir() and not any(next(path.glob(p), None) for p in patterns):
        raise InputError(
            "model_dir",
            expected="model.pt or member-*.pt in the folder",
            found="none",
            where=str(path),
            hint="A run writes its model when it ends.",
        )


def is_mil(path: Path) -> bool:
    """Return whether a model, or the first of an ensemble, is one over bags; reads no weights."""
    file = next(iter(mil_files(path)), path)
    if not file.is_file() or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        described = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
        return described is not None and _MIL_KEY in archive.read(described)


def mil_files(path: Path) -> list[Path]:
    """Return the model of a run folder, or those of a folder of an ensemble."""
    if not path.is_dir():
        return [path]
    own = path / "model.pt"
    if own.is_file():
        return [own]
    return sorted(path.glob("member-*.pt")) or sorted(path.glob(f"{MODELS}/member-*.pt"))


def run_section(path: Path, section: str) -> dict[str, Any]:
    """Return a section of the configuration of a run folder; empty where there is none.

    Of an ensemble whose folder has none it is that of the first member's run.
    """
    root = path.parent if path.name == MODELS else path
    for folder in (root, *sorted(root.glob("member-*"))):
        file = folder / CONFIG
        found = read_yaml(file).data.get(section) if file.is_file() else None
        if isinstance(found, dict):
            return dict(found)
    return {}
