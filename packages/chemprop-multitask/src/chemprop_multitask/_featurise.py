"""Chemprop's featurisation, into packed graphs.

`SimpleMoleculeMolGraphFeaturizer` asks RDKit for each property of each atom from Python. Where
Chemprop brings cuik-molmaker, whole lists of SMILES are featurised in C++ in the time of their
parsing. It rounds the atoms' masses differently in the last bit, so each different row of features
is then replaced with the one that Chemprop makes of an atom that has it; the result is Chemprop's
to the last bit either way.

Graphs of SMILES are cached in memory and, in a `GraphStore` with a folder, on disk between runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from molpool_common import ContentStore, Float32Array, IntArray, Keys, mapped, tell, text_keys
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from chemprop_multitask._chemprop import MolGraph, SimpleMoleculeMolGraphFeaturizer
from chemprop_multitask._errors import ChempropError
from chemprop_multitask._packed import FlatGraph, PackedGraphs

Progress = Callable[[int, int], None]
"""Called with how many molecules of how many are featurised."""

_FORMAT = 1
_CHUNK = 4096
"""Molecules per file: a second of work, the most that a killed run loses."""

_FEW = 16
"""Molecules among which it is not worth while to look for the one that is read slowly."""

_AROMATIC_BOND, _AROMATIC_ATOM = 4, -2
"""Columns of Chemprop's default features."""

_ROUNDING = 1e-6
"""Largest difference of a feature that is rounding: masses / 100 are below 3."""


def featurise_smiles(smiles: Sequence[str]) -> PackedGraphs | None:
    """Return the graphs of SMILES by cuik-molmaker.

    Parameters
    ----------
    smiles : sequence of str
        N SMILES.

    Returns
    -------
    PackedGraphs or None
        None where it is not installed, does not read one of the SMILES or makes something else of
        it than Chemprop: then `featurise` can tell.
    """
    try:
        from chemprop.featurizers import CuikmolmakerMolGraphFeaturizer

        featurizer = CuikmolmakerMolGraphFeaturizer()
    except ImportError:  # Chemprop 2.2 without its extra
        return None
    with rdBase.BlockLogs():
        return _by_cuikmolmaker(featurizer, smiles)


def _by_cuikmolmaker(featurizer: Any, smiles: Sequence[str]) -> PackedGraphs | None:
    try:
        batch = featurizer(list(smiles))
    except RuntimeError:  # a faulty extension of a SMILES
        return None
    flat = FlatGraph(
        *(
            getattr(batch, name).numpy()
            for name in ("V", "E", "edge_index", "rev_edge_index", "batch")
        )
    )
    counts = np.bincount(flat.batch, minlength=len(smiles))
    if not counts.all() or _has_odd_bonds(flat, smiles):
        return None
    return _exact(PackedGraphs.from_flat(flat, counts), smiles)


def _has_odd_bonds(flat: FlatGraph, smiles: Sequence[str]) -> bool:
    """Whether a bond may be of a type that Chemprop has no bit for, such as dative ones.

    cuik-molmaker sets the bit of aromatic bonds for these.
    """
    called_aromatic = flat.E[:, _AROMATIC_BOND] == 1
    ends = flat.V[flat.edge_index[0, called_aromatic], _AROMATIC_ATOM]
    return not ends.all() or any("~" in text or "$" in text for text in smiles)


def featurise(mols: Iterable[Any]) -> PackedGraphs:
    """Return the graphs that `SimpleMoleculeMolGraphFeaturizer` makes, in single precision.

    Parameters
    ----------
    mols : iterable of rdkit.Chem.Mol
        N molecules.
    """
    featurizer = SimpleMoleculeMolGraphFeaturizer()
    return pack_graphs([featurizer(mol) for mol in mols])


def pack_graphs(graphs: Sequence[MolGraph]) -> PackedGraphs:
    """Pack Chemprop's graphs; features become single precision."""
    featurizer = SimpleMoleculeMolGraphFeaturizer()
    atoms = np.array([len(g.V) for g in graphs], dtype=np.int64)
    edges = np.array([len(g.E) for g in graphs], dtype=np.int64)
    shift = np.cumsum(atoms) - atoms
    empty = MolGraph(
        np.empty((0, featurizer.atom_fdim)),
        np.empty((0, featurizer.bond_fdim)),
        np.empty((2, 0), dtype=np.int64),
        np.empty(0, dtype=np.int64),
    )
    every = [empty, *graphs]
    flat = FlatGraph(
        np.concatenate([g.V for g in every]).astype(np.float32),
        np.concatenate([g.E for g in every]).astype(np.float32),
        np.concatenate([g.edge_index for g in every], axis=1) + np.repeat(shift, edges),
        np.concatenate([g.rev_edge_index for g in every])
        + np.repeat(np.cumsum(edges) - edges, edges),
        np.repeat(np.arange(len(graphs)), atoms),
    )
    return PackedGraphs.from_flat(flat, atoms)


