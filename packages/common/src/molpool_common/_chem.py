"""Molecules from SMILES: parsing with reasons, identity keys, scaffolds and fingerprints.

Needs RDKit, which is the extra `molpool-common[chem]`. Nothing here prints: RDKit's own log is held
back for the length of a call and let go afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from molpool_common._errors import InputError, listed
from molpool_common._process import heed_ctrl_c

try:
    from rdkit import Chem, rdBase
    from rdkit.Chem import rdDepictor, rdFingerprintGenerator
    from rdkit.Chem.Scaffolds import MurckoScaffold
except ImportError as error:
    raise ImportError(
        "molecules need RDKit, which the extra `chem` installs: pip install 'molpool-common[chem]'"
    ) from error

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from rdkit.Chem.rdFingerprintGenerator import FingerprintGenerator64
    from rdkit.DataStructs import ExplicitBitVect

ATOMS_VARIABLE = "MOLPOOL_MAX_ATOMS"
"""Environment variable with the number of heavy atoms above which a molecule is rejected."""

MOST_ATOMS = 1000
"""The number where the variable is not set.

Scaffolds, descriptors and conformers of a protein take minutes to hours, in C++ that heeds no
signal: scaffolds alone grow with the third power.
"""

_CHARACTERS = 100
"""Characters per atom beyond which a text is not read at all."""

_LONG = 200
"""Characters of a SMILES, and so at most its heavy atoms, up to which nothing takes long.

Reading, InChI, scaffolds and fingerprints took a second at most on cages, grids, dendrimers and
peptides of up to 1000 atoms; descriptors took 2 s at 240 atoms and minutes at 400.
"""

_BLOCK_LENGTH = 14
"""Letters of an InChIKey's first block, which hashes formula, connections and hydrogens."""


class BadSmiles(NamedTuple):
    """A SMILES that is no molecule.

    Parameters
    ----------
    row : int
        Index from 0 in what was given.
    smiles : str or None
        The text, None where there was none.
    reason : str
        Why, in RDKit's words where it has some.
    """

    row: int
    smiles: str | None
    reason: str


@dataclass(frozen=True)
class ParsedSmiles:
    """Molecules in the order of their SMILES.

    Parameters
    ----------
    mols : list of Mol or None
        None where the SMILES is no molecule.
    bad : list of BadSmiles
        Those rows, ascending.
    """

    mols: list[Mol | None]
    bad: list[BadSmiles]

    def require_all(self, parameter: str = "smiles") -> list[Mol]:
        """Return the molecules, every one of them.

        Parameters
        ----------
        parameter : str
            What the SMILES are called in the message: a column, a file.

        Raises
        ------
        InputError
            If any SMILES is no molecule.
        """
        if self.bad:
            found = listed([f"{b.smiles!r} ({b.reason})" for b in self.bad], limit=3)
            raise InputError(
                parameter,
                expected="SMILES that RDKit reads",
                found=f"{len(self.bad)} that it does not: {found}",
                where=f"rows {listed([b.row for b in self.bad])}",
            )
        return [mol for mol in self.mols if mol is not None]


def most_atoms() -> int:
    """Return the number of heavy atoms above which a molecule is rejected.

    Raises
    ------
    InputError
        If the environment says something else than a number.
    """
    text = os.environ.get(ATOMS_VARIABLE, "")
    if text and not text.isdecimal():
        raise InputError(ATOMS_VARIABLE, expected="a number of heavy atoms", found=repr(text))
    return int(text) if text else MOST_ATOMS


def too_large(smiles: str) -> str:
    """Return why a molecule is rejected for its size, "" where it is not; reads no further."""
    most = most_atoms()
    # Each heavy atom takes a character or more.
    if len(smiles) <= most:
        return ""
    rest = f"of at most {most} ({ATOMS_VARIABLE} raises it)"
    if len(smiles) > _CHARACTERS * most:
        return f"too large: {len(smiles)} characters, {rest}"
    with rdBase.BlockLogs():
        rough = _read(smiles, sanitize=False)
    atoms = 0 if rough is None else rough.GetNumHeavyAtoms()
    return f"too large: {atoms} heavy atoms, {rest}" if atoms > most else ""


def may_be_slow(smiles: str) -> bool:
    """Return whether descriptors or conformers of a molecule may take very long."""
    return len(smiles) > _LONG


