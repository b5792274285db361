"""Effects of runs given the scales: one dense system of runs, pairs and all above eliminated.

With times y = Xβ + Zr + ε and r ~ N(0, T), all but r integrated, the effects are normal with the
precision S = ZᵀPZ + T⁻¹ and the linear term ZᵀPy, where Pv is the residual of v, smoothed by the
model without runs, over σ² (Bates et al. 2015, doi:10.18637/jss.v067.i01).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dtrtri

from rt_ridge._config import RunEffects
from rt_ridge._errors import RTRidgeError
from rt_ridge.hierarchy._hierarchy import Hierarchy, State
from rt_ridge.posterior._artefact import pair_coefficients
from rt_ridge.posterior._smoother import smoothed
from rt_ridge.runs._cells import RunCells

MOST_ENTRIES = 2**28
"""Most coefficients times runs: 2 GB."""

COLUMNS = 256
"""Runs that are smoothed at a time."""


@dataclass(frozen=True)
class RunSolution:
    """Effects of runs at given scales.

    Parameters
    ----------
    log_likelihood : float
        Of all rows, effects of runs integrated too.
    mean : ndarray, [R]
        Effects.
    root : ndarray, [R, R]
        Lower Cholesky factor of their precision.
    map : ndarray, [G, 1 + P, R]
        What a run's effect takes off the coefficients of each pair.
    """

    log_likelihood: float
    mean: FloatArray
    root: FloatArray
    map: FloatArray

    @property
    def variance(self) -> FloatArray:
        """Of each effect, [R]."""
        half, _ = dtrtri(self.root, lower=1)
        return np.asarray(np.einsum("rs,rs->s", half, half))

    @property
    def added(self) -> FloatArray:
        """What not knowing the effects adds to the covariance of each pair, [G, 1 + P, 1 + P]."""
        G, D, R = self.map.shape
        half = solve_triangular(self.root, self.map.reshape(-1, R).T, lower=True)
        of_pair = half.T.reshape(G, D, R)
        return np.asarray(np.matmul(of_pair, of_pair.transpose(0, 2, 1)))


def check_size(n_pairs: int, n_covariates: int, n_runs: int) -> None:
    """Raise `RTRidgeError` where effects of so many runs do not fit into memory."""
    entries = n_pairs * (1 + n_covariates) * n_runs
    if n_runs > 10_000 or entries > MOST_ENTRIES:
        raise RTRidgeError(
            f"run_effects: expected at most 10 000 runs and {MOST_ENTRIES:,} coefficients times "
            f"runs; found {n_runs:,} runs and {entries:,}. Fit parts of the data."
        )


def solve_runs(hierarchy: Hierarchy, state: State, cells: RunCells, tau: float) -> RunSolution:
    """Return the effects of runs.

    Parameters
    ----------
    hierarchy : Hierarchy
        The model of all else.
    state : State
        Of it.
    cells : RunCells
        Of its rows.
    tau : float
        Standard deviation of effects, or of their steps from run to run where they walk.
    """
    stats, R = hierarchy.stats, cells.n_runs
    precision = 1 / state.sigma2[cells.pair]
    # Sums of each cell's rows of [1, x], over σ².
    x = cells.n[:, None] * stats.mean_x[cells.pair] + cells.x
    sums = np.zeros((R, stats.G, 1 + stats.P))
    sums[cells.run, cells.pair, 0] = cells.n * precision
    sums[cells.run, cells.pair, 1:] = x * precision[:, None]
    columns = np.empty((stats.G, 1 + stats.P, R))
    for first in range(0, R, COLUMNS):
        part = slice(first, min(first + COLUMNS, R))
        columns[:, :, part] = _smoothed(hierarchy, state, cells, part)
    # In place where it can be: of 10 000 runs a matrix is 800 MB.
    S = sums.reshape(R, -1) @ columns.reshape(-1, R)
    S += S.T
    S *= -0.5
    S[np.diag_indices(R)] += np.bincount(cells.run, cells.n * precision, R)
    _add_prior_precision(S, tau, hierarchy.config.run_effects)
    mean = pair_coefficients(hierarchy, state)[0][cells.pair]
    line = mean[:, 0] + np.einsum("mp,mp->m", stats.mean_x[cells.pair], mean[:, 1:])
    off = cells.n * (stats.mean_y[cells.pair] - line) + cells.y
    off -= np.einsum("mp,mp->m", cells.x, mean[:, 1:])
    q = np.bincount(cells.run, off * precision, R)
    root = cholesky(S, lower=True, overwrite_a=True)
    effects = cho_solve((root, True), q)
    log_likelihood = state.log_likelihood + float(q @ effects) / 2
    log_likelihood -= float(np.log(np.diagonal(root)).sum()) + R * float(np.log(tau))
    return RunSolution(log_likelihood, effects, root, columns)


def _smoothed(hierarchy: Hierarchy, state: State, cells: RunCells, part: slice) -> FloatArray:
    """Return what the columns of some runs are smoothed to, [G, 1 + P, C]."""
    stats, size = hierarchy.stats, part.stop - part.start
    of = (cells.run >= part.start) & (cells.run < part.stop)
    pair, run = cells.pair[of], cells.run[of] - part.start
    mean_y, sxy = np.zeros((stats.G, size)), np.zeros((stats.G, stats.P, size))
    mean_y[pair, run] = cells.n[of] / stats.mass[pair]
    sxy[pair, :, run] = cells.x[of]
    return smoothed(hierarchy, state, mean_y, sxy)


def _add_prior_precision(S: FloatArray, tau: float, prior: RunEffects) -> None:
    """Add the precision of effects [R, R] in place: of a walk, that of its steps."""
    diagonal = np.einsum("rr->r", S)
    if prior == "independent":
        diagonal += tau**-2
        return
    # From 0 to the first run, and from each run to the next.
    diagonal[:-1] += 2 * tau**-2
    diagonal[-1] += tau**-2
    R = len(S)
    S.ravel()[1 :: R + 1] -= tau**-2
    S.ravel()[R :: R + 1] -= tau**-2
