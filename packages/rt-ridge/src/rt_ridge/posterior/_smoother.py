"""The posterior mean of all pairs' coefficients as a linear map of the times, many at once.

Effects that cross pairs, such as those of runs, need the map itself: each of their columns is
smoothed as if it were the times, by factors that are there already.
"""

from __future__ import annotations

import numpy as np
from molpool_common import FloatArray, IntArray

from rt_ridge.hierarchy._hierarchy import Hierarchy, State
from rt_ridge.hierarchy._linear_system import LinearSystem, Solution, dense_scales, segment_sum
from rt_ridge.posterior._artefact import given_location


def smoothed(hierarchy: Hierarchy, state: State, mean_y: FloatArray, sxy: FloatArray) -> FloatArray:
    """Return the coefficients [b, w] that columns of times lead to, [G, 1 + P, C].

    Parameters
    ----------
    hierarchy : Hierarchy
        The model; prior means and the offset of times are taken as 0.
    state : State
        Of it, flat effects integrated.
    mean_y : ndarray, [G, C]
        Mean of each column over the rows of each pair.
    sxy : ndarray, [G, P, C]
        Its centred products with the regressors.
    """
    messages, shrunk = state.messages, state.messages.shrunk
    spectra, t = shrunk.spectra, shrunk.t
    z = np.matmul(spectra.dual.transpose(0, 2, 1), sxy)
    z = np.where(spectra.d[:, :, None] > 0, z, 0.0)
    r = mean_y - shrunk.psi * np.einsum("gp,gpc->gc", spectra.h * t, z)
    linear = (messages.p[:, None] * r)[:, None, :] * messages.e[:, :, None]
    if messages.with_head:
        within = np.matmul(spectra.basis, t[:, :, None] * z)
        linear[:, 1:] += within / messages.sigma2[:, None, None]
    location = locations(hierarchy.system, state.solution, state.scales, linear)
    slope = given_location(messages)[2]
    found = -slope[:, :, :1] * r[:, None, :]
    found[:, 0] += r
    found[:, 1:] += shrunk.psi * np.matmul(spectra.dual, t[:, :, None] * z)
    return np.asarray(found + np.matmul(slope, location))


def locations(
    system: LinearSystem, solution: Solution, scales: FloatArray, linear: FloatArray
) -> FloatArray:
    """Return the mean location of each pair for other linear terms [G, D, C]; [G, D, C]."""
    at = system.arrangement
    D, C, R = linear.shape[1], linear.shape[2], at.n_dense
    h = _summed(at.joint_of_pair, linear, at.n_joints)
    terms = _summed(at.cell_of_joint, h, at.n_cells)[:, at.rows]
    weights = dense_scales(at, scales)[at.cell_columns]
    if at.cell_weights is not None:
        weights = weights * at.cell_weights
    flat = (weights[:, :, None] * terms).reshape(-1, C)
    b = _summed(at.cell_columns.ravel(), flat, R)
    level = None if at.eliminated is None else _Level(system, solution, scales, h)
    if level is not None:
        b -= level.explained()
    dense = solution.dense_cov @ b
    of_cell = np.zeros((at.n_cells, D, C))
    for column, row in enumerate(at.rows):
        of_cell[:, row] += weights[:, column, None] * dense[at.cell_columns[:, column]]
    mean = of_cell[at.cell_of_joint]
    if level is not None:
        level.add(mean, dense)
    return np.asarray(mean[at.joint_of_pair])


class _Level:
    """What the eliminated factor makes of the linear terms of the joints, [n_joints, D, C]."""

    def __init__(
        self, system: LinearSystem, solution: Solution, scales: FloatArray, h: FloatArray
    ) -> None:
        at = system.arrangement
        e = at.eliminated
        assert e is not None
        self.at, self.solution, self.rows = at, solution, e.rows
        self.weights = scales[e.scale][at.level_of_joint]
        if at.joint_weights is not None:
            self.weights = self.weights * at.joint_weights
        terms = self.weights[:, :, None] * h[:, e.rows]
        self.linear = _summed(at.level_of_joint, terms, e.n_levels)
        self.columns = at.cell_columns[system.level_cell] if at.nested else None

    def explained(self) -> FloatArray:
        """Return what it takes off the linear terms of the dense columns, [R, C]."""
        gain, C = self.solution.gain, self.linear.shape[-1]
        if self.columns is None:
            flat = gain.reshape(-1, gain.shape[-1])
            return np.asarray(flat.T @ self.linear.reshape(-1, C))
        falls = np.matmul(gain.transpose(0, 2, 1), self.linear)
        return _summed(self.columns.ravel(), falls.reshape(-1, C), self.at.n_dense)

    def add(self, mean: FloatArray, dense: FloatArray) -> None:
        """Add its part to the means of the joints, in place, for means of the dense columns."""
        gain = self.solution.gain
        level = np.matmul(self.solution.level_inverse, self.linear)
        if self.columns is None:
            level -= (gain.reshape(-1, gain.shape[-1]) @ dense).reshape(level.shape)
        else:
            level -= np.matmul(gain, dense[self.columns])
        for column, row in enumerate(self.rows):
            mean[:, row] += self.weights[:, column, None] * level[self.at.level_of_joint, column]


def _summed(place: IntArray, values: FloatArray, size: int) -> FloatArray:
    """Return the sums [size, ...] of entries with the same place."""
    # Named, since no width follows from an array of nothing.
    width = int(np.prod(values.shape[1:]))
    flat = segment_sum(place, size) @ values.reshape(len(values), width)
    return np.asarray(flat).reshape(size, *values.shape[1:])
