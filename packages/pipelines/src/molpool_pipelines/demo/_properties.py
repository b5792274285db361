"""Computed properties that stand in for measured endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import QED, rdMolDescriptors

_WEIGHT = rdMolDescriptors.Properties(["amw"])


def log_p(molecule: Chem.Mol) -> float:
    """Return Wildman and Crippen's logP (J. Chem. Inf. Comput. Sci. 39 (1999) 868-873)."""
    return float(rdMolDescriptors.CalcCrippenDescriptors(molecule)[0])


def molar_refractivity(molecule: Chem.Mol) -> float:
    """Return Wildman and Crippen's molar refractivity, cm^3/mol."""
    return float(rdMolDescriptors.CalcCrippenDescriptors(molecule)[1])


def weight(molecule: Chem.Mol) -> float:
    """Return the average molecular weight, g/mol."""
    return float(_WEIGHT.ComputeProperties(molecule)[0])


def esol(molecule: Chem.Mol) -> float:
    """Return ESOL's estimate of aqueous solubility, log10 mol/L.

    Notes
    -----
    The linear model of Delaney, J. Chem. Inf. Comput. Sci. 44 (2004) 1000-1005,
    doi:10.1021/ci034243x. The paper took logP from Daylight's ClogP; Crippen's is used here.
    """
    aromatic = sum(atom.GetIsAromatic() for atom in molecule.GetAtoms())
    return float(
        0.16
        - 0.63 * log_p(molecule)
        - 0.0062 * weight(molecule)
        + 0.066 * rdMolDescriptors.CalcNumRotatableBonds(molecule)
        - 0.74 * aromatic / molecule.GetNumHeavyAtoms()
    )


PROPERTIES: Mapping[str, Callable[[Chem.Mol], float]] = MappingProxyType(
    {
        "LogP": log_p,
        "LogS": esol,
        "TPSA": rdMolDescriptors.CalcTPSA,
        "MR": molar_refractivity,
        "Fsp3": rdMolDescriptors.CalcFractionCSP3,
        "QED": QED.qed,
    }
)
"""Task -> the property of a molecule that it is computed from."""


def compute(task: str, molecules: Sequence[Chem.Mol]) -> NDArray[np.float64]:
    """Return the noiseless property of a task for each molecule, float64 [N]."""
    return np.array([PROPERTIES[task](m) for m in molecules], dtype=np.float64)
