"""One 64-bit key for each pair of group and compound, and the supercategory of each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import IntArray

from rt_ridge._errors import RTRidgeError, listed

ID_LIMIT = 2**31
"""Ids are below it, so that the key of a pair is a non-negative int64."""


def pack(
    group: npt.ArrayLike,
    compound: npt.ArrayLike,
    *,
    names: tuple[str, str] = ("group", "compound"),
    first_row: int = 1,
) -> IntArray:
    """Return the key (group << 32) + compound of each row.

    Parameters
    ----------
    group, compound : array_like of int, [N]
        Ids, 0 <= id < 2³¹.
    names : tuple of str
        What messages call the two.
    first_row : int
        Number of the first row in messages.

    Returns
    -------
    ndarray of int64, [N]
        Keys; they sort by group first.

    Raises
    ------
    RTRidgeError
        For ids that are not whole numbers of that range, naming rows, or of unequal lengths.
    """
    g, c = (
        check_ids(ids, name, first_row=first_row)
        for ids, name in zip((group, compound), names, strict=True)
    )
    if g.shape != c.shape:
        raise RTRidgeError(
            f"{names[1]}: expected one id for each of {g.size} rows of {names[0]}; found {c.size}"
        )
    return (g << 32) + c


def unpack(keys: IntArray) -> tuple[IntArray, IntArray]:
    """Return the group and compound ids of keys, [G] each."""
    return keys >> 32, keys & 0xFFFFFFFF


def check_ids(ids: npt.ArrayLike, name: str, *, first_row: int = 1) -> IntArray:
    """Return ids as int64, or raise `RTRidgeError` naming the rows that cannot be an id."""
    array = np.asarray(ids)
    if array.ndim != 1:
        raise RTRidgeError(f"{name}: expected ids [N]; found shape {list(array.shape)}")
    if not array.size:
        return array.astype(np.int64)
    if array.dtype.kind not in "iuf":
        raise RTRidgeError(f"{name}: expected whole numbers; found {array.dtype}")
    # Two reductions where all is well; rows are sought only for the message.
    if not (array.min() >= 0 and array.max() < ID_LIMIT):
        _refuse(
            name, array, ~((array >= 0) & (array < ID_LIMIT)), "ids from 0 to 2^31 - 1", first_row
        )
    if array.dtype.kind == "f":
        _refuse(name, array, array != np.floor(array), "whole numbers", first_row)
    return array.astype(np.int64)


def _refuse(
    name: str, ids: npt.NDArray[Any], bad: npt.NDArray[np.bool_], expected: str, first_row: int
) -> None:
    at: Sequence[int] = np.flatnonzero(bad).tolist()
    if at:
        rows = listed([row + first_row for row in at])
        raise RTRidgeError(f"{name}: expected {expected}; found {ids[at[0]]} (rows {rows})")


def find(ids: IntArray, wanted: IntArray) -> IntArray:
    """Return the place of each of `wanted` in the ascending `ids`, -1 where it is not there."""
    if not len(ids):
        return np.full(len(wanted), -1)
    place = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[place] == wanted, place, -1)


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
        chosen = np.isin(self.group, groups)
        return GroupParents(self.group[chosen], self.parent[chosen])
