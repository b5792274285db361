"""RDKit's two-dimensional descriptors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import Float32Array, rdkit_version

from molecule_features._featurizer import MOLECULE_ERRORS, MoleculeByMolecule, defined

if TYPE_CHECKING:
    from rdkit.Chem import Mol

LEFT_OUT = ("Ipc",)
"""Grows exponentially with the molecule, past single precision at 60 atoms; AvgIpc, which is kept,
says the same."""


class Descriptors2D(MoleculeByMolecule):
    """All of RDKit's 2D descriptors but Ipc.

    NaN where a descriptor is not defined (partial charges of metals) or exceeds single precision.
    The list of RDKit grows from release to release: `names` says what it was.
    """

    milliseconds = 4.0

    def __init__(self) -> None:
        super().__init__("rdkit2d", "descriptor")

    @property
    def version(self) -> str:
        """RDKit's, and the number of descriptors."""
        return f"1-rdkit-{rdkit_version()}-{self.width}"

    @property
    def names(self) -> tuple[str, ...]:
        """RDKit's own."""
        return tuple(_functions())

    def row(self, mol: Mol) -> Float32Array:
        """Return the descriptors [F]."""
        return defined(np.array([_value(f, mol) for f in _functions().values()], dtype=np.float64))


@cache
def _functions() -> dict[str, Callable[[Any], float]]:
    from rdkit.Chem import Descriptors

    return {name: f for name, f in Descriptors.descList if name not in LEFT_OUT}


def _value(function: Callable[[Any], float], mol: Mol) -> float:
    try:
        return float(function(mol))
    except MOLECULE_ERRORS:  # no parameters for an atom
        return np.nan
