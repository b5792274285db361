"""What the rows of each pair say of its coefficients, in a few centred sums."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rt_ridge.errors import RTRidgeError
from rt_ridge.keys import unpack

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ARRAYS = ("keys", "n", "mean_x", "mean_y", "sxx", "sxy", "syy")
"""Attributes of `SufficientStatistics` that have one row a pair."""


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class SufficientStatistics:
    """Row counts, means and centred sums of squares and products of every pair.

    Make them with `from_frame` or `from_parquet`; nothing after that touches the rows again.

    Parameters
    ----------
    keys : ndarray of int64, [G]
        Pairs (group << 32) + compound, ascending.
    n : ndarray of int64, [G]
        Rows of each pair, at least 1.
    mean_x : ndarray, [G, P]
        Means of the covariates.
    mean_y : ndarray, [G]
        Mean of the target, in its unit.
    sxx : ndarray, [G, P, P]
        Σ (x - x̄)(x - x̄)ᵀ.
    sxy : ndarray, [G, P]
        Σ (x - x̄)(y - ȳ).
    syy : ndarray, [G]
        Σ (y - ȳ)².
    covariates : tuple of str
        Names of the P covariates.
    target, group_col : str
        Names of the columns of the target and of the group.
    parents : GroupParents or None
        Supercategory of every group, where the table told it.
    mean_low : ndarray, [G, P + 1], or None
        What rounding to float64 took off the means of [x, y]; it keeps merging exact to the
        spread within a pair even where the target lies far from zero.
    """

    keys: IntArray
    n: IntArray
    mean_x: FloatArray
    mean_y: FloatArray
    sxx: FloatArray
    sxy: FloatArray
    syy: FloatArray
    covariates: tuple[str, ...]
    target: str = "rt"
    group_col: str = "species"
    parents: GroupParents | None = None
    mean_low: FloatArray | None = None

    @property
    def G(self) -> int:  # noqa: N802
        """Number of pairs."""
        return len(self.keys)

    @property
    def P(self) -> int:  # noqa: N802
        """Number of covariates."""
        return len(self.covariates)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return int(self.n.sum())

    @property
    def group_ids(self) -> IntArray:
        """Group of each pair, [G]."""
        return unpack(self.keys)[0]

    @property
    def compound_ids(self) -> IntArray:
        """Compound of each pair, [G]."""
        return unpack(self.keys)[1]

    @property
    def parent_ids(self) -> IntArray:
        """Supercategory of each pair, [G]; raises `RTRidgeError` where none were read."""
        if self.parents is None:
            raise RTRidgeError(
                "parents: expected statistics with a parent column; found none."
                " Name it as `parent` when they are made."
            )
        return self.parents.parent[np.searchsorted(self.parents.group, self.group_ids)]

    def subset(self, mask: BoolArray) -> SufficientStatistics:
        """Return the statistics of some pairs.

        Parameters
        ----------
        mask : ndarray of bool, [G]
            The pairs to keep.
        """
        mask = np.asarray(mask)
        if mask.dtype != np.bool_ or mask.shape != (self.G,):
            raise RTRidgeError(
                f"mask: expected bool [{self.G}]; found {mask.dtype} {list(mask.shape)}"
            )
        parents = self.parents
        if parents is not None:
            kept = np.isin(parents.group, self.group_ids[mask])
            parents = GroupParents(parents.group[kept], parents.parent[kept])
        arrays = {name: getattr(self, name)[mask] for name in ARRAYS}
        low = None if self.mean_low is None else self.mean_low[mask]
        return replace(self, **arrays, parents=parents, mean_low=low)
