"""Coefficients of any pair: its own, or those of the nearest level that was seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

from rt_ridge.prediction._effects import BackoffLevel, ClassEffect, DescriptorEffect, LineTable
from rt_ridge.tables._keys import GroupParents, find, pack

LEVELS = (
    "pair",
    "group+compound",
    "group",
    "parent+compound",
    "parent",
    "compound",
    "global",
    "none",
)
"""Where the coefficients of a row came from, nearest first; "none" has no prediction."""


@dataclass(frozen=True)
class CompoundEffect:
    """What a compound adds to the coefficients of a new pair, whatever its group.

    Parameters
    ----------
    ids : ndarray of int64, [C]
        Compounds seen, ascending.
    mean : ndarray, [C, D]
        Mean of the effect.
    cov : ndarray, [C, D, D]
        Its covariance.
    new_cov : ndarray, [D, D]
        Covariance of the effect of a compound never seen, which has mean 0, or what its
        descriptors say: see `DescriptorEffect`.

    Notes
    -----
    Levels and effects are added as if independent. Location shared by all compounds belongs to
    the levels: effects are best taken about their mean, which the data pin down far better than
    the grand mean that the compounds scatter about.
    """

    ids: IntArray
    mean: FloatArray
    cov: FloatArray
    new_cov: FloatArray

    def table(self, blind_cov: FloatArray | None) -> LineTable:
        """Return the effects, and after them a new compound's, described and not."""
        new = np.stack([self.new_cov, self.new_cov if blind_cov is None else blind_cov])
        zeros = np.zeros((2, self.mean.shape[1]))
        return LineTable(np.concatenate([self.mean, zeros]), np.concatenate([self.cov, new]))


@dataclass(frozen=True)
class NoiseVariance:
    """Posterior mean of σ², one for all rows or one per group.

    Parameters
    ----------
    mean : float
        Of groups without their own.
    group_ids : ndarray of int64, [M]
        Groups with their own, ascending; empty where σ is global.
    group_mean : ndarray, [M]
        Theirs.
    """

    mean: float
    group_ids: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    group_mean: FloatArray = field(default_factory=lambda: np.zeros(0))

    def of(self, groups: IntArray) -> FloatArray:
        """Return σ² of the group of each row, [N]."""
        place = find(self.group_ids, groups)
        # Place -1 is the last entry.
        return np.append(self.group_mean, self.mean)[place]


@dataclass(frozen=True)
class Located:
    """Where each of N rows finds its coefficients.

    Attributes
    ----------
    level : ndarray of int8, [N]
        Index into `LEVELS`.
    source : ndarray of int8, [N]
        0 the pair, 1 + j the j-th back-off level, -1 nothing.
    row : ndarray of int64, [N]
        Row in the table of the source.
    compound : ndarray of int64, [N]
        Row in the compound effects, -1 for a compound never seen.
    compound_id : ndarray of int64, [N]
        The compound.
    nodes : dict of str to ndarray of int64, [N]
        Node of each row at the levels "group", "parent" (-1 where unknown) and "global".
    """

    level: npt.NDArray[np.int8]
    source: npt.NDArray[np.int8]
    row: IntArray
    compound: IntArray
    compound_id: IntArray
    nodes: dict[str, IntArray]

    def take(self, rows: IntArray) -> Located:
        """Return what is known of some rows."""
        nodes = {name: ids[rows] for name, ids in self.nodes.items()}
        kinds = (self.level[rows], self.source[rows])
        return Located(*kinds, self.row[rows], self.compound[rows], self.compound_id[rows], nodes)


