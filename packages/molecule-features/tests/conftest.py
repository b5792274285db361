"""Molecules that featurisers stumble over."""

from __future__ import annotations

import pytest
from rdkit import Chem

ODD = (
    "C",
    "[H][H]",
    "[He]",
    "[Na+].[Cl-]",
    "CC(=O)O.c1ccccc1CN",
    "C1CCCCC1.C1CCCCC1.CC",
    "N[Pt](N)(Cl)Cl",
    "[La+3].[Cl-].[Cl-].[Cl-]",
    "[U]",
    "[2H]C([2H])O",
    "[CH3]",
    "C~C",
    "F/C=C/F",
    "F/C=C\\F",
    "C[C@H](N)C(=O)O",
    "C[Si](C)(C)C",
    "OB(O)c1ccccc1",
    "[O-][N+](=O)c1ccccc1",
    "C1CC2CCC1CC2",
    "c1ccc2c(c1)c1ccccc1c1ccccc21",
)
"""Atoms, salts, metals, isotopes, radicals, stereo, cages."""

DRUGS = (
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "CN1CCC[C@H]1c1cccnc1",
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC12CCC3C(C1CCC2O)CCC4=CC(=O)CCC34C",
    "Clc1ccc(cc1)C(c1ccccc1)N1CCN(CC1)CCOCC(=O)O",
    "CN1CCN(CC1)C1=Nc2cc(Cl)ccc2Nc2ccccc12",
    "O=C(O)c1cn(C2CC2)c2cc(N3CCNCC3)c(F)cc2c1=O",
)
"""Ibuprofen, nicotine, aspirin, caffeine, testosterone, cetirizine, clozapine, ciprofloxacin."""


@pytest.fixture(scope="session")
def odd() -> list[str]:
    """Canonical SMILES of molecules that are no drugs."""
    return [Chem.CanonSmiles(text) for text in ODD]


@pytest.fixture(scope="session")
def drugs() -> list[str]:
    """Canonical SMILES of eight drugs."""
    return [Chem.CanonSmiles(text) for text in DRUGS]
