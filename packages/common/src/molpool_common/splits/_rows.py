"""What is split: rows, the molecules they belong to, what the methods look at; and the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from molpool_common._arrays import FloatArray, IntArray, StrArray
from molpool_common._errors import InputError, listed

if TYPE_CHECKING:
    from rdkit.Chem import Mol


Indices = IntArray
Standardize = Literal["none", "parent", "tautomer"]
"""How structures are compared: as given, as their parents, or as one tautomer of these.

Here rather than beside `standardize`, so that configurations need no RDKit.
"""

Structure = Literal["given", "parent", "tautomer"]
"""What a model sees of a molecule: what stands in the table, or what `standardize` makes of it."""

ClusterMethod = Literal["butina", "leaders"]
"""How molecules are clustered: by Butina's algorithm, or around leaders (sphere exclusion)."""


@dataclass(frozen=True, eq=False)
class Split:
    """Rows to train on, to validate on and to test on; unpacks as `train, val, test`.

    Parameters
    ----------
    train, val, test : ndarray of int64
        Row indices, ascending and disjoint.
    """

    train: Indices
    val: Indices
    test: Indices

    def __iter__(self) -> Iterator[Indices]:
        yield self.train
        yield self.val
        yield self.test

    def check(self, groups: Sequence[object] | NDArray[np.generic]) -> None:
        """Raise if a group has rows in two splits.

        Parameters
        ----------
        groups : sequence, length N
            Key of each row of the table.

        Raises
        ------
        InputError
            Naming the groups and the splits.
        """
        splits = {
            name: {groups[row] for row in rows.tolist()}
            for name, rows in zip(("train", "val", "test"), self, strict=True)
        }
        for (one, left), (other, right) in combinations(splits.items(), 2):
            shared = sorted(str(g) for g in left & right)
            if shared:
                raise InputError(
                    "split",
                    expected="every group in one split",
                    found=f"{len(shared)} in both {one} and {other}: {listed(shared, limit=3)}",
                )


Shares = FloatArray
Groups = Sequence[object] | NDArray[np.generic]
Times = Sequence[object] | NDArray[Any]
Assign = Callable[[Indices, Shares, np.random.Generator], Indices]
"""Assign molecules to splits: ascending molecule indices [M], positive shares [S] of sum 1, and a
generator give the split of each molecule [M], every split with at least one molecule."""


@dataclass(frozen=True)
class Rows:
    """A table as the split methods see it; molecules are numbered in the order of their keys.

    Molecule numbers do not depend on the order of rows, and so neither does a split by them. What a
    method does not ask for is neither parsed nor checked beyond its length.

    Parameters
    ----------
    molecule : ndarray of int64 [N]
        Molecule of each row, 0 to U - 1.
    size : ndarray of int64 [U]
        Rows of each molecule.
    mols, smiles : sequence, length N, or None
        Structure of each row, in either form.
    times : sequence, length N, or None
        Time of each row, as given.
    targets : array_like [N, T] or None
        NaN = no label.
    structure : ndarray of int64 [N]
        Structure of each row, 0 to V - 1, of which a molecule here may have several: series or
        projects that are kept together.
    """

    molecule: Indices
    size: Indices
    mols: Sequence[Mol] | None
    smiles: Sequence[str] | None
    times: Times | None
    targets: ArrayLike | None
    structure: Indices

    def need_mols(self, method: str) -> Sequence[Mol]:
        """Return the structures or raise."""
        if self.mols is not None:
            return _check_mols(self.mols)
        if self.smiles is None:
            raise _missing("mols", "a molecule or SMILES of each row", method)
        from molpool_common._chem import parse_smiles

        return parse_smiles(self.smiles).require_all()

    def need_times(self) -> Times:
        """Return the times as given or raise."""
        if self.times is None:
            raise _missing("times", "a time of each row", "time")
        return self.times

    def need_targets(self) -> FloatArray:
        """Return the targets or raise."""
        if self.targets is None:
            raise _missing("targets", "labels [N, T]", "stratified")
        targets = np.asarray(self.targets, dtype=np.float64)
        if targets.ndim != 2:
            raise InputError("targets", expected="labels [N, T]", found=f"shape {targets.shape}")
        _check_length("targets", targets, len(self.molecule))
        return targets

    def first_rows(self) -> Indices:
        """Return the first row of each structure [V]."""
        return np.unique(self.structure, return_index=True)[1].astype(np.int64)


