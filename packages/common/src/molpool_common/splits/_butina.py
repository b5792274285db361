"""Butina's clusters of fingerprints, all pairs compared in blocks.

Which pairs are near is kept as bits, N²/8 bytes (125 MB of 32 000 molecules), so that no list of
pairs is ever held; similarities come from products of 0/1 matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molpool_common._arrays import BoolArray, Float32Array, IntArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_PAIRS = 1 << 22
"""Pairs of molecules that are compared at a time: 32 MB of similarities."""

MOST = 60_000
"""Molecules whose pairs, half a gigabyte of bits, are compared; `leaders` takes any number."""


def butina(mols: Sequence[Mol], distance: float) -> IntArray:
    """Return the cluster of each molecule [M] by the algorithm of Butina, at most `MOST` of them.

    The molecule of most neighbours and all of these are the first cluster; of those that are left,
    the molecule that had most neighbours at the start and its neighbours that are left the next.

    Parameters
    ----------
    mols : sequence of Mol, length M
        Of equal numbers of neighbours the last leads.
    distance : float
        Tanimoto distance of Morgan fingerprints (radius 2, 2048 bits) up to which molecules are
        neighbours.

    References
    ----------
    Butina, "Unsupervised data base clustering based on Daylight's fingerprint and Tanimoto
    similarity", J. Chem. Inf. Comput. Sci. 39 (1999) 747-750.
    """
    from molpool_common._chem import morgan_bits

    return clusters_of_bits(morgan_bits(mols), distance)


def clusters_of_bits(bits: NDArray[np.uint8], distance: float) -> IntArray:
    """Return Butina's clusters of fingerprints of 0 and 1 [M, B]; see `butina`."""
    near, count = _neighbours(bits.astype(np.float32), distance)
    n = len(bits)
    cluster = np.full(n, -1, dtype=np.int64)
    free = np.ones(n, dtype=np.bool_)
    made = 0
    # Ties as RDKit breaks them: the last of equals.
    for centre in np.lexsort((np.arange(n), count))[::-1].tolist():
        if not free[centre]:
            continue
        members = np.unpackbits(near[centre], count=n).view(np.bool_) & free
        cluster[members] = made
        free &= ~members
        made += 1
    return cluster


def _neighbours(bits: Float32Array, distance: float) -> tuple[NDArray[np.uint8], IntArray]:
    """Return which fingerprints are near each [M, M / 8], as bits, and how many [M]."""
    # Counts of bits are exact in single precision, which multiplies fastest.
    on = bits.sum(axis=1)
    n = len(bits)
    near = np.empty((n, -(-n // 8)), dtype=np.uint8)
    count = np.empty(n, dtype=np.int64)
    step = max(1, _PAIRS // n)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        within = _within(bits[rows] @ bits.T, on[rows, None], on, distance)
        own = np.arange(len(within))
        # Also of a molecule without any bit, whose similarity to itself is not defined.
        within[own, own + start] = True
        near[rows] = np.packbits(within, axis=1)
        count[rows] = within.sum(axis=1)
    return near, count


def _within(
    common: Float32Array, on: Float32Array, of_others: Float32Array, distance: float
) -> BoolArray:
    either = (on + of_others - common).astype(np.float64)
    # 1 - c / e in double precision, as RDKit computes it, so that ties fall on the same side.
    similarity = np.divide(common, either, out=np.zeros_like(either), where=either > 0)
    return np.asarray(1 - similarity <= distance)
