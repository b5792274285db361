"""Posterior moments of locations: of the pairs seen, and of nodes of the upper levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rt_ridge.levels import Arrangement, Factor
from rt_ridge.system import LinearSystem, Solution, dense_scales

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
MeanCov = tuple[FloatArray, FloatArray]


def pair_locations(system: LinearSystem, solution: Solution, scales: FloatArray) -> MeanCov:
    """Return mean [G, D] and covariance [G, D, D] of the location of every pair."""
    at = system.arrangement
    entry = np.zeros((len(at.rows), system.n_entries))
    entry[np.arange(len(at.rows)), at.rows] = 1
    weights = dense_scales(at, scales)[at.cell_columns]
    if at.cell_weights is not None:
        weights = weights * at.cell_weights
    spread = weights[:, :, None] * entry  # [n_cells, m, D]
    mean = np.einsum("cm,cmd->cd", solution.dense_mean[at.cell_columns], spread)
    cov_cell = solution.dense_cov[at.cell_columns[:, :, None], at.cell_columns[:, None, :]]
    cov = np.matmul(spread.transpose(0, 2, 1), np.matmul(cov_cell, spread))
    mean, cov = mean[at.cell_of_joint], cov[at.cell_of_joint]
    if at.eliminated is not None:
        _add_level(system, solution, scales, cov_cell, spread, (mean, cov))
    return mean[at.joint_of_pair], cov[at.joint_of_pair]


def _add_level(
    system: LinearSystem,
    solution: Solution,
    scales: FloatArray,
    cov_cell: FloatArray,
    spread: FloatArray,
    moments: MeanCov,
) -> None:
    """Add the eliminated factor's share to the moments of the joints, in place."""
    at = system.arrangement
    e = at.eliminated
    assert e is not None
    mean, cov = moments
    level, cell = at.level_of_joint, at.cell_of_joint
    weights = scales[e.scale][level]
    if at.joint_weights is not None:
        weights = weights * at.joint_weights
    own, cross = level_covariances(system, solution, cov_cell)
    own, cross = own[level], np.matmul(cross, spread[cell])  # [n, d, d], [n, d, D]
    for i, row in enumerate(e.rows):
        mean[:, row] += weights[:, i] * solution.level_mean[level, i]
        share = weights[:, i, None] * cross[:, i]
        cov[:, row, :] += share
        cov[:, :, row] += share
        for j, column in enumerate(e.rows):
            cov[:, row, column] += weights[:, i] * weights[:, j] * own[:, i, j]


def level_covariances(system: LinearSystem, solution: Solution, cov_cell: FloatArray) -> MeanCov:
    """Return the eliminated factor's covariances.

    Parameters
    ----------
    system, solution : LinearSystem, Solution
        The system and its solution.
    cov_cell : ndarray, [n_cells, m, m]
        Covariance of each cell's columns.

    Returns
    -------
    own, cross : ndarray, [L, d, d], [n_joints, d, m]
        Covariance of each level, and with the columns of each joint's cell.
    """
    at, gain = system.arrangement, solution.gain
    if at.nested:
        falls = np.matmul(gain, cov_cell[system.level_cell])
        own = solution.level_inverse + np.matmul(falls, gain.transpose(0, 2, 1))
        return own, -falls[at.level_of_joint]
    columns = at.cell_columns[at.cell_of_joint]
    d = gain.shape[1]
    places = at.level_of_joint[:, None, None], np.arange(d)[None, :, None], columns[:, None]
    return solution.level_cov, -solution.falls[places]


@dataclass(frozen=True)
class Node:
    """Locations to be told of: sums of effects of some factors.

    Parameters
    ----------
    size : int
        How many there are, N.
    levels : dict
        Level [N] of each factor that counts, by its name.
    weights : dict
        Weights [N, d] of each of those factors' columns.
    share : dict
        Weights [N, d] of the mean over all levels of a factor, added to the location.
    """

    size: int
    levels: dict[str, IntArray]
    weights: dict[str, FloatArray]
    share: dict[str, FloatArray]


