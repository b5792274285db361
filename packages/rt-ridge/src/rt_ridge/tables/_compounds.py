"""Classes and descriptors of compounds, as a fit takes them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge._errors import RTRidgeError, did_you_mean, listed
from rt_ridge.tables._keys import check_ids, find

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
            raise RTRidgeError(f"classes: expected one per compound; found shapes {found}")
        check_ids(self.ids, "classes: compounds")
        check_ids(self.classes, "classes")
        _check_ascending(self.ids, "classes")
        if (self.classes == UNCLASSED).any():
            raise RTRidgeError(f"classes: expected ids below {UNCLASSED}; found that one")

    @classmethod
    def from_frame(
        cls, frame: Any, *, compound: str = "comp_id", column: str = "class_id"
    ) -> CompoundClasses:
        """Take them from a table with one row per compound.

        Parameters
        ----------
        frame : polars.DataFrame or pandas.DataFrame
            The table.
        compound : str
            Column of compound ids.
        column : str
            Column of the class: whole numbers, or names, which are numbered in their order.
        """
        ids, classes = (
            _compound_ids(frame, compound, [column], "classes"),
            np.asarray(frame[column]),
        )
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


@dataclass(frozen=True)
class CompoundDescriptors:
    """What is known of compounds before any measurement: lipophilicity, size, ...

    Parameters
    ----------
    ids : ndarray of int64, [C]
        Compounds, ascending; also some that the fit does not see.
    values : ndarray, [C, Q]
        Their descriptors, finite.
    names : tuple of str
        Of the Q descriptors.

    Raises
    ------
    RTRidgeError
        If shapes disagree, ids repeat, or a value is not finite.
    """

    ids: IntArray
    values: FloatArray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.names))
        if self.values.shape != shape:
            found = list(self.values.shape)
            raise RTRidgeError(f"descriptors: expected shape {list(shape)}; found {found}")
        if not self.names or not len(self.ids):
            raise RTRidgeError(f"descriptors: expected some; found shape {list(shape)}")
        _check_ascending(self.ids, "descriptors")
        bad = np.argwhere(~np.isfinite(self.values))
        if len(bad):
            row, column = bad[0]
            raise RTRidgeError(
                f"descriptors: expected finite values; found {self.values[row, column]} of "
                f"{self.names[column]!r} for compound {self.ids[row]}"
            )

    @classmethod
    def from_frame(
        cls, frame: Any, *, compound: str = "comp_id", columns: list[str] | None = None
    ) -> CompoundDescriptors:
        """Take them from a table with one row per compound.

        Parameters
        ----------
        frame : polars.DataFrame or pandas.DataFrame
            The table.
        compound : str
            Column of compound ids.
        columns : list of str or None
            Descriptors; None: all other columns.
        """
        if columns is None:
            columns = [name for name in map(str, frame.columns) if name != compound]
        ids = _compound_ids(frame, compound, columns, "descriptors")
        try:
            values = np.stack([np.asarray(frame[c], dtype=np.float64) for c in columns], axis=1)
        except (TypeError, ValueError):
            raise RTRidgeError(f"descriptors: expected numbers in {listed(columns)}") from None
        order = np.argsort(ids, kind="stable")
        return cls(ids[order].astype(np.int64), values[order], tuple(columns))

    def of(self, compounds: IntArray, n_components: int | None = None) -> Standardised:
        """Return descriptors of the compound of each pair, standardised over compounds.

        Parameters
        ----------
        compounds : ndarray of int64, [G]
            Compound of each pair. Those without descriptors are taken as average.
        n_components : int or None
            Principal axes to keep of the standardised descriptors; None: all, as they are.

        Raises
        ------
        RTRidgeError
            If none has descriptors, one does not differ between compounds, or there are fewer
            than `n_components`.
        """
        seen = np.unique(compounds)
        known = self.values[np.isin(self.ids, seen)]
        if len(known) < 2:
            raise RTRidgeError(
                f"descriptors: expected those of compounds in the data; found {len(known)} of "
                f"{len(seen)} compounds described"
            )
        center, scale = known.mean(axis=0), known.std(axis=0)
        # Equal values may still differ by rounding.
        flat = scale <= 1e-12 * np.abs(known).max(axis=0)
        if flat.any():
            names = [name for name, same in zip(self.names, flat, strict=True) if same]
            raise RTRidgeError(f"descriptors: expected values that differ; {listed(names)} do not")
        axes = np.eye(len(self.names))
        if n_components is not None:
            axes = _principal_axes((known - center) / scale, n_components)
        return Standardised(self, center, scale, axes, compounds, len(seen) - len(known))


def _compound_ids(frame: Any, compound: str, columns: list[str], what: str) -> npt.NDArray[Any]:
    """Return the whole ids of a table that has all `columns`."""
    present = [str(name) for name in frame.columns]
    for name in (compound, *columns):
        if name not in present:
            raise RTRidgeError(f"{what}: no column {name!r}; {did_you_mean(name, present)}")
    ids = np.asarray(frame[compound])
    if not np.issubdtype(ids.dtype, np.integer):
        raise RTRidgeError(f"{what}: expected whole {compound}; found {ids.dtype}")
    return ids


def _check_ascending(ids: IntArray, what: str) -> None:
    repeated = np.flatnonzero(np.diff(ids) <= 0)
    if len(repeated):
        place = int(repeated[0])
        raise RTRidgeError(
            f"{what}: expected each compound once and ascending ids; found "
            f"{ids[place + 1]} after {ids[place]}"
        )


def _principal_axes(z: FloatArray, count: int) -> FloatArray:
    """Return the directions [Q, K] along which standardised descriptors [C, Q] vary most."""
    most = min(z.shape[1], len(z) - 1)
    if count > most:
        raise RTRidgeError(
            f"descriptor_components: expected at most {most}, of {z.shape[1]} descriptors of "
            f"{len(z)} compounds; found {count}"
        )
    axes = np.linalg.svd(z, full_matrices=False)[2][:count].T
    # The sign of an axis is free: its largest entry is taken as positive.
    largest = np.abs(axes).argmax(axis=0)
    return np.asarray(axes * np.sign(axes[largest, np.arange(count)]))


@dataclass(frozen=True)
class Standardised:
    """Descriptors of the compounds of pairs, about their mean and over their spread.

    Attributes
    ----------
    table : CompoundDescriptors
        As given, Q of them.
    center, scale : ndarray, [Q]
        Mean and standard deviation over the compounds in the data.
    axes : ndarray, [Q, K]
        Directions that a fit regresses on.
    compounds : ndarray of int64, [G]
        Compound of each pair.
    undescribed : int
        Compounds in the data that have no descriptors.
    """

    table: CompoundDescriptors
    center: FloatArray
    scale: FloatArray
    axes: FloatArray
    compounds: IntArray
    undescribed: int

    def values(self, compounds: IntArray) -> FloatArray:
        """Return what a fit regresses on, [N, K], 0 where there are no descriptors."""
        place = find(self.table.ids, compounds)
        z = (self.table.values[place] - self.center) / self.scale
        return np.asarray(np.where((place >= 0)[:, None], z, 0.0) @ self.axes)

    @property
    def back(self) -> FloatArray:
        """From coefficients of the axes to those of the descriptors as given, [Q, K]."""
        return self.axes / self.scale[:, None]

    @cached_property
    def of_pairs(self) -> FloatArray:
        """Return what a fit regresses on, of the pairs, [G, K]."""
        return self.values(self.compounds)
