"""Molecules as pictures: RDKit's drawings, and coordinates in a few bytes."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import numpy as np
import pytest
from molpool_common import compact_molecules, draw_molecule, draw_pair
from molpool_common._drawing import (
    DASHES,
    DOUBLE,
    LEFT,
    RIGHT,
    SINGLE,
    TRIPLE,
    WEDGE,
    CompactMolecules,
)
from rdkit import Chem
from rdkit.Chem import rdDepictor

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
Atoms = list[tuple[int, int, str]]
Bonds = list[tuple[int, int, int]]


def unpacked(found: CompactMolecules) -> list[tuple[Atoms, Bonds]]:
    """Read the bytes as the page's script does."""
    raw = base64.b64decode(found.text)
    molecules, at = [], 0
    while at < len(raw):
        n, k = raw[at], raw[at + 1]
        triples = [tuple(raw[at + 2 + 3 * i : at + 5 + 3 * i]) for i in range(n + k)]
        atoms = [(x, y, found.labels[label]) for x, y, label in triples[:n]]
        molecules.append((atoms, [(a, b, kind) for a, b, kind in triples[n:]]))
        at += 2 + 3 * (n + k)
    return molecules


def test_coordinates_are_those_of_rdkit() -> None:
    ((atoms, bonds),) = unpacked(compact_molecules([ASPIRIN]))
    mol = Chem.MolFromSmiles(ASPIRIN)
    rdDepictor.Compute2DCoords(mol)
    at = mol.GetConformer().GetPositions()[:, :2] * (1, -1)
    at = at - at.min(axis=0)
    # Rounded to 1/255 of the longer side.
    np.testing.assert_allclose(np.array([a[:2] for a in atoms]) / 255, at / at.max(), atol=0.002)
    pairs = {frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())) for b in mol.GetBonds()}
    assert {frozenset(bond[:2]) for bond in bonds} == pairs


@pytest.mark.parametrize(
    ("smiles", "labels"),
    [
        ("CCO", {"", "OH", "HO"}),
        ("C[N+](C)(C)C", {"N⁺", ""}),
        ("[O-]S(=O)(=O)[O-].[Ca+2]", {"O⁻", "O", "S", "Ca²⁺"}),
        ("[13CH4]", {"¹³CH₄"}),
        ("NCCl", {"NH₂", "<H₂N", "", "Cl"}),
    ],
)
def test_atoms_are_called_as_chemists_call_them(smiles: str, labels: set[str]) -> None:
    ((atoms, _),) = unpacked(compact_molecules([smiles]))
    assert {label for *_, label in atoms} <= labels | {f"<{label}" for label in labels}


def test_kinds_of_bonds() -> None:
    kinds = [
        {kind for *_, kind in bonds}
        for _, bonds in unpacked(compact_molecules(["C=C", "C#N", "c1ccccc1", "C[C@H](N)O"]))
    ]
    assert kinds[:2] == [{DOUBLE}, {TRIPLE}]
    assert kinds[2] in ({SINGLE, LEFT}, {SINGLE, RIGHT}, {SINGLE, LEFT, RIGHT})
    assert kinds[3] & {WEDGE, DASHES}


def test_second_lines_of_a_ring_lie_within_it() -> None:
    ((atoms, bonds),) = unpacked(compact_molecules(["c1ccccc1"]))
    centre = np.mean([a[:2] for a in atoms], axis=0)
    for a, b, kind in bonds:
        if kind in (LEFT, RIGHT):
            one, two = (np.array(atoms[i][:2]) for i in (a, b))
            along = two - one
            # As the script draws it: the direction turned by a right angle, y down.
            across = np.array([-along[1], along[0]]) * (-1 if kind == LEFT else 1)
            assert across @ (centre - one) > 0


def test_what_cannot_be_drawn_takes_two_bytes() -> None:
    found = unpacked(compact_molecules([None, "", "not a molecule", "C" * 121, "C"]))
    assert [len(atoms) for atoms, _ in found] == [0, 0, 0, 0, 1]


def test_a_drug_takes_a_few_hundred_characters() -> None:
    osimertinib = "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc1nccc(n1)-c1cn(C)c2ccccc12"
    assert len(compact_molecules([osimertinib]).text) < 350


def test_drawing_is_one_element_that_scales() -> None:
    svg = draw_molecule(ASPIRIN)
    assert svg is not None
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert "viewBox" in svg
    assert not {"width", "height"} & set(ElementTree.fromstring(svg).attrib)
    assert len(svg) < 12_000


@pytest.mark.parametrize("smiles", ["", "not a molecule", "C" * 121])
def test_no_drawing(smiles: str) -> None:
    assert draw_molecule(smiles) is None
    assert draw_pair(smiles, "CCO") is None


def test_pairs_are_laid_out_alike_with_what_they_share_highlighted() -> None:
    pair = draw_pair("c1ccccc1CC(=O)N", "c1ccccc1CC(=O)NC")
    assert pair is not None
    # RDKit fills the ground of highlighted atoms in that colour.
    assert all("#BADDF4" in svg for svg in pair)
    alone = draw_molecule("c1ccccc1CC(=O)N")
    assert alone is not None
    assert "#BADDF4" not in alone


def test_molecules_that_share_nothing_have_no_highlight() -> None:
    pair = draw_pair("c1ccccc1", "CCCl")
    assert pair is not None
    assert not any("#BADDF4" in svg for svg in pair)
