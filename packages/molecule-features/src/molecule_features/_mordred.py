"""The 2D descriptors of mordred."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import Float32Array, rdkit_version

from molecule_features._errors import missing_extra
from molecule_features._featurizer import MoleculeByMolecule, defined

if TYPE_CHECKING:
    from rdkit.Chem import Mol


class Mordred(MoleculeByMolecule):
    """The 1 613 two-dimensional descriptors of mordred; NaN where one is not defined.

    Some grow steeply with the molecule: past 120 heavy atoms it is refused.

    References
    ----------
    Moriwaki et al., "Mordred: a molecular descriptor calculator", J. Cheminform. 10:4 (2018).
    """

    milliseconds = 80.0
    max_heavy_atoms = 120

    def __init__(self) -> None:
        super().__init__("mordred", "descriptor")

    @property
    def version(self) -> str:
        """Of mordredcommunity and RDKit."""
        try:
            own = version("mordredcommunity")
        except PackageNotFoundError as error:
            raise missing_extra("mordred", "mordredcommunity", "mordred") from error
        return f"1-mordredcommunity-{own}-rdkit-{rdkit_version()}"

    @property
    def names(self) -> tuple[str, ...]:
        """Mordred's own."""
        return tuple(str(descriptor) for descriptor in _calculator().descriptors)

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(_calculator().descriptors)

    def row(self, mol: Mol) -> Float32Array:
        """Return the descriptors [F]."""
        with warnings.catch_warnings():
            # Divisions by zero of descriptors that are not defined, which become NaN.
            warnings.simplefilter("ignore", RuntimeWarning)
            found = _calculator()(mol)
        return defined(np.array([_number(value) for value in found], dtype=np.float64))


@cache
def _calculator() -> Any:
    try:
        from mordred import Calculator, descriptors
    except ImportError as error:
        raise missing_extra("mordred", "mordredcommunity", "mordred") from error
    return Calculator(descriptors, ignore_3D=True)


def _number(value: Any) -> float:
    # mordred marks what is not defined by objects that no float can be made of.
    return float(value) if isinstance(value, (int, float, np.number, np.bool_)) else np.nan
