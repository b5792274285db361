"""What the rows of each pair say of its coefficients: a few centred sums, merged and stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from molpool_common import BoolArray, FloatArray, IntArray, ReadConfig

from rt_ridge._errors import RTRidgeError, listed
from rt_ridge._npz import Arrays, read_npz, write_npz
from rt_ridge.statistics._moments import Moments, accumulate, merge_moments
from rt_ridge.tables._features import (
    AnchorExpansion,
    FeatureCenter,
    FeatureMap,
    FeatureRotation,
    pooled_moments,
)
from rt_ridge.tables._keys import GroupParents as GroupParents
from rt_ridge.tables._keys import unpack
from rt_ridge.tables._rows import CHUNK_ROWS, Chunk, Columns, Paths, file_chunks, frame_chunks

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

SCHEMA = "rt_ridge.sufficient_statistics"
SCHEMA_VERSION = 1
_SHAPES = {
    "keys": "G",
    "n": "G",
    "mean_x": "GP",
    "mean_y": "G",
    "sxx": "GPP",
    "sxy": "GP",
    "syy": "G",
    "mean_low": "GQ",
    "weight": "G",
    "parents_group": "M",
    "parents_parent": "M",
}
_OPTIONAL = ("mean_low", "weight", "parents_group", "parents_parent")
_WHOLE = ("keys", "n", "parents_group", "parents_parent")
_TEXTS = ("schema", "target", "group_col")
CONSTANT = 1e-10
ROUNDED = 1e-12
"""Spread over what was subtracted, up to which a centred regressor is constant."""

"""Spread of a covariate over its size below which rounding explains it."""

ARRAYS = ("keys", "n", "mean_x", "mean_y", "sxx", "sxy", "syy")
"""Attributes of `SufficientStatistics` that have one row per pair."""


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
        Supercategory of every group, where the table had it.
    mean_low : ndarray, [G, P + 1], or None
        What rounding to float64 took off the means of [x, y]; it keeps merging exact to the
        spread within a pair even where the target lies far from zero.
    weight : ndarray, [G], or None
        Sum of the weights of each pair's rows, where means and sums are weighted; None: each row
        weighs 1. `n` then counts the rows that weigh anything.
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
    weight: FloatArray | None = None

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
            Chunks summed at a time; None: one per processor, at most 4. No bit depends on it.

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
        read: ReadConfig | None = None,
    ) -> SufficientStatistics:
        """Sum up Parquet or CSV files, in memory that does not grow with the number of rows.

        Parameters
        ----------
        paths : path, glob, or iterable of them
            Parquet, text of any separator and encoding, compressed or not, or Excel.
        covariates, group, compound, parent, target, features, threads
            As in `from_frame`.
        chunk_rows : int
            Rows in memory at a time, for each thread and one more.
        read : ReadConfig, optional
            What is known of the files.

        Raises
        ------
        RTRidgeError
            As `from_frame`, naming the file; also for files that cannot be read.
        """
        columns = Columns.of(
            covariates, group=group, compound=compound, parent=parent, target=target
        )
        return cls._of(file_chunks(paths, columns, chunk_rows, read), columns, features, threads)

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
        for name in ("mean_low", "weight"):
            if getattr(self, name) is not None:
                arrays[name] = getattr(self, name)
        if self.parents is not None:
            arrays["parents_group"] = self.parents.group
            arrays["parents_parent"] = self.parents.parent
        header = {"schema": np.array(SCHEMA), "schema_version": np.array(SCHEMA_VERSION)}
        write_npz({**header, **arrays}, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> SufficientStatistics:
        """Read what `save` wrote, bit for bit; `RTRidgeError` says what is wrong with the file."""
        arrays = read_npz(Path(path), "path")
        _check_arrays(arrays, Path(path).name)
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
            weight=arrays.get("weight"),
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
    def mass(self) -> FloatArray:
        """Sum of the weights of each pair's rows, [G]: their number, where each weighs 1."""
        return self.n.astype(np.float64) if self.weight is None else self.weight

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
        weight = None if self.weight is None else self.weight[mask]
        return replace(self, **arrays, parents=parents, mean_low=low, weight=weight)


