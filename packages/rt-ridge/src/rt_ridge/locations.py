"""Posterior moments of the locations of the pairs seen."""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray

from rt_ridge.system import LinearSystem, Solution, dense_scales

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
