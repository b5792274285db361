"""What a table needs to know of each SMILES, computed once and cached between runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from molpool_common import (
    BadSmiles,
    ContentStore,
    FloatArray,
    Keys,
    StrArray,
    inchikey_blocks,
    parse_smiles,
    rdkit_version,
    text_keys,
)

Progress = Callable[[int, int], None]
"""Called with how many molecules are done, of how many."""

_FORMAT = 1
_CHUNK = 4096
"""Molecules per file: two seconds of work, the most that a killed run loses."""


@dataclass(frozen=True)
class Identities:
    """Identity of N SMILES.

    Parameters
    ----------
    blocks : ndarray of str [N]
        First block of the InChIKey (`inchikey_block`), ``""`` where the SMILES is no molecule.
    masses : ndarray [N]
        Molar mass in g/mol, NaN where the SMILES is no molecule.
    bad : list of BadSmiles
        Those that are no molecule, by row.
    """

    blocks: StrArray
    masses: FloatArray
    bad: list[BadSmiles]


class _Part(NamedTuple):
    blocks: StrArray
    masses: FloatArray


def identify(
    smiles: Sequence[str | None], cache: Path | None = None, progress: Progress | None = None
) -> Identities:
    """Return InChIKey block and molar mass of each SMILES.

    Parameters
    ----------
    smiles : sequence of str or None, length N
        Empty text and None count as bad.
    cache : Path, optional
        Cache folder of results of other runs; those of another RDKit are not used.
    progress : callable, optional
        Called with molecules done and in all, where something has to be computed.
    """
    texts = [text if isinstance(text, str) else "" for text in smiles]
    # Parsing takes most of the time of reading, and repeats are common in stacked tables.
    keys, first, inverse = np.unique(text_keys(texts), return_index=True, return_inverse=True)
    part = _identify_distinct([texts[i] for i in first.tolist()], keys, _store(cache), progress)
    blocks, masses = part.blocks[inverse], part.masses[inverse]
    rows = np.flatnonzero(blocks == "").tolist()
    # The cache holds no reasons: the few bad ones are parsed once more.
    parsed = parse_smiles([smiles[row] for row in rows])
    bad = [b._replace(row=rows[b.row]) for b in parsed.bad]
    return Identities(blocks, masses, bad)


def _store(cache: Path | None) -> ContentStore | None:
    if cache is None:
        return None
    # RDKit's version is in the name: its InChI and sanitisation change between releases.
    return ContentStore(cache / f"identity-{_FORMAT}-rdkit-{rdkit_version()}")


def _identify_distinct(
    smiles: Sequence[str], keys: Keys, store: ContentStore | None, progress: Progress | None
) -> _Part:
    # The first block of an InChIKey, the connectivity, has 14 letters.
    blocks = np.zeros(len(smiles), dtype="U14")
    masses = np.full(len(smiles), np.nan)
    missing = np.ones(len(smiles), dtype=np.bool_)
    for arrays, there, asked in store.find(keys) if store is not None else ():
        blocks[asked], masses[asked] = arrays["block"][there], arrays["mass"][there]
        missing[asked] = False
    todo = np.flatnonzero(missing)
    for start in range(0, len(todo), _CHUNK):
        rows = todo[start : start + _CHUNK]
        blocks[rows], masses[rows] = _compute([smiles[i] for i in rows.tolist()])
        if store is not None:
            # A SMILES that is no molecule is read again each time, for the reason.
            good = rows[blocks[rows] != ""]
            store.add(keys[good], {"block": blocks[good], "mass": masses[good]})
        if progress is not None:
            progress(start + len(rows), len(todo))
    return _Part(blocks, masses)


def _compute(smiles: Sequence[str]) -> _Part:
    from rdkit.Chem import Descriptors

    # RDKit builds this module's functions at run time, past what its stubs say.
    weigh = Descriptors.MolWt  # type: ignore[attr-defined]
    mols = parse_smiles(smiles).mols
    good = [i for i, mol in enumerate(mols) if mol is not None]
    blocks = np.zeros(len(mols), dtype="U14")
    masses = np.full(len(mols), np.nan)
    blocks[good] = inchikey_blocks([mol for mol in mols if mol is not None])
    masses[good] = [weigh(mols[i]) for i in good]
    return _Part(blocks, masses)