def fit_features(
    stats: SufficientStatistics,
    *,
    center: FeatureCenter = "global",
    rotation: FeatureRotation = "none",
    expansion: AnchorExpansion = "none",
) -> FeatureMap:
    """Fit a feature map to the training rows, which their statistics stand for.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the covariates as the table has them.
    center, rotation, expansion
        See `FeatureMap.fit`.
    """
    mean, scatter = pooled_moments(stats.mass, stats.mean_x, stats.sxx)
    return FeatureMap.fit(
        stats.covariates, mean, scatter, center=center, rotation=rotation, expansion=expansion
    )


def regressor_statistics(stats: SufficientStatistics, features: FeatureMap) -> SufficientStatistics:
    """Return the statistics that the regressors would have given, without reading rows again.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the covariates as the table has them.
    features : FeatureMap
        Without squares.

    Raises
    ------
    RTRidgeError
        If the map adds squares, which the statistics do not hold, or is of other covariates.
    """
    if features.expansion != "none":
        raise RTRidgeError(
            f"anchor_expansion: expected none, for statistics cannot be squared;"
            f" found {features.expansion!r}. Read the rows again: `from_frame(..., features=...)`."
        )
    if features.names != stats.covariates:
        raise RTRidgeError(
            f"covariates: expected {list(features.names)}; found {list(stats.covariates)}"
        )
    low = 0.0 if stats.mean_low is None else stats.mean_low[:, : stats.P]
    # The low parts count once the offset, large beside them, is gone.
    mean_x, sxx, sxy = (stats.mean_x - features.center) + low, stats.sxx, stats.sxy
    turn = features.rotation
    if turn is not None:
        mean_x, sxy = mean_x @ turn, sxy @ turn
        sxx = np.matmul(np.matmul(turn.T, sxx), turn)
    return replace(
        stats, mean_x=mean_x, sxx=sxx, sxy=sxy, covariates=features.regressors, mean_low=None
    )


def spread_of_regressors(
    stats: SufficientStatistics, features: FeatureMap | None = None
) -> FloatArray:
    """Return the standard deviation of each regressor over the rows, [P].

    Of a constant one, its size in the table (or 1): its slope cannot be told whatever its unit.

    Parameters
    ----------
    stats : SufficientStatistics
        Of the regressors.
    features : FeatureMap or None
        That made them: what centring leaves of a constant is rounding, and no size.
    """
    mean, scatter = pooled_moments(stats.mass, stats.mean_x, stats.sxx)
    sd = np.sqrt(np.diagonal(scatter) / stats.mass.sum())
    size = np.abs(stats.mean_x).max(axis=0, initial=0.0)
    offset = np.zeros(stats.P) if features is None else features.offset
    varies = sd > np.maximum(CONSTANT * np.maximum(np.abs(mean), size), ROUNDED * offset)
    size = np.maximum(size, offset)
    return np.where(varies, sd, np.where(size > 0, size, 1.0))


def standardised(stats: SufficientStatistics, scale: FloatArray) -> SufficientStatistics:
    """Return the statistics of regressors over their scale, [P]."""
    low = None
    if stats.mean_low is not None:
        low = stats.mean_low / np.append(scale, 1.0)
    return replace(
        stats,
        mean_x=stats.mean_x / scale,
        sxx=stats.sxx / np.outer(scale, scale),
        sxy=stats.sxy / scale,
        mean_low=low,
    )


