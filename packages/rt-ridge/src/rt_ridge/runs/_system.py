"""Effects of runs given the scales: one dense system of runs, pairs and all above eliminated.

With times y = Xβ + Zr + ε and r ~ N(0, T), all but r integrated, the effects are normal with the
precision S = ZᵀPZ + T⁻¹ and the linear term ZᵀPy, where Pv is the residual of v, smoothed by the
model without runs, over σ² (Bates et al. 2015, doi:10.18637/jss.v067.i01).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from molpool_common import FloatArray
from scipy.interpolate import BSpline
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

RUNS_PER_KNOT, MOST_KNOTS = 4, 35
"""Of a spline, as is usual for penalised ones (Ruppert 2002, doi:10.1198/106186002321018768)."""

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
    root : ndarray, [C, C]
        Lower Cholesky factor of the precision of the effects, or of a spline's coefficients.
    map : ndarray, [G, 1 + P, C]
        What each of these takes off the coefficients of each pair.
    basis : ndarray, [R, C], or None
        From a spline's coefficients to the effects.
    """

    log_likelihood: float
    mean: FloatArray
    root: FloatArray
    map: FloatArray
    basis: FloatArray | None = None

    @property
    def variance(self) -> FloatArray:
        """Of each effect, [R]."""
        half, _ = dtrtri(self.root, lower=1)
        if self.basis is not None:
            half = np.matmul(half, self.basis.T)
        return np.asarray(np.einsum("rs,rs->s", half, half))

    @property
    def added(self) -> FloatArray:
        """What not knowing the effects adds to the covariance of each pair, [G, 1 + P, 1 + P]."""
        G, D, R = self.map.shape
        half = solve_triangular(self.root, self.map.reshape(-1, R).T, lower=True)
        of_pair = half.T.reshape(G, D, R)
        return np.asarray(np.matmul(of_pair, of_pair.transpose(0, 2, 1)))


def spline_basis(n_runs: int) -> FloatArray:
    """Return the cubic B-splines of the runs' order less their means, [R, C].

    With evenly spaced knots and normal steps from coefficient to coefficient these are the
    P-splines of Eilers & Marx (1996, doi:10.1214/ss/1038425655) with a penalty of order one. Their
    mean over the runs is the intercept's: one spline's level would be known no better than τ.
    """
    intervals = max(1, min(n_runs // RUNS_PER_KNOT, MOST_KNOTS))
    # Three knots more on either side: each interval is covered by four splines.
    step = max(n_runs - 1, 1) / intervals
    knots = step * np.arange(-3.0, intervals + 4)
    # The last run would lie beyond the last interval by rounding.
    at = np.minimum(np.arange(n_runs, dtype=np.float64), knots[-4] * (1 - 1e-12))
    basis = np.asarray(BSpline.design_matrix(at, knots, 3).toarray(), dtype=np.float64)
    return np.asarray(basis - basis.mean(axis=0))


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
        Standard deviation of effects, or of their steps from run to run where they walk, or of a
        spline's coefficients from one to the next.
    """
    basis = spline_basis(cells.n_runs) if hierarchy.config.run_effects == "spline" else None
    stats, R = hierarchy.stats, cells.n_runs
    precision = 1 / state.sigma2[cells.pair]
    # Sums of each cell's rows of [1, x], over σ².
    x = cells.n[:, None] * stats.mean_x[cells.pair] + cells.x
    by_pair = np.zeros((R, stats.G, 1 + stats.P))
    by_pair[cells.run, cells.pair, 0] = cells.n * precision
    by_pair[cells.run, cells.pair, 1:] = x * precision[:, None]
    sums: FloatArray = by_pair.reshape(R, -1)
    own = np.bincount(cells.run, cells.n * precision, R)
    size = R if basis is None else basis.shape[1]
    columns = np.empty((stats.G, 1 + stats.P, size))
    for first in range(0, size, COLUMNS):
        part = slice(first, min(first + COLUMNS, size))
        columns[:, :, part] = _smoothed(hierarchy, state, cells, part, basis)
    if basis is not None:
        sums = np.matmul(basis.T, sums)
    # In place where it can be: of 10 000 runs a matrix is 800 MB.
    S = sums @ columns.reshape(-1, size)
    S += S.T
    S *= -0.5
    if basis is None:
        S[np.diag_indices(R)] += own
    else:
        S += (basis.T * own) @ basis
    _add_prior_precision(S, tau, hierarchy.config.run_effects)
    mean = pair_coefficients(hierarchy, state)[0][cells.pair]
    line = mean[:, 0] + np.einsum("mp,mp->m", stats.mean_x[cells.pair], mean[:, 1:])
    off = cells.n * (stats.mean_y[cells.pair] - line) + cells.y
    off -= np.einsum("mp,mp->m", cells.x, mean[:, 1:])
    of_runs = np.bincount(cells.run, off * precision, R)
    q = of_runs if basis is None else of_runs @ basis
    root = cholesky(S, lower=True, overwrite_a=True)
    effects = cho_solve((root, True), q)
    log_likelihood = state.log_likelihood + float(q @ effects) / 2
    log_likelihood -= float(np.log(np.diagonal(root)).sum()) + size * float(np.log(tau))
    mean = effects if basis is None else basis @ effects
    return RunSolution(log_likelihood, mean, root, columns, basis)


def _smoothed(
    hierarchy: Hierarchy,
    state: State,
    cells: RunCells,
    part: slice,
    basis: FloatArray | None,
) -> FloatArray:
    """Return what the columns of some runs or splines are smoothed to, [G, 1 + P, C]."""
    stats, size = hierarchy.stats, part.stop - part.start
    if basis is not None:
        mean_y, sxy = np.zeros((stats.G, size)), np.zeros((stats.G, stats.P, size))
        height = basis[cells.run, part]
        np.add.at(mean_y, cells.pair, (cells.n / stats.mass[cells.pair])[:, None] * height)
        np.add.at(sxy, cells.pair, cells.x[:, :, None] * height[:, None, :])
        return smoothed(hierarchy, state, mean_y, sxy)
    of = (cells.run >= part.start) & (cells.run < part.stop)
    pair, run = cells.pair[of], cells.run[of] - part.start
    mean_y, sxy = np.zeros((stats.G, size)), np.zeros((stats.G, stats.P, size))
    mean_y[pair, run] = cells.n[of] / stats.mass[pair]
    sxy[pair, :, run] = cells.x[of]
    return smoothed(hierarchy, state, mean_y, sxy)


def _add_prior_precision(S: FloatArray, tau: float, prior: RunEffects) -> None:
    """Add the precision of effects, or of a spline's coefficients, in place: that of steps."""
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
