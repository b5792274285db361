"""The levels above the pairs, as columns of one linear system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from molpool_common import FloatArray, IntArray

FLAT = -1
"""In place of a scale: a flat prior (or the normal one of the grand intercept)."""

NO_DESCRIPTOR = -1
"""In place of a descriptor: the column adds its effect as it is."""

CROSSED = "parent_class"
"""The factor of classes within supercategories."""


@dataclass(frozen=True)
class Factor:
    """All effects that share one index: of compounds, of groups, ...

    Column j of a level adds ``weight * effect`` to entry ``rows[j]`` of the location [η, m].

    Parameters
    ----------
    name : str
        "global", "parent", "group", "compound", "class" or "parent_class".
    ids : ndarray of int64, [L]
        What the levels are in the data.
    level : ndarray of int64, [G]
        Level of each pair.
    rows : ndarray of int64, [d]
        Entry of the location that each column adds to.
    scale : ndarray of int64, [L, d]
        Place of each effect's standard deviation among the scales, or `FLAT`.
    descriptor : ndarray of int64, [d]
        Number of the descriptor that multiplies each column, or `NO_DESCRIPTOR`.
    weights : ndarray, [G, d], or None
        1 unless a column multiplies a descriptor.
    """

    name: str
    ids: IntArray
    level: IntArray
    rows: IntArray
    scale: IntArray
    descriptor: IntArray
    weights: FloatArray | None = None

    @property
    def described(self) -> npt.NDArray[np.bool_]:
        """Whether a descriptor multiplies each column, [d]."""
        return np.asarray(self.descriptor != NO_DESCRIPTOR)

    @property
    def n_levels(self) -> int:
        """Number of levels, L."""
        return len(self.ids)

    @property
    def size(self) -> int:
        """Number of columns of all levels, L d."""
        return self.scale.size


@dataclass(frozen=True)
class Arrangement:
    """Which factor is eliminated first, and where the columns of the others stand.

    Levels of the eliminated factor are independent of each other given all else, so that they
    leave the system block by block; the rest is dense. Pairs that differ in no level are summed
    first: *cells* are the distinct combinations of levels of the dense factors, and *joints* those
    of a cell and a level of the eliminated factor.

    Parameters
    ----------
    eliminated : Factor or None
        The factor that leaves first.
    dense : tuple of Factor
        The others.
    columns : dict
        For each dense factor, the place [L, d] of its columns; those with a flat prior come last.
    scale : ndarray of int64, [R]
        Place of the standard deviation of each dense column among the scales, or `FLAT`.
    cell_columns : ndarray of int64, [n_cells, m]
        Columns that act on a cell.
    rows : ndarray of int64, [m]
        Entry of the location that each of them adds to.
    cell_weights : ndarray, [n_cells, m], or None
        Their weights.
    joint_of_pair, cell_of_joint, level_of_joint : ndarray of int64, [G], [n_joints], [n_joints]
        The maps between pairs, joints, cells and levels.
    joint_weights : ndarray, [n_joints, d], or None
        Weights of the eliminated factor.
    """

    eliminated: Factor | None
    dense: tuple[Factor, ...]
    columns: dict[str, IntArray]
    scale: IntArray
    cell_columns: IntArray
    rows: IntArray
    cell_weights: FloatArray | None
    joint_of_pair: IntArray
    cell_of_joint: IntArray
    level_of_joint: IntArray
    joint_weights: FloatArray | None

    @property
    def n_dense(self) -> int:
        """Dense columns, R."""
        return len(self.scale)

    @property
    def n_flat(self) -> int:
        """Dense columns with a flat prior: the last ones."""
        return int((self.scale == FLAT).sum())

    @property
    def n_cells(self) -> int:
        """Distinct combinations of dense levels."""
        return len(self.cell_columns)

    @property
    def n_joints(self) -> int:
        """Distinct combinations of all levels."""
        return len(self.cell_of_joint)

    @property
    def nested(self) -> bool:
        """Whether each level of the eliminated factor lies in one cell: cost is then linear."""
        return self.eliminated is not None and self.n_joints == self.eliminated.n_levels


def arrange(factors: tuple[Factor, ...], compound: IntArray) -> Arrangement:
    """Choose the factor to eliminate, the largest, and number the columns of the rest.

    Parameters
    ----------
    factors : tuple of Factor
        All of them; those with flat priors only in "global".
    compound : ndarray of int64, [G]
        Compound of each pair, on which the weights of descriptors depend.
    """
    candidates = [f for f in factors if f.name != "global"]
    eliminated = max(candidates, key=lambda f: f.size, default=None)
    dense = tuple(f for f in factors if f is not eliminated)
    columns, scale = _number(dense)
    weighted = any(f.weights is not None for f in factors)
    keys = [f.level for f in dense] + ([compound] if weighted else [])
    n_pairs = len(compound)
    cell_first, cell = _distinct(keys, n_pairs)
    level = np.zeros(n_pairs, dtype=np.int64) if eliminated is None else eliminated.level
    joint_first, joint = _distinct([level, cell], n_pairs)
    return Arrangement(
        eliminated=eliminated,
        dense=dense,
        columns=columns,
        scale=scale,
        cell_columns=_stack([columns[f.name][f.level[cell_first]] for f in dense], len(cell_first)),
        rows=np.concatenate([f.rows for f in dense]) if dense else np.zeros(0, dtype=np.int64),
        cell_weights=_weights(dense, cell_first) if weighted else None,
        joint_of_pair=joint,
        cell_of_joint=cell[joint_first],
        level_of_joint=level[joint_first],
        joint_weights=_weights((eliminated,), joint_first) if weighted and eliminated else None,
    )


def _number(dense: tuple[Factor, ...]) -> tuple[dict[str, IntArray], IntArray]:
    """Place the columns of the dense factors, flat ones last."""
    scale = np.concatenate([f.scale.ravel() for f in dense]) if dense else np.zeros(0, np.int64)
    order = np.argsort(scale == FLAT, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    columns, start = {}, 0
    for factor in dense:
        columns[factor.name] = place[start : start + factor.size].reshape(factor.scale.shape)
        start += factor.size
    return columns, scale[order]


def _distinct(keys: list[IntArray], n_pairs: int) -> tuple[IntArray, IntArray]:
    """Return the first pair of each distinct combination, and the combination of each pair."""
    code = np.zeros(n_pairs, dtype=np.int64)
    for key in keys:
        joined = code * (int(key.max()) + 1) + key
        code = np.unique(joined, return_inverse=True)[1]
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    return first, inverse


def _stack(parts: list[IntArray], n_rows: int) -> IntArray:
    return np.concatenate(parts, axis=1) if parts else np.zeros((n_rows, 0), dtype=np.int64)


def _weights(factors: tuple[Factor, ...], pairs: IntArray) -> FloatArray:
    ones = [np.ones((len(pairs), len(f.rows))) for f in factors]
    parts = [
        one if f.weights is None else f.weights[pairs] for f, one in zip(factors, ones, strict=True)
    ]
    return np.concatenate(parts, axis=1) if parts else np.ones((len(pairs), 0))