def without(total: SufficientStatistics, part: SufficientStatistics) -> SufficientStatistics:
    """Return the statistics of the rows of `total` that are not of `part`.

    Parameters
    ----------
    total, part : SufficientStatistics
        All rows, and some of them; of the same covariates.

    Returns
    -------
    SufficientStatistics
        Of the same keys as `total`; a pair that has no row left has n = 0, sums of 0 and the means
        of before.
    """
    at = np.searchsorted(total.keys, part.keys)
    n_t, n_p = total.mass[at], part.mass
    left = n_t - n_p
    some = total.n[at] > part.n
    # Chan's update backwards: the difference of means is over what is left.
    share = np.where(some, n_p / np.where(some, left, 1.0), 0.0)
    off = np.concatenate([part.mean_x, part.mean_y[:, None]], axis=1)
    off -= np.concatenate([total.mean_x[at], total.mean_y[at, None]], axis=1)
    joint = _joint_scatter(total, at) - _joint_scatter(part, np.arange(len(at)))
    joint -= (n_t * share)[:, None, None] * off[:, :, None] * off[:, None, :]
    joint[~some] = 0.0
    arrays = {name: getattr(total, name).copy() for name in ARRAYS}
    arrays["n"][at] -= part.n
    arrays["mean_x"][at] -= share[:, None] * off[:, :-1]
    arrays["mean_y"][at] -= share * off[:, -1]
    arrays["sxx"][at], arrays["sxy"][at] = joint[:, :-1, :-1], joint[:, :-1, -1]
    # A sum of squares is not negative, whatever rounding leaves.
    arrays["syy"][at] = np.maximum(joint[:, -1, -1], 0.0)
    weight = None if total.weight is None else total.weight.copy()
    if weight is not None:
        weight[at] = np.where(some, left, 0.0)
    return replace(total, **arrays, weight=weight)


def _joint_scatter(stats: SufficientStatistics, at: IntArray) -> FloatArray:
    P = stats.P
    joint = np.empty((len(at), P + 1, P + 1))
    joint[:, :P, :P], joint[:, P, P] = stats.sxx[at], stats.syy[at]
    joint[:, :P, P] = joint[:, P, :P] = stats.sxy[at]
    return joint


def split_moments(moments: Moments) -> dict[str, Any]:
    """Return moments of [x, y], y last, as the arrays of `SufficientStatistics`."""
    mean, scatter = moments.mean, moments.scatter
    parts = {
        "mean_x": mean[:, :-1],
        "mean_y": mean[:, -1],
        "sxx": scatter[:, :-1, :-1],
        "sxy": scatter[:, :-1, -1],
        "syy": scatter[:, -1, -1],
    }
    copies = {name: np.ascontiguousarray(part) for name, part in parts.items()}
    whole = {"keys": moments.keys, "n": moments.n, "weight": moments.weight}
    return {**whole, "mean_low": moments.low, **copies}


def joint_moments(stats: SufficientStatistics) -> Moments:
    """Return the moments of [x, y] that `split_moments` took apart, as arrays of their own."""
    moments = Moments.empty(stats.keys, stats.P + 1)
    moments.n[:] = stats.n
    if stats.weight is not None:
        moments = replace(moments, weight=stats.weight.copy())
    moments.mean[:, :-1], moments.mean[:, -1] = stats.mean_x, stats.mean_y
    if stats.mean_low is not None:
        moments.low[:] = stats.mean_low
    moments.scatter[:, :-1, :-1], moments.scatter[:, -1, -1] = stats.sxx, stats.syy
    moments.scatter[:, :-1, -1] = moments.scatter[:, -1, :-1] = stats.sxy
    return moments


def check_alike(every: Sequence[SufficientStatistics]) -> None:
    """Raise `RTRidgeError` unless all have the first one's covariates, target and group column."""
    for name in ("covariates", "target", "group_col"):
        expected = getattr(every[0], name)
        for number, other in enumerate(every[1:], start=1):
            if getattr(other, name) != expected:
                raise RTRidgeError(
                    f"{name} (other {number}): expected {expected!r}; found"
                    f" {getattr(other, name)!r}"
                )


