"""Results of many molecules as the few arrays that a file of the cache holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mil_attn.data.config import DescriptorSet
from mil_attn.data.conformers import Conformers
from mil_attn.data.descriptors_2d import Described
from mil_attn.data.descriptors_3d import feature_names
from mil_attn.data.kept import Arrays


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

    values: NDArray[np.float32]
    energies: NDArray[np.float64]
    reason: str


def no_instances(families: Sequence[DescriptorSet], reason: str) -> Instances:
    """Return that there are none, and why."""
    width = len(feature_names(families))
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


def unpack_conformers(arrays: Arrays, rows: NDArray[np.int64]) -> Iterator[Conformers]:
    """Yield the conformers of some molecules of a file."""
    count, atoms = arrays["count"], arrays["atoms"]
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


def unpack_instances(arrays: Arrays, rows: NDArray[np.int64]) -> Iterator[Instances]:
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


def unpack_described(arrays: Arrays, rows: NDArray[np.int64]) -> Iterator[Described]:
    """Yield the 2D features of some molecules of a file."""
    for row in rows.tolist():
        yield Described(arrays["values"][row], arrays["counts"][row], str(arrays["reason"][row]))
