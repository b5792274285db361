"""Classes of compounds, as a fit takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from molpool_common import IntArray

from rt_ridge.errors import RTRidgeError, did_you_mean
from rt_ridge.keys import check_ids
from rt_ridge.keys import find

UNCLASSED = 2**31 - 1
"""Class of the compounds that have none."""


@dataclass(frozen=True)
class CompoundClasses:
    """The chemical class of each compound, also of some that the fit does not see.

    Parameters
    ----------
    ids : ndarray of int64, [C]
        Compounds, ascending.
    classes : ndarray of int64, [C]
        The class of each, from 0 to 2^31 - 2.

    Raises
    ------
    RTRidgeError
        If lengths differ, a compound stands twice, or an id is out of range.
    """

    ids: IntArray
    classes: IntArray

    def __post_init__(self) -> None:
        if self.classes.shape != self.ids.shape or self.ids.ndim != 1 or not len(self.ids):
            found = f"{list(self.ids.shape)} and {list(self.classes.shape)}"
            raise RTRidgeError(f"classes: expected one a compound; found shapes {found}")
        check_ids(self.ids, "classes: compounds")
        check_ids(self.classes, "classes")
        if (np.diff(self.ids) <= 0).any():
            place = int(np.flatnonzero(np.diff(self.ids) <= 0)[0])
            raise RTRidgeError(
                "classes: expected each compound once and ascending ids; found "
                f"{self.ids[place + 1]} after {self.ids[place]}"
            )
        if (self.classes == UNCLASSED).any():
            raise RTRidgeError(f"classes: expected ids below {UNCLASSED}; found that one")

    @classmethod
    def from_frame(
        cls, frame: Any, *, compound: str = "comp_id", column: str = "class_id"
    ) -> CompoundClasses:
        """Take them from a table with one row a compound.

        Parameters
        ----------
        frame : polars.DataFrame or pandas.DataFrame
            The table.
        compound : str
            Column of compound ids.
        column : str
            Column of the class: whole numbers, or names, which are numbered in their order.
        """
        present = [str(name) for name in frame.columns]
        for name in (compound, column):
            if name not in present:
                raise RTRidgeError(f"classes: no column {name!r}; {did_you_mean(name, present)}")
        ids, classes = np.asarray(frame[compound]), np.asarray(frame[column])
        if not np.issubdtype(ids.dtype, np.integer):
            raise RTRidgeError(f"classes: expected whole {compound}; found {ids.dtype}")
        if not np.issubdtype(classes.dtype, np.integer):
            empty = [i for i, value in enumerate(classes) if not isinstance(value, str)]
            if empty:
                raise RTRidgeError(
                    f"classes: expected whole numbers or names in every row of {column!r};"
                    f" found {classes[empty[0]]!r}"
                )
            classes = np.unique(classes.astype(np.str_), return_inverse=True)[1]
        order = np.argsort(ids, kind="stable")
        return cls(ids[order].astype(np.int64), classes[order].astype(np.int64))

    def of(self, compounds: IntArray) -> IntArray:
        """Return the class of each compound, `UNCLASSED` where it has none, [N]."""
        return np.append(self.classes, UNCLASSED)[find(self.ids, compounds)]
