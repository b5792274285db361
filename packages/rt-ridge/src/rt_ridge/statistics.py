"""What the rows of each pair say of its coefficients, in a few centred sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray

from rt_ridge.accumulate import accumulate
from rt_ridge.errors import RTRidgeError
from rt_ridge.features import FeatureMap
from rt_ridge.keys import unpack
from rt_ridge.merging import check_alike, joint_moments, merged_parents, split_moments
from rt_ridge.parents import GroupParents as GroupParents
from rt_ridge.rows import Columns
from rt_ridge.scatter import merge_moments
from rt_ridge.statistics_file import read_arrays, write_arrays
from rt_ridge.streaming import CHUNK_ROWS, Chunk, Paths, file_chunks, frame_chunks

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


ARRAYS = ("keys", "n", "mean_x", "mean_y", "sxx", "sxy", "syy")
"""Attributes of `SufficientStatistics` that have one row a pair."""


@dataclass(frozen=True, eq=False, repr=False)
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariates", tuple(self.covariates))
        G, P = self.G, self.P
        shapes = ((G,), (G,), (G, P), (G,), (G, P, P), (G, P), (G,))
        for name, shape in zip(ARRAYS, shapes, strict=True):
            found = np.shape(getattr(self, name))
            if found != shape:
                raise RTRidgeError(f"{name}: expected shape {list(shape)}; found {list(found)}")

    def __repr__(self) -> str:
        """Name the sizes, not the millions of numbers."""
        return f"SufficientStatistics(G={self.G}, P={self.P}, n_rows={self.n_rows})"

    @classmethod
    def from_frame(
        cls,
        df: pl.DataFrame | pd.DataFrame,
        *,
        covariates: Sequence[str],
        group: str = "species",
        compound: str = "comp_id",
        parent: str | None = "species_cluster",
        target: str = "rt",
        features: FeatureMap | None = None,
        threads: int | None = None,
    ) -> SufficientStatistics:
        """Sum up a table; the order of its rows is of no account.

        Parameters
        ----------
        df : polars or pandas DataFrame
            At least one row; no value of a column that is used may be missing.
        covariates : sequence of str
            Columns x, taken as they are (centring is the caller's); may be empty.
        group, compound : str
            Columns of ids, 0 <= id < 2³¹.
        parent : str or None
            Column of the group's supercategory; None: groups have none.
        target : str
            Column y, the retention time.
        features : FeatureMap or None
            Centres, rotates and squares the covariates, and names those of the result.
        threads : int or None
            Chunks summed at a time; None: one a processor, at most 4. No bit depends on it.

        Raises
        ------
        RTRidgeError
            For an unknown or repeated column, a missing or infinite value, text, an id out of
            range, a group in two supercategories, no row, or features of other covariates.
        """
        columns = Columns.of(
            covariates, group=group, compound=compound, parent=parent, target=target
        )
        return cls._of(frame_chunks(df, columns), columns, features, threads)

    @classmethod
    def from_parquet(
        cls,
        paths: Paths,
        *,
        covariates: Sequence[str],
        group: str = "species",
        compound: str = "comp_id",
        parent: str | None = "species_cluster",
        target: str = "rt",
        features: FeatureMap | None = None,
        threads: int | None = None,
        chunk_rows: int = CHUNK_ROWS,
    ) -> SufficientStatistics:
        """Sum up Parquet or CSV files, in memory that does not grow with the number of rows.

        Parameters
        ----------
        paths : path, glob, or iterable of them
            ``.parquet`` or ``.pq`` is read as Parquet, anything else as CSV (``.tsv`` parted by
            tabs; also gzipped).
        covariates, group, compound, parent, target, features, threads
            As in `from_frame`.
        chunk_rows : int
            Rows in memory at a time, for each thread and one more.

        Raises
        ------
        RTRidgeError
            As `from_frame`, naming the file; also for files that cannot be read.
        """
        columns = Columns.of(
            covariates, group=group, compound=compound, parent=parent, target=target
        )
        return cls._of(file_chunks(paths, columns, chunk_rows), columns, features, threads)

    @classmethod
    def _of(
        cls,
        chunks: Iterator[Chunk],
        columns: Columns,
        features: FeatureMap | None,
        threads: int | None,
    ) -> SufficientStatistics:
        moments, parents = accumulate(chunks, columns, features, threads)
        return cls(
            **split_moments(moments),
            covariates=columns.covariates if features is None else features.regressors,
            target=columns.target,
            group_col=columns.group,
            parents=parents,
        )

    def merge(self, *others: SufficientStatistics) -> SufficientStatistics:
        """Return the statistics of all rows of these tables together.

        Parameters
        ----------
        *others : SufficientStatistics
            Of the same covariates in the same order, target and group column.

        Raises
        ------
        RTRidgeError
            If those differ, if some know supercategories and some do not, or if a group lies in
            another supercategory.
        """
        every = (self, *others)
        check_alike(every)
        merged = merge_moments(joint_moments(one) for one in every)
        return replace(self, **split_moments(merged), parents=merged_parents(every))

    def save(self, path: str | Path) -> None:
        """Write an npz file, atomically and without pickle."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        for name in ("covariates", "target", "group_col"):
            arrays[name] = np.array(getattr(self, name), dtype=np.str_)
        if self.mean_low is not None:
            arrays["mean_low"] = self.mean_low
        if self.parents is not None:
            arrays["parents_group"] = self.parents.group
            arrays["parents_parent"] = self.parents.parent
        write_arrays(arrays, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> SufficientStatistics:
        """Read what `save` wrote, bit for bit; `RTRidgeError` says what is wrong with the file."""
        arrays = read_arrays(Path(path))
        parents = None
        if "parents_group" in arrays:
            parents = GroupParents(arrays["parents_group"], arrays["parents_parent"])
        return cls(
            **{name: arrays[name] for name in ARRAYS},
            covariates=tuple(str(name) for name in arrays["covariates"]),
            target=str(arrays["target"]),
            group_col=str(arrays["group_col"]),
            parents=parents,
            mean_low=arrays.get("mean_low"),
        )

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
        return self.parents.of(self.group_ids)

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
        parents = self.parents and self.parents.subset(self.group_ids[mask])
        arrays = {name: getattr(self, name)[mask] for name in ARRAYS}
        low = None if self.mean_low is None else self.mean_low[mask]
        return replace(self, **arrays, parents=parents, mean_low=low)
