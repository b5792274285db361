"""Scaffold split: molecules that share a Bemis–Murcko scaffold stay together.

Molecules without a ring share the empty scaffold, as in Chemprop and DeepChem. The rows of one
molecule can differ in scaffold (tautomers); what is kept together is then the connected component
of molecules and scaffolds.
"""

from __future__ import annotations

import numpy as np

from molpool_common.splits._fill import assign_blocks
from molpool_common.splits._rows import Assign, Rows, Shares
from molpool_common.splits._split import Indices


def prepare_scaffold(rows: Rows) -> Assign:
    """Return the assignment of molecules by scaffold."""
    from molpool_common.chem import murcko_scaffolds

    scaffolds = murcko_scaffolds(rows.need_mols("scaffold"))
    block = connected(rows.molecule, np.unique(scaffolds, return_inverse=True)[1])

    def assign(members: Indices, shares: Shares, rng: np.random.Generator) -> Indices:
        return assign_blocks("scaffolds", block[members], rows.size[members], shares, rng)

    return assign


def connected(molecule: Indices, label: Indices) -> Indices:
    """Return the component [U] of each molecule, where rows of one label or molecule are linked.

    Parameters
    ----------
    molecule, label : ndarray of int64 [N]
        Numbers from 0 of each row.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_molecules = int(molecule.max()) + 1
    n_nodes = n_molecules + int(label.max()) + 1
    edges = (np.ones(len(molecule)), (molecule, n_molecules + label))
    graph = coo_array(edges, shape=(n_nodes, n_nodes))
    component = connected_components(graph, directed=False)[1]
    return np.asarray(component[:n_molecules], dtype=np.int64)
