"""The cache of what was computed of SMILES: files of a few arrays, each of some dozen molecules.

A file is written as soon as it is full and never changed; results are found by a hash of the
SMILES. The folder's name holds a hash of the settings and RDKit's version, so that other settings
find none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, NamedTuple, Self, TypeVar

import numpy as np
from molpool_common import ConfigModel, ContentStore, Float32Array, FloatArray, IntArray, Keys
from numpy.typing import NDArray

from mil_attn._config import DescriptorSet
from mil_attn.data._molecule_features import Conformers, Described, names_3d

ResultT = TypeVar("ResultT")
Arrays = Mapping[str, NDArray[Any]]

CHUNK = 64
"""Molecules per file: half a minute of work, the most that a killed run loses beside the few that
were being computed."""

_FORMAT = 1


def store_of(
    cache: Path | None, name: str, config: ConfigModel, families: Sequence[str] = ()
) -> ContentStore | None:
    """Return the store of results of these settings and this RDKit; None without a cache."""
    if cache is None:
        return None
    from molpool_common import most_atoms, rdkit_version

    settings = config.model_dump_json() + ",".join(families)
    # That a molecule is too large is kept too, and may be taken back.
    settings += "" if most_atoms() == 1000 else f"atoms {most_atoms()}"
    # Settings and RDKit's version are in the name: changed ones never read stale features.
    digest = blake2b(settings.encode(), digest_size=8).hexdigest()
    return ContentStore(cache / f"{name}-{_FORMAT}-rdkit-{rdkit_version()}-{digest}")


def found(
    keys: Keys,
    store: ContentStore | None,
    unpack: Callable[[Arrays, IntArray], Iterator[ResultT]],
) -> Iterator[tuple[int, ResultT]]:
    """Yield position and result of each key [N] in the store, file by file."""
    if store is None or not len(keys):
        return
    for arrays, there, asked in store.find(keys):
        yield from zip(asked.tolist(), unpack(arrays, there), strict=True)


class CacheWriter(Generic[ResultT]):
    """Writes results to a store some at a time, and the rest at the end, come what may."""

    def __init__(
        self, store: ContentStore | None, pack: Callable[[Sequence[ResultT]], Arrays]
    ) -> None:
        self._store = store
        self._pack = pack
        self._keys: list[bytes] = []
        self._results: list[ResultT] = []

    def put(self, key: bytes, result: ResultT) -> None:
        """Take a result; write a file where there are enough."""
        if self._store is None:
            return
        self._keys.append(key)
        self._results.append(result)
        if len(self._keys) >= CHUNK:
            self.write()

    def write(self) -> None:
        """Write what there is."""
        if self._store is not None and self._keys:
            self._store.add(np.array(self._keys, dtype="S16"), self._pack(self._results))
        self._keys, self._results = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.write()


class Instances(NamedTuple):
    """Descriptors of the conformers of one molecule.

    Parameters
    ----------
    values : ndarray of float32 [K, F]
        NaN where not defined.
    energies : ndarray of float64 [K]
        kcal/mol above the lowest, ascending; NaN where not known.
    reason : str
        Why there is no conformer, "" where there is.
    """

    values: Float32Array
    energies: FloatArray
    reason: str


def no_instances(families: Sequence[DescriptorSet], reason: str) -> Instances:
    """Return that there are none, and why."""
    width = len(names_3d(families))
    return Instances(np.zeros((0, width), dtype=np.float32), np.zeros(0), reason)


def pack_conformers(parts: Sequence[Conformers]) -> Arrays:
    """Return the arrays of conformers; `unpack_conformers` gives them back."""
    return {
        "count": np.array([len(p.positions) for p in parts], dtype=np.int64),
        "atoms": np.array([p.positions.shape[1] for p in parts], dtype=np.int64),
        "positions": np.concatenate([p.positions.reshape(-1, 3) for p in parts]),
        "energy": np.concatenate([p.energies for p in parts]),
        "reason": np.array([p.reason for p in parts], dtype=np.str_),
    }


def unpack_conformers(arrays: Arrays, rows: IntArray) -> Iterator[Conformers]:
    """Yield the conformers of some molecules of a file."""
    count, atoms = arrays["count"], arrays["atoms"]
    # Ragged arrays lie flat in one file; a molecule's part ends where the running sum says.
    ends, atom_ends = np.cumsum(count), np.cumsum(count * atoms)
    for row in rows.tolist():
        k, a = int(count[row]), int(atoms[row])
        end, atom_end = int(ends[row]), int(atom_ends[row])
        yield Conformers(
            arrays["positions"][atom_end - k * a : atom_end].reshape(k, a, 3),
            arrays["energy"][end - k : end],
            str(arrays["reason"][row]),
        )


def pack_instances(parts: Sequence[Instances]) -> Arrays:
    """Return the arrays of descriptors; `unpack_instances` gives them back."""
    return {
        "count": np.array([len(p.values) for p in parts], dtype=np.int64),
        "values": np.concatenate([p.values for p in parts]),
        "energy": np.concatenate([p.energies for p in parts]),
        "reason": np.array([p.reason for p in parts], dtype=np.str_),
    }


def unpack_instances(arrays: Arrays, rows: IntArray) -> Iterator[Instances]:
    """Yield the descriptors of some molecules of a file."""
    ends = np.cumsum(arrays["count"])
    for row in rows.tolist():
        end = int(ends[row])
        start = end - int(arrays["count"][row])
        yield Instances(
            arrays["values"][start:end], arrays["energy"][start:end], str(arrays["reason"][row])
        )


def pack_described(parts: Sequence[Described]) -> Arrays:
    """Return the arrays of 2D features; `unpack_described` gives them back."""
    return {
        "values": np.stack([p.values for p in parts]),
        "counts": np.stack([p.counts for p in parts]),
        "reason": np.array([p.reason for p in parts], dtype=np.str_),
    }


def unpack_described(arrays: Arrays, rows: IntArray) -> Iterator[Described]:
    """Yield the 2D features of some molecules of a file."""
    for row in rows.tolist():
        yield Described(arrays["values"][row], arrays["counts"][row], str(arrays["reason"][row]))