def _exact(graphs: PackedGraphs, smiles: Sequence[str]) -> PackedGraphs | None:
    """Return the graphs with Chemprop's own rows of features; None if these are others."""
    chemprop = SimpleMoleculeMolGraphFeaturizer()
    atom_rows = _own_rows(
        graphs.atom_rows,
        graphs.atoms,
        graphs.atom_start,
        lambda molecule, i: chemprop.atom_featurizer(
            Chem.MolFromSmiles(smiles[molecule]).GetAtomWithIdx(i)
        ),
    )
    bond_rows = _own_rows(
        graphs.bond_rows,
        graphs.bonds,
        graphs.bond_start,
        lambda molecule, i: chemprop.bond_featurizer(
            Chem.MolFromSmiles(smiles[molecule]).GetBondWithIdx(i)
        ),
    )
    if atom_rows is None or bond_rows is None:
        return None
    return graphs.with_rows(atom_rows, bond_rows)


def _own_rows(
    rows: Float32Array,
    codes: NDArray[Any],
    start: IntArray,
    features: Callable[[int, int], Any],
) -> Float32Array | None:
    """Return what Chemprop makes of the first atom or bond that has each row."""
    own = np.empty_like(rows)
    used, first = np.unique(codes, return_index=True)
    for code, position in zip(used.tolist(), first.tolist(), strict=True):
        molecule = int(np.searchsorted(start, position, side="right")) - 1
        own[code] = features(molecule, position - int(start[molecule]))
    return own if np.allclose(own, rows, rtol=0, atol=_ROUNDING) else None


class GraphStore:
    """Chemprop's graphs by SMILES, in memory and in a folder that several processes may use.

    A graph is found by the text of its SMILES. Graphs of another version of Chemprop or RDKit are
    not: each pair of versions has a folder of its own. Files are written whole, by renaming, some
    thousand molecules each; a damaged one is left out with a warning and featurised again.

    Parameters
    ----------
    folder : str or Path, optional
        Made when something is first stored; by default graphs are cached in memory only.

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
        self._cached: list[tuple[Keys, PackedGraphs]] = []

    def graphs(self, smiles: Sequence[str], progress: Progress | None = None) -> PackedGraphs:
        """Return the graphs of N SMILES; those not found are featurised and stored.

        Parameters
        ----------
        smiles : sequence of str
            N SMILES.
        progress : callable, optional
            Called as the featurisation goes on; never where all are found.

        Raises
        ------
        ChempropError
            If a SMILES does not parse; names the row.
        """
        return pack(smiles, self, progress)

    def find(self, keys: Keys) -> tuple[list[PackedGraphs], IntArray]:
        """Return known graphs, and the position of each key among them, -1 where not known.

        Parameters
        ----------
        keys : ndarray of bytes [N]
            Distinct and ascending.
        """
        parts: list[PackedGraphs] = []
        position = np.full(len(keys), -1, dtype=np.int64)
        for theirs, graphs in self._cached:
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

    def cache(self, keys: Keys, graphs: PackedGraphs) -> None:
        """Cache graphs in memory, under keys that ascend."""
        self._cached.append((keys, graphs))


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
        Where graphs of SMILES are looked for and cached; those of parsed molecules, whose atoms may
        be in any order, are not.
    progress : callable, optional
        Called as the featurisation goes on.

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
    chunks = [todo[start : start + _CHUNK] for start in range(0, len(todo), _CHUNK)]
    texts = ({i: molecules[i] for i in first[rows].tolist()} for rows in chunks)
    done = 0
    for rows, part in zip(chunks, mapped(_chunk, None, texts), strict=True):
        if store is not None:
            store.write(keys[rows], part)
        parts.append(part)
        done += len(rows)
        tell("Featurising", done, len(todo), "molecules")
        if progress is not None:
            progress(done, len(todo))
    if not parts:
        return featurise([])
    graphs = PackedGraphs.concatenate(parts)
    if store is not None and store.hits + store.misses > before:
        store.cache(keys, graphs.take(position))
    return graphs.take(position[inverse])


def _chunk(_: None, smiles: Mapping[int, str]) -> PackedGraphs:
    """Featurise SMILES by the rows that they are of."""
    return _featurised(smiles, list(smiles))


def _featurised(smiles: Mapping[int, str], rows: Sequence[int]) -> PackedGraphs:
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