def parse_smiles(smiles: Sequence[str | None]) -> ParsedSmiles:
    """Parse SMILES and keep the reason for each that fails.

    Parameters
    ----------
    smiles : sequence of str
        Empty text, None and NaN count as bad, and so do molecules of more than `most_atoms`.

    Returns
    -------
    ParsedSmiles
        As many molecules as SMILES, None where bad, and the bad rows.
    """
    mols: list[Mol | None] = []
    bad: list[BadSmiles] = []
    with rdBase.BlockLogs():
        for row, text in enumerate(smiles):
            # A numeric NaN stands for an empty cell in what pandas reads.
            given = text if isinstance(text, str) else None
            large = too_large(given) if given else ""
            mol = _read(given) if given and given.strip() and not large else None
            # RDKit reads "" as a molecule without atoms, which no model can use.
            if mol is not None and mol.GetNumAtoms() == 0:
                mol = None
            mols.append(mol)
            if mol is None:
                bad.append(BadSmiles(row, given, large or _reason(given)))
    return ParsedSmiles(mols, bad)


def rdkit_version() -> str:
    """Return RDKit's version, which is part of the cache key of computed results."""
    return str(rdBase.rdkitVersion)


def inchikey_blocks(mols: Sequence[Mol]) -> list[str]:
    """Return the first block of each InChIKey: the same for stereoisomers and isotopologues.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Sanitised molecules.

    Returns
    -------
    list of str
        14 capital letters; where InChI gives no key (polymers, some organometallics, query atoms),
        `"#"` and 13 hexadecimal digits of the SHA-256 of the canonical SMILES without stereo, which
        no InChIKey block can equal.

    References
    ----------
    Heller et al., "InChI, the IUPAC International Chemical Identifier", J. Cheminform. 7:23 (2015).
    """
    with rdBase.BlockLogs():
        try:
            return [_inchikey_block(mol) for mol in mols]
        finally:
            # Once per call rather than per molecule.
            heed_ctrl_c()


def inchikeys(mols: Sequence[Mol]) -> list[str]:
    """Return the InChIKey of each molecule: equal for equal structures, however written.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Sanitised molecules.

    Returns
    -------
    list of str
        27 characters, stereo and isotopes among them; where InChI gives no key, ``"#"`` and the
        SHA-256 of the canonical SMILES.
    """
    with rdBase.BlockLogs():
        try:
            return [_inchikey(mol) or f"#{_hash(Chem.MolToSmiles(mol))}" for mol in mols]
        finally:
            heed_ctrl_c()


def _inchikey(mol: Mol) -> str:
    return str(Chem.MolToInchiKey(mol))  # type: ignore[no-untyped-call]


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def murcko_scaffolds(mols: Sequence[Mol]) -> list[str]:
    """Return the canonical SMILES of each Bemis–Murcko scaffold: rings and their linkers.

    Atoms bonded to these by a double bond are kept, stereo is dropped.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Sanitised molecules.

    Returns
    -------
    list of str
        `""` for a molecule without rings.

    References
    ----------
    Bemis and Murcko, "The properties of known drugs. 1. Molecular frameworks", J. Med. Chem. 39
    (1996) 2887–2893.
    """
    with rdBase.BlockLogs():
        return [_murcko_scaffold(mol) for mol in mols]


def scaffolds_of_smiles(smiles: Sequence[str]) -> list[str]:
    """Return what `murcko_scaffolds` says of SMILES, without all molecules in memory.

    A run asks for them at the split, the folds and the intervals: each is computed once in a
    process, as long as it remembers it.

    Parameters
    ----------
    smiles : sequence of str, length N

    Raises
    ------
    InputError
        If any SMILES is no molecule, naming the rows.
    """
    most = most_atoms()
    found = [_scaffold_of(text, most) for text in smiles]
    if any(scaffold is None for scaffold in found):
        parse_smiles(smiles).require_all()
    return [scaffold or "" for scaffold in found]


@lru_cache(maxsize=1 << 17)
def _scaffold_of(smiles: str, most: int) -> str | None:  # what counts as a molecule
    (mol,) = parse_smiles([smiles]).mols
    return None if mol is None else murcko_scaffolds([mol])[0]


