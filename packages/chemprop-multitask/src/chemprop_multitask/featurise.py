"""Chemprop's featurisation, into packed graphs.

`SimpleMoleculeMolGraphFeaturizer` asks RDKit for each property of each atom from Python. Where
Chemprop brings cuik-molmaker, whole lists of SMILES are featurised in C++ in the time of their
parsing. It rounds the atoms' masses differently in the last bit, so each different row of features
is then replaced with the one that Chemprop makes of an atom that has it; the result is Chemprop's
to the last bit either way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from chemprop.data.molgraph import MolGraph
from chemprop.featurizers import SimpleMoleculeMolGraphFeaturizer
from numpy.typing import NDArray
from rdkit import Chem, rdBase

from chemprop_multitask.packed import FlatGraph, PackedGraphs

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
        return _featurised(featurizer, smiles)


def _featurised(featurizer: Any, smiles: Sequence[str]) -> PackedGraphs | None:
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
    rows: NDArray[np.float32],
    codes: NDArray[Any],
    start: NDArray[np.int64],
    features: Callable[[int, int], Any],
) -> NDArray[np.float32] | None:
    """Return what Chemprop makes of the first atom or bond that has each row."""
    own = np.empty_like(rows)
    used, first = np.unique(codes, return_index=True)
    for code, position in zip(used.tolist(), first.tolist(), strict=True):
        molecule = int(np.searchsorted(start, position, side="right")) - 1
        own[code] = features(molecule, position - int(start[molecule]))
    return own if np.allclose(own, rows, rtol=0, atol=_ROUNDING) else None
