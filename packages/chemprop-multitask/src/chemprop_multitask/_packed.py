"""Graphs of many molecules in flat arrays, a sixtieth of their size as Chemprop's graphs.

Atoms of drug-like molecules have some hundred different feature rows, bonds some ten. Each row is
stored once, in single precision, and an atom or bond is a small number that refers to it: under 200
bytes per molecule of 27 atoms instead of 13 000. What comes out is bit for bit what went in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from molpool_common import Float32Array, IntArray
from numpy.typing import NDArray

from chemprop_multitask._chemprop import MolGraph

Codes = NDArray[np.unsignedinteger[Any]]


class FlatGraph(NamedTuple):
    """One graph of several molecules side by side, as Chemprop's message passing takes it.

    Parameters
    ----------
    V : ndarray of float32 [A, F]
        Atom features.
    E : ndarray of float32 [2 B, G]
        Features of directed bonds; the two directions of a bond follow each other.
    edge_index : ndarray of int64 [2, 2 B]
        Atoms that a directed bond leaves and enters.
    rev_edge_index : ndarray of int64 [2 B]
        The other direction of each.
    batch : ndarray of int64 [A]
        Molecule of each atom, from 0.
    """

    V: Float32Array
    E: Float32Array
    edge_index: IntArray
    rev_edge_index: IntArray
    batch: IntArray


@dataclass(frozen=True)
class PackedGraphs:
    """N molecular graphs with A atoms and B bonds in all.

    Parameters
    ----------
    atom_rows : ndarray of float32 [K, F]
        The different rows of atom features.
    bond_rows : ndarray of float32 [L, G]
        The different rows of bond features.
    atom_start, bond_start : ndarray of int64 [N + 1]
        Where the atoms and bonds of each molecule begin.
    atoms : ndarray of unsigned int [A]
        Row in `atom_rows` of each atom.
    bonds : ndarray of unsigned int [B]
        Row in `bond_rows` of each bond.
    begin, end : ndarray of unsigned int [B]
        Atoms of each bond, from 0 in their molecule.
    """

    atom_rows: Float32Array
    bond_rows: Float32Array
    atom_start: IntArray
    bond_start: IntArray
    atoms: Codes
    bonds: Codes
    begin: Codes
    end: Codes

    def __len__(self) -> int:
        return len(self.atom_start) - 1

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in vars(self).values())

    def flat(self, rows: Sequence[int] | IntArray) -> FlatGraph:
        """Return the molecules of these rows as one graph, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        atoms, atom_start = _spans(self.atom_start, chosen)
        bonds, bond_start = _spans(self.bond_start, chosen)
        # Ends of bonds count within a molecule, which keeps them in a byte and makes molecules
        # movable.
        shift = np.repeat(atom_start[:-1], np.diff(bond_start))
        begin, end = self.begin[bonds] + shift, self.end[bonds] + shift
        edge_index = np.empty((2, 2 * len(bonds)), dtype=np.int64)
        edge_index[0, 0::2] = edge_index[1, 1::2] = begin
        edge_index[1, 0::2] = edge_index[0, 1::2] = end
        return FlatGraph(
            V=self.atom_rows[self.atoms[atoms]],
            E=self.bond_rows[np.repeat(self.bonds[bonds], 2)],
            edge_index=edge_index,
            # 1, 0, 3, 2, ...: the directions of a bond are neighbours.
            rev_edge_index=np.arange(2 * len(bonds)) ^ 1,
            batch=np.repeat(np.arange(len(chosen)), np.diff(atom_start)),
        )

    def graph(self, row: int) -> MolGraph:
        """Return the graph of one molecule as Chemprop's own."""
        flat = self.flat([row])
        return MolGraph(flat.V, flat.E, flat.edge_index, flat.rev_edge_index)

    def take(self, rows: IntArray) -> PackedGraphs:
        """Return the molecules of these rows, in this order."""
        atoms, atom_start = _spans(self.atom_start, rows)
        bonds, bond_start = _spans(self.bond_start, rows)
        return PackedGraphs(
            self.atom_rows,
            self.bond_rows,
            atom_start,
            bond_start,
            self.atoms[atoms],
            self.bonds[bonds],
            self.begin[bonds],
            self.end[bonds],
        )

    def with_features(self, atoms: Float32Array, bonds: Float32Array) -> PackedGraphs:
        """Return the same molecules with more features of each atom [A, n] and bond [B, m]."""
        changes: dict[str, Any] = {}
        for kind, more in (("atom", atoms), ("bond", bonds)):
            if more.shape[1]:
                own = getattr(self, f"{kind}_rows")[getattr(self, f"{kind}s")]
                changes[f"{kind}_rows"] = np.hstack([own, more])
                changes[f"{kind}s"] = np.arange(len(more), dtype=np.uint32)
        return replace(self, **changes)

    def with_rows(self, atom_rows: Float32Array, bond_rows: Float32Array) -> PackedGraphs:
        """Return the same molecules with other rows of features, as many as before."""
        return replace(self, atom_rows=atom_rows, bond_rows=bond_rows)

    @classmethod
    def from_flat(cls, flat: FlatGraph, n_atoms: IntArray) -> PackedGraphs:
        """Pack molecules that lie side by side.

        Parameters
        ----------
        flat : FlatGraph
            N molecules.
        n_atoms : ndarray of int64 [N]
            Atoms of each.

        Raises
        ------
        RuntimeError
            If the two directions of a bond do not follow each other: another version of Chemprop.
        """
        begin, end = flat.edge_index[:, 0::2]
        other = np.arange(len(flat.E)) ^ 1
        if not (
            np.array_equal(flat.rev_edge_index, other)
            and np.array_equal(flat.edge_index[:, other], flat.edge_index[::-1])
            and np.array_equal(flat.E[0::2], flat.E[1::2])
        ):
            raise RuntimeError(
                "chemprop: expected the two directions of a bond one after the other; found a "
                "graph of another layout"
            )
        atom_start = _starts(n_atoms)
        molecule = flat.batch[begin]
        atom_rows, atoms = _distinct(flat.V)
        bond_rows, bonds = _distinct(np.ascontiguousarray(flat.E[0::2]))
        return cls(
            atom_rows,
            bond_rows,
            atom_start,
            _starts(np.bincount(molecule, minlength=len(n_atoms))),
            atoms,
            bonds,
            _compact(begin - atom_start[molecule]),
            _compact(end - atom_start[molecule]),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[PackedGraphs]) -> PackedGraphs:
        """Return the molecules of all parts, one part after the other.

        Parameters
        ----------
        parts : sequence of PackedGraphs
            At least one.
        """
        if len(parts) == 1:
            return parts[0]
        atom_rows, atoms = _merged([(p.atom_rows, p.atoms) for p in parts])
        bond_rows, bonds = _merged([(p.bond_rows, p.bonds) for p in parts])
        return cls(
            atom_rows,
            bond_rows,
            _starts(np.concatenate([np.diff(p.atom_start) for p in parts])),
            _starts(np.concatenate([np.diff(p.bond_start) for p in parts])),
            atoms,
            bonds,
            np.concatenate([p.begin for p in parts]),
            np.concatenate([p.end for p in parts]),
        )


