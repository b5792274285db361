"""Saved models of every kind behind one interface: SMILES in, predictions out."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from molpool_common.config import read_yaml
from molpool_common.errors import InputError
from numpy.typing import NDArray

if TYPE_CHECKING:
    from chemprop_multitask import Ensemble

Floats = NDArray[np.float64]
CONFIG = "config.resolved.yaml"
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

    mean: Floats
    sd: Floats | None
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


class MILSaved:
    """A model of `molpool-train mil` on SMILES."""

    kind: Literal["chemprop", "mil"] = "mil"
    most_rows = 128

    def __init__(self, module: Any, data: Any) -> None:
        self._module = module
        self._data = data
        self.task_names = tuple(module.task_names)
        kind: Literal["regression", "classification"]
        kind = "classification" if module.is_classifier else "regression"
        self.task_types = (kind,) * len(self.task_names)
        self.n_members = 1

    def predict(self, smiles: Sequence[str], batch_size: int) -> Predicted:
        """Predict molecules; those without conformers or descriptors have a reason instead."""
        from mil_attn import BagData, MILError, predict
        from molpool_common.cache import cache_folder

        mean = np.full((len(smiles), len(self.task_names)), np.nan)
        reasons: list[str | None] = [None] * len(smiles)
        try:
            bags = BagData.from_smiles(
                smiles,
                features=self._data.features,
                cache=cache_folder(self._data.cache_dir),
                workers=self._data.workers,
            )
        except MILError:
            # No molecule of the chunk has features. One alone says why, in its own error.
            reasons = [self._reason(text) for text in smiles]
            if None in reasons:
                raise
        else:
            rows = np.array([int(name) - 1 for name in bags.ids])
            mean[rows] = predict(self._module, bags, batch_size=batch_size)
            for failure in bags.failures:
                reasons[failure.row] = failure.reason
        called = mean >= self._module.thresholds if self._module.is_classifier else None
        return Predicted(mean, None, called, reasons)

    def _reason(self, smiles: str) -> str | None:
        """Return why a molecule has no features, None where it has."""
        from mil_attn import BagData, MILError

        try:
            BagData.from_smiles([smiles], features=self._data.features)
        except MILError as error:
            return str(error)
        return None


def load_model(path: Path) -> SavedModel:
    """Read whatever model of ours there is, only from a trusted source.

    Parameters
    ----------
    path : Path
        A run folder, a folder of an ensemble, or a model file.

    Raises
    ------
    InputError, ChempropError, MILError
        If there is no model, or one that cannot be read or does not predict from SMILES.
    """
    if _is_mil(path):
        return _load_mil(path)
    from chemprop_multitask import Ensemble

    return ChempropSaved(Ensemble.load(path))


def check_model_path(path: Path) -> None:
    """Raise `InputError` where there is no model; looks at names only."""
    if not path.exists():
        raise InputError("model_dir", expected="a run folder or a model file", found=f"no {path}")
    patterns = ("model.pt", "member-*.pt", "models/member-*.pt")
    if path.is_dir() and not any(next(path.glob(p), None) for p in patterns):
        raise InputError(
            "model_dir",
            expected="model.pt or member-*.pt in the folder",
            found="none",
            where=str(path),
            hint="A run writes its model when it ends.",
        )


def run_section(path: Path, section: str) -> dict[str, Any]:
    """Return a section of the configuration of a run folder; empty where there is none."""
    file = path / CONFIG
    if not file.is_file():
        return {}
    found = read_yaml(file).data.get(section)
    return dict(found) if isinstance(found, dict) else {}


def _is_mil(path: Path) -> bool:
    file = path / "model.pt" if path.is_dir() else path
    if not file.is_file() or not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        described = next((n for n in archive.namelist() if n.endswith("/data.pkl")), None)
        return described is not None and _MIL_KEY in archive.read(described)


def _load_mil(path: Path) -> MILSaved:
    from mil_attn import MILModule
    from mil_attn.data.source_config import MILDataConfig
    from molpool_common.config import validate_values

    if not path.is_dir():
        raise InputError(
            "model_dir",
            expected="the run folder of a model over bags, whose configuration says what is "
            "computed of molecules",
            found=f"the file {str(path)!r} alone",
        )
    data = validate_values(MILDataConfig, run_section(path, "data"))
    if data.kind != "smiles":
        raise InputError(
            "model_dir",
            expected="a model over bags that are computed from SMILES",
            found=f"one of kind {data.kind!r}",
            where=path.name,
            hint="Its bags are predicted by data.predict_path of molpool-train mil.",
        )
    return MILSaved(MILModule.load(path / "model.pt"), data)