def node_locations(
    system: LinearSystem, solution: Solution, scales: FloatArray, node: Node
) -> MeanCov:
    """Return mean [N, D] and covariance [N, D, D] of each location of `node`."""
    at = system.arrangement
    N, D, R = node.size, system.n_entries, at.n_dense
    on_dense = np.zeros((N, D, R))
    for factor in at.dense:
        _dense_share(on_dense, factor, at, node)
    on_dense *= dense_scales(at, scales)
    mean = on_dense @ solution.dense_mean
    own = np.zeros((N, D, D))
    if at.eliminated is not None:
        _level_share(system, solution, scales, node, (on_dense, mean, own))
    half = (on_dense.reshape(-1, R) @ solution.dense_cov).reshape(N, D, R)
    return mean, own + np.matmul(half, on_dense.transpose(0, 2, 1))


def _dense_share(on_dense: FloatArray, factor: Factor, at: Arrangement, node: Node) -> None:
    columns = at.columns[factor.name]
    N = len(on_dense)
    for j, row in enumerate(factor.rows):
        if factor.name in node.levels:
            value = node.weights[factor.name][:, j]
            on_dense[np.arange(N), row, columns[node.levels[factor.name], j]] += value
        if factor.name in node.share:
            value = node.share[factor.name][:, j, None] / factor.n_levels
            on_dense[:, row, columns[:, j]] += value


def _level_share(
    system: LinearSystem,
    solution: Solution,
    scales: FloatArray,
    node: Node,
    into: tuple[FloatArray, FloatArray, FloatArray],
) -> None:
    """Add the eliminated factor: its mean, own covariance, and what it owes to dense columns."""
    e = system.arrangement.eliminated
    assert e is not None
    on_dense, mean, own = into
    s = scales[e.scale]
    if e.name not in node.levels and e.name not in node.share:
        return
    none = np.zeros((node.size, len(e.rows)))
    level = node.levels.get(e.name, np.zeros(node.size, dtype=np.int64))
    weights, share = node.weights.get(e.name, none), node.share.get(e.name, none) / e.n_levels
    for i, row in enumerate(e.rows):
        one = weights[:, i] * s[level, i]
        mean[:, row] += one * solution.level_mean[level, i]
        mean[:, row] += share[:, i] * float(s[:, i] @ solution.level_mean[:, i])
        on_dense[:, row] -= one[:, None] * _gain_of(system, solution, i, level)
        if share[:, i].any():
            on_dense[:, row] -= share[:, i, None] * _gain_sum(system, solution, i, s[:, i])
        for j, column in enumerate(e.rows):
            inverse = solution.level_inverse[:, i, j] * s[:, i] * s[:, j]
            both = weights[:, i] * weights[:, j]
            both = both + share[:, i] * weights[:, j] + share[:, j] * weights[:, i]
            own[:, row, column] += both * inverse[level]
            own[:, row, column] += share[:, i] * share[:, j] * float(inverse.sum())


def _gain_of(system: LinearSystem, solution: Solution, i: int, level: IntArray) -> FloatArray:
    """Return the gain of column i of some levels on all dense columns, [N, R]."""
    at, gain = system.arrangement, solution.gain[level, i]
    if not at.nested:
        return np.asarray(gain)
    rows = np.zeros((len(level), at.n_dense))
    columns = at.cell_columns[system.level_cell[level]]
    rows[np.arange(len(level))[:, None], columns] = gain
    return rows


def _gain_sum(system: LinearSystem, solution: Solution, i: int, weights: FloatArray) -> FloatArray:
    """Return the weighted sum over levels of the gain of column i on all dense columns, [R]."""
    at, gain = system.arrangement, solution.gain[:, i]
    if not at.nested:
        return np.asarray(weights @ gain)
    columns = at.cell_columns[system.level_cell]
    flat = (weights[:, None] * gain).ravel()
    return np.asarray(np.bincount(columns.ravel(), flat, at.n_dense), dtype=np.float64)