def molecule_groups(mols: Sequence[Mol | None]) -> StrArray:
    """Return the molecule key of each row: the first block of its InChIKey.

    Rows with one key are one molecule to every split: stereoisomers and isotopologues together.

    Parameters
    ----------
    mols : sequence of Mol, length N
        Structure of each row; None, as `parse_smiles` leaves it, is refused.

    Raises
    ------
    InputError
        If a row has no structure.
    """
    from molpool_common._chem import inchikey_blocks

    return np.asarray(inchikey_blocks(_check_mols(mols)), dtype=np.str_)


def joined_groups(groups: Groups, others: Groups) -> list[str]:
    """Return one key for rows that share a group, another key, or a chain of them.

    Parameters
    ----------
    groups : sequence, length N
        Molecule key of each row.
    others : sequence, length N
        A second key: series, project, plate; None, NaN and "" link nothing.

    Returns
    -------
    list of str, length N
        The first molecule key, in their order, of what is kept together.
    """
    keys = _keys(groups)
    _check_length("others", others, len(keys))
    distinct, molecule = np.unique(keys, return_inverse=True)
    there = [k for k, o in enumerate(others) if not (o is None or o != o or str(o).strip() == "")]
    named = np.array([str(others[k]).strip() for k in there], dtype=np.str_)
    if not there:
        return [str(key) for key in keys]
    label = np.unique(named, return_inverse=True)[1]
    component = connected(molecule[there], label, len(distinct))
    # Molecules are sorted by key: the first of each component names it.
    first = np.unique(component, return_index=True)[1]
    return [str(distinct[first[component[m]]]) for m in molecule.tolist()]


def connected(molecule: Indices, label: Indices, n_molecules: int | None = None) -> Indices:
    """Return the component [U] of each molecule, where rows of one label or molecule are linked.

    Parameters
    ----------
    molecule, label : ndarray of int64 [N]
        Numbers from 0 of each row.
    n_molecules : int, optional
        U; by default those that `molecule` has.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_molecules = int(molecule.max()) + 1 if n_molecules is None else n_molecules
    n_nodes = n_molecules + int(label.max()) + 1
    edges = (np.ones(len(molecule)), (molecule, n_molecules + label))
    # Molecules and labels as two kinds of nodes, a row as an edge: no pair of molecules is formed.
    graph = coo_array(edges, shape=(n_nodes, n_nodes))
    component = connected_components(graph, directed=False)[1]
    return np.unique(component[:n_molecules], return_inverse=True)[1].astype(np.int64)


def gather_rows(
    groups: Groups,
    mols: Sequence[Mol] | None,
    smiles: Sequence[str] | None,
    times: Times | None,
    targets: ArrayLike | None,
    structures: Groups | None = None,
) -> Rows:
    """Check what a caller gave and number its molecules."""
    keys = _keys(groups)
    _check_length("structures", structures, len(keys))
    _, molecule, size = np.unique(keys, return_inverse=True, return_counts=True)
    for name, given in (("mols", mols), ("smiles", smiles), ("times", times)):
        _check_length(name, given, len(keys))
    return Rows(
        molecule=molecule.astype(np.int64),
        size=size.astype(np.int64),
        mols=mols,
        smiles=smiles,
        times=times,
        targets=targets,
        structure=molecule.astype(np.int64)
        if structures is None
        else np.unique(_keys(structures), return_inverse=True)[1].astype(np.int64),
    )


def _keys(groups: Groups) -> StrArray:
    keys = list(groups)
    if not keys:
        raise InputError("groups", expected="a molecule key of each row", found="no rows")
    # key != key: NaN, as pandas has for an empty cell.
    missing = [row for row, key in enumerate(keys) if key is None or key != key or key == ""]
    if missing:
        raise InputError(
            "groups",
            expected="a molecule key of each row",
            found="none",
            where=f"rows {listed(missing)}",
        )
    return np.asarray([str(key) for key in keys], dtype=np.str_)


def _check_length(name: str, given: Any, n_rows: int) -> None:
    if given is not None and len(given) != n_rows:
        raise InputError(name, expected=f"{n_rows} rows, as groups has", found=str(len(given)))


def _check_mols(mols: Sequence[Mol | None]) -> Sequence[Mol]:
    missing = [row for row, mol in enumerate(mols) if mol is None]
    if missing:
        raise InputError(
            "mols", expected="a molecule of each row", found="none", where=f"rows {listed(missing)}"
        )
    return [mol for mol in mols if mol is not None]


def _missing(parameter: str, expected: str, method: str) -> InputError:
    return InputError(parameter, expected=f"{expected} for method {method!r}", found="none")
