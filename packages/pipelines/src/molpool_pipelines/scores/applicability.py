"""How near a molecule is to the molecules that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from molpool_common import morgan_fingerprints
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rdkit.Chem import Mol

_BLOCK = 4096
"""Training molecules compared at a time: 8 MB of their bits stay in the processor's cache."""


class Nearest(NamedTuple):
    """The most similar training molecule of each of N molecules.

    Parameters
    ----------
    similarity : ndarray [N]
        Tanimoto similarity, 0 to 1.
    row : ndarray of int64 [N]
        Position of the training molecule; of several as near, the first.
    """

    similarity: NDArray[np.float64]
    row: NDArray[np.int64]


class NearestTraining:
    """Finds nearest training molecules by Tanimoto similarity of Morgan fingerprints, exactly.

    Parameters
    ----------
    mols : sequence of Mol, length M
        At least one.
    radius, n_bits : int
        Of the fingerprint.

    References
    ----------
    Rogers and Hahn, "Extended-connectivity fingerprints", J. Chem. Inf. Model. 50 (2010) 742–754;
    Sheridan et al., "Similarity to molecules in the training set is a good discriminator for
    prediction accuracy in QSAR", J. Chem. Inf. Comput. Sci. 44 (2004) 1912–1928.
    """

    def __init__(self, mols: Sequence[Mol], radius: int = 2, n_bits: int = 2048) -> None:
        self._radius, self._n_bits = radius, n_bits
        self._packed, self._counts = self._fingerprints(mols)

    def __len__(self) -> int:
        return len(self._packed)

    def find(self, mols: Sequence[Mol]) -> Nearest:
        """Return the nearest training molecule of each of N molecules."""
        packed, counts = self._fingerprints(mols)
        best = np.full(len(mols), -1.0)
        row = np.zeros(len(mols), dtype=np.int64)
        # The bits that are on pick rows of the transposed block; their sum counts shared bits.
        on = [np.flatnonzero(bits) for bits in _unpacked(packed)]
        for start in range(0, len(self), _BLOCK):
            block = np.ascontiguousarray(_unpacked(self._packed[start : start + _BLOCK]).T)
            sizes = self._counts[start : start + _BLOCK]
            for i, bits in enumerate(on):
                shared = block[bits].sum(axis=0, dtype=np.uint8 if len(bits) < 256 else np.uint16)
                union = sizes + counts[i] - shared
                similarity = shared / np.maximum(union, 1)
                at = int(similarity.argmax())
                if similarity[at] > best[i]:
                    best[i], row[i] = similarity[at], start + at
        return Nearest(best, row)

    def _fingerprints(self, mols: Sequence[Mol]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Return packed bits [N, n_bits / 8] and their number [N]."""
        from rdkit.DataStructs import BitVectToBinaryText

        prints = morgan_fingerprints(mols, self._radius, self._n_bits)
        raw = b"".join(BitVectToBinaryText(bits) for bits in prints)
        packed = np.frombuffer(raw, dtype=np.uint8).reshape(len(mols), self._n_bits // 8)
        return packed, np.bitwise_count(packed).sum(axis=1, dtype=np.int32)


def _unpacked(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(packed, axis=1, bitorder="little")
