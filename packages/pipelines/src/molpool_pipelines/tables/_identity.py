"""What a table needs to know of each SMILES, computed once and cached between runs."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from molpool_common import (
    BadSmiles,
    BoolArray,
    ContentStore,
    FloatArray,
    IntArray,
    Keys,
    Standardize,
    StoredTexts,
    StrArray,
    changed_smiles,
    free_memory,
    inchikey_blocks,
    parse_smiles,
    rdkit_version,
    standardize,
    text_keys,
)
from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Called with how many molecules are done, of how many."""

_FORMAT = 2
_CHUNK = 4096
"""Molecules per file: two seconds of work, the most that a killed run loses."""


@dataclass(frozen=True)
class Identities:
    """Identity of N SMILES.

    Parameters
    ----------
    blocks : ndarray of str [N]
        First block of the InChIKey (`inchikey_blocks`) of the structure that is compared, ``""``
        where the SMILES is no molecule.
    masses : ndarray [N]
        Molar mass in g/mol of the molecule as given, NaN where the SMILES is no molecule.
    bad : list of BadSmiles
        Those that are no molecule, by row.
    structures : sequence of str [N]
        SMILES of the structure that is compared (`molpool_common.standardize`): the text as given
        where nothing had to be changed.
    as_given : list of int
        Rows whose structure could not be standardised, for its size or by RDKit.
    numbers : array of 8 bytes or None
        What stands for the blocks of a table that is only counted; `blocks` are then empty.
    """

    blocks: StrArray
    masses: FloatArray
    bad: list[BadSmiles]
    structures: Sequence[str]
    as_given: list[int]
    numbers: array[int] | None = None

    @property
    def parsed(self) -> IntArray:
        """Rows whose SMILES are molecules."""
        return np.flatnonzero(~np.isnan(self.masses))

    def groups(self) -> Sequence[Any]:
        """Return what stands for the molecule of each row of `parsed`."""
        if self.numbers is None:
            blocks: list[str] = self.blocks[self.parsed].tolist()
            return blocks
        return array("Q", np.frombuffer(self.numbers, np.uint64)[self.parsed].tobytes())


class _Part(NamedTuple):
    blocks: StrArray
    masses: FloatArray
    # "" where it is the text as given.
    structures: list[str]
    as_given: BoolArray


def identify(
    smiles: Sequence[str | None],
    cache: Path | None = None,
    progress: Progress | None = None,
    how: Standardize = "parent",
) -> Identities:
    """Return InChIKey block, molar mass and compared structure of each SMILES.

    Parameters
    ----------
    smiles : sequence of str or None, length N
        Empty text and None count as bad.
    cache : Path, optional
        Cache folder of results of other runs; those of another RDKit are not used.
    progress : callable, optional
        Called with molecules done and in all, where something has to be computed.
    how : {"none", "parent", "tautomer"}
        By which structure molecules are compared.
    """
    texts = [text if isinstance(text, str) else "" for text in smiles]
    # Parsing takes most of the time of reading, and repeats are common in stacked tables.
    keys, first, inverse = np.unique(text_keys(texts), return_index=True, return_inverse=True)
    distinct = [texts[i] for i in first.tolist()]
    part = _identify_distinct(distinct, keys, how, _store(cache, how), progress)
    blocks, masses = part.blocks[inverse], part.masses[inverse]
    rows = np.flatnonzero(blocks == "").tolist()
    # The cache holds no reasons: the few bad ones are parsed once more.
    parsed = parse_smiles([smiles[row] for row in rows])
    bad = [b._replace(row=rows[b.row]) for b in parsed.bad]
    changed = [part.structures[i] for i in inverse.tolist()]
    return Identities(
        blocks,
        masses,
        bad,
        [new or text for new, text in zip(changed, texts, strict=True)],
        np.flatnonzero(part.as_given[inverse]).tolist(),
    )


