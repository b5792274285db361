"""Descriptors of a conformer, by RDKit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mil_attn.data.chem import RDKIT_ERRORS, quiet
from mil_attn.data.config import DescriptorSet

if TYPE_CHECKING:
    from rdkit.Chem import Mol

SIZES: dict[DescriptorSet, int] = {
    "usrcat": 60,
    "whim": 114,
    "autocorr3d": 80,
    "rdf": 210,
    "morse": 224,
    "getaway": 273,
}
"""Values of each family. USRCAT: Schreyer and Blundell, J. Cheminform. 4:27 (2012); the others:
Todeschini and Consonni, "Molecular Descriptors for Chemoinformatics" (2009)."""


def feature_names(families: Sequence[DescriptorSet]) -> tuple[str, ...]:
    """Return the names of the columns of `describe`: ``whim_1`` to ``whim_114``, ..."""
    return tuple(f"{family}_{i + 1}" for family in families for i in range(SIZES[family]))


def describe(mol: Mol, families: Sequence[DescriptorSet]) -> NDArray[np.float32]:
    """Return the descriptors [K, F] of the conformers of a molecule with hydrogens.

    NaN where a descriptor is not defined: USRCAT of two atoms, WHIM of a point.
    """
    ids = [conformer.GetId() for conformer in mol.GetConformers()]
    with quiet():
        blocks = [_family(mol, ids, family) for family in families]
    return np.concatenate([np.zeros((len(ids), 0), dtype=np.float32), *blocks], axis=1)


def _family(mol: Mol, ids: Sequence[int], family: DescriptorSet) -> NDArray[np.float32]:
    values = np.full((len(ids), SIZES[family]), np.nan)
    compute = _function(family)
    for row, conformer in enumerate(ids):
        try:
            values[row] = compute(mol, confId=conformer)
        except RDKIT_ERRORS:  # too few atoms
            continue
    return defined(values)


def defined(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return values in single precision; NaN where infinite or out of its range."""
    inside = np.abs(values) <= np.finfo(np.float32).max
    return np.where(inside, values, np.nan).astype(np.float32)


def _function(family: DescriptorSet) -> Callable[..., Sequence[float]]:
    from rdkit.Chem import rdMolDescriptors

    functions: dict[DescriptorSet, Callable[..., Sequence[float]]] = {
        "usrcat": rdMolDescriptors.GetUSRCAT,
        "whim": partial(rdMolDescriptors.CalcWHIM, thresh=0.001),
        "autocorr3d": rdMolDescriptors.CalcAUTOCORR3D,
        "rdf": rdMolDescriptors.CalcRDF,
        "morse": rdMolDescriptors.CalcMORSE,
        "getaway": rdMolDescriptors.CalcGETAWAY,
    }
    return functions[family]