def _starts(counts: NDArray[Any]) -> IntArray:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _spans(start: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """Return the positions of all members of these rows, and where each row's begin among them."""
    counts = start[rows + 1] - start[rows]
    new = _starts(counts)
    # All ranges start[r] .. start[r + 1] at once: each range's shift repeated, plus one running
    # index.
    return np.repeat(start[rows] - new[:-1], counts) + np.arange(new[-1]), new


def _compact(values: NDArray[Any]) -> Codes:
    # Atoms of drug-like molecules have a few hundred different feature rows: codes of one or two
    # bytes replace rows of hundreds.
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _distinct(rows: Float32Array) -> tuple[Float32Array, Codes]:
    """Return the different rows, compared as bits, and the number of each row's."""
    number: dict[bytes, int] = {}
    # Hashing rows as bytes is linear, where np.unique over an axis sorts; bits, not values, so that
    # unpacking is exact.
    texts = rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist()
    codes = np.array([number.setdefault(text, len(number)) for text in texts], dtype=np.int64)
    first = np.unique(codes, return_index=True)[1]
    return rows[first], _compact(codes)


def _merged(
    parts: Sequence[tuple[Float32Array, Codes]],
) -> tuple[Float32Array, Codes]:
    """Return the different rows of all parts, and all codes as codes of these."""
    rows, code = _distinct(np.concatenate([table for table, _ in parts]))
    first = _starts(np.array([len(table) for table, _ in parts]))
    codes = [code[start + c.astype(np.int64)] for start, (_, c) in zip(first, parts, strict=False)]
    return rows, np.concatenate(codes)