def identify_parts(
    parts: Iterable[Sequence[str | None]], cache: Path | None, how: Standardize
) -> tuple[StoredTexts, Identities]:
    """Return SMILES and identities of a table too long for memory; parameters as of `identify`.

    A molecule is 8 of the 16 bytes of its key: of ten million, two are taken for one another in
    one table of 400,000.
    """
    smiles, structures, numbers = StoredTexts(), StoredTexts(), array("Q")
    masses: list[FloatArray] = []
    bad: list[BadSmiles] = []
    as_given: list[int] = []
    for part in parts:
        before = len(smiles)
        found = identify(part, cache, how=how)
        smiles.extend(text or "" for text in part)
        structures.extend(found.structures)
        keys = text_keys(found.blocks.tolist()).view(np.uint64)
        numbers.frombytes(keys[::2].tobytes())
        masses.append(found.masses)
        bad += [b._replace(row=b.row + before) for b in found.bad]
        as_given += [row + before for row in found.as_given]
        free_memory()
    none = np.zeros(0, dtype="U14")
    return smiles, Identities(none, np.concatenate(masses), bad, structures, as_given, numbers)


def _store(cache: Path | None, how: Standardize) -> ContentStore | None:
    if cache is None:
        return None
    # RDKit's version is in the name: its InChI and sanitisation change between releases.
    return ContentStore(cache / f"identity-{_FORMAT}-{how}-rdkit-{rdkit_version()}")


def _identify_distinct(
    smiles: Sequence[str],
    keys: Keys,
    how: Standardize,
    store: ContentStore | None,
    progress: Progress | None,
) -> _Part:
    # The first block of an InChIKey, the connectivity, has 14 letters.
    blocks = np.zeros(len(smiles), dtype="U14")
    masses = np.full(len(smiles), np.nan)
    structures = [""] * len(smiles)
    as_given = np.zeros(len(smiles), dtype=np.bool_)
    missing = np.ones(len(smiles), dtype=np.bool_)
    for arrays, there, asked in store.find(keys) if store is not None else ():
        blocks[asked], masses[asked] = arrays["block"][there], arrays["mass"][there]
        as_given[asked] = arrays["as_given"][there]
        for row, text in zip(asked.tolist(), _unpacked(arrays, there), strict=True):
            structures[row] = text
        missing[asked] = False
    todo = np.flatnonzero(missing)
    for start in range(0, len(todo), _CHUNK):
        rows = todo[start : start + _CHUNK]
        part = _compute([smiles[i] for i in rows.tolist()], how)
        blocks[rows], masses[rows], as_given[rows] = part.blocks, part.masses, part.as_given
        for row, text in zip(rows.tolist(), part.structures, strict=True):
            structures[row] = text
        if store is not None:
            _add(store, keys[rows], part)
        if progress is not None:
            progress(start + len(rows), len(todo))
    return _Part(blocks, masses, structures, as_given)


def _add(store: ContentStore, keys: Keys, part: _Part) -> None:
    # A SMILES that is no molecule is read again each time, for the reason.
    good = np.flatnonzero(part.blocks != "")
    texts = [part.structures[i].encode() for i in good.tolist()]
    # One text after the other: an array of strings is as wide as its longest, some protein.
    arrays = {
        "block": part.blocks[good],
        "mass": part.masses[good],
        "as_given": part.as_given[good],
        "end": np.cumsum([len(text) for text in texts], dtype=np.int64),
        "text": np.frombuffer(b"".join(texts), dtype=np.uint8),
    }
    store.add(keys[good], arrays)


def _unpacked(arrays: Mapping[str, NDArray[Any]], there: IntArray) -> list[str]:
    text, ends = arrays["text"].tobytes(), arrays["end"]
    starts = np.concatenate([[0], ends[:-1]])
    return [text[a:b].decode() for a, b in zip(starts[there], ends[there], strict=True)]


def _compute(smiles: Sequence[str], how: Standardize) -> _Part:
    from rdkit.Chem import Descriptors

    # RDKit builds this module's functions at run time, past what its stubs say.
    weigh = Descriptors.MolWt  # type: ignore[attr-defined]
    parsed = parse_smiles(smiles).mols
    good = [i for i, mol in enumerate(parsed) if mol is not None]
    mols = [mol for mol in parsed if mol is not None]
    compared = standardize(mols, how)
    blocks = np.zeros(len(parsed), dtype="U14")
    masses = np.full(len(parsed), np.nan)
    as_given = np.zeros(len(parsed), dtype=np.bool_)
    structures = [""] * len(parsed)
    blocks[good] = inchikey_blocks(compared.mols)
    masses[good] = [weigh(mol) for mol in mols]
    as_given[[good[i] for i in compared.as_given]] = True
    for i, text in zip(good, changed_smiles(mols, compared), strict=True):
        structures[i] = text
    return _Part(blocks, masses, structures, as_given)
