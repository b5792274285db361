"""Molecules as pictures: RDKit's drawings for a few, and coordinates in few bytes for thousands.

Needs RDKit, which is the extra `molpool-common[chem]`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from molpool_common._arrays import FloatArray
from molpool_common._chem import parse_smiles
from molpool_common._process import heed_ctrl_c
from molpool_common._progress import told

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Bond, Mol

_HIGHLIGHT = (0.73, 0.87, 0.96)
"""Pale blue, on which element colours stay legible."""

_MOST_ATOMS = 120
"""Larger molecules are a tangle at the size of a card."""

_SECONDS = 1
"""Limit of a search for a common substructure, which some pairs would take minutes of."""

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_SUPERSCRIPTS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")

SINGLE, DOUBLE, LEFT, RIGHT, TRIPLE, WEDGE, DASHES, OTHER = range(8)
"""How a bond is drawn: of double ones the second line is centred, or on the side of its ring."""


_SIZE = (240, 150)
"""Width and height of a drawing, in units of its own; it scales."""


def draw_molecule(smiles: str) -> str | None:
    """Return a molecule as an ``<svg>`` element on a clear ground.

    None where the SMILES does not parse or the molecule is too large to be legible.
    """
    mol = _legible(smiles)
    return None if mol is None else _drawn(mol, ())


def draw_pair(first: str, second: str) -> tuple[str, str] | None:
    """Return two molecules, laid out alike, with the atoms that they share highlighted.

    Parameters
    ----------
    first, second : str
        SMILES.

    Returns
    -------
    (str, str) or None
        ``<svg>`` elements; None where a SMILES does not parse or a molecule is too large.
    """
    mols = [_legible(smiles) for smiles in (first, second)]
    if mols[0] is None or mols[1] is None:
        return None
    one, two = mols[0], mols[1]
    matched = _matched(one, two)
    _lay_out(one)
    if matched:
        _lay_out_alike(one, two, matched)
    else:
        _lay_out(two)
    return (
        _drawn(one, [a for a, _ in matched]),
        _drawn(two, [b for _, b in matched]),
    )


def _legible(smiles: str) -> Mol | None:
    mol = parse_smiles([smiles]).mols[0]
    return None if mol is None or mol.GetNumAtoms() > _MOST_ATOMS else mol


def _matched(one: Mol, two: Mol) -> list[tuple[int, int]]:
    """Return pairs of atoms of the largest common substructure; none where there is hardly one."""
    from rdkit import Chem
    from rdkit.Chem import rdFMCS

    # Rings whole or not at all: half a ring in common is no likeness that a chemist sees.
    found = rdFMCS.FindMCS(
        [one, two], ringMatchesRingOnly=True, completeRingsOnly=True, timeout=_SECONDS
    )
    if found.numAtoms < 4:
        return []
    core = Chem.MolFromSmarts(found.smartsString)
    ours, theirs = one.GetSubstructMatch(core), two.GetSubstructMatch(core)
    return list(zip(ours, theirs, strict=True)) if ours and theirs else []


def _lay_out(mol: Mol) -> None:
    from rdkit.Chem import rdDepictor

    rdDepictor.Compute2DCoords(mol)


def _lay_out_alike(one: Mol, two: Mol, matched: Sequence[tuple[int, int]]) -> None:
    from rdkit.Chem import rdDepictor
    from rdkit.Geometry import Point2D

    at = one.GetConformer()
    places = {b: Point2D(*list(at.GetAtomPosition(a))[:2]) for a, b in matched}
    rdDepictor.Compute2DCoords(two, coordMap=places)


def _drawn(mol: Mol, highlighted: Collection[int]) -> str:
    from rdkit.Chem.Draw import rdMolDraw2D

    drawer = rdMolDraw2D.MolDraw2DSVG(*_SIZE)
    # Its stubs take each option for an object of its own.
    options: Any = drawer.drawOptions()
    options.clearBackground = False
    options.bondLineWidth = 1.4
    options.padding = 0.04
    options.minFontSize = 9
    # A hydrogen is no molecule to fill a card with.
    options.fixedBondLength = 34
    bonds = [
        b.GetIdx()
        for b in mol.GetBonds()
        if b.GetBeginAtomIdx() in highlighted and b.GetEndAtomIdx() in highlighted
    ]
    rdMolDraw2D.PrepareAndDrawMolecule(
        drawer,
        mol,
        highlightAtoms=list(highlighted),
        highlightAtomColors=dict.fromkeys(highlighted, _HIGHLIGHT),
        highlightBonds=bonds,
        highlightBondColors=dict.fromkeys(bonds, _HIGHLIGHT),
    )
    drawer.FinishDrawing()
    return _slim(drawer.GetDrawingText())


def _slim(svg: str) -> str:
    """Return a drawing of RDKit without what a page does not need."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->|\s+(?:xmlns:\w+|class|baseProfile|xml:space)=(['\"]).*?\1", "", svg)
    # Of a fixed size in RDKit's words; the viewBox lets it scale.
    svg = re.sub(r"(<svg[^>]*?)\s+width='[^']*'\s+height='[^']*'", r"\1", svg, count=1)
    return re.sub(r"\s+", " ", svg).replace("> <", "><").strip()


