"""Descriptors of RDKit, held against RDKit's own calls."""

from __future__ import annotations

import numpy as np
import pytest
from molecule_features import _rdkit2d as rdkit2d
from molecule_features import featurize
from molpool_common import Float32Array
from rdkit import Chem
from rdkit.Chem import Descriptors

OWN = {name: function for name, function in Descriptors.descList if name != "Ipc"}


def reference(smiles: str) -> Float32Array:
    """Return what RDKit computes, NaN where it has no number in single precision."""
    mol = Chem.MolFromSmiles(smiles)
    values = []
    for function in OWN.values():
        try:
            values.append(float(function(mol)))
        except (ValueError, RuntimeError, ArithmeticError):
            values.append(np.nan)
    found = np.array(values)
    return np.where(np.abs(found) < 3e38, found, np.nan).astype(np.float32)


@pytest.mark.core
def test_the_numbers_are_rdkits(drugs: list[str], odd: list[str]) -> None:
    found = featurize([*drugs, *odd], "rdkit2d", cache=None)
    assert found.names == tuple(OWN)
    expected = np.stack([reference(text) for text in [*drugs, *odd]])
    # Half a dozen are summed in another order: a few units of the last digit of single precision.
    np.testing.assert_allclose(found.values, expected, rtol=2e-6, atol=1e-6)


def test_ipc_is_left_out_and_its_average_is_there(drugs: list[str]) -> None:
    found = featurize(drugs, "rdkit2d", cache=None)
    assert "Ipc" not in found.names
    assert "AvgIpc" in found.names


def test_undefined_descriptors_are_nan_not_infinity() -> None:
    # Gasteiger has no parameters for platinum: RDKit's charges are NaN, their extremes infinite.
    found = featurize(["N[Pt](N)(Cl)Cl"], "rdkit2d", cache=None)
    assert not np.isinf(found.values).any()
    assert np.isnan(found.values[0, found.names.index("MaxPartialCharge")])
    assert found.values[0, found.names.index("MolWt")] == pytest.approx(298.03, abs=0.01)
    assert found.reasons == [""]


def test_a_large_molecule_has_finite_descriptors() -> None:
    found = featurize(["CC(=O)NCC(=O)" * 1 + "NCC(=O)" * 60 + "O"], "rdkit2d", cache=None)
    assert found.reasons == [""]
    assert np.isfinite(found.block("rdkit2d")).sum() > 200


RICH = (
    "ClC(Cl)Br.CI.FC(F)F",
    "OP(=O)(O)OCC1OC(n2cnc3c(N)ncnc32)C(O)C1O",
    "O=[N+]([O-])c1ccc(N=[N+]=[N-])cc1S(=O)(=O)OC",
    "C#CC(=O)C=C=C.N#CC(=O)O.S=C=NC",
    "[15NH2]c1ccc(B(O)O)s1.[13CH4].[Se]",
    "C[Si](C)(C)Cl.[Na+].[S-]c1ccccc1",
    "C[S+]([O-])N=C=N.O=C1C=CC(=N)C=C1.c1ccc2c(c1)[nH]c1ccccc12",
    "C/C=C/C(=O)C#CC.[O-][n+]1ccccc1.C1=CC2CC1C=C2",
    "[NH3]->[Cu]<-[NH3].C1CC1=O",
)
"""Groups that alerts are about, and elements that few molecules have."""


def test_no_substructure_that_matches_is_left_out(drugs: list[str], odd: list[str]) -> None:
    for text in [*drugs, *odd, *RICH]:
        mol = Chem.MolFromSmiles(text)
        missing = rdkit2d._missing(rdkit2d._Graph.of(mol))
        for pattern in (*rdkit2d._patterns().groups, *rdkit2d._patterns().alerts):
            if mol.HasSubstructMatch(pattern.query):
                assert missing.isdisjoint(pattern.needs), text
