"""Embeddings and predictions of ADMET-AI's ten Chemprop networks.

Chemprop takes longer to import than most tables take to featurise, and torch multiplies these small
matrices at half of NumPy's speed: here it is NumPy; `tests/test_admet.py` holds it against Chemprop
and ADMET-AI.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
from molpool_common import Float32Array, IntArray
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

from molecule_features._chemprop import chemprop_version, installed
from molecule_features._errors import missing_extra
from molecule_features._featurizer import OwnFeaturizer, read

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_BATCH = 16
"""Molecules of one call of the networks, whose bonds fit into a core's cache: more goes slower."""

_CLASSES = (
    "AMES BBB_Martins Bioavailability_Ma CYP1A2_Veith CYP2C19_Veith "
    "CYP2C9_Substrate_CarbonMangels CYP2C9_Veith CYP2D6_Substrate_CarbonMangels CYP2D6_Veith "
    "CYP3A4_Substrate_CarbonMangels CYP3A4_Veith Carcinogens_Lagunin ClinTox DILI HIA_Hou "
    "NR-AR-LBD NR-AR NR-AhR NR-Aromatase NR-ER-LBD NR-ER NR-PPAR-gamma PAMPA_NCATS "
    "Pgp_Broccatelli SR-ARE SR-ATAD5 SR-HSE SR-MMP SR-p53 Skin_Reaction hERG"
)
_VALUES = (
    "Caco2_Wang Clearance_Hepatocyte_AZ Clearance_Microsome_AZ Half_Life_Obach "
    "HydrationFreeEnergy_FreeSolv LD50_Zhu Lipophilicity_AstraZeneca PPBR_AZ "
    "Solubility_AqSolDB VDss_Lombardo"
)
_TASKS = {"admet_classification": _CLASSES.split(), "admet_regression": _VALUES.split()}
"""End points of the Therapeutics Data Commons that ADMET-AI's networks were trained on, in the
order of their outputs; the folders of its networks are named so."""

_N_NETWORKS, _HIDDEN = 5, 300
"""Networks in each of the two folders, and the width of their message passing."""

_DEPTH, _NORM = 3, 100.0
"""Steps of message passing, and what sums over a molecule's atoms are divided by."""


class AdmetFingerprint(OwnFeaturizer):
    """Ten embeddings of 300, of the networks of ADMET-AI.

    References
    ----------
    Swanson et al., "ADMET-AI: a machine learning ADMET platform for evaluation of large-scale
    chemical libraries", Bioinformatics 40 (2024) btae416; weights under the MIT licence.
    """

    milliseconds = 5.0
    # Threads of the products share one copy of the weights.
    in_processes = False
    trained_on = tuple(task for tasks in _TASKS.values() for task in tasks)

    def __init__(self, name: str = "admet_fingerprint") -> None:
        super().__init__(name, "embedding")

    @property
    def version(self) -> str:
        """Of admet-ai, Chemprop and RDKit."""
        return chemprop_version("admet-ai", installed("admet-ai", self.name))

    @property
    def names(self) -> tuple[str, ...]:
        """The folder of the network, its number, and the column."""
        return tuple(
            f"{folder}_{k}_{i}"
            for folder in _TASKS
            for k in range(_N_NETWORKS)
            for i in range(_HIDDEN)
        )

    def transform(self, smiles: Sequence[str], /) -> Float32Array:
        """Return float32 [N, F] of canonical SMILES."""
        networks = _networks(self.name)
        parts = [np.empty((0, self.width), dtype=np.float32)]
        for start in range(0, len(smiles), _BATCH):
            graphs = _Graphs.of(read(text) for text in smiles[start : start + _BATCH])
            parts.append(self._numbers([(n, n.embedding(graphs)) for n in networks]))
        return np.concatenate(parts)

    def _numbers(self, said: Sequence[tuple[_Network, Float32Array]]) -> Float32Array:
        """Return the numbers [N, F] of networks with their embeddings [N, 300]."""
        return np.concatenate([embedding for _, embedding in said], axis=1)


