"""Which supercategory each group lies in; exactly one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from molpool_common import IntArray

from rt_ridge.errors import RTRidgeError, listed
from rt_ridge.keys import unpack


@dataclass(frozen=True, eq=False)
class GroupParents:
    """The supercategory of each group.

    Parameters
    ----------
    group : ndarray of int64, [M]
        Group ids, ascending.
    parent : ndarray of int64, [M]
        The supercategory of each.
    """

    group: IntArray
    parent: IntArray

    @classmethod
    def from_pairs(
        cls, pairs: Sequence[IntArray], names: tuple[str, str] = ("group", "parent")
    ) -> GroupParents:
        """Collect (group, parent) pairs.

        Parameters
        ----------
        pairs : sequence of ndarray of int64
            Keys (group << 32) + parent, any number of times each.
        names : tuple of str
            What messages call the two.

        Raises
        ------
        RTRidgeError
            If a group has two parents; lists those that do.
        """
        group, parent = unpack(np.unique(np.concatenate(pairs)))
        twice = np.unique(group[1:][np.diff(group) == 0])
        if len(twice):
            places = [
                f"{g} in {listed(parent[group == g].tolist(), 5)}" for g in twice[:10].tolist()
            ]
            rest = f" and {len(twice) - 10} more" if len(twice) > 10 else ""
            raise RTRidgeError(
                f"{names[0]}: expected each in one {names[1]}; found {len(twice)} in several:"
                f" {'; '.join(places)}{rest}"
            )
        return cls(group, parent)

    @property
    def pairs(self) -> IntArray:
        """Keys (group << 32) + parent, ascending, [M]."""
        return (self.group << 32) + self.parent

    def of(self, groups: IntArray) -> IntArray:
        """Return the parent of each group, all of which must be there."""
        return self.parent[np.searchsorted(self.group, groups)]

    def subset(self, groups: IntArray) -> GroupParents:
        """Return the parents of those groups alone."""
        kept = np.isin(self.group, groups)
        return GroupParents(self.group[kept], self.parent[kept])