def morgan_bits(mols: Sequence[Mol], radius: int = 2, n_bits: int = 2048) -> NDArray[np.uint8]:
    """Return folded Morgan (ECFP-like) fingerprints.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Sanitised molecules.
    radius : int
        In bonds; 2 is ECFP4.
    n_bits : int
        Length of the fingerprint.

    Returns
    -------
    ndarray of uint8 [N, n_bits]
        1 where the bit is set.

    References
    ----------
    Rogers and Hahn, "Extended-connectivity fingerprints", J. Chem. Inf. Model. 50 (2010) 742–754.
    """
    bits = np.zeros((len(mols), n_bits), dtype=np.uint8)
    generator = _morgan(radius, n_bits)
    for row, mol in enumerate(mols):
        bits[row] = generator.GetFingerprintAsNumPy(mol)
    return bits


def morgan_fingerprints(
    mols: Sequence[Mol], radius: int = 2, n_bits: int = 2048
) -> list[ExplicitBitVect]:
    """Return the fingerprints of `morgan_bits` as RDKit's bit vectors, for its similarities."""
    generator = _morgan(radius, n_bits)
    return [generator.GetFingerprint(mol) for mol in mols]


def _morgan(radius: int, n_bits: int) -> FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)


def _murcko_scaffold(mol: Mol) -> str:
    scaffold = MurckoScaffold.MurckoScaffoldSmiles(mol=mol)  # type: ignore[no-untyped-call]
    return str(scaffold)


def _read(smiles: str, *, sanitize: bool = True) -> Mol | None:
    # RDKit's stubs promise a molecule; it returns None where it cannot read one.
    mol: Mol | None = Chem.MolFromSmiles(smiles, sanitize=sanitize)
    return mol


def _inchikey_block(mol: Mol) -> str:
    key = _inchikey(mol)
    if key:
        return key[:_BLOCK_LENGTH]
    # InChI refuses some molecules (polymers, exotic valences); the hash is as long as a block, and
    # "#" keeps it from being taken for one.
    smiles = Chem.MolToSmiles(mol, isomericSmiles=False)
    return "#" + _hash(smiles)[: _BLOCK_LENGTH - 1]


def _reason(smiles: str | None) -> str:
    if smiles is None or not smiles.strip():
        return "empty"
    # Without sanitising syntax and chemistry can be distinguished: what parses now failed by its
    # chemistry.
    mol: Mol | None = _read(smiles, sanitize=False)
    if mol is None:
        return _syntax_message(smiles)
    if mol.GetNumAtoms() == 0:
        return "no atoms"
    problems = [p.Message() for p in Chem.DetectChemistryProblems(mol)]
    return problems[0] if problems else "RDKit refused it without a reason"


def _syntax_message(smiles: str) -> str:
    # RDKit can hand its messages over since 2026.03; before, they go to its own stream only.
    if not hasattr(rdBase, "CaptureErrorLog"):
        return "SMILES syntax error"
    with rdBase.CaptureErrorLog() as log:
        Chem.MolFromSmiles(smiles)
    try:
        messages: str = log.messages
    except UnicodeDecodeError:  # RDKit cuts long messages, within a letter too
        return "SMILES syntax error"
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    return lines[0].partition("] ")[2] or lines[0] if lines else "SMILES syntax error"


def smiles_of_blocks(blocks: Sequence[str]) -> list[str | None]:
    """Return the isomeric SMILES of mol blocks, None where RDKit reads no molecule of one."""
    smiles: list[str | None] = []
    with rdBase.BlockLogs():
        for block in blocks:
            heed_ctrl_c()
            mol = Chem.MolFromMolBlock(block)
            smiles.append(None if mol is None else Chem.MolToSmiles(mol))
    return smiles


def mol_blocks(smiles: Sequence[str | None]) -> list[str]:
    """Return mol blocks with two-dimensional coordinates, one without atoms where none parses."""
    blocks: list[str] = []
    with rdBase.BlockLogs():
        for text in smiles:
            heed_ctrl_c()
            mol = Chem.MolFromSmiles(text) if text and text.strip() else None
            if mol is None:
                mol = Chem.Mol()
            else:
                rdDepictor.Compute2DCoords(mol)
            blocks.append(Chem.MolToMolBlock(mol))
    return blocks
