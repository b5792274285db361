"""The structure that two entries of one compound share: free of counterions and of charges.

A salt and its base, or two hydrates, are one compound of a medicinal chemist and two SMILES. What
is kept for splits, repeats and joins is the parent: the largest fragment, neutral, with its
isotopes and its stereo; on request as one tautomer. Models see it too where they are asked to.

Needs RDKit, which is the extra `molpool-common[chem]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rdkit import Chem, rdBase
from rdkit.Chem import Descriptors
from rdkit.Chem.MolStandardize import rdMolStandardize

from molpool_common._chem import MOST_ATOMS, parse_smiles
from molpool_common._parallel import groups_of, mapped
from molpool_common._process import heed_ctrl_c
from molpool_common.splits import Standardize, Structure

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MOST_ATOMS_TAUTOMER = 100
"""Heavy atoms above which tautomers are not enumerated: a peptide of 60 takes a second already."""

_COUNTERIONS = (
    "CO", "CCO", "CC#N", "CC(C)=O", "CC(C)O", "ClCCl", "CS(C)=O", "CN(C)C=O", "CCOC(C)=O",
    "CCN(CC)CC", "C1CCC(NC2CCCCC2)CC1", "CNCC(O)C(O)C(O)C(O)CO", "NC(CO)(CO)CO",
    "O=CO", "CC(=O)O", "O=C(O)C(F)(F)F", "O=C(O)C(=O)O", "O=C(O)CC(=O)O", "O=C(O)C=CC(=O)O",
    "O=C(O)CCC(=O)O", "O=C(O)CC(O)C(=O)O", "O=C(O)C(O)C(O)C(=O)O", "O=C(O)CC(O)(CC(=O)O)C(=O)O",
    "CC(O)C(=O)O", "O=C(O)c1ccccc1", "CS(=O)(=O)O", "CCS(=O)(=O)O", "OCCS(=O)(=O)O",
    "O=S(=O)(O)CCS(=O)(=O)O", "O=S(=O)(O)C(F)(F)F", "O=S(=O)(O)c1ccccc1", "Cc1ccc(S(=O)(=O)O)cc1",
    "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O",
)  # fmt: skip
"""Organic acids, bases and solvents, which may be larger than what they are a salt of."""

_CHUNK = 256
"""Molecules of which tautomers are looked for at a time: seconds."""

_ORGANIC = (0, 1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53)


class Standardized(NamedTuple):
    """Structures by which molecules are compared.

    Parameters
    ----------
    mols : list of Mol, length N
        The same object where nothing had to be changed.
    as_given : list of int
        Rows that stayed as they were though a rule was asked for: too large, or refused by RDKit.
    """

    mols: list[Mol]
    as_given: list[int]


def standardize(mols: Sequence[Mol], how: Standardize = "parent") -> Standardized:
    """Return the structure by which each molecule is compared with others.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Sanitised molecules; they are not changed.
    how : {"none", "parent", "tautomer"}
        ``parent``: metals are disconnected, charges neutralised where a hydrogen can do it, and of
        the organic fragments that are no known counterion or solvent (of those where there is
        nothing else) the one of most heavy atoms is kept, then the heaviest, then the first by
        SMILES. Inorganic compounds stay as they are. ``tautomer``: its canonical tautomer
        besides, some hundred times slower.

    Notes
    -----
    Some 10 000 molecules a second and core for ``parent``, more where few are salts.

    References
    ----------
    Bento et al., "An open source chemical structure curation pipeline using RDKit", J. Cheminform.
    12:51 (2020).
    """
    if how == "none":
        return Standardized(list(mols), [])
    # Molecules cost as much to send as a parent takes, and a hundredth of what a tautomer does.
    size = _CHUNK if how == "tautomer" else max(len(mols), 1)
    found = [new for part in mapped(_changes, how, groups_of(mols, size)) for new in part]
    as_given = [row for row, new in enumerate(found) if new is False]
    result = [
        new if isinstance(new, Chem.Mol) else mol for mol, new in zip(mols, found, strict=True)
    ]
    return Standardized(result, as_given)


def _changes(how: Standardize, mols: Sequence[Mol]) -> list[Mol | bool]:
    """Return structures of molecules; True where a molecule is its own, False where it has none."""
    found: list[Mol | bool] = []
    with rdBase.BlockLogs():
        try:
            for mol in mols:
                new = _standardized(mol, how)
                found.append(new is mol if new is mol or new is None else new)
        finally:
            heed_ctrl_c()
    return found


def structures_of(smiles: Sequence[str], structure: Structure) -> list[str]:
    """Return what a model sees of molecules.

    Parameters
    ----------
    smiles : sequence of str, length N
        As a table has them.
    structure : {"given", "parent", "tautomer"}
        ``given`` leaves them as they are; the others are those of `standardize`.

    Returns
    -------
    list of str, length N
        Canonical, so that a salt and its base are one text; as given where RDKit does not read it.
    """
    if structure == "given":
        return list(smiles)
    return _written(smiles, structure)


def canonical_smiles(smiles: Sequence[str]) -> list[str]:
    """Return SMILES as RDKit writes them; as given where it does not read them."""
    return _written(smiles, "none")


def _written(smiles: Sequence[str], how: Standardize) -> list[str]:
    parsed = parse_smiles(smiles).mols
    good = [i for i, mol in enumerate(parsed) if mol is not None]
    made = standardize([mol for mol in parsed if mol is not None], how).mols
    found = list(smiles)
    for i, mol in zip(good, made, strict=True):
        found[i] = Chem.MolToSmiles(mol)
    return found


def changed_smiles(mols: Sequence[Mol], found: Standardized) -> list[str]:
    """Return the SMILES of structures that `standardize` changed, "" for the others."""
    return [
        "" if new is mol else Chem.MolToSmiles(new)
        for mol, new in zip(mols, found.mols, strict=True)
    ]


def _standardized(mol: Mol, how: Standardize) -> Mol | None:
    """Return the structure, None where there is none to be had."""
    if mol.GetNumHeavyAtoms() > MOST_ATOMS:
        return None
    try:
        found = _parent(mol)
        return found if how == "parent" else _tautomer(found)
    except (ValueError, RuntimeError):
        # Of RDKit, for valences that it read and cannot write: rare, and no reason to stop.
        return None


def _parent(mol: Mol) -> Mol:
    tools, given = _tools(), mol
    # Most molecules of most tables: one fragment, without charges and metals.
    single = len(Chem.GetMolFrags(mol)) == 1
    if single and not mol.HasSubstructMatch(tools.to_change):
        return mol
    if mol.HasSubstructMatch(tools.metal):
        mol = tools.disconnector.Disconnect(mol)
        single = False
    # Each by itself: in a salt as a whole the charges of an ion and its counterion are balanced.
    fragments = [mol] if single else Chem.GetMolFrags(mol, asMols=True)
    neutral = [tools.uncharger.uncharge(fragment) for fragment in fragments]
    parent: Mol = min(neutral, key=_rank) if len(neutral) > 1 else neutral[0]
    if len(neutral) > 1 and not _is_organic(parent):
        # The chlorides of sodium and of silver are no salts of one compound.
        return given
    Chem.SanitizeMol(parent)
    return parent


def _is_organic(fragment: Mol) -> bool:
    return fragment.HasSubstructMatch(_tools().organic)


def _rank(fragment: Mol) -> tuple[bool, bool, int, float, str]:
    """Return what sorts the fragment that is kept before the others."""
    flat = Chem.MolToSmiles(_without_isotopes(fragment), isomericSmiles=False)
    return (
        not _is_organic(fragment),
        flat in _counterions(),
        -fragment.GetNumHeavyAtoms(),
        # Rounded: the sum depends on the order of atoms in its last bits.
        -round(Descriptors.MolWt(fragment), 3),  # type: ignore[attr-defined]
        # Decides between equals, so that the order of fragments does not.
        Chem.MolToSmiles(fragment),
    )


def _without_isotopes(mol: Mol) -> Mol:
    if not any(atom.GetIsotope() for atom in mol.GetAtoms()):
        return mol
    plain = Chem.Mol(mol)
    for atom in plain.GetAtoms():
        atom.SetIsotope(0)
    return plain


def _tautomer(mol: Mol) -> Mol | None:
    if mol.GetNumHeavyAtoms() > MOST_ATOMS_TAUTOMER:
        return None
    # Stereo and isotopes stay where a tautomer can have them.
    found: Mol = _tools().tautomers.Canonicalize(mol)
    return found


class _Tools(NamedTuple):
    to_change: Mol
    metal: Mol
    disconnector: Any
    organic: Mol
    uncharger: Any
    tautomers: Any


@cache
def _tools() -> _Tools:
    metal = "&".join(f"!#{number}" for number in _ORGANIC)
    # RDKit's stubs take its attributes for something else.
    parameters: Any = rdMolStandardize.CleanupParameters()
    parameters.tautomerRemoveSp3Stereo = False
    parameters.tautomerRemoveBondStereo = False
    return _Tools(
        Chem.MolFromSmarts(f"[!+0,{metal}]"),
        Chem.MolFromSmarts(f"[{metal}]"),
        rdMolStandardize.MetalDisconnector(),
        # Carbon with hydrogen, carbon, nitrogen or a halogen: no carbonate, no oxide.
        Chem.MolFromSmarts("[#6;!H0,$([#6]~[#6,#7,#9,#16,#17,#35,#53])]"),
        rdMolStandardize.Uncharger(),
        rdMolStandardize.TautomerEnumerator(parameters),
    )


@cache
def _counterions() -> frozenset[str]:
    """Return the SMILES of counterions as `_largest` writes them."""
    uncharger = _tools().uncharger
    mols = [uncharger.uncharge(Chem.MolFromSmiles(text)) for text in _COUNTERIONS]
    return frozenset(Chem.MolToSmiles(mol, isomericSmiles=False) for mol in mols)
