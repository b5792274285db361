"""The result of a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from molpool_common._arrays import IntArray
from molpool_common.errors import InputError, listed

Indices = IntArray


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