class AdmetPrediction(AdmetFingerprint):
    """The 41 predictions of ADMET-AI: probabilities, or values in the units of its end points.

    Each is the mean of five networks that were trained on the whole public data of its end point.
    As features of that same end point they have seen the answers: `Block.trained_on` says which.
    """

    def __init__(self) -> None:
        super().__init__("admet_prediction")
        self.kind = "descriptor"

    @property
    def names(self) -> tuple[str, ...]:
        """The end points."""
        return tuple(f"admet_{task}" for task in self.trained_on)

    def _numbers(self, said: Sequence[tuple[_Network, Float32Array]]) -> Float32Array:
        found = [network.predictions(embedding) for network, embedding in said]
        folders = (found[:_N_NETWORKS], found[_N_NETWORKS:])
        return np.concatenate([np.mean(folder, axis=0) for folder in folders], axis=1)


@dataclass(frozen=True)
class _Network:
    """Weights by their names in the file."""

    weights: dict[str, Float32Array]

    def embedding(self, graphs: _Graphs) -> Float32Array:
        """Return what the molecules of a batch are [N, 300], by message passing over bonds.

        References
        ----------
        Yang et al., J. Chem. Inf. Model. 59 (2019) 3370-3388, equations 1 to 5.
        """
        own = self.weights
        into, between, out = (
            own[f"message_passing.{name}.weight"].T for name in ("W_i", "W_h", "W_o")
        )
        start = graphs.bonds @ into
        hidden = np.maximum(start, 0)
        for _ in range(1, _DEPTH):
            messages = (graphs.entering @ hidden)[graphs.source] - hidden[graphs.reverse]
            hidden = np.maximum(start + messages @ between, 0)
        inputs = np.hstack([graphs.atoms, graphs.entering @ hidden])
        atoms = np.maximum(inputs @ out + own["message_passing.W_o.bias"], 0)
        return np.asarray(graphs.within @ atoms / _NORM, dtype=np.float32)

    def predictions(self, embedding: Float32Array) -> Float32Array:
        """Return probabilities, or values in units of the end points, [N, T]."""
        own = self.weights
        hidden = embedding
        for place, name in enumerate(("0.0", "1.2")):
            hidden = hidden if place == 0 else np.maximum(hidden, 0)
            layer = f"predictor.ffn.{name}"
            hidden = hidden @ own[f"{layer}.weight"].T + own[f"{layer}.bias"]
        scale = own.get("predictor.output_transform.scale")
        if scale is None:
            return np.asarray(expit(hidden))
        return (hidden * scale + own["predictor.output_transform.mean"]).astype(np.float32)


@cache
def _networks(featurizer: str) -> tuple[_Network, ...]:
    # Looked up rather than imported, which would read tables of drugs.
    spec = find_spec("admet_ai")
    if spec is None or spec.origin is None:
        raise missing_extra(featurizer, "admet-ai", "admet")
    models = Path(spec.origin).parent / "resources" / "models"
    return tuple(
        _Network(_weights(models / folder / f"model_{k}.pt"))
        for folder in _TASKS
        for k in range(_N_NETWORKS)
    )


_STORAGES = {"FloatStorage": np.float32, "DoubleStorage": np.float64, "LongStorage": np.int64}