def merged_parents(every: Sequence[SufficientStatistics]) -> GroupParents | None:
    """Return the supercategories that all know together; they may not contradict each other."""
    known = [one.parents for one in every if one.parents is not None]
    if known and len(known) < len(every):
        raise RTRidgeError(
            f"parents: expected in all statistics or in none; found in {len(known)} of {len(every)}"
        )
    names = (every[0].group_col, "supercategory")
    return GroupParents.from_pairs([one.pairs for one in known], names) if known else None


def _check_arrays(arrays: Arrays, where: str) -> None:
    """Raise `RTRidgeError` unless every array is there, of its shape and type, and in range."""
    _check_header(arrays, where)
    sizes = {"G": len(arrays["keys"]), "P": len(arrays["covariates"])}
    sizes |= {"Q": sizes["P"] + 1, "M": np.size(arrays.get("parents_group", []))}
    for name, letters in _SHAPES.items():
        if name not in arrays:
            continue
        array = arrays[name]
        expected = tuple(sizes[letter] for letter in letters)
        dtype = np.int64 if name in _WHOLE else np.float64
        if array.shape != expected or array.dtype != dtype:
            raise RTRidgeError(
                f"{name} ({where}): expected {np.dtype(dtype)} {list(expected)}; found"
                f" {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            row = int(np.argwhere(~np.isfinite(array))[0][0])
            raise RTRidgeError(
                f"{name} ({where}): expected finite values; found others at key"
                f" {arrays['keys'][row]}"
            )
    _check_values(arrays, where)


def _check_header(arrays: Arrays, where: str) -> None:
    required = [name for name in _SHAPES if name not in _OPTIONAL]
    wanted = [*_TEXTS, "schema_version", "covariates", *required]
    absent = [name for name in wanted if name not in arrays]
    if absent:
        raise RTRidgeError(
            f"statistics ({where}): lacks {listed(absent)}; it has {listed(sorted(arrays), 20)}"
        )
    found = (str(arrays["schema"]), str(arrays["schema_version"]))
    if found != (SCHEMA, str(SCHEMA_VERSION)):
        raise RTRidgeError(
            f"schema ({where}): expected {SCHEMA} version {SCHEMA_VERSION};"
            f" found {found[0]} version {found[1]}"
        )
    for name in ("keys", "covariates"):
        if arrays[name].ndim != 1:
            raise RTRidgeError(
                f"{name} ({where}): expected one dimension; found {list(arrays[name].shape)}"
            )
    if ("parents_group" in arrays) != ("parents_parent" in arrays):
        raise RTRidgeError(f"parents ({where}): expected groups and their parents; found one")


def _check_values(arrays: Arrays, where: str) -> None:
    for name in ("keys", "parents_group"):
        ids = arrays.get(name, np.zeros(0, np.int64))
        if (np.diff(ids) <= 0).any() or (len(ids) and ids[0] < 0):
            raise RTRidgeError(
                f"{name} ({where}): expected non-negative and ascending;"
                f" found {listed(ids.tolist(), 5)}"
            )
    diagonal = np.einsum("gpp->gp", arrays["sxx"])
    for name, bad in (
        ("n", arrays["n"] < 1),
        ("weight", arrays.get("weight", np.zeros(0)) < 0),
        ("syy", arrays["syy"] < 0),
        ("sxx", (diagonal < 0).any(axis=1)),
    ):
        if bad.any():
            key = arrays["keys"][np.flatnonzero(bad)[0]]
            low = "at least 1" if name == "n" else "sums of squares, not negative"
            raise RTRidgeError(f"{name} ({where}): expected {low}; found less at key {key}")
    if "parents_group" in arrays:
        lost = np.setdiff1d(arrays["keys"] >> 32, arrays["parents_group"])
        if len(lost):
            raise RTRidgeError(
                f"parents ({where}): expected one for each group;"
                f" found none for {listed(lost.tolist())}"
            )
