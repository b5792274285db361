"""Columns of a factor while a model is being laid out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.levels import NO_DESCRIPTOR, Factor


@dataclass
class FactorColumns:
    """What is known so far of the effects that share one index.

    Parameters
    ----------
    name : str
        Of the factor.
    ids : ndarray of int64, [L]
        What its levels are in the data.
    level : ndarray of int64, [G]
        Level of each pair.
    """

    name: str
    ids: IntArray
    level: IntArray
    rows: list[int] = field(default_factory=list)
    _scale: list[IntArray] = field(default_factory=list)
    _descriptor: list[int] = field(default_factory=list)

    @property
    def n_levels(self) -> int:
        """Number of levels, L."""
        return len(self.ids)

    def add(self, row: int, scale: int | IntArray, descriptor: int = NO_DESCRIPTOR) -> None:
        """Add a column.

        Parameters
        ----------
        row : int
            Entry of the location [η, m] that it adds to.
        scale : int, or ndarray of int64 [L]
            Place of its standard deviation, of all levels or of each.
        descriptor : int
            Number of the descriptor that multiplies it, if one does.
        """
        self.rows.append(row)
        self._scale.append(np.broadcast_to(np.asarray(scale, dtype=np.int64), (self.n_levels,)))
        self._descriptor.append(descriptor)

    def factor(self, descriptors: FloatArray | None) -> Factor:
        """Return the factor, for the descriptors [G, Q] of the compound of each pair."""
        descriptor = np.array(self._descriptor, dtype=np.int64)
        weights = None
        if descriptors is not None and (descriptor != NO_DESCRIPTOR).any():
            ones = np.ones((len(self.level), 1))
            # Place -1, of columns that no descriptor multiplies, is the last.
            weights = np.concatenate([descriptors, ones], axis=1)[:, descriptor]
        return Factor(
            name=self.name,
            ids=self.ids,
            level=self.level,
            rows=np.array(self.rows, dtype=np.int64),
            scale=np.stack(self._scale, axis=1),
            descriptor=descriptor,
            weights=weights,
        )
