"""Salts, solvates and charged forms of one compound."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from molpool_common import Standardize, inchikey_blocks
from molpool_common import _standardize as module
from molpool_common._standardize import standardize
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

BASES = ["CN", "CCNCC", "c1ccncc1", "NCCc1ccccc1", "CN1CCC(O)CC1", "C[C@H](N)c1ccccc1"]
ACIDS = ["Cl", "Br", "O=S(=O)(O)O", "CS(=O)(=O)O", "OC(=O)C(O)C(O)C(O)=O", "OC(=O)/C=C/C(O)=O"]


def parent(smiles: str, how: Standardize = "parent") -> str:
    found = standardize([Chem.MolFromSmiles(smiles)], how)
    assert not found.as_given
    return Chem.MolToSmiles(found.mols[0])


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [
        ("[Na+].[O-]C(=O)c1ccccc1", "O=C(O)c1ccccc1"),
        ("[Na]OC(=O)c1ccccc1", "O=C(O)c1ccccc1"),
        ("[Ca+2].CC(=O)[O-].CC(=O)[O-]", "CC(=O)O"),
        ("C[NH3+].[Cl-]", "CN"),
        # The counterion is the larger of the two.
        ("CN.OC(=O)CC(O)(CC(O)=O)C(O)=O", "CN"),
        ("[NH3+]CC([O-])=O", "NCC(=O)O"),
        ("C[N+](C)(C)C.[Cl-]", "C[N+](C)(C)C"),
        ("[O-][N+](=O)c1ccccc1.O", "O=[N+]([O-])c1ccccc1"),
        ("[13CH3]C(=O)[O-].[K+]", "[13CH3]C(=O)O"),
        ("C[C@H](N)C(=O)O.Cl", "C[C@H](N)C(=O)O"),
        ("CCO.O", "CCO"),
    ],
)
def test_parent(smiles: str, expected: str) -> None:
    assert parent(smiles) == Chem.CanonSmiles(expected)


@pytest.mark.parametrize("smiles", ["[Na+].[Cl-]", "[Ag+].[Cl-]", "[Na+].[Na+].[O-]C([O-])=O"])
def test_inorganic_compounds_are_no_salts_of_one_compound(smiles: str) -> None:
    assert parent(smiles) == Chem.CanonSmiles(smiles)


@given(
    base=st.sampled_from(BASES),
    acids=st.lists(st.sampled_from(ACIDS), min_size=1, max_size=3),
    water=st.booleans(),
    order=st.randoms(),
)
def test_a_salt_has_the_parent_of_its_base_in_any_order(
    base: str, acids: list[str], water: bool, order: object
) -> None:
    parts = [base, *acids, *(["O"] if water else [])]
    order.shuffle(parts)  # type: ignore[attr-defined]
    salt = ".".join(parts)
    assert parent(salt) == parent(base) == Chem.CanonSmiles(base)
    assert parent(parent(salt)) == parent(salt)


@settings(deadline=None)
@given(fragments=st.lists(st.sampled_from(BASES), min_size=2, max_size=4, unique=True))
def test_without_counterions_the_largest_fragment_is_that_of_rdkit(fragments: list[str]) -> None:
    mixture = Chem.MolFromSmiles(".".join(fragments))
    rule = rdMolStandardize.CleanupParameters()
    rule.preferOrganic = rule.largestFragmentChooserCountHeavyAtomsOnly = True
    chooser = rdMolStandardize.LargestFragmentChooser(rule)
    expected = chooser.choose(mixture).GetNumHeavyAtoms()
    assert standardize([mixture]).mols[0].GetNumHeavyAtoms() == expected


def test_tautomers_are_one_molecule_only_where_asked() -> None:
    keto, enol = "CC(=O)CC(C)=O", "CC(O)=CC(C)=O"
    assert parent(keto) != parent(enol)
    assert parent(keto, "tautomer") == parent(enol, "tautomer")
    assert parent(enol + ".[Na+]", "tautomer") == parent(keto, "tautomer")


def test_none_changes_nothing_and_molecules_are_not_changed() -> None:
    mol = Chem.MolFromSmiles("C[NH3+].[Cl-]")
    assert standardize([mol], "none").mols[0] is mol
    standardize([mol], "tautomer")
    assert Chem.MolToSmiles(mol) == Chem.CanonSmiles("C[NH3+].[Cl-]")
    plain = Chem.MolFromSmiles("CCO")
    assert standardize([plain]).mols[0] is plain


def test_a_peptide_of_14_000_characters_stays_as_given_at_once() -> None:
    smiles = "N" + "[C@@H](CCCNC(=N)N)C(=O)N[C@@H](CC(=O)O)C(=O)N" * 320 + "CC(=O)[O-].[Na+]"
    assert len(smiles) > 14_000
    peptide = Chem.MolFromSmiles(smiles)
    start = time.process_time()
    for how in ("parent", "tautomer"):
        found = standardize([Chem.MolFromSmiles("CN.Cl"), peptide], how)
        assert found.as_given == [1]
        assert found.mols[1] is peptide
    # Far above what a look at the number of atoms takes, far below an enumeration.
    assert time.process_time() - start < 1


def test_what_rdkit_refuses_stays_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(mol: object) -> None:
        raise ValueError("valence")

    monkeypatch.setattr(module, "_parent", refuse)
    mol = Chem.MolFromSmiles("CN")
    assert standardize([mol]) == ([mol], [0])


def test_keys_of_parents_agree() -> None:
    mols = [
        Chem.MolFromSmiles(s) for s in ("CC(=O)Oc1ccccc1C(=O)[O-].[Na+]", "CC(=O)Oc1ccccc1C(O)=O")
    ]
    assert len(set(inchikey_blocks(mols))) == 2
    assert len(set(inchikey_blocks(standardize(mols).mols))) == 1