@dataclass(frozen=True)
class CompactMolecules:
    """Drawings of many molecules in about 300 characters each.

    Parameters
    ----------
    labels : tuple of str
        Texts of atoms, by number; that of a plain carbon is empty. One that begins with ``<`` ends
        at its atom instead of beginning there.
    text : str
        Base64 of, for each molecule, the numbers of its A atoms and B bonds, A times (x, y, label)
        and B times (first atom, second atom, kind), a byte each. x and y are 0 to 255 over the
        longer side, y down. A molecule that is not drawn has 0 atoms.
    """

    labels: tuple[str, ...]
    text: str


def compact_molecules(smiles: Sequence[str | None]) -> CompactMolecules:
    """Return coordinates, atoms and bonds of molecules for a page that draws them itself.

    Parameters
    ----------
    smiles : sequence of str or None, length N
        What does not parse, or has more than 120 atoms, is not drawn.
    """
    labels: dict[str, int] = {"": 0}
    coded = bytearray()
    for text in told(smiles, "Drawing molecules", len(smiles), "molecules"):
        mol = _legible(text) if text else None
        try:
            coded += bytes((0, 0)) if mol is None else _coded(mol, labels)
        except ValueError:  # RDKit's for what has no Kekulé structure
            coded += bytes((0, 0))
    heed_ctrl_c()
    return CompactMolecules(tuple(labels), base64.b64encode(bytes(coded)).decode("ascii"))


def _coded(mol: Mol, labels: dict[str, int]) -> bytes:
    from rdkit import Chem

    Chem.Kekulize(mol, clearAromaticFlags=True)
    _lay_out(mol)
    conformer = mol.GetConformer()
    Chem.WedgeMolBonds(mol, conformer)
    at = np.asarray(conformer.GetPositions())[:, :2] * (1, -1)
    at -= at.min(axis=0)
    at *= 255 / max(float(at.max()), 3.0)
    parts = [bytes((mol.GetNumAtoms(), mol.GetNumBonds()))]
    for atom, place in zip(mol.GetAtoms(), at.round().astype(int).tolist(), strict=True):
        text = _label(atom, at)
        # The last number stands for all further ones, which no table of molecules has met yet.
        parts.append(bytes((*place, min(labels.setdefault(text, len(labels)), 255))))
    parts += [
        bytes((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), _kind(bond, at)))
        for bond in mol.GetBonds()
    ]
    return b"".join(parts)


def _label(atom: Atom, at: FloatArray) -> str:
    """Return what stands at an atom: nothing at a carbon within a chain."""
    charge, isotope = atom.GetFormalCharge(), atom.GetIsotope()
    n = atom.GetTotalNumHs()
    plain = not charge and not isotope and not atom.GetNumRadicalElectrons()
    if atom.GetSymbol() == "C" and atom.GetDegree() and plain:
        return ""
    hydrogens = "" if not n else "H" if n == 1 else f"H{n}".translate(_SUBSCRIPTS)
    size = "" if abs(charge) < 2 else str(abs(charge))
    sign = "" if not charge else f"{size}{'+' if charge > 0 else '-'}".translate(_SUPERSCRIPTS)
    mass = str(isotope).translate(_SUPERSCRIPTS) if isotope else ""
    here = float(at[atom.GetIdx(), 0])
    bonded = [float(at[other.GetIdx(), 0]) for other in atom.GetNeighbors()]
    # Hydrogens stand where no bond is: H2N at the left end of a chain.
    if hydrogens and bonded and min(bonded) > here:
        return f"<{hydrogens}{mass}{atom.GetSymbol()}{sign}"
    return f"{mass}{atom.GetSymbol()}{hydrogens}{sign}"


def _kind(bond: Bond, at: FloatArray) -> int:
    from rdkit.Chem import BondDir, BondType

    drawn = {BondDir.BEGINWEDGE: WEDGE, BondDir.BEGINDASH: DASHES}.get(bond.GetBondDir())
    if drawn is not None:
        return drawn
    if bond.GetBondType() == BondType.DOUBLE:
        return _side(bond, at)
    return {BondType.SINGLE: SINGLE, BondType.TRIPLE: TRIPLE}.get(bond.GetBondType(), OTHER)


def _side(bond: Bond, at: FloatArray) -> int:
    """Return on which side of a double bond its second line is: within the ring."""
    if not bond.IsInRing():
        return DOUBLE
    ends = {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()}
    rings: list[tuple[int, ...]] = [
        r for r in bond.GetOwningMol().GetRingInfo().AtomRings() if ends <= set(r)
    ]
    # The smallest ring, as a fused system is drawn ring by ring.
    centre = at[list(sorted(rings, key=lambda ring: len(ring))[0])].mean(axis=0)
    first, second = at[bond.GetBeginAtomIdx()], at[bond.GetEndAtomIdx()]
    along, across = second - first, centre - first
    return LEFT if along[0] * across[1] - along[1] * across[0] < 0 else RIGHT