def _weights(path: Path) -> dict[str, Float32Array]:
    """Return the tensors of a file of torch's; what else is pickled there is not made."""
    with ZipFile(path) as archive:
        entry = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        folder = entry.removesuffix("data.pkl")

        class Tensors(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                    return _rebuilt
                if module == "torch" and name in _STORAGES:
                    return _STORAGES[name]
                return OrderedDict if name == "OrderedDict" else _Ignored

            def persistent_load(self, pid: Any) -> NDArray[Any]:
                return np.frombuffer(archive.read(f"{folder}data/{pid[2]}"), dtype=pid[1])

        with archive.open(entry) as file:
            content = Tensors(file).load()
    return dict(content["state_dict"])


def _rebuilt(
    storage: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int], *_: Any
) -> NDArray[Any]:
    steps = [storage.itemsize * step for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


class _Ignored(dict[Any, Any]):
    """Stands for an object of a class that is not imported."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, _: Any) -> None: ...

    def append(self, _: Any) -> None:
        """Take what a pickled list of this class would."""


_CHARGES = {-1: 0, -2: 1, 1: 2, 2: 3, 0: 4}
_ELEMENTS = {**{number: number - 1 for number in range(1, 37)}, 53: 36}
_HYBRIDS = {name: i for i, name in enumerate(("S", "SP", "SP2", "SP2D", "SP3", "SP3D", "SP3D2"))}
_ATOM_SIZES = (38, 7, 6, 5, 6, 8)
"""One-hot columns of element, degree, charge, chiral tag, hydrogens and hybridisation, each with
one for all others; aromaticity and mass follow."""

_BOND_TYPES = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3, "AROMATIC": 4}
_N_ATOM, _N_BOND = sum(_ATOM_SIZES) + 2, 14
_FIRST = np.cumsum([0, *_ATOM_SIZES[:-1]])


@dataclass(frozen=True)
class _Graphs:
    """A batch of molecules with Chemprop's features of atoms and bonds (its mode V2).

    Each bond stands twice, once in each direction, in order of the atom that it enters.

    Parameters
    ----------
    atoms : ndarray of float32 [A, 72]
        Molecule after molecule.
    bonds : ndarray of float32 [B, 86]
        Of the atom that a bond leaves, and its own.
    source, reverse : ndarray of int [B]
        Atom that a bond leaves, and the same bond in the other direction.
    entering : csr_array of float32 [A, B]
        1 where a bond enters an atom.
    within : csr_array of float32 [M, A]
        1 where an atom is a molecule's.
    """

    atoms: Float32Array
    bonds: Float32Array
    source: IntArray
    reverse: IntArray
    entering: Any
    within: Any

    @classmethod
    def of(cls, mols: Iterable[Mol]) -> _Graphs:
        """Return the graphs of molecules."""
        places: list[tuple[int, ...]] = []
        more: list[tuple[float, float]] = []
        ends: list[tuple[int, int]] = []
        features: list[tuple[int, int, int, int]] = []
        first_atom: list[int] = []
        for mol in mols:
            first = len(places)
            first_atom.append(first)
            for atom in mol.GetAtoms():
                places.append(_places(atom))
                more.append((atom.GetIsAromatic(), 0.01 * atom.GetMass()))
            for bond in mol.GetBonds():
                ends.append((first + bond.GetBeginAtomIdx(), first + bond.GetEndAtomIdx()))
                features.append(_of_bond(bond))
        return cls._from(
            np.array(places) + _FIRST,
            np.array(more, dtype=np.float32),
            np.array(ends, dtype=np.int64).reshape(-1, 2),
            np.array(features, dtype=np.int64).reshape(-1, 4),
            np.array(first_atom),
        )

    @classmethod
    def _from(
        cls,
        places: IntArray,
        more: Float32Array,
        ends: IntArray,
        features: IntArray,
        first_atom: IntArray,
    ) -> _Graphs:
        atoms = np.zeros((len(places), _N_ATOM), dtype=np.float32)
        np.put_along_axis(atoms, places, 1, axis=1)
        atoms[:, -2:] = more
        bond = np.zeros((len(ends), _N_BOND), dtype=np.float32)
        rows = np.arange(len(ends))
        kind, conjugated, in_ring, stereo = features.T
        bond[rows[kind > 0], kind[kind > 0]] = 1
        bond[:, 5], bond[:, 6] = conjugated, in_ring
        bond[rows, 7 + stereo] = 1
        source, target = np.concatenate([ends, ends[:, ::-1]]).T
        order = np.argsort(target, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        other = np.concatenate([rows + len(ends), rows])
        both = np.concatenate([bond, bond])[order]
        source = source[order]
        return cls(
            atoms,
            np.hstack([atoms[source], both]),
            source,
            place[other[order]],
            _groups(np.bincount(target, minlength=len(atoms))),
            _groups(np.diff([*first_atom, len(atoms)])),
        )


def _groups(sizes: IntArray) -> Any:
    """Return 1 [groups, rows] where a row is of a group; rows stand group after group."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    n = int(ends[-1])
    return csr_array((np.ones(n, dtype=np.float32), np.arange(n), ends), shape=(len(sizes), n))


def _places(atom: Any) -> tuple[int, ...]:
    return (
        _ELEMENTS.get(atom.GetAtomicNum(), 37),
        min(atom.GetTotalDegree(), 6),
        _CHARGES.get(atom.GetFormalCharge(), 5),
        min(int(atom.GetChiralTag()), 4),
        min(atom.GetTotalNumHs(), 5),
        _HYBRIDS.get(atom.GetHybridization().name, 7),
    )


def _of_bond(bond: Any) -> tuple[int, int, int, int]:
    return (
        _BOND_TYPES.get(bond.GetBondType().name, 0),
        bond.GetIsConjugated(),
        bond.IsInRing(),
        min(int(bond.GetStereo()), 6),
    )