@dataclass(frozen=True)
class CoefficientPredictor:
    """Posterior of [b, w] of every pair seen, and of every pair that was not.

    Parameters
    ----------
    keys : ndarray of int64, [G]
        Pairs seen, ascending: see `rt_ridge.tables._keys`.
    mean : ndarray, [G, D]
        Posterior mean of [b, w].
    cov : ndarray, [G, D, D]
        Posterior covariance.
    levels : tuple of BackoffLevel
        Nearest first; empty for a model that says nothing of unseen pairs.
    compound : CompoundEffect or None
        Added to every level.
    parents : GroupParents or None
        Supercategory of every group seen.
    descriptors : DescriptorEffect or None
        What descriptors say of pairs never seen.
    classes : ClassEffect or None
        What classes say of them.
    """

    keys: IntArray
    mean: FloatArray
    cov: FloatArray
    levels: tuple[BackoffLevel, ...] = ()
    compound: CompoundEffect | None = None
    parents: GroupParents | None = None
    descriptors: DescriptorEffect | None = None
    classes: ClassEffect | None = None

    def locate(
        self, groups: IntArray, compounds: IntArray, parents: IntArray | None = None
    ) -> Located:
        """Find the nearest level that knows each pair.

        Parameters
        ----------
        groups, compounds : ndarray of int64, [N]
            The pairs.
        parents : ndarray of int64, [N], or None
            Parent of each group, used for groups that the fit has not seen; -1 where unknown.
        """
        nodes = {"group": groups, "parent": self._parents(groups, parents)}
        nodes["global"] = np.zeros_like(groups)
        compound = np.full(len(groups), -1)
        if self.compound is not None:
            compound = find(self.compound.ids, compounds)
        row = find(self.keys, pack(groups, compounds))
        source = np.where(row >= 0, 0, -1).astype(np.int8)
        level = np.where(row >= 0, 0, LEVELS.index("none")).astype(np.int8)
        # Nearest level first; rows that a level knows are closed to those farther away.
        for number, table in enumerate(self.levels, start=1):
            open_rows = np.flatnonzero(source < 0)
            found = find(table.ids, nodes[table.name][open_rows])
            there = open_rows[found >= 0]
            source[there] = number
            row[there] = found[found >= 0]
            level[there] = _labels(table.name, compound[there] >= 0)
        return Located(level, source, row, compound, compounds, nodes)

    def moments(
        self, design: FloatArray, located: Located, descriptors: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the regression line at each row, NaN at level "none".

        Parameters
        ----------
        design : ndarray, [N, D]
            Ones and regressors.
        located : Located
            From `locate`, for the same rows.
        descriptors : ndarray, [N, Q], or None
            Of compounds that the fit has not seen; NaN where unknown.

        Returns
        -------
        mean, variance : ndarray, [N]
        """
        mean, variance = np.full((2, len(design)), np.nan)
        for number, table in enumerate(self._tables):
            rows = np.flatnonzero(located.source == number)
            if len(rows):
                mean[rows], variance[rows] = table.moments(design[rows], located.row[rows])
        rows = np.flatnonzero(located.source > 0)
        if len(rows):
            # A level's covariance leaves the part of compounds out (see `BackoffLevel`), so
            # variances add.
            for part in self._additions(design, located, descriptors, rows):
                mean[rows] += part[0]
                variance[rows] += part[1]
        # Sums of quadratic forms that nearly cancel may round below 0.
        return mean, np.maximum(variance, 0.0)

    def moments_by_pair(
        self, design: FloatArray, located: Located
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the line at n rows of each of K pairs; see `moments`.

        Parameters
        ----------
        design : ndarray, [K, n, D]
            Ones and regressors.
        located : Located
            Of the pairs.

        Returns
        -------
        mean, variance : ndarray, [K, n]
        """
        if (located.source != 0).any():
            each = np.repeat(np.arange(len(design)), design.shape[1])
            found = self.moments(design.reshape(len(each), -1), located.take(each))
            return found[0].reshape(design.shape[:2]), found[1].reshape(design.shape[:2])
        mean = np.matmul(design, self.mean[located.row, :, None])[..., 0]
        variance = np.einsum("knd,knd->kn", np.matmul(design, self.cov[located.row]), design)
        return mean, np.maximum(variance, 0.0)

    @cached_property
    def _tables(self) -> list[LineTable]:
        levels = [LineTable(level.mean, level.cov) for level in self.levels]
        return [LineTable(self.mean, self.cov), *levels]

    def _additions(
        self,
        design: FloatArray,
        located: Located,
        descriptors: FloatArray | None,
        rows: IntArray,
    ) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Yield mean and variance of what compound, class and descriptors add to unseen pairs."""
        compound = located.compound[rows]
        blind: npt.NDArray[np.bool_] = np.zeros(len(rows), dtype=np.bool_)
        effect = self.descriptors
        if effect is not None:
            given = None if descriptors is None else descriptors[rows]
            z = effect.rows(located.compound_id[rows], given)
            blind |= np.isnan(z).any(axis=1)
            # Unknown descriptors say nothing: their compound is taken as average, and wide.
            z = np.where(blind[:, None], 0.0, z)
            yield effect.of_new_compound(np.where((compound < 0)[:, None], z, 0.0), design[rows])
            nodes = {name: ids[rows] for name, ids in located.nodes.items()}
            yield effect.of_group(z, design[rows], nodes)
        if self.classes is not None:
            ids = (located.compound_id[rows], located.nodes["parent"][rows])
            yield self.classes.moments(design[rows], *ids)
        if self.compound is not None:
            table = self.compound.table(None if effect is None else effect.blind_cov)
            # The last row of the table is the compound never seen and not described.
            place = np.where((compound < 0) & ~blind, -2, np.where(compound < 0, -1, compound))
            yield table.moments(design[rows], place)
        elif effect is not None:
            # Compounds of one group have no effects of their own, and are as far apart.
            cov = np.stack([np.zeros_like(effect.blind_cov), effect.blind_cov])
            yield LineTable(np.zeros(cov.shape[:2]), cov).moments(design[rows], blind * 1)

    def _parents(self, groups: IntArray, given: IntArray | None) -> IntArray:
        parents = np.full(len(groups), -1) if given is None else given
        if self.parents is None:
            return parents
        row = find(self.parents.group, groups)
        return np.where(row >= 0, self.parents.parent[row], parents)


def _labels(name: str, with_compound: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    joint = "compound" if name == "global" else f"{name}+compound"
    return np.where(with_compound, LEVELS.index(joint), LEVELS.index(name)).astype(np.int8)
