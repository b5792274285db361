"""Featurised graphs kept on disk between runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from molpool_common import ContentStore, Keys, text_keys
from rdkit import Chem, rdBase

from chemprop_multitask.errors import ChempropError
from chemprop_multitask.featurise import featurise, featurise_smiles
from chemprop_multitask.packed import Indices, PackedGraphs

Progress = Callable[[int, int], None]
"""Told how many molecules of how many are featurised."""

_FORMAT = 1
_CHUNK = 4096
"""Molecules a file: a second of work, the most that a killed run loses."""

_FEW = 16
"""Molecules among which it is not worth while to look for the one that is read slowly."""


class GraphStore:
    """Chemprop's graphs by SMILES, in memory and in a folder that several processes may use.

    A graph is found by the text of its SMILES. Graphs of another version of Chemprop or RDKit are
    not: each pair of versions has a folder of its own. Files are written whole, by renaming, some
    thousand molecules each; a damaged one is left out with a warning and featurised again.

    Parameters
    ----------
    folder : str or Path, optional
        Made when something is first stored; by default graphs are kept in memory only.

    Attributes
    ----------
    folder : Path or None
        Where graphs of these versions are.
    hits, misses : int
        Distinct SMILES that were found in the folder, and that had to be featurised, so far.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = None if folder is None else Path(folder) / featuriser_signature()
        self.hits = 0
        self.misses = 0
        self._files = None if self.folder is None else ContentStore(self.folder)
        self._kept: list[tuple[Keys, PackedGraphs]] = []

    def graphs(self, smiles: Sequence[str], progress: Progress | None = None) -> PackedGraphs:
        """Return the graphs of N SMILES; those not found are featurised and stored.

        Parameters
        ----------
        smiles : sequence of str
            N SMILES.
        progress : callable, optional
            Told how far the featurisation is; never called where all are found.

        Raises
        ------
        ChempropError
            If a SMILES does not parse; names the row.
        """
        return pack(smiles, self, progress)

    def find(self, keys: Keys) -> tuple[list[PackedGraphs], Indices]:
        """Return known graphs, and the position of each key among them, -1 where not known.

        Parameters
        ----------
        keys : ndarray of bytes [N]
            Distinct and ascending.
        """
        parts: list[PackedGraphs] = []
        position = np.full(len(keys), -1, dtype=np.int64)
        for theirs, graphs in self._kept:
            there = np.minimum(np.searchsorted(theirs, keys), len(theirs) - 1)
            asked = np.flatnonzero((theirs[there] == keys) & (position < 0))
            position[asked] = sum(map(len, parts)) + np.arange(len(asked))
            parts.append(graphs.take(there[asked]))
        unknown = np.flatnonzero(position < 0)
        for arrays, rows, asked in self._files.find(keys[unknown]) if self._files else ():
            position[unknown[asked]] = sum(map(len, parts)) + np.arange(len(rows))
            parts.append(PackedGraphs(**arrays).take(rows))
            self.hits += len(rows)
        self.misses += int(np.count_nonzero(position < 0))
        return parts, position

    def write(self, keys: Keys, graphs: PackedGraphs) -> None:
        """Store graphs in the folder, if there is one."""
        if self._files is not None:
            self._files.add(keys, vars(graphs))

    def keep(self, keys: Keys, graphs: PackedGraphs) -> None:
        """Keep graphs in memory, under keys that ascend."""
        self._kept.append((keys, graphs))


def featuriser_signature() -> str:
    """Return the name of what a graph follows from besides its SMILES."""
    featurizer = SimpleMoleculeMolGraphFeaturizer()
    return (
        f"graphs-{_FORMAT}-chemprop-{version('chemprop')}-rdkit-{rdBase.rdkitVersion}"
        f"-{featurizer.atom_fdim}x{featurizer.bond_fdim}"
    )


def pack(
    molecules: Sequence[str | Chem.Mol],
    store: GraphStore | None = None,
    progress: Progress | None = None,
) -> PackedGraphs:
    """Featurise molecules, each different SMILES once.

    Parameters
    ----------
    molecules : sequence of str or rdkit.Chem.Mol
        N SMILES or parsed molecules.
    store : GraphStore, optional
        Where graphs of SMILES are looked for and kept; those of parsed molecules, whose atoms may
        be in any order, are not.
    progress : callable, optional
        Told how far it is.

    Raises
    ------
    ChempropError
        If a SMILES does not parse; names the row.
    """
    if any(not isinstance(m, str) for m in molecules):
        return featurise(_parsed(m, row) for row, m in enumerate(molecules))
    keys, first, inverse = np.unique(text_keys(molecules), return_index=True, return_inverse=True)
    before = store.hits + store.misses if store else 0
    parts, position = store.find(keys) if store else ([], np.full(len(keys), -1, dtype=np.int64))
    todo = np.flatnonzero(position < 0)
    todo = todo[np.argsort(first[todo])]
    position[todo] = sum(map(len, parts)) + np.arange(len(todo))
    for start in range(0, len(todo), _CHUNK):
        rows = todo[start : start + _CHUNK]
        part = _featurised(molecules, first[rows].tolist())
        if store is not None:
            store.write(keys[rows], part)
        parts.append(part)
        if progress is not None:
            progress(start + len(rows), len(todo))
    if not parts:
        return featurise([])
    graphs = PackedGraphs.concatenate(parts)
    if store is not None and store.hits + store.misses > before:
        store.keep(keys, graphs.take(position))
    return graphs.take(position[inverse])


def _featurised(smiles: Sequence[str], rows: Sequence[int]) -> PackedGraphs:
    """Featurise the quick way, by halves where it does not read one of them."""
    quick = featurise_smiles([smiles[i] for i in rows])
    if quick is not None:
        return quick
    if len(rows) <= _FEW:
        return featurise(_parsed(smiles[i], i) for i in rows)
    middle = len(rows) // 2
    halves = (rows[:middle], rows[middle:])
    return PackedGraphs.concatenate([_featurised(smiles, half) for half in halves])


def _parsed(molecule: str | Chem.Mol, row: int) -> Any:
    mol = Chem.MolFromSmiles(molecule) if isinstance(molecule, str) else molecule
    if mol is None:
        raise ChempropError(
            f"molecules: expected SMILES that RDKit parses; found {molecule!r} in row {row + 1}"
        )
    return mol
