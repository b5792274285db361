"""From what the caller gives to canonical SMILES, with a reason for each molecule that has none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import IntArray, most_atoms, parse_smiles, too_large
from rdkit import Chem, rdBase

from molecule_features._errors import FeatureError
from molecule_features._featurizer import first_line

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class Molecules:
    """Distinct molecules and where they stand in what was given.

    Parameters
    ----------
    smiles : list of str [D]
        Canonical SMILES, each once.
    heavy_atoms : ndarray of int64 [D]
        Their sizes.
    which : ndarray of int64 [N]
        The molecule of each row, -1 where there is none.
    reasons : list of str [N]
        Why there is none, "" where there is one.
    """

    smiles: list[str]
    heavy_atoms: IntArray
    which: IntArray
    reasons: list[str]


def distinct(molecules: Iterable[Any]) -> Molecules:
    """Return the distinct molecules of SMILES or RDKit molecules.

    Parameters
    ----------
    molecules : iterable of str, Mol or None
        A list, an array, a pandas or polars series. None, NaN and empty text are molecules that are
        missing.

    Raises
    ------
    FeatureError
        If one SMILES is given in place of a list.
    """
    if isinstance(molecules, (str, bytes, Chem.Mol)):
        raise FeatureError(
            "molecules: expected a list of SMILES or molecules; found a single one. Put it in []."
        )
    known: dict[Any, tuple[str, int, str]] = {}
    position: dict[str, int] = {}
    sizes: list[int] = []
    which, reasons = [], []
    with rdBase.BlockLogs():
        for molecule in molecules:
            text, size, reason = (
                _of_text(molecule, known) if isinstance(molecule, str) else _of_other(molecule)
            )
            if reason:
                which.append(-1)
            else:
                which.append(position.setdefault(text, len(position)))
                if len(position) > len(sizes):
                    sizes.append(size)
            reasons.append(reason)
    return Molecules(
        list(position), np.array(sizes, dtype=np.int64), np.array(which, dtype=np.int64), reasons
    )


def _of_text(text: str, known: dict[Any, tuple[str, int, str]]) -> tuple[str, int, str]:
    found = known.get(text)
    if found is None:
        found = known[text] = _read(text)
    return found


def _read(text: str) -> tuple[str, int, str]:
    """Return canonical SMILES, heavy atoms and "", or the reason why there are none."""
    # Before it is read: ordering takes minutes for a protein, in C++ that heeds no signal.
    if large := too_large(text):
        return "", 0, large
    mol: Mol | None = Chem.MolFromSmiles(text) if text.strip() else None
    if mol is None or mol.GetNumAtoms() == 0:
        return "", 0, f"no molecule: {parse_smiles([text]).bad[0].reason}"
    return _canonical(mol)


def _refused(heavy_atoms: int) -> str:
    most = most_atoms()
    return "" if heavy_atoms <= most else f"too large: {heavy_atoms} heavy atoms, of at most {most}"


def _of_other(molecule: Any) -> tuple[str, int, str]:
    if isinstance(molecule, Chem.Mol):
        size = molecule.GetNumHeavyAtoms()
        reason = _refused(size) if molecule.GetNumAtoms() else "no molecule: no atoms"
        return ("", 0, reason) if reason else _canonical(Chem.Mol(molecule))
    # NumPy's text is a str; what else pandas puts in an empty cell is NaN, NA or None.
    return "", 0, "no molecule: empty"


def _canonical(mol: Mol) -> tuple[str, int, str]:
    try:
        text = Chem.MolToSmiles(mol)
        if ":" in text:  # numbers of a reaction's atoms, or aromatic bonds
            for atom in mol.GetAtoms():
                atom.SetAtomMapNum(0)
            text = Chem.MolToSmiles(mol)
        return text, mol.GetNumHeavyAtoms(), ""
    except (RuntimeError, ValueError) as error:
        return "", 0, f"no canonical SMILES: {first_line(error)}"
